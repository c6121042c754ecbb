"""systemd's own checks of the units that are shipped."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from clustermgtd.node.user_data import AGENT_UNIT, ENVIRONMENT_FILE
from clustermgtd.run import EXIT_CONFIGURATION, EXIT_FENCED
from clustermgtd.settings.daemon import Hooks
from clustermgtd.settings.health import Health
from tests.architecture.source_tree import ROOT

UNITS = ROOT / "systemd"
EXPOSURE_MAX = 15
"""In tenths, on systemd's scale of 0 to 100; slurmctld's own unit has 96."""


def unit(name: str) -> str:
    return (UNITS / name).read_text()


def setting(name: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit(name), re.MULTILINE)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units with programs that exist on this machine."""
    folder = tmp_path_factory.mktemp("units")
    for path in [*UNITS.glob("*.service"), *UNITS.glob("*.socket")]:
        text = re.sub(r"^(Exec\w+)=/\S+", r"\1=/bin/true", path.read_text(), flags=re.MULTILINE)
        (folder / path.name).write_text(text)
    return folder


def ask(*command: str) -> subprocess.CompletedProcess[str]:
    assert shutil.which(command[0]), f"{command[0]} is missing: run `make setup-system`"
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_systemd_understands_every_line(installed: Path) -> None:
    units = sorted(str(path) for path in installed.iterdir())
    assert len(units) == 4
    done = ask("systemd-analyze", "verify", "--man=no", *units)
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "clustermgtd" in line]
    assert (done.returncode, ours) == (0, [])


def test_the_daemon_is_locked_in(installed: Path) -> None:
    done = ask(
        "systemd-analyze",
        "security",
        "--no-pager",
        "--offline=true",
        f"--threshold={EXPOSURE_MAX}",
        str(installed / "clustermgtd.service"),
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_socket_and_daemon_agree_with_the_defaults_of_the_settings() -> None:
    hooks = Hooks()
    assert setting("clustermgtd.socket", "ListenStream") == [hooks.socket_path]
    assert setting("clustermgtd.socket", "FileDescriptorName") == ["hooks"]
    (writable,) = setting("clustermgtd.service", "ReadWritePaths")
    consoles = Health().console_dir
    assert {f"-{hooks.spool_dir}", f"-{consoles}"} <= set(writable.split())
    folders = [line.split()[1] for line in unit("clustermgtd.tmpfiles.conf").splitlines() if line.startswith("d ")]
    assert folders == [str(Path(hooks.socket_path).parent), hooks.spool_dir, consoles]


def test_the_daemon_runs_as_a_user_that_its_hooks_may_speak_to() -> None:
    (user,) = setting("clustermgtd.service", "User")
    assert user in Hooks().allowed_users
    assert setting("clustermgtd.socket", "SocketUser") == [user]
    assert f"\nu {user} " in unit("clustermgtd.sysusers.conf")


def test_user_data_and_the_agents_unit_agree() -> None:
    assert (UNITS / AGENT_UNIT).is_file()
    assert setting(AGENT_UNIT, "EnvironmentFile") == [ENVIRONMENT_FILE]
    assert setting(AGENT_UNIT, "ConditionPathExists") == [ENVIRONMENT_FILE]


def test_an_end_that_a_restart_would_only_repeat_is_the_end() -> None:
    assert setting("clustermgtd.service", "Restart") == ["always"]
    assert setting("clustermgtd.service", "RestartPreventExitStatus") == [f"{EXIT_FENCED} {EXIT_CONFIGURATION}"]


def test_slurmd_is_not_started_as_if_the_machine_had_just_booted_when_it_has_not() -> None:
    assert setting(AGENT_UNIT, "Restart") == ["no"]


def test_jobs_outlive_slurmd_and_slurmd_may_make_cgroups() -> None:
    assert setting(AGENT_UNIT, "KillMode") == ["process"]
    assert setting(AGENT_UNIT, "Delegate") == ["yes"]


def test_users_and_folders_are_understood(tmp_path: Path) -> None:
    users = ask("systemd-sysusers", "--dry-run", str(UNITS / "clustermgtd.sysusers.conf"))
    assert (users.returncode, users.stderr) == (0, "")
    folders = ask(
        "systemd-tmpfiles",
        "--remove",
        f"--root={tmp_path}",
        "--prefix=/nowhere",
        str(UNITS / "clustermgtd.tmpfiles.conf"),
    )
    assert folders.returncode == 0, folders.stderr
