"""What every `Scheduler` promises: the fake, and slurmctld through scontrol and squeue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine

import pytest

from clustermgtd.errors import ConflictError, NotFoundError, PermanentError
from clustermgtd.model.ids import JobId, NodeName, QueueName
from clustermgtd.model.job import Job
from clustermgtd.model.node import Node, NodeBase, NodeFlag
from clustermgtd.model.partition import PartitionState
from tests.contract.slurm.conftest import NODES, Rig, RigFactory

REASON = "clustermgtd:launch-failed InsufficientInstanceCapacity"
UNKNOWN = NodeName("q9-dy-none-1")


def play(rig: RigFactory, story: Callable[[Rig], Coroutine[None, None, None]], **options: int) -> None:
    async def run() -> None:
        async with rig(**options) as slurm:
            await story(slurm)

    asyncio.run(run())


def names(*numbers: int) -> list[NodeName]:
    return [NodeName(f"q1-dy-c5-{number}") for number in numbers]


async def node(slurm: Rig, name: str) -> Node:
    return (await slurm.scheduler.some_nodes([NodeName(name)]))[NodeName(name)]


async def job(slurm: Rig, job_id: JobId) -> Job:
    return (await slurm.scheduler.some_jobs([job_id]))[job_id]


async def allocated(slurm: Rig, size: int) -> tuple[JobId, tuple[NodeName, ...]]:
    """A submitted job whose nodes are being powered up."""
    job_id = await slurm.submit(size)
    await slurm.until(lambda: powering_up(slurm, job_id), "the job's nodes are being powered up")
    return job_id, (await job(slurm, job_id)).nodes


async def powering_up(slurm: Rig, job_id: JobId) -> bool:
    nodes = await slurm.scheduler.some_nodes((await job(slurm, job_id)).nodes)
    return bool(nodes) and all(value.is_powering_up for value in nodes.values())


async def up(slurm: Rig, *wanted: NodeName) -> None:
    """Power nodes up, without a job, and boot them."""
    await slurm.scheduler.power_up(wanted)
    await slurm.until(are(slurm, lambda value: value.is_powering_up, *wanted), "the nodes are powering up")
    await slurm.boot(*wanted)
    await slurm.until(are(slurm, lambda value: value.is_up, *wanted), "the nodes are up")


def are(slurm: Rig, test: Callable[[Node], bool], *wanted: NodeName) -> Callable[[], Awaitable[bool]]:
    async def condition() -> bool:
        return all(map(test, (await slurm.scheduler.some_nodes(wanted)).values()))

    return condition


def is_in(slurm: Rig, job_id: JobId, state: str) -> Callable[[], Awaitable[bool]]:
    async def condition() -> bool:
        return (await job(slurm, job_id)).state == state

    return condition


def is_free(value: Node) -> bool:
    """Idle, powered down, nothing pending: jobs may be put here."""
    return value.base is NodeBase.IDLE and value.is_powered_down and not value.is_power_down_pending


def test_a_fresh_cluster_shows_every_node_powered_down_and_no_job(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        view = await slurm.scheduler.view()
        assert sorted(view.nodes) == sorted(NODES)
        assert all(map(is_free, view.nodes.values()))
        assert {value.partitions for value in view.nodes.values()} == {("q1",)}
        assert {value.address for value in view.nodes.values()} == set(NODES)
        assert view.jobs == {}

    play(rig, story)


def test_an_idle_node_says_since_when(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        first, second = names(1, 2)
        started_at = slurm.now()

        async def has_waited() -> bool:
            return slurm.now() >= started_at + 2

        await slurm.until(has_waited, "two seconds")
        await up(slurm, first)
        idle_since = (await node(slurm, first)).last_busy_at
        assert idle_since > 0
        assert (await node(slurm, second)).last_busy_at == 0

        async def later() -> bool:
            return (await node(slurm, first)).last_busy_at > idle_since + 1

        job_id = await slurm.submit(1)
        await slurm.until(is_in(slurm, job_id, "RUNNING"), "it runs on the node that is up")
        started_at = slurm.now()
        await slurm.until(has_waited, "two seconds of work")
        await slurm.cancel(job_id)
        await slurm.until(later, "the time counts from the end of the job")

    play(rig, story)


def test_a_job_configures_while_its_nodes_power_up(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        job_id, nodes = await allocated(slurm, 2)
        view = await slurm.scheduler.view()
        assert view.jobs[job_id].is_configuring
        assert len(nodes) == 2
        assert view.jobs[job_id].partition == "q1"
        assert view.jobs[job_id].restarts == 0
        assert [name for name in sorted(NODES) if view.nodes[NodeName(name)].is_powering_up] == list(nodes)
        assert all(view.nodes[name].is_running_job for name in nodes)

        async def is_resumed() -> bool:
            return bool(await slurm.calls("resume"))

        await slurm.until(is_resumed, "ResumeProgram ran, which is after the state is shown")
        assert len(await slurm.calls("resume")) == 1

    play(rig, story)


def test_a_job_shows_its_user_and_its_account(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        charged, free = await slurm.submit(1, account="physics"), await slurm.submit(1)
        jobs = (await slurm.scheduler.view()).jobs
        assert (jobs[charged].account, jobs[free].account) == ("physics", "")
        assert jobs[charged].user == jobs[free].user != ""

    play(rig, story)


def test_a_booted_node_is_up_with_an_address_and_runs_a_job(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        await up(slurm, *names(1))
        booted = await node(slurm, "q1-dy-c5-1")
        assert booted.address == "127.0.0.1"
        assert not booted.is_running_job
        job_id = await slurm.submit(1)
        await slurm.until(is_in(slurm, job_id, "RUNNING"), "the job runs")
        assert (await job(slurm, job_id)).nodes == ("q1-dy-c5-1",)
        assert (await node(slurm, "q1-dy-c5-1")).is_running_job

    play(rig, story)


def test_setting_a_powering_up_node_down_requeues_its_job_and_calls_no_unresolvable_name(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        job_id, nodes = await allocated(slurm, 3)
        await slurm.scheduler.set_down(nodes[:1], REASON)
        down = await node(slurm, nodes[0])
        assert down.is_down
        assert down.is_marked_by_us
        assert down.reason == REASON
        assert not down.is_powering_up
        requeued = await job(slurm, job_id)
        assert requeued.is_held_after_requeue
        assert (requeued.nodes, requeued.restarts) == ((), 1)
        assert not await slurm.called_unresolvable_names()

    play(rig, story)


def test_a_node_that_was_set_down_and_powered_down_comes_back_idle(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        _, nodes = await allocated(slurm, 1)
        await slurm.scheduler.set_down(nodes, REASON)
        await slurm.scheduler.power_down(nodes)
        await slurm.until(are(slurm, is_free, *nodes), "the node is idle and powered down")
        assert await slurm.calls("suspend") == [nodes[0]]

    play(rig, story)


def test_a_lifted_hold_lets_the_job_start_on_other_nodes_at_once(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        job_id, nodes = await allocated(slurm, 2)
        await slurm.scheduler.set_down(nodes[:1], REASON)
        await slurm.scheduler.lift_requeue_hold(job_id)
        assert not (await job(slurm, job_id)).is_held_after_requeue
        await slurm.until(is_in(slurm, job_id, "CONFIGURING"), "the job has nodes again")
        assert nodes[0] not in (await job(slurm, job_id)).nodes
        assert (await job(slurm, job_id)).restarts == 1

    play(rig, story)


def test_a_hold_is_lifted_from_pending_jobs_only(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        job_id, _ = await allocated(slurm, 1)
        with pytest.raises(ConflictError):
            await slurm.scheduler.lift_requeue_hold(job_id)
        await slurm.cancel(job_id)
        with pytest.raises(NotFoundError):
            await slurm.scheduler.lift_requeue_hold(job_id)
        with pytest.raises(NotFoundError):
            await slurm.scheduler.lift_requeue_hold(JobId(4_000))

    play(rig, story)


def test_a_node_that_missed_resume_timeout_returns_to_service(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        late, other = names(1, 2)
        await slurm.scheduler.assign_addresses([(late, "127.0.0.1")])
        await slurm.scheduler.power_up([late])
        await slurm.until(are(slurm, lambda value: value.is_down, late), "ResumeTimeout")
        given_up = await node(slurm, late)
        assert given_up.is_powered_down
        assert not given_up.is_marked_by_us
        await slurm.scheduler.return_to_service([late, other])
        assert is_free(await node(slurm, late))
        assert is_free(await node(slurm, other))
        await slurm.until(lambda: has_calls(slurm, "fail"), "the fail program is called")

    play(rig, story, resume_timeout_s=3)


async def has_calls(slurm: Rig, program: str) -> bool:
    return bool(await slurm.calls(program))


def test_a_job_whose_node_dies_is_requeued_when_the_node_is_set_down(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        await up(slurm, *names(1))
        job_id = await slurm.submit(1)
        await slurm.until(is_in(slurm, job_id, "RUNNING"), "the job runs")
        await slurm.kill("q1-dy-c5-1")
        await slurm.scheduler.set_down(names(1), REASON)
        await slurm.scheduler.power_down(names(1))
        assert (await job(slurm, job_id)).is_held_after_requeue
        await slurm.until(are(slurm, is_free, *names(1)), "the node is idle and powered down")
        assert (await node(slurm, "q1-dy-c5-1")).address == "q1-dy-c5-1"

    play(rig, story)


def test_a_slurmd_that_lives_lifts_down_again(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        await up(slurm, *names(1))
        job_id = await slurm.submit(1)
        await slurm.until(is_in(slurm, job_id, "RUNNING"), "the job runs")
        await slurm.scheduler.set_down(names(1), REASON)
        await slurm.until(are(slurm, lambda value: value.is_up, *names(1)), "the node answers and is up again")
        assert (await job(slurm, job_id)).is_held_after_requeue
        await slurm.scheduler.power_up(names(2))
        await slurm.until(are(slurm, lambda value: value.is_powering_up, *names(2)), "the node is powering up")
        await slurm.scheduler.set_down(names(2), REASON)
        assert (await node(slurm, "q1-dy-c5-2")).is_down
        await slurm.boot("q1-dy-c5-2")
        await slurm.until(are(slurm, lambda value: value.is_up, *names(2)), "the late slurmd makes the node up")

    play(rig, story)


def test_a_power_down_waits_for_the_job(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        await up(slurm, *names(1))
        job_id = await slurm.submit(1)
        await slurm.until(is_in(slurm, job_id, "RUNNING"), "the job runs")
        await slurm.scheduler.power_down(names(1))
        pending = await node(slurm, "q1-dy-c5-1")
        assert pending.is_power_down_pending
        assert pending.is_running_job
        await slurm.cancel(job_id)
        await slurm.until(are(slurm, is_free, *names(1)), "the node is powered down")

    play(rig, story)


def test_a_node_that_is_powering_up_is_not_powered_up_again(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        await slurm.scheduler.power_up(names(1, 2))
        await slurm.until(are(slurm, lambda value: value.is_powering_up, *names(1, 2)), "the nodes are powering up")
        await slurm.scheduler.power_up(names(1, 2, 3))
        await slurm.until(are(slurm, lambda value: value.is_powering_up, *names(3)), "the third is powering up")

        async def is_resumed() -> bool:
            return "q1-dy-c5-3" in await slurm.calls("resume")

        await slurm.until(is_resumed, "ResumeProgram ran, which is after the state is shown")
        assert await slurm.calls("resume") == ["q1-dy-c5-[1-2]", "q1-dy-c5-3"]

    play(rig, story)


def test_addresses_go_to_the_nodes_they_were_given_for(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        wanted = {name: f"127.0.1.{index}" for index, name in enumerate(map(NodeName, NODES), start=1)}
        await slurm.scheduler.assign_addresses(reversed(wanted.items()))
        view = await slurm.scheduler.view()
        assert {name: value.address for name, value in view.nodes.items()} == wanted
        assert all(value.hostname == name for name, value in view.nodes.items())
        with pytest.raises(PermanentError):
            await slurm.scheduler.assign_addresses([(names(1)[0], "no address")])

    play(rig, story)


def test_an_unknown_node_does_not_keep_an_update_from_the_others(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        first, second, third = names(1, 2, 3)
        with pytest.raises(NotFoundError, match=UNKNOWN):
            await slurm.scheduler.set_down([first, UNKNOWN], REASON)
        assert (await node(slurm, first)).is_down
        with pytest.raises(NotFoundError, match=UNKNOWN):
            await slurm.scheduler.assign_addresses([(second, "127.0.0.7"), (UNKNOWN, "127.0.0.8")])
        assert (await node(slurm, second)).address == "127.0.0.7"
        with pytest.raises(NotFoundError, match=UNKNOWN):
            await slurm.scheduler.power_up([third, UNKNOWN])
        await slurm.until(are(slurm, lambda value: value.is_powering_up, third), "the third is powering up")
        with pytest.raises(NotFoundError, match=UNKNOWN):
            await slurm.scheduler.return_to_service([first, UNKNOWN])
        assert is_free(await node(slurm, first))
        with pytest.raises(NotFoundError, match=UNKNOWN):
            await slurm.scheduler.power_down([first, UNKNOWN])

    play(rig, story)


def test_what_slurm_does_not_know_is_left_out_of_small_reads(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        job_id = await slurm.submit(1)
        assert list(await slurm.scheduler.some_nodes([UNKNOWN, *names(2)])) == names(2)
        assert await slurm.scheduler.some_nodes([UNKNOWN]) == {}
        assert await slurm.scheduler.some_nodes([]) == {}
        assert list(await slurm.scheduler.some_jobs([JobId(4_000), job_id])) == [job_id]
        assert await slurm.scheduler.some_jobs([JobId(4_000)]) == {}
        assert await slurm.scheduler.some_jobs([]) == {}

    play(rig, story)


def test_an_update_of_no_node_is_nothing(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        before = await slurm.scheduler.view()
        await slurm.scheduler.set_down([], REASON)
        await slurm.scheduler.power_down([])
        await slurm.scheduler.power_up([])
        await slurm.scheduler.return_to_service([])
        await slurm.scheduler.assign_addresses([])
        assert await slurm.scheduler.view() == before

    play(rig, story)


HOLD = "clustermgtd: no-capacity (Code:InsufficientInstanceCapacity) c5.large until then"


def test_held_nodes_keep_jobs_waiting_until_they_are_released(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        await slurm.scheduler.hold([NodeName(name) for name in NODES], HOLD)
        assert (await node(slurm, NODES[0])).is_held_by_us
        assert (await node(slurm, NODES[0])).reason == HOLD
        job_id = await slurm.submit(2)
        await slurm.until(is_in(slurm, job_id, "PENDING"), "the job waits")
        assert await slurm.calls("resume") == []
        await slurm.scheduler.release(names(1, 2, 3))
        await slurm.until(lambda: powering_up(slurm, job_id), "the job has nodes")
        nodes = (await job(slurm, job_id)).nodes
        assert set(nodes) <= set(names(1, 2, 3))
        assert (await job(slurm, job_id)).restarts == 0
        await slurm.boot(*nodes)
        await slurm.until(are(slurm, lambda value: value.is_up, *nodes), "nodes that were held are up")
        assert not await slurm.called_unresolvable_names()

    play(rig, story)


def test_a_node_that_powers_down_is_held_from_then_on(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        _, (name,) = await allocated(slurm, 1)
        await slurm.scheduler.set_down([name], REASON)
        await slurm.scheduler.power_down([name])
        await slurm.until(are(slurm, lambda value: value.is_powering_down, name), "the node is powering down")
        await slurm.scheduler.hold([name], HOLD)
        await slurm.until(are(slurm, lambda value: value.is_powered_down, name), "the node is powered down")
        assert (await node(slurm, name)).is_held_by_us
        await slurm.scheduler.release([name])
        assert is_free(await node(slurm, name))
        assert not (await node(slurm, name)).is_held_by_us

    play(rig, story)


def test_a_node_with_a_job_is_not_held_and_its_job_stays(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        job_id, nodes = await allocated(slurm, 2)
        await slurm.scheduler.hold([NodeName(name) for name in NODES], HOLD)
        held = {name: (await node(slurm, name)).is_held_by_us for name in NODES}
        assert held == {name: name not in nodes for name in NODES}
        assert (await job(slurm, job_id)).restarts == 0

    play(rig, story)


def test_releasing_what_is_not_held_changes_nothing(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        await slurm.scheduler.hold(names(1), HOLD)
        await slurm.scheduler.release(names(1, 2))
        assert all([is_free(await node(slurm, name)) for name in names(1, 2)])

    play(rig, story)


def test_a_drain_takes_no_job_and_keeps_the_running_one_and_leaves_nodes_alone_that_are_not_up(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        await up(slurm, *names(1))
        job_id = await slurm.submit(1)
        await slurm.until(is_in(slurm, job_id, "RUNNING"), "the job runs")
        await slurm.scheduler.drain(names(1, 2), "clustermgtd: interruption EC2 will terminate it")
        drained = await node(slurm, "q1-dy-c5-1")
        assert NodeFlag.DRAIN in drained.flags
        assert drained.is_marked_by_us
        assert drained.is_running_job
        assert is_free(await node(slurm, "q1-dy-c5-2"))
        assert NodeFlag.DRAIN not in (await node(slurm, "q1-dy-c5-2")).flags
        await slurm.scheduler.set_down(names(1), "clustermgtd: interruption EC2 will terminate it")
        await slurm.scheduler.power_down(names(1))
        assert (await job(slurm, job_id)).restarts == 1
        await slurm.until(are(slurm, is_free, *names(1)), "the node is powered down")
        assert NodeFlag.DRAIN not in (await node(slurm, "q1-dy-c5-1")).flags

    play(rig, story)


def test_a_job_is_explained_and_not_any_more_and_what_others_wrote_stays(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        why = "clustermgtd: protected: instances of queue q1 start and do not become nodes; sinfo -R"
        told, theirs = await slurm.submit(7), await slurm.submit(7)
        await slurm.comment(theirs, "ticket 4711")
        for job_id in (told, theirs, JobId(4_000)):
            await slurm.scheduler.explain_job(job_id, why)
        assert await slurm.comment_of(told) == why
        assert await slurm.comment_of(theirs) == "ticket 4711"
        for job_id in (told, theirs):
            await slurm.scheduler.explain_job(job_id, "")
        assert await slurm.comment_of(told) == ""
        assert await slurm.comment_of(theirs) == "ticket 4711"

    play(rig, story)


Q1 = QueueName("q1")


def test_a_partition_that_is_closed_starts_no_job_and_leaves_those_that_began(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        assert await slurm.scheduler.partitions() == {Q1: PartitionState.UP}
        configuring, nodes = await allocated(slurm, 1)
        waiting = await slurm.submit(7)
        await slurm.scheduler.set_partition_state(Q1, PartitionState.INACTIVE)
        assert await slurm.scheduler.partitions() == {Q1: PartitionState.INACTIVE}
        await slurm.boot(*nodes)
        await slurm.until(is_in(slurm, configuring, "RUNNING"), "the job runs in the closed partition")
        await slurm.cancel(configuring)
        await slurm.until(are(slurm, lambda value: not value.is_running_job, *nodes), "the node is idle")
        assert (await job(slurm, waiting)).state == "PENDING"
        await slurm.scheduler.set_partition_state(Q1, PartitionState.UP)
        await slurm.until(is_in(slurm, waiting, "CONFIGURING"), "the job is started in the open partition")

    play(rig, story)


def test_a_partition_that_slurm_does_not_know_is_not_found(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        with pytest.raises(NotFoundError):
            await slurm.scheduler.set_partition_state(QueueName("q9"), PartitionState.UP)

    play(rig, story)


def test_cancelled_jobs_are_over_and_unknown_ones_are_no_error(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        job_id, nodes = await allocated(slurm, 1)
        await slurm.scheduler.cancel_jobs([job_id, JobId(99_999)])
        await slurm.until(is_in(slurm, job_id, "CANCELLED"), "the job is cancelled")
        await slurm.scheduler.cancel_jobs([job_id])
        await slurm.scheduler.cancel_jobs([])
        assert nodes

    play(rig, story)
