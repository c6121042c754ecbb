"""`clustermgtd lab demo` as `make demo` runs it, without a terminal."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clustermgtd.lab import leftovers, lifecycle
from clustermgtd.lab.folder import LabFolder
from tests.e2e.lab import interruptible

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

COMMAND = [sys.executable, "-m", "clustermgtd", "lab", "demo", "--folder"]


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="clmgtd-demo-"))
    yield path
    lifecycle.down(LabFolder(path))
    shutil.rmtree(path)


def test_the_demo_ends_with_its_one_line_and_leaves_nothing(folder: Path) -> None:
    demo = subprocess.run([*COMMAND, str(folder)], capture_output=True, text=True, timeout=280, check=False)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    found = re.fullmatch(
        r"demo: 3 jobs COMPLETED, (\d+) instances launched, (\d+) terminated, 0 left, 0 claims open",
        demo.stdout.splitlines()[-1],
    )
    assert found is not None, demo.stdout
    assert found[1] == found[2]
    assert leftovers.belonging_to(folder) == []


def test_an_interrupted_demo_leaves_nothing(folder: Path) -> None:
    command = [*COMMAND, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=interruptible) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "EC2: pending" in line:
                break
        demo.send_signal(signal.SIGINT)
        assert demo.wait(90) == 130
    assert leftovers.belonging_to(folder) == []


def test_the_lab_of_a_killed_demo_ends_too(folder: Path) -> None:
    with subprocess.Popen([*COMMAND, str(folder)], stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "EC2: running" in line:
                break
        demo.kill()
    give_up_at = time.monotonic() + 60
    while leftovers.belonging_to(folder):
        assert time.monotonic() < give_up_at
        time.sleep(0.2)
