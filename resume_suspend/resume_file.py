"""Slurm's resume file: which job wants which of the nodes. Read at once, because Slurm removes it after ten seconds."""

from __future__ import annotations

import os

from resume_suspend import quick_json

FILE_BYTES_MAX = 64 * 1024 * 1024
"""Slurm holds at most some ten thousand jobs in one file; anything longer is not a resume file."""

_TEXTS = frozenset({"nodes_alloc", "partition", "features", "reservation", "oversubscribe", "extra"})
"""Keys of a job from Slurm 23.02 on, besides `job_id` and `nodes_resume`; 22.05 has `job_id` and `nodes` only."""


def read_resume_file(path: str) -> tuple[list[dict[str, object]], str]:
    """Jobs as they go on the wire, and a note for people that is empty when all was well.

    Never raises: a file that cannot be read or understood gives no jobs, and the note says why. Keys that this
    release does not know are passed over; empty values are left out.
    """
    if not path:
        return [], "SLURM_RESUME_FILE is not set"
    try:
        text = _read(path)
    except OSError as error:
        return [], f"resume file {path}: {error.strerror or error}"
    try:
        content = quick_json.loads(text)
    except (ValueError, RecursionError):
        return [], f"resume file {path} is not JSON ({len(text)} bytes)"
    entries = content.get("jobs") if isinstance(content, dict) else None
    if entries is None and isinstance(content, dict):
        entries = []
    if not isinstance(entries, list):
        return [], f"resume file {path} holds no list of jobs"
    jobs = [job for job in map(_job, entries) if job is not None]
    passed_over = len(entries) - len(jobs)
    return jobs, f"resume file {path}: {passed_over} entries are not jobs" if passed_over else ""


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        chunks = []
        left = FILE_BYTES_MAX
        while left > 0 and (chunk := os.read(descriptor, min(left, 1 << 20))):
            chunks.append(chunk)
            left -= len(chunk)
        return b"".join(chunks)
    finally:
        os.close(descriptor)


def _job(entry: object) -> dict[str, object] | None:
    """One job, or None if it has no id or no nodes."""
    if not isinstance(entry, dict):
        return None
    job_id = entry.get("job_id")
    nodes = entry.get("nodes_resume") or entry.get("nodes")
    if type(job_id) is not int or not 0 < job_id < 1 << 32 or not isinstance(nodes, str):
        return None
    job: dict[str, object] = {"job_id": job_id, "nodes_resume": nodes}
    for key, value in entry.items():
        if value and key in _TEXTS and isinstance(value, str):
            job[key] = value
    return job
