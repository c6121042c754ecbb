"""The gate that jobs wait at, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import async_solipsism
import pytest

from clustermgtd.adapters.system.loop_clock import LoopClock
from clustermgtd.errors import IncompleteObservationError
from clustermgtd.model.ids import JobId, NodeName
from clustermgtd.model.job import Job
from clustermgtd.model.node import Node
from clustermgtd.reconcile.start_gate import GateReason, StartGate
from tests.builders import a_job, a_node, dynamic

POWERING_UP = "ALLOCATED+CLOUD+NOT_RESPONDING+POWERING_UP"
UP = "ALLOCATED+CLOUD"


class Slurm:
    """The two reads that the gate makes, over states that a test sets."""

    def __init__(self, count: int = 3, state: str = POWERING_UP) -> None:
        self.nodes = {name: a_node(name, state) for name in dynamic(count)}
        self.jobs: dict[JobId, Job] = {}
        self.asked: list[tuple[NodeName, ...]] = []
        self.answers = True
        self.takes_s = 0.0

    def add_job(self, job_id: int, nodes: list[NodeName]) -> None:
        self.jobs[JobId(job_id)] = a_job(job_id, nodes)

    def register(self, *names: NodeName) -> None:
        self.nodes.update({name: a_node(name, UP) for name in names})

    async def some_nodes(self, names: Sequence[NodeName]) -> Mapping[NodeName, Node]:
        self.asked.append(tuple(names))
        await asyncio.sleep(self.takes_s)
        if not self.answers:
            raise IncompleteObservationError("slurmctld does not answer")
        return {name: self.nodes[name] for name in names if name in self.nodes}

    async def some_jobs(self, ids: Sequence[JobId]) -> Mapping[JobId, Job]:
        return {job_id: self.jobs[job_id] for job_id in ids if job_id in self.jobs}


def with_gate(
    slurm: Slurm,
    story: Callable[[StartGate], Awaitable[None]],
    *,
    waiting_max: int = 10,
    deadline_s: float = 1800.0,
    on_ready: Callable[[], None] = lambda: None,
) -> None:
    async def play() -> None:
        gate = StartGate(slurm, LoopClock(), waiting_max, deadline_s, on_ready)  # type: ignore[arg-type]
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(gate.run())
            await story(gate)
            running.cancel()
        assert gate.waiting == 0

    with asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
        runner.run(play())


def elapsed() -> float:
    return asyncio.get_running_loop().time()


def test_a_job_whose_nodes_are_up_is_let_go_at_once() -> None:
    slurm = Slurm(state=UP)
    slurm.add_job(1, dynamic(3))

    async def story(gate: StartGate) -> None:
        assert (await gate.wait(JobId(1), dynamic(3))).reason is GateReason.READY
        assert elapsed() == 0.0

    with_gate(slurm, story)


def test_a_job_is_let_go_within_one_poll_of_its_last_node() -> None:
    slurm = Slurm()
    slurm.add_job(1, dynamic(3))

    async def story(gate: StartGate) -> None:
        waiting = asyncio.create_task(gate.wait(JobId(1), dynamic(3)))
        slurm.register(*dynamic(2))
        await asyncio.sleep(40.2)
        assert not waiting.done()
        slurm.register(*dynamic(3))
        assert (await waiting).reason is GateReason.READY
        assert elapsed() <= 40.2 + 0.5

    with_gate(slurm, story)


def test_the_loop_is_told_of_nodes_that_came_up_and_of_nothing_else() -> None:
    slurm = Slurm()
    slurm.add_job(1, dynamic(3))
    told: list[float] = []

    async def story(gate: StartGate) -> None:
        waiting = asyncio.create_task(gate.wait(JobId(1), dynamic(3)))
        assert (await gate.wait(JobId(2), dynamic(3))).reason is GateReason.NOT_CONFIGURING
        slurm.register(*dynamic(2))
        await asyncio.sleep(5)
        assert told == []
        slurm.register(*dynamic(3))
        assert (await waiting).reason is GateReason.READY
        assert told == [elapsed()]

    with_gate(slurm, story, on_ready=lambda: told.append(elapsed()))


def test_each_job_waits_for_its_own_nodes() -> None:
    slurm = Slurm(4)
    first, second = dynamic(4)[:2], dynamic(4)[2:]
    slurm.add_job(1, first)
    slurm.add_job(2, second)

    async def story(gate: StartGate) -> None:
        one = asyncio.create_task(gate.wait(JobId(1), first))
        two = asyncio.create_task(gate.wait(JobId(2), second))
        await asyncio.sleep(5)
        slurm.register(*second)
        assert (await two).reason is GateReason.READY
        assert not one.done()
        slurm.register(*first)
        assert (await one).reason is GateReason.READY

    with_gate(slurm, story)


def test_a_hundred_jobs_are_served_by_one_poll_each_half_second() -> None:
    slurm = Slurm(100)
    for number, name in enumerate(dynamic(100), 1):
        slurm.add_job(number, [name])

    async def story(gate: StartGate) -> None:
        async with asyncio.TaskGroup() as tasks:
            for number, name in enumerate(dynamic(100), 1):
                tasks.create_task(gate.wait(JobId(number), [name]))
            await asyncio.sleep(10.1)
            assert len(slurm.asked) == 21
            slurm.register(*dynamic(100))
        assert len(slurm.asked) == 22

    with_gate(slurm, story, waiting_max=100)


def test_nodes_seen_up_are_not_asked_for_again() -> None:
    slurm = Slurm(3)
    slurm.add_job(1, dynamic(3))
    slurm.register(*dynamic(2))

    async def story(gate: StartGate) -> None:
        waiting = asyncio.create_task(gate.wait(JobId(1), dynamic(3)))
        await asyncio.sleep(0.6)
        slurm.register(*dynamic(3))
        await waiting

    with_gate(slurm, story)
    assert slurm.asked[0] == tuple(dynamic(3))
    assert slurm.asked[1] == (dynamic(3)[2],)


def test_slurm_is_left_alone_while_nobody_waits() -> None:
    slurm = Slurm(state=UP)
    slurm.add_job(1, dynamic(3))

    async def story(gate: StartGate) -> None:
        await asyncio.sleep(3600)
        assert slurm.asked == []
        await gate.wait(JobId(1), dynamic(3))
        await asyncio.sleep(3600)
        assert len(slurm.asked) == 1

    with_gate(slurm, story)


def test_slow_reads_are_made_less_often() -> None:
    slurm = Slurm()
    slurm.takes_s = 1.0
    slurm.add_job(1, dynamic(3))

    async def story(gate: StartGate) -> None:
        waiting = asyncio.create_task(gate.wait(JobId(1), dynamic(3)))
        await asyncio.sleep(50.5)
        assert len(slurm.asked) == 11, "one second of reading, four of rest"
        slurm.register(*dynamic(3))
        await waiting

    with_gate(slurm, story)


@pytest.mark.parametrize("state", ["PENDING", "COMPLETING", "CANCELLED", "RUNNING"])
def test_a_job_that_is_no_longer_configuring_is_let_go(state: str) -> None:
    slurm = Slurm()
    slurm.add_job(1, dynamic(3))

    async def story(gate: StartGate) -> None:
        waiting = asyncio.create_task(gate.wait(JobId(1), dynamic(3)))
        await asyncio.sleep(10.1)
        slurm.jobs[JobId(1)] = a_job(1, [], state)
        assert (await waiting).reason is GateReason.NOT_CONFIGURING
        assert elapsed() <= 10.1 + 0.5

    with_gate(slurm, story)


def test_a_job_that_slurm_has_forgotten_is_let_go() -> None:
    async def story(gate: StartGate) -> None:
        assert (await gate.wait(JobId(99), dynamic(3))).reason is GateReason.NOT_CONFIGURING

    with_gate(Slurm(), story)


def test_a_node_that_slurm_does_not_name_is_not_ready() -> None:
    slurm = Slurm(1, state=UP)
    slurm.add_job(1, dynamic(2))

    async def story(gate: StartGate) -> None:
        assert (await gate.wait(JobId(1), dynamic(2))).reason is GateReason.DEADLINE
        assert elapsed() == 60.0

    with_gate(slurm, story, deadline_s=60.0)


def test_when_the_gate_is_full_the_next_job_goes_at_once() -> None:
    slurm = Slurm()
    for job_id in (1, 2, 3):
        slurm.add_job(job_id, dynamic(3))

    async def story(gate: StartGate) -> None:
        held = [asyncio.create_task(gate.wait(JobId(job_id), dynamic(3))) for job_id in (1, 2)]
        await asyncio.sleep(1)
        assert (await gate.wait(JobId(3), dynamic(3))).reason is GateReason.FULL
        assert not any(task.done() for task in held)
        slurm.register(*dynamic(3))
        assert {(await task).reason for task in held} == {GateReason.READY}

    with_gate(slurm, story, waiting_max=2)


def test_a_waiter_that_goes_away_makes_room() -> None:
    slurm = Slurm()
    slurm.add_job(1, dynamic(3))

    async def story(gate: StartGate) -> None:
        waiting = asyncio.create_task(gate.wait(JobId(1), dynamic(3)))
        await asyncio.sleep(1)
        assert gate.waiting == 1
        waiting.cancel()
        await asyncio.wait({waiting})
        assert gate.waiting == 0

    with_gate(slurm, story, waiting_max=1)


def test_a_slurm_that_does_not_answer_is_asked_ever_less_and_then_holds_nobody_back() -> None:
    slurm = Slurm()
    slurm.answers = False
    slurm.add_job(1, dynamic(3))

    async def story(gate: StartGate) -> None:
        assert (await gate.wait(JobId(1), dynamic(3))).reason is GateReason.UNREADABLE
        assert 60 <= elapsed() <= 75
        assert len(slurm.asked) <= 12

    with_gate(slurm, story)


def test_a_slurm_that_answers_again_serves_those_who_waited() -> None:
    slurm = Slurm()
    slurm.answers = False
    slurm.add_job(1, dynamic(3))

    async def story(gate: StartGate) -> None:
        waiting = asyncio.create_task(gate.wait(JobId(1), dynamic(3)))
        await asyncio.sleep(20)
        slurm.answers = True
        slurm.register(*dynamic(3))
        assert (await waiting).reason is GateReason.READY
        assert elapsed() < 31

    with_gate(slurm, story)


def test_everybody_is_let_go_when_the_gate_stops() -> None:
    slurm = Slurm()
    slurm.add_job(1, dynamic(3))

    async def play() -> None:
        gate = StartGate(slurm, LoopClock(), 10, 1800.0, lambda: None)  # type: ignore[arg-type]
        running = asyncio.create_task(gate.run())
        waiting = asyncio.create_task(gate.wait(JobId(1), dynamic(3)))
        await asyncio.sleep(5)
        running.cancel()
        assert (await waiting).reason is GateReason.STOPPING
        assert (await gate.wait(JobId(1), dynamic(3))).reason is GateReason.STOPPING
        await asyncio.wait({running})

    with asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
        runner.run(play())
