"""The loop over fakes: what a tick does, and what it leaves alone when something fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from clustermgtd.decide.requeue import HURRY_S
from clustermgtd.errors import (
    ConfigurationError,
    FencedError,
    IncompleteObservationError,
    PermanentError,
    ThrottledError,
    TransientError,
)
from clustermgtd.model.action import Action, Reason, SetNodesDown
from clustermgtd.model.capacity_block import BlockReading, BlockState, CapacityBlock
from clustermgtd.model.claim import ClaimState, Launch, LaunchResult
from clustermgtd.model.ids import CapacityReservationId, InstanceType, NodeName, SubnetId
from clustermgtd.model.notice import Notice, NoticeKind, NoticeSource
from clustermgtd.model.offering import Market, Offering
from clustermgtd.model.policy import BlockPolicy, Policy
from clustermgtd.model.reservation import Reservation
from clustermgtd.model.snapshot import Memory, Plan, Snapshot
from clustermgtd.ports.hint_sink import Hint, HintKind
from clustermgtd.reconcile.boot_reports import BootReports
from clustermgtd.reconcile.ledger import Ledger
from clustermgtd.reconcile.loop import INLINE_NODES_MAX, Loop, Pace
from clustermgtd.reconcile.observer import Observers
from clustermgtd.reconcile.status import Status
from tests.builders import KEY, a_policy, an_instance, dynamic
from tests.fakes.claim_store import FakeClaimStore, FakeTable
from tests.fakes.clock import FakeClock
from tests.fakes.fleet import FakeFleet
from tests.fakes.scheduler import FakeScheduler


class Recorder:
    """Remembers what the loop told."""

    def __init__(self) -> None:
        self.plans: list[Plan] = []
        self.errors: list[Exception] = []
        self.outcomes: list[tuple[str, str]] = []

    def tick_done(self, snapshot: Snapshot, plan: Plan, duration_s: float) -> None:
        self.plans.append(plan)

    def tick_failed(self, error: Exception, duration_s: float) -> None:
        self.errors.append(error)

    def action_applied(self, action: Action, outcome: str) -> None:
        self.outcomes.append((type(action).__name__, outcome))

    def launch_done(self, launch: Launch, result: LaunchResult, duration_s: float) -> None:
        self.outcomes.append(("launch_done", str(len(result.instances))))


class Stage:
    """A loop over fakes whose ticks and time a test drives."""

    def __init__(self, nodes: int = 3, table: FakeTable | None = None) -> None:
        self.clock = FakeClock()
        self.fleet = FakeFleet(now=self.clock.now)
        self.scheduler = FakeScheduler(dynamic(nodes))
        self.store = FakeClaimStore(table or FakeTable())
        self.ledger = Ledger(self.store)
        self.recorder = Recorder()
        self.status = Status(self.clock, lambda _: None)
        self.phases: list[tuple[str, float]] = []
        self.boots = BootReports(self.store, lambda phase, seconds: self.phases.append((phase, seconds)))
        self.loop = Loop(
            self.fleet, self.scheduler, self.ledger, self.clock, Observers([self.recorder, self.status, self.boots])
        )
        self.policy: Policy = a_policy(dynamic(nodes))

    async def tick(self, group: asyncio.TaskGroup) -> float:
        pause = await self.loop.tick(self.policy, Pace(), group)
        await self.loop.actor.settle(1.0)
        return pause

    def pass_time(self, seconds: float) -> None:
        self.clock.step(seconds)
        for _ in range(int(seconds)):
            self.scheduler.advance(1.0)

    def claims(self) -> dict[str, ClaimState]:
        return {c.node: c.state for launch in self.store.table.launches.values() for c in launch.claims}


def play(story: Callable[[Stage, asyncio.TaskGroup], Awaitable[None]], stage: Stage | None = None) -> Stage:
    stage = stage or Stage()

    async def run() -> None:
        await stage.ledger.begin("test")
        async with asyncio.TaskGroup() as group:
            await story(stage, group)

    asyncio.run(run())
    return stage


def a_hint(acknowledged: list[str]) -> tuple[Hint, Callable[[], None]]:
    return Hint(HintKind.RESUME, (NodeName("q1-dy-c5-1"),), "1", 0.0), lambda: acknowledged.append("1")


def test_a_job_brings_up_instances_and_they_go_when_slurm_powers_down() -> None:
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        stage.scheduler.submit(2, seconds=5)
        stage.pass_time(1)
        await stage.tick(group)
        assert stage.claims() == {"q1-dy-c5-1": ClaimState.LAUNCHED, "q1-dy-c5-2": ClaimState.LAUNCHED}
        stage.scheduler.boot("q1-dy-c5-1", "q1-dy-c5-2")
        stage.pass_time(1)
        await stage.tick(group)
        assert set(stage.claims().values()) == {ClaimState.READY}
        stage.pass_time(700)
        await stage.tick(group)
        stage.pass_time(5)
        await stage.tick(group)
        assert set(stage.claims().values()) == {ClaimState.TERMINATED}
        await stage.tick(group)
        assert stage.recorder.plans[-1].actions == ()

    stage = play(story)
    assert stage.fleet.calls["launch"] == 1


def test_a_large_cluster_is_thought_about_on_a_thread_and_served_alike() -> None:
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        stage.scheduler.submit(2)
        stage.pass_time(1)
        await stage.tick(group)
        assert len(stage.claims()) == 2

    play(story, Stage(INLINE_NODES_MAX + 1))


@pytest.mark.parametrize("blind", ["slurm", "ec2"])
def test_nothing_is_decided_from_half_of_the_facts(blind: str) -> None:
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        stage.scheduler.submit(1)
        stage.pass_time(1)
        if blind == "slurm":
            stage.scheduler.faults.fail("view", IncompleteObservationError("scontrol did not answer"))
        else:
            stage.fleet.faults.fail("instances", TransientError("page 2 of 3"))
        assert await stage.tick(group) == Pace().failed_s
        assert stage.recorder.plans == []
        assert stage.fleet.calls["launch"] == 0
        await stage.tick(group)
        assert stage.fleet.calls["launch"] == 1

    play(story)


def test_a_hint_is_acknowledged_by_the_tick_that_stored_its_facts_and_by_no_failed_one() -> None:
    acknowledged: list[str] = []

    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        assert stage.loop.inbox.offer(*a_hint(acknowledged))
        stage.scheduler.faults.fail("view", IncompleteObservationError("slurmctld restarts"))
        await stage.tick(group)
        assert acknowledged == []
        assert len(stage.loop.inbox) == 1
        await stage.tick(group)
        assert acknowledged == ["1"]
        assert len(stage.loop.inbox) == 0

    play(story)


def test_an_intent_that_cannot_be_stored_is_not_acted_on() -> None:
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        stage.scheduler.submit(1)
        stage.pass_time(1)
        stage.store.faults.fail("put", ThrottledError("table"))
        await stage.tick(group)
        assert stage.fleet.calls["launch"] == 0
        await stage.tick(group)
        assert stage.claims() == {"q1-dy-c5-1": ClaimState.LAUNCHED}

    play(story)


def test_an_intent_whose_storing_was_not_answered_claims_its_node_once() -> None:
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        stage.scheduler.submit(1)
        stage.pass_time(1)
        stage.store.faults.lose_reply("put")
        await stage.tick(group)
        assert stage.fleet.calls["launch"] == 0
        stage.pass_time(10)
        await stage.tick(group)
        assert len(stage.store.table.launches) == 1
        assert stage.claims() == {"q1-dy-c5-1": ClaimState.LAUNCHED}

    play(story)


def test_a_lost_reply_is_adopted_and_launches_nothing_twice() -> None:
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        stage.scheduler.submit(2)
        stage.pass_time(1)
        stage.fleet.faults.lose_reply("launch")
        await stage.tick(group)
        assert set(stage.claims().values()) == {ClaimState.REQUESTED}
        stage.pass_time(1)
        await stage.tick(group)
        assert set(stage.claims().values()) == {ClaimState.LAUNCHED}
        assert len(await stage.fleet.instances()) == 2
        assert stage.fleet.calls["launch"] == 1

    play(story)


def test_a_refused_launch_gives_the_node_back_with_the_reason() -> None:
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        job = stage.scheduler.submit(1)
        stage.pass_time(1)
        stage.fleet.faults.fail("launch", ConfigurationError("no such image", code="InvalidAMIID.NotFound"))
        await stage.tick(group)
        assert stage.claims() == {"q1-dy-c5-1": ClaimState.LAUNCH_FAILED}
        await stage.tick(group)
        node = (await stage.scheduler.view()).nodes[NodeName("q1-dy-c5-1")]
        assert node.is_down
        assert node.reason == "clustermgtd: launch-failed (Code:InvalidAMIID.NotFound) no such image"
        assert (await stage.scheduler.view()).jobs[job].is_held_after_requeue
        await stage.tick(group)
        assert not (await stage.scheduler.view()).jobs[job].is_held_after_requeue

    play(story)


def test_a_throttled_launch_is_called_again_under_its_token() -> None:
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        stage.scheduler.submit(1)
        stage.pass_time(1)
        stage.fleet.faults.fail("launch", ThrottledError("Request limit exceeded"))
        await stage.tick(group)
        await stage.tick(group)
        assert stage.fleet.calls["launch"] == 1, "not before the replay interval"
        stage.pass_time(6)
        await stage.tick(group)
        assert stage.claims() == {"q1-dy-c5-1": ClaimState.LAUNCHED}
        assert len(stage.store.table.launches) == 1

    play(story)


def test_an_effect_that_fails_is_decided_again_and_does_not_stop_the_others() -> None:
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        stage.scheduler.submit(1, seconds=5)
        stage.pass_time(1)
        await stage.tick(group)
        stage.scheduler.boot("q1-dy-c5-1")
        stage.pass_time(1)
        await stage.tick(group)
        stage.pass_time(700)
        stage.fleet.faults.fail("terminate", TransientError("no answer"))
        await stage.tick(group)
        assert ("TerminateInstances", "failed") in stage.recorder.outcomes
        assert stage.claims() == {"q1-dy-c5-1": ClaimState.TERMINATING}
        stage.pass_time(30)
        await stage.tick(group)
        assert ("TerminateInstances", "ok") in stage.recorder.outcomes

    play(story)


def test_terminations_whose_count_could_not_be_stored_are_neither_done_nor_taken_for_done() -> None:
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        orphan = an_instance("i-9")
        stage.fleet.add(replace(orphan, launched_at=stage.clock.now()))
        stage.pass_time(600)
        await stage.tick(group)
        stage.pass_time(600)
        stage.store.faults.fail("put_safeguards", TransientError("the table does not answer"))
        await stage.tick(group)
        assert stage.fleet.calls["terminate"] == 0
        stage.pass_time(1)
        await stage.tick(group)
        assert stage.fleet.calls["terminate"] == 1
        assert [t.count for t in stage.store.table.safeguards.terminated] == [1]

    play(story)


def test_a_fenced_daemon_stops_before_it_does_anything() -> None:
    table = FakeTable()

    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        stage.scheduler.submit(1)
        stage.pass_time(1)
        await FakeClaimStore(table).begin_term("the next daemon")
        with pytest.raises(FencedError):
            await stage.tick(group)
        assert stage.fleet.calls["instances"] == 0

    play(story, Stage(table=table))


def test_a_daemon_that_is_fenced_during_a_launch_stops_at_the_next_tick() -> None:
    table = FakeTable()

    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        stage.scheduler.submit(1)
        stage.pass_time(1)
        await stage.loop.tick(stage.policy, Pace(), group)
        await FakeClaimStore(table).begin_term("the next daemon")
        await stage.loop.actor.settle(1.0)
        with pytest.raises(FencedError):
            await stage.tick(group)

    play(story, Stage(table=table))


def test_stop_ends_the_run_after_its_launches_are_recorded() -> None:
    stage = Stage()

    async def run() -> None:
        await stage.ledger.begin("test")
        stage.scheduler.submit(1)
        stage.pass_time(1)
        running = asyncio.create_task(stage.loop.run(lambda: stage.policy, lambda: Pace(between_s=0.0)))
        await asyncio.sleep(0)
        stage.loop.stop()
        await asyncio.wait_for(running, 5.0)

    asyncio.run(run())
    assert stage.claims() == {"q1-dy-c5-1": ClaimState.LAUNCHED}


def test_the_pace_follows_what_is_under_way() -> None:
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        pace = Pace()
        assert await stage.tick(group) == pace.quiet_s
        stage.scheduler.submit(1)
        stage.pass_time(1)
        assert await stage.tick(group) == pace.acted_s
        assert await stage.tick(group) == pace.waiting_s
        stage.scheduler.boot("q1-dy-c5-1")
        stage.pass_time(1)
        assert await stage.tick(group) == pace.acted_s
        assert await stage.tick(group) == pace.quiet_s

    play(story)


def test_a_requeued_job_that_shows_no_hold_for_minutes_does_not_hurry_the_loop() -> None:
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        job = stage.scheduler.submit(1)
        stage.pass_time(1)
        await stage.scheduler.set_down(["q1-dy-c5-1"], "an operator's")
        stage.loop.memory = Memory(is_new=False, freed_jobs={job: ()}, freed_at={job: stage.clock.now()})
        assert await stage.tick(group) == Pace().acted_s, "its hold is lifted"
        assert await stage.tick(group) == Pace().waiting_s
        stage.pass_time(HURRY_S)
        assert await stage.tick(group) == Pace().acted_s, "its node is returned to service"
        assert await stage.tick(group) == Pace().quiet_s
        assert stage.loop.memory.freed_jobs == {job: ()}, "it is still looked at"

    play(story, Stage(nodes=1))


def test_boot_phases_are_read_once_a_node_is_ready() -> None:
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        stage.scheduler.submit(1)
        stage.pass_time(1)
        await stage.tick(group)
        launched_at = stage.clock.now()
        (instance,) = await stage.fleet.instances()
        stage.store.table.phases[instance] = {"agent-started": launched_at + 4.0}
        stage.scheduler.boot("q1-dy-c5-1")
        stage.pass_time(10)
        await stage.tick(group)
        reading = asyncio.create_task(stage.boots.run())
        await asyncio.sleep(0.01)
        reading.cancel()

    assert play(story).phases == [("agent-started", 4.0)]


def test_health_follows_the_ticks() -> None:
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        await stage.tick(group)
        assert stage.status.is_healthy(30.0)
        await stage.clock.advance(220.0)
        stage.scheduler.faults.fail("view", IncompleteObservationError("slurmctld is away"))
        await stage.tick(group)
        assert stage.status.is_alive(30.0)
        assert not stage.status.is_healthy(30.0)
        assert stage.status.text == "tick failed: slurmctld is away"

    play(story)


OFFERING = Offering(InstanceType("c5.large"), SubnetId("subnet-1"))


def test_a_shortage_is_remembered_by_the_next_daemon_and_ends_on_time() -> None:
    table = FakeTable()

    async def shortage(stage: Stage, group: asyncio.TaskGroup) -> None:
        stage.fleet.free[OFFERING] = 0
        stage.scheduler.submit(1)
        stage.pass_time(1)
        await stage.tick(group)
        with capture_logs() as said:
            await stage.tick(group)
        (banned,) = [entry for entry in said if entry["event"] == "offering_banned"]
        assert (banned["instance_type"], banned["place"], banned["seconds"]) == ("c5.large", "subnet-1", 45.0)
        nodes = (await stage.scheduler.view()).nodes
        assert sorted(name for name, node in nodes.items() if node.is_held_by_us) == ["q1-dy-c5-2", "q1-dy-c5-3"]

    play(shortage, Stage(table=table))

    async def afterwards(stage: Stage, group: asyncio.TaskGroup) -> None:
        assert stage.ledger.offerings == table.offerings
        stage.scheduler.submit(1)
        stage.pass_time(1)
        calls = stage.fleet.calls["launch"]
        await stage.tick(group)
        assert stage.fleet.calls["launch"] == calls
        assert (await stage.scheduler.view()).nodes[NodeName("q1-dy-c5-1")].is_down

    (ban,) = table.offerings.bans
    assert (ban.level, table.offerings.version) == (0, 1)
    play(afterwards, Stage(table=table))


def test_the_loop_wakes_when_a_ban_ends_and_writes_only_what_changed() -> None:
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        stage.fleet.free[OFFERING] = 0
        job = stage.scheduler.submit(1)
        stage.pass_time(1)
        for _ in range(4):
            await stage.tick(group)
            stage.pass_time(2)
        stage.scheduler.cancel(job)
        for _ in range(3):
            await stage.tick(group)
            stage.pass_time(1)
        (ban,) = stage.store.table.offerings.bans
        writes = stage.store.offering_puts
        stage.clock.step(ban.until - stage.clock.now() - 10)
        assert await stage.tick(group) == pytest.approx(10)
        assert stage.store.offering_puts == writes
        stage.clock.step(10)
        await stage.tick(group)
        assert not any(node.is_held_by_us for node in (await stage.scheduler.view()).nodes.values())

    play(story)


def test_the_loop_wakes_for_a_tier_that_is_waited_for_and_goes_on_to_the_next() -> None:
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        (resource,) = stage.policy.compute_resources.values()
        (tier,) = resource.tiers
        spot = Offering(OFFERING.instance_type, OFFERING.subnet, Market.SPOT)
        first = replace(tier, offerings=(spot,), market=Market.SPOT, max_wait_s=60.0)
        tiered = replace(resource, tiers=(first, tier))
        stage.policy = replace(stage.policy, compute_resources={resource.key: tiered})
        stage.fleet.free[spot] = 0
        stage.scheduler.submit(2)
        stage.pass_time(1)
        for _ in range(3):
            pause = await stage.tick(group)
        assert stage.claims() == dict.fromkeys(dynamic(2), ClaimState.LAUNCH_FAILED), "they wait"
        (ban,) = stage.store.table.offerings.bans
        assert pause == pytest.approx(min(Pace().waiting_s, ban.until - stage.clock.now()))
        stage.clock.step(ban.until - stage.clock.now())
        for _ in range(3):
            await stage.tick(group)
        requests = [launch.request for launch in stage.store.table.launches.values()]
        assert [(request.tier, request.market) for request in requests][-1] == (1, Market.ON_DEMAND)
        assert [request.tier for request in requests].count(0) == 2, "it was tried once more when its ban had ended"
        assert not any(node.is_down for node in (await stage.scheduler.view()).nodes.values())

    play(story)


def test_what_was_learned_is_stored_before_anything_is_done_about_it() -> None:
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        stage.fleet.free[OFFERING] = 0
        stage.scheduler.submit(1)
        stage.pass_time(1)
        await stage.tick(group)
        stage.store.faults.fail("put_offerings", TransientError("the table does not answer"))
        await stage.tick(group)
        assert not (await stage.scheduler.view()).nodes[NodeName("q1-dy-c5-1")].is_down
        await stage.tick(group)
        assert (await stage.scheduler.view()).nodes[NodeName("q1-dy-c5-1")].is_down
        assert len(stage.store.table.offerings.bans) == 1

    play(story)


def test_an_unknown_code_refuses_the_launch_and_bans_nothing() -> None:
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        stage.scheduler.submit(1)
        stage.pass_time(1)
        stage.fleet.faults.fail("launch", PermanentError("what is this", code="NeverSeen"))
        await stage.tick(group)
        await stage.tick(group)
        assert (await stage.scheduler.view()).nodes[NodeName("q1-dy-c5-1")].is_down
        assert stage.store.table.offerings.bans == ()

    play(story)


def test_a_lost_call_s_instances_are_used_although_the_replay_is_refused() -> None:
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        stage.fleet.read_lag_s = 12.0
        stage.scheduler.submit(1)
        stage.pass_time(1)
        stage.fleet.faults.lose_reply("launch")
        await stage.tick(group)
        stage.pass_time(10)
        stage.fleet.faults.fail("launch", ConfigurationError("not any more", code="UnauthorizedOperation"))
        with capture_logs() as lines:
            await stage.tick(group)
        (said,) = [line for line in lines if line["event"] == "launch_replay_refused"]
        assert "UnauthorizedOperation" in said["cause"]
        assert stage.claims() == {"q1-dy-c5-1": ClaimState.REQUESTED}
        stage.pass_time(5)
        await stage.tick(group)
        assert stage.claims()["q1-dy-c5-1"] in (ClaimState.LAUNCHED, ClaimState.READY)
        assert stage.fleet.calls["launch"] == 2

    play(story)


def test_reservations_are_read_once_at_the_start_and_then_only_for_capacity_blocks() -> None:
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        reads = 0
        read = stage.scheduler.reservations

        async def counted() -> Mapping[str, Reservation]:
            nonlocal reads
            reads += 1
            return await read()

        stage.scheduler.reservations = counted  # type: ignore[method-assign]
        for _ in range(3):
            await stage.tick(group)
        assert reads == 1
        stage.policy = replace(stage.policy, blocks=BlockPolicy({KEY: CapacityReservationId("cr-1")}))
        for _ in range(3):
            await stage.tick(group)
        assert reads == 4

    play(story)


def test_an_ill_node_that_is_kept_goes_down_and_keeps_its_instance() -> None:
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        down = SetNodesDown((NodeName("q1-dy-c5-1"),), Reason.IMPAIRED, "system status check fails", powers_down=False)
        await stage.loop.actor.apply(Plan((down,), Memory(), 0), group)
        node = (await stage.scheduler.view()).nodes[NodeName("q1-dy-c5-1")]
        assert node.is_down
        assert node.reason == "clustermgtd: impaired system status check fails"
        assert not node.is_power_down_pending

    play(story)


def test_reservations_are_read_while_an_instance_has_a_scheduled_event() -> None:
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        stage.scheduler.submit(1, seconds=5000)
        stage.pass_time(1)
        await stage.tick(group)
        stage.scheduler.boot("q1-dy-c5-1")
        stage.pass_time(1)
        await stage.tick(group)
        (instance,) = {claim.instance for launch in stage.store.table.launches.values() for claim in launch.claims}
        at = stage.clock.now() + 86_400.0
        notice = Notice("e-1", NoticeKind.SCHEDULED_EVENT, 1.0, NoticeSource.QUEUE, (instance,), effective_at=at)
        stage.loop.notices.offer([notice], lambda: None)
        await stage.tick(group)
        assert set(await stage.scheduler.reservations()) == {f"clustermgtd-maintenance-{instance}"}
        stage.loop.notices.offer([replace(notice, is_over=True)], lambda: None)
        stage.policy = replace(stage.policy, maintenance_forget_s=0.0)
        await stage.tick(group)
        assert set(await stage.scheduler.reservations()) == set()

    play(story)


def test_a_reservation_that_a_former_daemon_left_is_deleted_and_others_stay() -> None:
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        for name in ("clustermgtd-cr-1-before", "maintenance"):
            await stage.scheduler.reserve(Reservation(name, (NodeName("q1-dy-c5-1"),), 0.0, 9e9))
        await stage.tick(group)
        assert set(await stage.scheduler.reservations()) == {"maintenance"}

    play(story)


def test_the_loop_wakes_when_a_capacity_block_starts() -> None:
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        id = CapacityReservationId("cr-1")
        tier = replace(stage.policy.compute_resources[KEY].tiers[0], market=Market.CAPACITY_BLOCK)
        resources = {KEY: replace(stage.policy.compute_resources[KEY], tiers=(tier,))}
        stage.policy = replace(stage.policy, compute_resources=resources, blocks=BlockPolicy({KEY: id}))
        now = stage.clock.now()
        block = CapacityBlock(id, BlockState.SCHEDULED, now + 12.0, now + 90_000.0)
        stage.loop.blocks = lambda: BlockReading({id: block}, frozenset({id}), now)
        await stage.tick(group)
        assert len(await stage.scheduler.reservations()) == 2
        assert await stage.tick(group) == pytest.approx(12.0)

    play(story)


@pytest.mark.parametrize("blind", ["slurm", "ec2"])
def test_nothing_is_terminated_from_half_of_the_facts(blind: str) -> None:
    async def story(stage: Stage, group: asyncio.TaskGroup) -> None:
        stage.scheduler.submit(2, seconds=5)
        stage.pass_time(1)
        await stage.tick(group)
        stage.scheduler.boot("q1-dy-c5-1", "q1-dy-c5-2")
        stage.pass_time(1)
        await stage.tick(group)
        stage.pass_time(700)
        if blind == "slurm":
            stage.scheduler.faults.fail("view", IncompleteObservationError("scontrol did not answer"))
        else:
            stage.fleet.faults.fail("instances", TransientError("page 2 of 3"))
        assert await stage.tick(group) == Pace().failed_s
        assert stage.fleet.calls["terminate"] == 0
        await stage.tick(group)
        assert stage.fleet.calls["terminate"] == 1

    play(story)
