"""clustermgtctl slurm as typed, over scripted programs of Slurm's and the fake pyslurm; a daemon is asked in
tests/e2e/test_daemon.py, and real releases in tests/contract/slurm/test_release_features.py."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from clustermgtd.cli.main import main
from tests.pyslurm_fixtures import FAKE_PYSLURM

MINIMAL = Path(__file__).parents[3] / "docs" / "examples" / "minimal.yaml"
SCONTROL = """\
#!/bin/sh
case $* in
*config) echo 'AccountingStorageType = (null)'; echo 'SLURM_VERSION = 24.11.5';;
update*) echo 'slurm_update error: Invalid node name specified' >&2; exit 1;;
*) echo 'PartitionName=q1 SuspendTime=60';;
esac
"""


class Head:
    """A head node: scontrol, a Python with the fake pyslurm, and a cluster.yaml."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program("scontrol", SCONTROL)
        run = f"FAKE_PYSLURM_WORLD={folder}/world.json PYTHONPATH={FAKE_PYSLURM} exec {sys.executable}"
        self.program("python", f'#!/bin/sh\n{run} "$@"\n')
        self.pyslurm("24.11.0")

    def program(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(0o755)

    def pyslurm(self, release: str) -> None:
        (self.folder / "world.json").write_text(json.dumps({"pyslurm": release, "release": "24.11.5"}))

    def config(self, *, backend: str = "auto", bin_dir: str = "", port: int = 0) -> str:
        access = {"BinDir": bin_dir or str(self.folder), "Backend": backend, "PyslurmPython": f"{self.folder}/python"}
        own = json.dumps({"Slurm": access, "Metrics": {"Port": port}})
        file = self.folder / "cluster.yaml"
        file.write_text(f"{MINIMAL.read_text()}Clustermgtd: {own}\n")
        return str(file)


@pytest.fixture
def head(tmp_path: Path) -> Head:
    return Head(tmp_path)


@contextmanager
def served(status: int, body: Any) -> Iterator[int]:
    """The port of a /healthz that answers so."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/healthz"
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def answered(capsys: pytest.CaptureFixture[str], *argv: str) -> Any:
    assert main(["slurm", *argv, "--output", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_table_of_what_was_found_and_why(head: Head, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["slurm", head.config()]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "WHAT                 FOUND    WHY",
        "Slurm                24.11.5",
        "instance ids         yes",
        "times of partitions  yes",
        "accounting           no",
        "backend that fits    pyslurm  pyslurm 24.11.0 fits Slurm 24.11.5",
        "backend in use       -        it cannot be asked: Clustermgtd.Metrics is not enabled, or Port is 0",
    ]


def test_as_json(head: Head, capsys: pytest.CaptureFixture[str]) -> None:
    found = answered(capsys, head.config())
    assert found["slurm"] == {
        "release": "24.11.5",
        "has_instance_ids": True,
        "has_partition_times": True,
        "has_accounting": False,
    }
    assert found["setting"] == "auto"
    assert found["fits"] == {"backend": "pyslurm", "why": "pyslurm 24.11.0 fits Slurm 24.11.5"}
    assert found["daemon"]["backend"] is None


def test_it_says_why_pyslurm_does_not_serve(head: Head, capsys: pytest.CaptureFixture[str]) -> None:
    head.pyslurm("25.11.2")
    found = answered(capsys, head.config())
    assert found["fits"]["backend"] == "command-line"
    assert found["fits"]["why"] == "other-release: pyslurm 25.11.2 is not for Slurm 24.11.5"


def test_pyslurm_is_not_tried_where_it_is_not_wanted(head: Head, capsys: pytest.CaptureFixture[str]) -> None:
    head.program("python", f"#!/bin/sh\ntouch {head.folder}/started\n")
    found = answered(capsys, head.config(backend="command-line"))
    assert found["fits"] == {"backend": "command-line", "why": "Clustermgtd.Slurm.Backend: command-line"}
    assert not (head.folder / "started").exists()


@pytest.mark.parametrize("status", [200, 503])
def test_the_daemon_that_runs_tells_what_it_uses(head: Head, capsys: pytest.CaptureFixture[str], status: int) -> None:
    why = "ended: the broker ended with -9: nothing said"
    with served(status, {"slurm_backend": "command-line", "slurm_backend_why": why}) as port:
        found = answered(capsys, head.config(port=port))
    assert found["daemon"] == {"backend": "command-line", "why": why}


def test_somebody_else_on_the_daemon_s_port_is_not_the_daemon(head: Head, capsys: pytest.CaptureFixture[str]) -> None:
    with served(200, ["other"]) as port:
        found = answered(capsys, head.config(port=port))
    assert found["daemon"]["backend"] is None
    assert f"127.0.0.1 port {port}" in found["daemon"]["why"]


def test_without_slurm_it_says_so_and_fails(head: Head, capsys: pytest.CaptureFixture[str]) -> None:
    head.program("scontrol", "#!/bin/sh\necho 'Unable to contact slurm controller (connect failure)' >&2\nexit 1\n")
    assert main(["slurm", head.config()]) == 1
    assert "Slurm cannot be asked: scontrol show config ended with 1: Unable to contact" in capsys.readouterr().err
    assert main(["slurm", head.config(bin_dir="/nowhere"), "--output", "json"]) == 1
    said = capsys.readouterr()
    assert "no scontrol in /nowhere" in said.err
    assert json.loads(said.out)["fits"] is None
