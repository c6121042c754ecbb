"""`clustermgtd lab ...`.

Exit codes: 0 done, 1 failed or not up, 2 wrong usage, 130 interrupted; `run` has the command's own.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import Any

from clustermgtd.errors import ClustermgtdError
from clustermgtd.lab.client import LabClient, LabStatus
from clustermgtd.lab.folder import LabFolder, default_folder

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


def main(argv: list[str]) -> int:
    """Do what the command line says; returns the exit code."""
    options = _parser().parse_args(argv)
    try:
        return int(options.function(options))
    except ClustermgtdError as error:
        print(f"clustermgtd lab {options.verb}: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


def _up(options: argparse.Namespace) -> int:
    from clustermgtd.lab import lifecycle
    from clustermgtd.lab.cluster_files import Chosen

    folder = _folder(options)
    chosen = Chosen(options.config, options.scenario)
    is_up = False
    try:
        lifecycle.up(folder, chosen, lambda line: print(line, flush=True), is_mine=options.foreground)
        is_up = True
        _say_how_to_use(folder, "" if options.folder is None else f" --folder {shlex.quote(str(folder.path))}")
        return _stay(folder) if options.foreground else 0
    finally:
        if options.foreground and is_up:
            lifecycle.down(folder)


def _say_how_to_use(folder: LabFolder, option: str) -> None:
    print(
        f"folder: {folder.path}\n"
        f"try:    clustermgtd lab run{option} -- sbatch -N 2 --wrap 'srun hostname'\n"
        f"        clustermgtd lab run{option} -- sinfo\n"
        f'        eval "$(clustermgtd lab env{option})"; squeue; aws ec2 describe-instances\n'
        f"look:   clustermgtd lab status{option}\n"
        f"end:    clustermgtd lab down{option}",
        flush=True,
    )


def _stay(folder: LabFolder) -> int:
    """Until Ctrl-C, SIGTERM or SIGHUP (0), or until the lab has ended by itself (1)."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        print("Ctrl-C ends the lab", flush=True)
        while (state := folder.read_state()) is not None and state.is_running:
            time.sleep(1)
    except KeyboardInterrupt:
        return 0
    print(f"the lab ended by itself; logs: {folder.path}", file=sys.stderr)
    return EXIT_FAILED


def _down(options: argparse.Namespace) -> int:
    from clustermgtd.lab import lifecycle

    folder = _folder(options)
    if not folder.is_lab():
        print(f"no lab was ever up in {folder.path}")
        return 0
    was_running, forced = lifecycle.down(folder)
    how = f", {forced} processes by force" if forced else ""
    print(f"the lab in {folder.path} is down{how}" if was_running or forced else f"no lab was up in {folder.path}")
    return 0


def _status(options: argparse.Namespace) -> int:
    status = LabClient(_folder(options)).status()
    if options.output == "json":
        print(json.dumps(_as_json(status), indent=2))
    else:
        print("\n".join(_as_text(status)))
    return 0


def _env(options: argparse.Namespace) -> int:
    for name, value in sorted(LabClient(_folder(options)).variables().items()):
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _run(options: argparse.Namespace) -> int:
    environment = LabClient(_folder(options)).environment()
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        print("clustermgtd lab run: which command? (clustermgtd lab run -- squeue)", file=sys.stderr)
        return 2
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606 -- no shell is what is wanted
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126


def _aws(options: argparse.Namespace) -> int:
    from clustermgtd.lab.aws.cli import run

    return run(options.port, options.scenario)


def _demo(options: argparse.Namespace) -> int:
    from clustermgtd.lab.demo import run

    beside = LabFolder(default_folder(os.environ).absolute().with_name("demo"))
    return run(beside if options.folder is None else _folder(options), plain=options.plain)


