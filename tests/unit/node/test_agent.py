"""The agent's boot and what it does about slurmd: the instance, its record and slurmd are played by the test."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from clustermgtd.errors import NotFoundError, PermanentError, TransientError
from clustermgtd.model.node_report import NodeReport, SlurmdTrouble
from clustermgtd.node.agent import EXIT_GAVE_UP, EXIT_STOPPED, Agent, Surroundings
from clustermgtd.node.arguments import AgentArguments
from clustermgtd.node.imds import Identity
from clustermgtd.node.processes import Activity
from clustermgtd.node.report import Reporter
from clustermgtd.node.slurmd import SlurmdFeatures, command_line
from clustermgtd.node.slurmd_keeper import SETTLED_S, SlurmdKeeper
from tests.fakes.node_processes import FakeProcesses

IDENTITY = Identity(instance_id="i-1", instance_type="c5.large", region="eu-west-1", launch_token="token-7")


@dataclass
class FakeRecord:
    """A table that answers what the test scripted, then the node's name."""

    troubles: list[Exception] = field(default_factory=list)
    reports: list[NodeReport] = field(default_factory=list)
    report_trouble: Exception | None = None
    may_report: threading.Event = field(default_factory=threading.Event)
    beats: int | None = None

    def node_name(self, identity: Identity) -> str:
        if self.troubles:
            raise self.troubles.pop(0)
        return "q1-dy-c5-1"

    def variables(self, digest: str) -> str:
        return f"variables of {digest}"

    def report(self, report: NodeReport) -> None:
        if not self.may_report.wait(10):
            raise TransientError("never allowed")
        if self.report_trouble is not None:
            raise self.report_trouble
        self.reports.append(report)

    def heartbeat(self) -> int | None:
        return self.beats


@dataclass
class FakeSlurmd:
    """A process that ends with `code`, at once or when it gets a signal, or after `runs_s` on the test's clock."""

    code: int = 0
    runs_until_signal: bool = False
    runs_s: float = 0.0
    started: threading.Event = field(default_factory=threading.Event)
    signals: list[int] = field(default_factory=list)
    pid: int = 4711
    clock: Clock | None = None
    _ended: threading.Event = field(default_factory=threading.Event)

    def wait(self, timeout: float | None = None) -> int:
        self.started.set()
        if self.runs_until_signal:
            assert self._ended.wait(10)
            return -self.signals[0]
        if self.clock is not None:
            step = self.runs_s if timeout is None else min(timeout, self.runs_s)
            self.clock.at += step
            self.runs_s -= step
            if self.runs_s:
                raise subprocess.TimeoutExpired("slurmd", step)
        return self.code

    def send_signal(self, number: int) -> None:
        self.signals.append(number)
        self._ended.set()


