"""`clustermgtctl render hook-programs`, as typed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from clustermgtd.cli.main import main

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "minimal.yaml"


def render(folder: Path, cluster: Path = EXAMPLE) -> int:
    return main(["render", "hook-programs", str(cluster), "--program-dir", str(folder)])


def test_the_programs_are_written_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (render(tmp_path / "hooks"), capsys.readouterr().out) == (0, "changed\n")
    assert (render(tmp_path / "hooks"), capsys.readouterr().out) == (0, "unchanged\n")
    done = subprocess.run([tmp_path / "hooks" / "resume", "--help"], capture_output=True, text=True, check=False)
    assert (done.returncode, "ResumeProgram" in done.stdout) == (0, True)


def test_they_know_the_cluster_s_socket(tmp_path: Path) -> None:
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text(EXAMPLE.read_text() + "Clustermgtd: {Hooks: {SocketPath: /run/elsewhere.sock}}\n")
    assert render(tmp_path, cluster) == 0
    assert "CLUSTERMGTD_SOCKET=/run/elsewhere.sock" in (tmp_path / "suspend").read_text()


def test_a_folder_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert render(tmp_path / "file") == 1
    assert "cannot be written" in capsys.readouterr().err


def test_a_wrong_cluster_yaml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text("Regoin: x\n")
    assert render(tmp_path / "hooks", cluster) == 1
    assert not (tmp_path / "hooks").exists()
