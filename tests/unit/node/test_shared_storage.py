"""What systemd says about mounts, in the agent's words."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

import pytest

from clustermgtd.errors import TransientError
from clustermgtd.node.shared_storage import TARGET, mounted_at

LOADED = "Requires=efs.mount sysinit.target fsx.mount\nLoadState=loaded\n"


def unit(name: str, state: str = "active", result: str = "success", at_us: int = 0, condition: str = "yes") -> str:
    return (
        f"Id={name}.mount\nDescription=Shared storage {name} (Efs fs-1 at /{name})\nActiveState={state}\n"
        f"Result={result}\nConditionResult={condition}\nActiveEnterTimestampMonotonic={at_us}\n"
    )


class Systemd:
    """Plays systemctl and journalctl."""

    def __init__(self, target: str, *units: str, journal: str = "") -> None:
        self.target = target
        self.units = "\n".join(units)
        self.journal = journal
        self.commands: list[list[str]] = []

    def __call__(self, command: Sequence[str]) -> str:
        self.commands.append(list(command))
        if command[0] == "journalctl":
            return self.journal
        if command[1] == "start":
            return ""
        return self.target if command[-1] == TARGET else self.units

    def mounted_at(self) -> float | None:
        return mounted_at(self, lambda: True, lambda: 1000.0, lambda: 60.0)


def test_the_last_mount_counts() -> None:
    systemd = Systemd(LOADED, unit("efs", at_us=5_000_000), unit("fsx", at_us=7_500_000))
    assert systemd.mounted_at() == 947.5
    assert systemd.commands[1][-2:] == ["efs.mount", "fsx.mount"]


@pytest.mark.parametrize("target", ["Requires=\nLoadState=not-found\n", "Requires=sysinit.target\nLoadState=loaded\n"])
def test_a_node_without_shared_storage_waits_for_nothing(target: str) -> None:
    assert Systemd(target).mounted_at() is None


def test_a_machine_without_systemd_waits_for_nothing() -> None:
    assert mounted_at(Systemd(LOADED), lambda: False) is None


def test_an_instance_store_that_the_instance_does_not_have_is_not_missed() -> None:
    systemd = Systemd(LOADED, unit("efs", at_us=1), unit("scratch", "inactive", condition="no"))
    assert systemd.mounted_at() is not None


def test_what_failed_is_named_with_its_reason_and_tried_again() -> None:
    systemd = Systemd(
        LOADED,
        unit("efs"),
        unit("fsx", "failed", "exit-code"),
        journal="mount.nfs4: access denied by server\nmount.nfs4: access denied by server\n",
    )
    with pytest.raises(TransientError) as raised:
        systemd.mounted_at()
    assert str(raised.value) == "Shared storage fsx (Efs fs-1 at /fsx): mount.nfs4: access denied by server"
    assert systemd.commands[-1] == ["systemctl", "start", "--no-block", TARGET]


def test_each_missing_one_is_named() -> None:
    systemd = Systemd(LOADED, unit("efs", "activating"), unit("fsx", "failed", "timeout"))
    with pytest.raises(TransientError, match=r"efs .*: not mounted yet; .*fsx .*: mounting ended with timeout"):
        systemd.mounted_at()


def test_a_systemctl_that_hangs_is_an_error_of_its_own() -> None:
    def run(command: Sequence[str]) -> str:
        raise subprocess.TimeoutExpired(list(command), 20)

    with pytest.raises(TransientError, match="systemd does not tell"):
        mounted_at(run, lambda: True)
