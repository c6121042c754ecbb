"""Files of the site's own: from the web with patience, and written only when they are other ones."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from clustermgtd.node.fetch import FetchError, fetch, main


def test_three_attempts_with_pauses_that_grow(tmp_path: Path) -> None:
    pauses: list[float] = []
    missing = (tmp_path / "missing").as_uri()
    with pytest.raises(FetchError, match=f"^{missing} cannot be fetched"):
        fetch(missing, tmp_path / "file", pauses.append)
    assert pauses == [2.0, 4.0]


def test_what_comes_late_is_taken(tmp_path: Path) -> None:
    source = tmp_path / "source"
    fetch(source.as_uri(), tmp_path / "file", lambda _: source.write_text("late"))
    assert (tmp_path / "file").read_text() == "late"


def test_the_command_says_whether_the_file_is_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, file = tmp_path / "source", tmp_path / "folder" / "file"
    file.parent.mkdir()
    monkeypatch.setattr(sys, "argv", ["fetch", source.as_uri(), str(file)])
    said = []
    for text in ("one", "one", "two"):
        source.write_text(text)
        assert main() == 0
        assert file.read_text() == text
        said.append(capsys.readouterr().out)
    assert said == ["changed\n", "", "changed\n"]
    assert file.stat().st_mode & 0o777 == 0o644
    assert list(file.parent.iterdir()) == [file]


def test_the_command_keeps_the_old_file_when_there_is_no_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    monkeypatch.setattr(sys, "argv", ["fetch", (tmp_path / "missing").as_uri(), str(file)])
    monkeypatch.setattr("clustermgtd.node.fetch.time.sleep", lambda _: None)
    assert main() == 1
    assert "missing cannot be fetched" in capsys.readouterr().err
    assert file.read_text() == "old"
