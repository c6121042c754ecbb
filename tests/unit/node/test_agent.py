"""The agent's boot: the instance, its record and slurmd are played by the test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from clustermgtd.errors import NotFoundError, PermanentError, TransientError
from clustermgtd.node.agent import EXIT_GAVE_UP, EXIT_STOPPED, Agent, Surroundings
from clustermgtd.node.arguments import AgentArguments
from clustermgtd.node.imds import Identity
from clustermgtd.node.slurmd import SlurmdFeatures, command_line

IDENTITY = Identity(instance_id="i-1", instance_type="c5.large", region="eu-west-1", launch_token="token-7")


@dataclass
class FakeRecord:
    """A table that answers what the test scripted, then the node's name."""

    troubles: list[Exception] = field(default_factory=list)
    reports: list[tuple[str, Mapping[str, float]]] = field(default_factory=list)
    report_trouble: Exception | None = None
    may_report: threading.Event = field(default_factory=threading.Event)

    def node_name(self, identity: Identity) -> str:
        if self.troubles:
            raise self.troubles.pop(0)
        return "q1-dy-c5-1"

    def report_boot(self, identity: Identity, node: str, phases: Mapping[str, float]) -> None:
        if not self.may_report.wait(10):
            raise TransientError("never allowed")
        if self.report_trouble is not None:
            raise self.report_trouble
        self.reports.append((node, phases))


@dataclass
class FakeSlurmd:
    """A process that ends with `code`, at once or when it gets a signal."""

    code: int = 0
    runs_until_signal: bool = False
    started: threading.Event = field(default_factory=threading.Event)
    signals: list[int] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)

    def wait(self) -> int:
        self.started.set()
        if self.runs_until_signal:
            assert self._ended.wait(10)
            return -self.signals[0]
        return self.code

    def send_signal(self, number: int) -> None:
        self.signals.append(number)
        self._ended.set()


@dataclass
class Machine:
    """One instance and what happened on it."""

    record: FakeRecord = field(default_factory=FakeRecord)
    identity_troubles: list[Exception] = field(default_factory=list)
    slurmds: list[FakeSlurmd] = field(default_factory=lambda: [FakeSlurmd()])
    features: SlurmdFeatures = SlurmdFeatures(takes_instance=False)
    commands: list[list[str]] = field(default_factory=list)
    power_offs: list[list[str]] = field(default_factory=list)
    regions: list[str] = field(default_factory=list)
    clock: Callable[[], float] = lambda: 0.0
    store_complaint: Callable[[str], str] = lambda _: ""

    def identity(self) -> Identity:
        if self.identity_troubles:
            raise self.identity_troubles.pop(0)
        return IDENTITY

    def open_record(self, region: str) -> FakeRecord:
        self.regions.append(region)
        return self.record

    def start(self, command: list[str]) -> FakeSlurmd:
        self.commands.append(command)
        slurmd = self.slurmds.pop(0)
        if slurmd.code == 127:
            raise FileNotFoundError("no slurmd")
        return slurmd

    def agent(self, **arguments: object) -> Agent:
        given: dict[str, object] = {"table": "t", "console": "", **arguments}
        return Agent(
            AgentArguments(**given),  # type: ignore[arg-type]
            Surroundings(
                identity=self.identity,
                open_record=self.open_record,
                probe_slurmd=lambda _: self.features,
                start=self.start,
                run=self.power_offs.append,
                store_complaint=self.store_complaint,
                monotonic=self.clock,
            ),
        )