class Clock:
    """A monotonic clock that stands still but for what the test's slurmds take."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


class Metadata:
    """The instance's metadata service, which announces nothing."""

    def __init__(self, troubles: list[Exception]) -> None:
        self.troubles = troubles

    def identity(self) -> Identity:
        if self.troubles:
            raise self.troubles.pop(0)
        return IDENTITY

    def get_dated(self, path: str) -> tuple[str, float]:
        raise NotFoundError(path)


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
    storage_mounted_at: Callable[[], float | None] = lambda: None
    run_actions: Callable[[], None] = lambda: None
    configure: Callable[[str, str], None] = lambda variables, instance_id: None
    processes: FakeProcesses = field(default_factory=FakeProcesses)

    def open_record(self, region: str) -> FakeRecord:
        self.regions.append(region)
        return self.record

    def start(self, command: list[str]) -> FakeSlurmd:
        self.commands.append(command)
        slurmd = self.slurmds.pop(0)
        if slurmd.code == 127:
            raise FileNotFoundError("no slurmd")
        if isinstance(self.clock, Clock):
            slurmd.clock = self.clock
        return slurmd

    def agent(self, **arguments: object) -> Agent:
        given: dict[str, object] = {"table": "t", "console": "", "dead_man_idle_s": 0.0, **arguments}
        return Agent(
            AgentArguments(**given),  # type: ignore[arg-type]
            Surroundings(
                metadata=Metadata(self.identity_troubles),
                open_record=self.open_record,
                probe_slurmd=lambda _: self.features,
                start=self.start,
                run=self.power_offs.append,
                processes=self.processes,
                store_complaint=self.store_complaint,
                storage_mounted_at=self.storage_mounted_at,
                run_actions=self.run_actions,
                configure=self.configure,
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
    report = machine.record.reports[-1]
    assert (report.instance, report.node, report.ended) == ("i-1", "q1-dy-c5-1", "")
    phases = report.phases
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
    assert "report not stored: AccessDenied" in capsys.readouterr().err


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
    assert console.read_text().endswith("this instance ends itself: giving up after 15 s: no record of i-1\n")
    assert machine.record.reports[-1].ended == "giving up after 15 s: no record of i-1"


def test_an_instance_that_is_told_to_configures_itself_before_it_looks_for_its_storage() -> None:
    happened: list[tuple[str, ...]] = []

    def mounted_at() -> float:
        happened.append(("mounted",))
        return 12.5

    machine = Machine(storage_mounted_at=mounted_at, configure=lambda *given: happened.append(given))
    machine.record.may_report.set()
    assert machine.agent(variables="d1").run() == 0
    assert happened == [("variables of d1", "i-1"), ("mounted",)]
    assert "configured" in machine.record.reports[-1].phases


def test_an_instance_that_cannot_be_configured_ends_itself_and_says_why() -> None:
    def failing(variables: str, instance_id: str) -> None:
        raise PermanentError("the instance could not be configured: munge : Read it: AccessDenied")

    machine = Machine(configure=failing)
    machine.record.may_report.set()
    assert machine.agent(variables="d1").run() == EXIT_GAVE_UP
    assert machine.commands == []
    assert machine.record.reports[-1].ended.endswith("munge : Read it: AccessDenied")


def test_slurmd_waits_for_shared_storage_and_the_report_says_when_it_was_there() -> None:
    troubles = [TransientError("shared (Efs at /shared): not mounted yet")]

    def mounted_at() -> float:
        if troubles:
            raise troubles.pop()
        return 12.5

    machine = Machine(storage_mounted_at=mounted_at)
    machine.record.may_report.set()
    assert machine.agent().run() == 0
    phases = machine.record.reports[-1].phases
    assert list(phases) == ["agent-started", "identity-known", "node-known", "storage-mounted", "slurmd-started"]
    assert phases["storage-mounted"] == 12.5


def test_an_instance_whose_storage_stays_away_gives_up_and_names_it() -> None:
    def mounted_at() -> float:
        raise TransientError("Shared storage data (Efs fs-1 at /data): mount.nfs4: access denied by server")

    class Hours(Clock):
        def __call__(self) -> float:
            self.at += 50.0
            return self.at

    machine = Machine(storage_mounted_at=mounted_at, clock=Hours())
    machine.record.may_report.set()
    assert machine.agent(give_up_s=600.0).run() == EXIT_GAVE_UP
    assert machine.commands == []
    assert machine.record.reports[-1].ended == (
        "giving up: not mounted after 180 s: Shared storage data (Efs fs-1 at /data): "
        "mount.nfs4: access denied by server"
    )


def test_an_instance_on_which_the_sites_own_program_fails_gives_up_at_once() -> None:
    def failing() -> None:
        raise PermanentError("OnNodeStart: s3://bucket/setup.sh ended with exit code 3")

    machine = Machine(run_actions=failing)
    machine.record.may_report.set()
    assert machine.agent().run() == EXIT_GAVE_UP
    assert machine.commands == []
    expected = "giving up: OnNodeStart: s3://bucket/setup.sh ended with exit code 3"
    assert machine.record.reports[-1].ended == expected


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


def test_a_boot_in_which_no_slurmd_stays_ends_the_instance() -> None:
    machine = Machine(slurmds=[FakeSlurmd(code=1, runs_s=20.0)], clock=Clock())
    machine.record.may_report.set()
    assert machine.agent(give_up_s=5.0).run() == EXIT_GAVE_UP
    assert machine.record.reports[-1].ended == "giving up after 5 s: slurmd ended with 1, for the 1. time in a row"


def test_slurmd_that_dies_after_the_boot_is_started_again_and_is_not_told_that_the_machine_booted() -> None:
    machine = Machine(slurmds=[FakeSlurmd(code=-9, runs_s=SETTLED_S), FakeSlurmd()], clock=Clock())
    machine.record.may_report.set()
    assert machine.agent(give_up_s=5.0).run() == 0
    assert ["-b" in command for command in machine.commands] == [True, False]
    assert machine.record.reports[-1].slurmd is None


def test_a_job_that_runs_shows_that_slurmd_had_joined() -> None:
    machine = Machine(slurmds=[FakeSlurmd(code=-9, runs_s=1.0), FakeSlurmd()], clock=Clock())
    machine.processes.now = Activity((12,), is_busy=True)
    machine.record.may_report.set()
    assert machine.agent().run() == 0
    assert ["-b" in command for command in machine.commands] == [True, False]


class Keeper:
    """A keeper over scripted slurmds, and what was reported after each of their ends."""

    def __init__(self, *slurmds: FakeSlurmd) -> None:
        self.clock = Clock()
        self.slurmds = list(slurmds)
        for slurmd in slurmds:
            slurmd.clock = self.clock
        self.reporter = Reporter(lambda _: None, lambda: 5000.0)
        self.pauses: list[float] = []
        self.troubles: list[SlurmdTrouble | None] = []
        self.keeper = SlurmdKeeper(
            lambda _: self.slurmds.pop(0), self.reporter, lambda _: None, self.clock, lambda: False
        )

    def run(self) -> None:
        assert self.keeper.run(["slurmd", "-b"], self.pause) == 0

    def pause(self, seconds: float, why: str) -> None:
        self.pauses.append(seconds)
        self.troubles.append(self.reporter.report.slurmd)


def test_slurmd_that_dies_again_and_again_is_reported_and_goes_on_being_started() -> None:
    settled = FakeSlurmd(code=1, runs_s=SETTLED_S)
    keeper = Keeper(settled, *(FakeSlurmd(code=1, runs_s=1.0) for _ in range(7)), FakeSlurmd())
    keeper.run()
    assert keeper.pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    trouble = SlurmdTrouble(since=5000.0, failures=4, exit_code=1)
    assert keeper.troubles == [None, None, None, trouble, trouble, trouble, trouble, trouble]


def test_a_slurmd_that_stays_ends_the_report() -> None:
    keeper = Keeper(
        *(FakeSlurmd(code=1, runs_s=SETTLED_S + 1) for _ in range(5)),
        FakeSlurmd(code=1, runs_s=1000.0),
        FakeSlurmd(runs_s=100.0),
    )
    keeper.run()
    assert keeper.troubles[3] is not None
    assert keeper.pauses[-1] == 1.0
    assert keeper.reporter.report.slurmd is None


def test_an_end_that_somebody_else_wants_ends_slurmd_and_the_instance() -> None:
    slurmd = FakeSlurmd(runs_until_signal=True)
    machine = Machine(slurmds=[slurmd])
    machine.record.may_report.set()
    agent = machine.agent(power_off_command="poweroff")
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(agent.run()))
    thread.start()
    assert slurmd.started.wait(10)
    agent.end("nobody is there")
    thread.join(10)
    assert codes == [EXIT_GAVE_UP]
    assert machine.power_offs == [["poweroff"]]
    assert machine.record.reports[-1].ended == "nobody is there"


def test_a_silent_head_node_ends_an_instance_without_jobs() -> None:
    slurmd = FakeSlurmd(runs_until_signal=True)
    machine = Machine(slurmds=[slurmd], clock=Ticking())
    machine.record.may_report.set()
    machine.record.beats = 7
    assert machine.agent(dead_man_idle_s=1.0).run() == EXIT_GAVE_UP
    assert "no job runs here" in machine.record.reports[-1].ended


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