def _rehearse(options: argparse.Namespace) -> int:
    from clustermgtd.lab import rehearsal
    from clustermgtd.lab.rehearsal_report import as_json, as_text

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    beside = LabFolder(default_folder(os.environ).absolute().with_name("rehearsal"))
    folder = beside if options.folder is None else _folder(options)
    names = options.scenario or list(rehearsal.SCENARIOS)
    unknown = [name for name in names if name not in rehearsal.SCENARIOS]
    if unknown:
        known = ", ".join(rehearsal.SCENARIOS)
        print(f"clustermgtd lab rehearse: no scenario {unknown[0]!r}; there are {known}", file=sys.stderr)
        return 2
    config = options.config or rehearsal.CLUSTER
    results = rehearsal.rehearse(folder, config, names, lambda line: print(line, file=sys.stderr, flush=True))
    if options.write is not None:
        options.write.parent.mkdir(parents=True, exist_ok=True)
        options.write.write_text(as_json(results) + "\n")
    print(as_json(results) if options.output == "json" else as_text(results), flush=True)
    return EXIT_FAILED if any(result.passed is False for result in results) else 0


def _folder(options: argparse.Namespace) -> LabFolder:
    given: Path | None = options.folder
    return LabFolder((given if given is not None else default_folder(os.environ)).absolute())


def _as_json(status: LabStatus) -> dict[str, Any]:
    jobs = [
        {"id": j.id, "array": j.array, "name": j.name, "state": j.state, "reason": j.reason, "nodes": j.nodes}
        for j in status.jobs
    ]
    return {**status.site, "nodes": dict(status.nodes), "jobs": jobs}


def _as_text(status: LabStatus) -> list[str]:
    site = status.site
    daemon = f"process {site['pids']['daemon']}" if site["pids"]["daemon"] else f"ended ({site['daemon_exit_code']})"
    lines = [
        f"daemon     {daemon}  {site['daemon_status']}",
        f"nodes      {_counts(status.nodes)}",
        f"instances  {_counts(site['instances'])}  ({site['launched']} launched, {site['terminated']} terminated)",
        f"claims     {site['open_claims']} open",
        f"processes  {'  '.join(f'{name} {pid}' for name, pid in site['pids'].items())}",
        f"ports      {'  '.join(f'{name} {port}' for name, port in site['ports'].items())}",
        f"AWS        {site['endpoint_url']}  {site['region']}",
        f"metrics    {site['metrics_url']}",
    ]
    lines += [f"job        {job.id} {job.name} {job.state} {job.reason} {job.nodes}" for job in status.jobs]
    return lines


def _counts(counts: Any) -> str:
    return "  ".join(f"{count} {state}" for state, count in counts.items()) or "none"


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="clustermgtd lab", description="A whole cluster on one machine, without AWS.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, function: Any, help_text: str, *, has_folder: bool = True) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=help_text, description=help_text)
        added.set_defaults(function=function)
        if has_folder:
            added.add_argument("--folder", type=Path, help="where the lab keeps its files; one lab per folder")
        return added

    up = verb("up", _up, "bring a lab up and say how to use it")
    up.add_argument("--config", type=Path, help="cluster.yaml; default: two small queues, on-demand and spot")
    up.add_argument("--scenario", type=Path, help="YAML: capacity, limits, delays and faults of the imagined Region")
    up.add_argument("--foreground", action="store_true", help="stay, and take the lab down on Ctrl-C")
    verb("down", _down, "take the lab down, leftovers of a killed one too")
    status = verb("status", _status, "nodes, instances, claims, jobs, processes and ports")
    status.add_argument("--output", choices=("text", "json"), default="text")
    verb("env", _env, "print the shell commands that point a shell at the lab")
    run = verb("run", _run, "run a command in the lab, with its exit code")
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND ...")
    aws = verb("aws", _aws, "the AWS endpoints alone", has_folder=False)
    aws.add_argument("--port", type=int, required=True)
    aws.add_argument("--scenario", type=Path)
    demo = verb("demo", _demo, "three jobs, from no instance to no instance")
    demo.add_argument("--plain", action="store_true", help="lines instead of a live view")
    rehearse = verb(
        "rehearse", _rehearse, "play what goes wrong in a cluster's life, and check what users would notice"
    )
    rehearse.add_argument("--config", type=Path, help="your cluster.yaml; default: one with short times")
    rehearse.add_argument(
        "--scenario",
        action="append",
        metavar="NAME",
        help="only this one; may be given several times; default: all of them",
    )
    rehearse.add_argument("--output", choices=("text", "json"), default="text")
    rehearse.add_argument("--write", type=Path, metavar="FILE", help="write the results as JSON, too")
    return parser