class Ticking:
    """A monotonic clock that moves ten seconds at each look."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        self.at += 10.0
        return self.at


def test_the_record_gives_the_name_and_slurmd_runs_under_it() -> None:
    machine = Machine()
    machine.record.may_report.set()
    assert machine.agent(conf_server="head:6820").run() == 0
    assert machine.commands == [["/usr/sbin/slurmd", "-D", "-b", "-N", "q1-dy-c5-1", "--conf-server", "head:6820"]]
    assert machine.regions == ["eu-west-1"]


def test_every_phase_of_the_boot_is_stored_at_the_end() -> None:
    machine = Machine()
    machine.record.may_report.set()
    machine.agent().run()
    node, phases = machine.record.reports[-1]
    assert node == "q1-dy-c5-1"
    assert list(phases) == ["agent-started", "identity-known", "node-known", "slurmd-started"]
    assert list(phases.values()) == sorted(phases.values())


def test_slurmd_starts_while_the_report_hangs() -> None:
    slurmd = FakeSlurmd(runs_until_signal=True)
    machine = Machine(slurmds=[slurmd])
    agent = machine.agent()
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(agent.run()))
    thread.start()
    assert slurmd.started.wait(10)
    assert machine.record.reports == []
    machine.record.may_report.set()
    agent.stop()
    thread.join(10)
    assert codes == [128 + 15]


def test_a_report_that_cannot_be_stored_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    machine = Machine(record=FakeRecord(report_trouble=TransientError("AccessDenied")))
    machine.record.may_report.set()
    assert machine.agent().run() == 0
    assert "boot report not stored: AccessDenied" in capsys.readouterr().err


def test_a_record_that_lags_the_boot_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    machine = Machine(
        identity_troubles=[TransientError("not up")],
        record=FakeRecord(troubles=[NotFoundError("not yet"), NotFoundError("not yet"), TransientError("no route")]),
    )
    machine.record.may_report.set()
    assert machine.agent().run() == 0
    said = capsys.readouterr().err
    assert said.count("waiting: not yet") == 1
    assert "waiting: no route" in said


def test_an_instance_without_a_record_gives_up_and_says_why(tmp_path: Path) -> None:
    console = tmp_path / "console"
    machine = Machine(record=FakeRecord(troubles=[NotFoundError("no record of i-1")] * 100), clock=Ticking())
    machine.record.may_report.set()
    code = machine.agent(console=str(console), give_up_s=15.0, power_off_command="poweroff --now").run()
    assert code == EXIT_GAVE_UP
    assert machine.commands == []
    assert machine.power_offs == [["poweroff", "--now"]]
    assert console.read_text().endswith("giving up after 15 s, this instance ends itself: no record of i-1\n")


def test_without_a_power_off_command_the_exit_code_says_it() -> None:
    machine = Machine(identity_troubles=[PermanentError("no such address")])
    assert machine.agent(power_off_command="").run() == EXIT_GAVE_UP
    assert machine.power_offs == []


def test_slurmd_that_fails_during_the_boot_is_started_again() -> None:
    machine = Machine(slurmds=[FakeSlurmd(code=1), FakeSlurmd(code=0)])
    machine.record.may_report.set()
    assert machine.agent().run() == 0
    assert len(machine.commands) == 2


def test_slurmd_that_cannot_be_started_ends_in_giving_up() -> None:
    machine = Machine(slurmds=[FakeSlurmd(code=127)], clock=Ticking())
    machine.record.may_report.set()
    assert machine.agent(give_up_s=15.0).run() == EXIT_GAVE_UP


def test_slurmd_that_ends_after_the_boot_takes_the_agent_with_it() -> None:
    machine = Machine(slurmds=[FakeSlurmd(code=-9)], clock=Ticking())
    machine.record.may_report.set()
    assert machine.agent(give_up_s=5.0).run() == 128 + 9
    assert len(machine.commands) == 1


def test_a_stop_before_slurmd_ends_the_wait() -> None:
    machine = Machine(record=FakeRecord(troubles=[NotFoundError("not yet")] * 1000))
    machine.record.may_report.set()
    agent = machine.agent()
    agent.stop()
    assert agent.run() == EXIT_STOPPED


def test_a_release_that_takes_the_instance_gets_it() -> None:
    arguments = AgentArguments(table="t", conf_file="/etc/slurm/slurm.conf")
    command = command_line(arguments, SlurmdFeatures(takes_instance=True), IDENTITY, "q1-dy-c5-1")
    assert command[-2:] == ["--instance-id=i-1", "--instance-type=c5.large"]
    assert command[5:7] == ["-f", "/etc/slurm/slurm.conf"]
