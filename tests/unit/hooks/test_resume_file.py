"""Slurm's resume file, every release's, and what is left of it when it is broken."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from resume_suspend.resume_file import read_resume_file

RELEASE_22_05 = '{"jobs":[{"job_id":1,"nodes":"q1-[1-3]"}],"all_nodes":"q1-[1-3]"}'
RELEASE_23_02 = json.dumps(
    {
        "all_nodes_resume": "q1-[2-3]",
        "jobs": [
            {
                "extra": None,
                "features": "c5&spot",
                "job_id": 7,
                "nodes_alloc": "q1-[1-3]",
                "nodes_resume": "q1-[2-3]",
                "oversubscribe": "OK",
                "partition": "q1",
                "reservation": None,
                "something_new": {"deep": [1, 2]},
            }
        ],
    }
)


def read(tmp_path: Path, text: str | bytes) -> tuple[list[dict[str, object]], str]:
    path = tmp_path / "resume.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_resume_file(str(path))


def test_release_22_05_calls_them_nodes(tmp_path: Path) -> None:
    assert read(tmp_path, RELEASE_22_05) == ([{"job_id": 1, "nodes_resume": "q1-[1-3]"}], "")


def test_release_23_02_says_more_and_unknown_keys_do_no_harm(tmp_path: Path) -> None:
    jobs, note = read(tmp_path, RELEASE_23_02)
    assert note == ""
    assert jobs == [
        {
            "job_id": 7,
            "nodes_resume": "q1-[2-3]",
            "nodes_alloc": "q1-[1-3]",
            "partition": "q1",
            "features": "c5&spot",
            "oversubscribe": "OK",
        }
    ]


def test_nodes_powered_up_by_hand_have_no_jobs(tmp_path: Path) -> None:
    assert read(tmp_path, '{"all_nodes_resume":"q1-1"}') == ([], "")


@pytest.mark.parametrize("garbage", ["", "{", "\0" * 10, "[1]", '{"jobs":7}', "[" * 50_000, b"\xff\xfe\x00"])
def test_garbage_gives_no_jobs_and_a_note(tmp_path: Path, garbage: str | bytes) -> None:
    jobs, note = read(tmp_path, garbage)
    assert jobs == []
    assert note.startswith("resume file ")


def test_entries_that_are_not_jobs_are_left_out_and_counted(tmp_path: Path) -> None:
    jobs, note = read(tmp_path, '{"jobs":[1,{"job_id":"1","nodes":"a"},{"job_id":2},{"job_id":3,"nodes":"q1-3"}]}')
    assert jobs == [{"job_id": 3, "nodes_resume": "q1-3"}]
    assert note.endswith("3 entries are not jobs")


def test_a_missing_file_is_noted() -> None:
    assert read_resume_file("/nonexistent/resume.json") == (
        [],
        "resume file /nonexistent/resume.json: No such file or directory",
    )
    assert read_resume_file("") == ([], "SLURM_RESUME_FILE is not set")


def test_a_pipe_in_place_of_the_file_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    jobs, note = read_resume_file(str(tmp_path / "pipe"))
    assert jobs == []
    assert "is not JSON" in note
