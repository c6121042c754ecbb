"""The site's own programs: fetched, checked, run in order, and named when they fail."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from clustermgtd.node.custom_actions import ActionError, Program, programs, run_all
from clustermgtd.node.fetch import fetch


class Said(list[str]):
    def __call__(self, text: str) -> None:
        self.append(text)


def program(folder: Path, name: str, *lines: str, args: tuple[str, ...] = (), sha256: str = "") -> Program:
    path = folder / name
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    return Program(path.as_uri(), args, sha256)


def test_they_run_in_order_with_their_arguments_and_know_the_event(tmp_path: Path) -> None:
    said = Said()
    first = program(tmp_path, "first", 'echo "$1 and $2"', args=("one", "two words"))
    second = program(tmp_path, "second", 'echo "$CLUSTERMGTD_EVENT" >&2')
    run_all("OnNodeStart", [first, second], said)
    assert said == [
        f"OnNodeStart: {first.script} begins",
        "one and two words",
        f"OnNodeStart: {first.script} has ended well",
        f"OnNodeStart: {second.script} begins",
        "OnNodeStart",
        f"OnNodeStart: {second.script} has ended well",
    ]


def test_the_first_that_fails_ends_them_all(tmp_path: Path) -> None:
    said = Said()
    bad = program(tmp_path, "bad", "echo trouble", "exit 3")
    with pytest.raises(ActionError, match=f"^OnNodeConfigured: {bad.script} ended with exit code 3$"):
        run_all("OnNodeConfigured", [bad, program(tmp_path, "never", "echo never")], said)
    assert said[-1] == "trouble"


def test_a_program_with_another_checksum_is_not_run(tmp_path: Path) -> None:
    said = Said()
    with pytest.raises(ActionError, match=f"not {'0' * 64}: it was not run"):
        run_all("OnNodeStart", [program(tmp_path, "other", "echo no", sha256="0" * 64)], said)
    assert said == []
    right = program(tmp_path, "right", "echo yes")
    checksum = hashlib.sha256((tmp_path / "right").read_bytes()).hexdigest()
    run_all("OnNodeStart", [Program(right.script, (), checksum)], said)
    assert "yes" in said


def test_a_program_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    missing = (tmp_path / "missing").as_uri()

    def once(url: str, path: Path) -> None:
        fetch(url, path, lambda _: None)

    with pytest.raises(ActionError, match=f"^OnNodeStart: {missing} cannot be fetched"):
        run_all("OnNodeStart", [Program(missing)], Said(), once)


def test_a_file_that_is_no_program_is_named(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello\n")
    with pytest.raises(ActionError, match="text cannot be started"):
        run_all("OnNodeStart", [Program((tmp_path / "text").as_uri())], Said())


def test_the_file_that_the_role_writes() -> None:
    entries = [{"script": "s3://b/k", "args": ["x"], "sha256": "0"}, {"script": "s3://b/alone"}]
    assert programs(json.dumps({"OnNodeStart": entries}), "OnNodeStart") == (
        Program("s3://b/k", ("x",), "0"),
        Program("s3://b/alone"),
    )
