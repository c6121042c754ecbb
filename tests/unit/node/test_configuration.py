"""An instance that configures itself: the play runs once, and what fails is told."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from clustermgtd.errors import PermanentError
from clustermgtd.node.configuration import UNIT, complaint, configure

FAILED = r"""
TASK [shared_storage : Say which failed and why] *******************************
[ERROR]: Task failed: Action failed: Shared storage data (Efs fs-1 at /data)
fatal: [localhost]: FAILED! => {"changed": false, "msg": "Shared storage data (Efs fs-1 at /data) cannot be mounted"}

PLAY RECAP *********************************************************************
localhost                  : ok=0    changed=0    unreachable=0    failed=1    skipped=0    rescued=1    ignored=0
"""
ITEM = """
TASK [munge : Read it] *********************************************************
failed: [localhost] (item=a) => {"cmd": ["false"], "msg": "non-zero return code", "rc": 1, "stderr": "AccessDenied"}
changed: [localhost] => (item=b)
"""


class Site:
    """A folder of settings, and a systemctl that does what the test wants."""

    def __init__(self, folder: Path, output: str = "", *, fails: bool = False) -> None:
        self.folder = folder / "etc"
        self.log = folder / "log" / "configure.log"
        self.commands: list[list[str]] = []
        self._output = output
        self._fails = fails

    def run(self, command: Sequence[str]) -> str:
        self.commands.append([*command])
        if self._output:
            self.log.write_text(self._output)
        if self._fails:
            raise subprocess.CalledProcessError(1, [*command], stderr="Job for the unit failed.")
        return ""

    def configure(self, instance_id: str = "i-1") -> None:
        configure('{"a": 1}', instance_id, self.run, self.folder, self.log)


def test_the_play_finds_its_variables_and_nobody_else_does(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.configure()
    assert site.commands == [["systemctl", "start", UNIT]]
    assert (site.folder / "variables.json").read_text() == '{"a": 1}'
    assert (site.folder / "variables.json").stat().st_mode & 0o777 == 0o600
    assert "[compute]\nlocalhost " in (site.folder / "inventory").read_text()


def test_it_runs_once_on_an_instance_and_again_on_one_of_an_image_of_it(tmp_path: Path) -> None:
    site = Site(tmp_path)
    for instance in ("i-1", "i-1", "i-2"):
        site.configure(instance)
    assert len(site.commands) == 2


def test_a_play_that_failed_is_not_done_and_its_last_task_is_the_reason(tmp_path: Path) -> None:
    site = Site(tmp_path, ITEM + FAILED, fails=True)
    for _ in range(2):
        with pytest.raises(
            PermanentError, match=r"configured: shared_storage : Say .*why: Shared .*data.* be mounted$"
        ):
            site.configure()
    assert len(site.commands) == 2


def test_a_unit_that_is_not_there_is_the_reason_and_no_older_log(tmp_path: Path) -> None:
    site = Site(tmp_path, fails=True)
    site.log.parent.mkdir()
    site.log.write_text(FAILED)
    with pytest.raises(PermanentError, match=r"configured: Job for the unit failed\.$"):
        site.configure()


def test_a_complaint_has_a_command_s_own_words() -> None:
    assert complaint(ITEM) == "munge : Read it: non-zero return code AccessDenied"
    assert complaint("changed: [localhost]\n") == ""
