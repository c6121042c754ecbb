"""The governed fleet under virtual time: who waits for what, and what a throttle costs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import async_solipsism
import pytest

from clustermgtd.decide.budget import EC2_DEFAULTS, BucketName, Limit
from clustermgtd.errors import PermanentError, ThrottledError, TransientError, WithdrawnError
from clustermgtd.model.claim import ClaimState, Launch, LaunchResult
from clustermgtd.model.failure import FailureKind
from clustermgtd.model.ids import InstanceId, LaunchToken, QueueName
from clustermgtd.reconcile.governor import GUARD_S, Buckets, GovernedFleet
from tests.builders import a_claim, a_launch, an_instance
from tests.fakes.fleet import FakeFleet
from tests.simulation.shell import VirtualClock

B = BucketName
OFFERING = a_launch(a_claim("n", ClaimState.REQUESTED)).request.offerings[0]


@contextmanager
def virtual_time() -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
        yield runner


def run(story: Callable[[], Awaitable[None]]) -> None:
    with virtual_time() as runner:
        runner.run(story())  # type: ignore[arg-type]


def many(count: int, token: str = "t-1", queue: str = "q1") -> Launch:
    launch = a_launch(*(a_claim(f"{token}-{n}", ClaimState.REQUESTED) for n in range(count)), token=token)
    return replace(launch, request=replace(launch.request, queue=QueueName(queue)))


class SlowFleet(FakeFleet):
    """Answers launches after a while."""

    latency_s = 0.0

    async def launch(self, launch: Launch) -> LaunchResult:
        await asyncio.sleep(self.latency_s)
        return await super().launch(launch)


class Stage:
    def __init__(self, **limits: Limit) -> None:
        self.clock = VirtualClock()
        self.inner = SlowFleet(now=self.clock.now)
        given = {BucketName(name.replace("_", "-")): limit for name, limit in limits.items()}
        self.buckets = Buckets({**EC2_DEFAULTS, **given}, self.clock)
        self.throttles: list[BucketName] = []
        self.buckets.on_throttle = self.throttles.append
        self.fleet = GovernedFleet(self.inner, self.buckets, self.clock, page_size=500)
        self.accepted: list[tuple[str, float]] = []

    async def launch(self, launch: Launch) -> None:
        await self.fleet.launch(launch)
        self.accepted.append((launch.token, round(self.clock.monotonic())))

    async def burst(self, count: int = 1000) -> None:
        await self.fleet.launch(many(count, "burst"))


def test_a_burst_goes_at_once_and_the_rest_at_the_pace_of_the_refill() -> None:
    async def story() -> None:
        stage = Stage()
        await asyncio.gather(*(stage.launch(many(250, f"t-{n}")) for n in range(6)))
        assert stage.accepted == [
            *((f"t-{n}", 0) for n in range(4)),
            ("t-4", 125 + GUARD_S),
            ("t-5", 250 + GUARD_S),
        ]
        assert stage.throttles == []

    run(story)


def test_the_backlog_is_known_as_soon_as_launches_wait() -> None:
    async def story() -> None:
        stage = Stage()
        await stage.burst()
        waiting = [asyncio.create_task(stage.launch(many(250, f"t-{n}"))) for n in range(2)]
        await asyncio.sleep(0)
        assert stage.fleet.waiting == {"t-0", "t-1"}
        assert stage.fleet.backlog_s == 250
        await asyncio.gather(*waiting)
        assert (stage.fleet.waiting, stage.fleet.backlog_s) == (frozenset(), 0)

    run(story)


def test_a_launch_larger_than_the_bucket_goes_when_it_is_full() -> None:
    async def story() -> None:
        stage = Stage(launch_instances=Limit(100, 1))
        await stage.launch(many(300))
        await stage.launch(many(1, "t-2"))
        assert stage.accepted == [("t-1", 0), ("t-2", 201 + GUARD_S)]

    run(story)


def test_a_small_launch_of_another_queue_does_not_wait_for_a_big_one() -> None:
    async def story() -> None:
        stage = Stage()
        await stage.burst()
        big = [asyncio.create_task(stage.launch(many(250, f"big-{n}", "q1"))) for n in range(4)]
        await asyncio.sleep(60)
        await stage.launch(many(2, "small", "q2"))
        assert stage.accepted == [("small", 60)]
        await asyncio.gather(*big)

    run(story)


def test_small_launches_do_not_keep_a_big_one_of_another_queue_waiting_for_ever() -> None:
    async def story() -> None:
        stage = Stage()
        await stage.burst()
        big = asyncio.create_task(stage.launch(many(1000, "big", "q1")))

        async def busy() -> None:
            for n in range(2000):
                await stage.launch(many(10, f"small-{n}", "q2"))

        other = asyncio.create_task(busy())
        await big
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)
        assert stage.accepted[-1][1] <= 1100  # half of the refill is its queue's: 1,000 s and what was under way

    run(story)


class TestGivingUp:
    def test_cancellation_gives_tokens_back_and_lets_the_next_one_go(self) -> None:
        async def story() -> None:
            stage = Stage()
            await stage.burst()
            first = asyncio.create_task(stage.launch(many(1000, "first")))
            second = asyncio.create_task(stage.launch(many(20, "second")))
            await asyncio.sleep(15)
            first.cancel()
            await second
            assert first.cancelled()
            assert stage.accepted == [("second", 15)]
            assert stage.buckets.level(B.LAUNCH_INSTANCES) == pytest.approx(10)

        run(story)

    def test_a_turn_without_a_call_gives_tokens_back(self) -> None:
        async def story() -> None:
            stage = Stage()
            with pytest.raises(TransientError):
                async with stage.fleet.turn(many(400)):
                    assert stage.buckets.level(B.LAUNCH_INSTANCES) == 600
                    raise TransientError("the table did not answer")
            assert stage.buckets.level(B.LAUNCH_INSTANCES) == 1000
            assert stage.buckets.level(B.LAUNCH_REQUESTS) == 50

        run(story)

    def test_a_withdrawn_launch_is_never_called(self) -> None:
        async def story() -> None:
            stage = Stage()
            await stage.burst()
            task = asyncio.create_task(stage.fleet.launch(many(5)))
            await asyncio.sleep(1)
            assert stage.fleet.withdraw(LaunchToken("t-1"))
            assert not stage.fleet.withdraw(LaunchToken("t-1"))
            assert stage.fleet.waiting == frozenset()
            with pytest.raises(WithdrawnError):
                await task
            assert stage.inner.calls["launch"] == 1

        run(story)

    def test_what_is_not_waiting_cannot_be_withdrawn(self) -> None:
        async def story() -> None:
            stage = Stage()
            async with stage.fleet.turn(many(5)):
                assert not stage.fleet.withdraw(LaunchToken("t-1"))

        run(story)


class TestThrottles:
    def test_many_callers_that_meet_one_throttle_pause_the_bucket_once(self) -> None:
        async def story() -> None:
            stage = Stage()
            stage.inner.latency_s = 0.25
            stage.inner.faults.fail("launch", ThrottledError("slow down", code="RequestLimitExceeded"), times=20)
            results = await asyncio.gather(
                *(stage.fleet.launch(many(1, f"t-{n}")) for n in range(20)), return_exceptions=True
            )
            assert all(isinstance(result, ThrottledError) for result in results)
            assert stage.throttles == [B.LAUNCH_REQUESTS]
            assert stage.buckets.level(B.LAUNCH_INSTANCES) == 1000
            await stage.launch(many(1, "later"))
            assert stage.accepted == [("later", 4)]

        run(story)

    def test_throttled_entries_of_a_reply_empty_the_instance_bucket(self) -> None:
        async def story() -> None:
            stage = Stage()
            stage.inner.free = {OFFERING: 3}
            stage.inner.shortage = ("RequestLimitExceeded", FailureKind.THROTTLED)
            result = await stage.fleet.launch(many(10))
            assert len(result.instances) == 3
            assert stage.throttles == [B.LAUNCH_INSTANCES]
            assert stage.buckets.level(B.LAUNCH_INSTANCES) == 0
            assert stage.buckets.refill_per_s(B.LAUNCH_INSTANCES) == 1

        run(story)

    def test_a_shortage_costs_no_tokens_for_what_did_not_come(self) -> None:
        async def story() -> None:
            stage = Stage()
            stage.inner.free = {OFFERING: 3}
            await stage.fleet.launch(many(10))
            assert stage.throttles == []
            assert stage.buckets.level(B.LAUNCH_INSTANCES) == 997

        run(story)

    def test_a_refusal_costs_no_instance_tokens(self) -> None:
        async def story() -> None:
            stage = Stage()
            stage.inner.faults.fail("launch", PermanentError("no", code="InvalidParameterValue"))
            with pytest.raises(PermanentError):
                await stage.fleet.launch(many(10))
            assert stage.buckets.level(B.LAUNCH_INSTANCES) == 1000

        run(story)

    def test_observations_wait_for_a_short_pause_and_fail_for_a_long_one(self) -> None:
        async def story() -> None:
            stage = Stage()
            stage.inner.faults.fail("instances", ThrottledError("slow down"), times=3)
            for _ in range(3):
                with pytest.raises(ThrottledError):
                    await stage.fleet.instances()
            calls = stage.inner.calls["instances"]
            with pytest.raises(ThrottledError, match="no request for instances may be made for"):
                await stage.fleet.instances()
            assert stage.inner.calls["instances"] == calls

        run(story)


class TestReplays:
    def test_a_replay_of_an_unanswered_call_needs_no_instance_tokens(self) -> None:
        async def story() -> None:
            stage = Stage(launch_instances=Limit(10, 0.1))
            stage.inner.faults.fail("launch", TransientError("no answer"))
            with pytest.raises(TransientError):
                await stage.fleet.launch(many(10))
            await stage.launch(many(10))
            assert stage.accepted == [("t-1", 0)]

        run(story)

    def test_after_a_restart_what_ec2_shows_was_paid_for(self) -> None:
        async def story() -> None:
            stage = Stage()
            stage.inner.add(replace(an_instance("i-1"), token=LaunchToken("t-1"), launched_at=stage.clock.now()))
            await stage.fleet.instances()
            assert stage.buckets.level(B.LAUNCH_INSTANCES) == 999
            async with stage.fleet.turn(many(10)):
                assert stage.buckets.level(B.LAUNCH_INSTANCES) == 990

        run(story)


class TestTerminations:
    def test_they_never_wait_and_take_what_there_is(self) -> None:
        async def story() -> None:
            stage = Stage(terminate_instances=Limit(3, 1))
            ids = [InstanceId(f"i-{n}") for n in range(5)]
            for instance in ids:
                stage.inner.add(an_instance(instance))
            assert (await stage.fleet.terminate(ids)).accepted == {"i-0", "i-1", "i-2"}
            assert (await stage.fleet.terminate(ids[3:])).accepted == frozenset()
            assert stage.inner.calls["terminate"] == 1
            await asyncio.sleep(2)
            assert (await stage.fleet.terminate(ids[3:])).accepted == {"i-3", "i-4"}

        run(story)

    def test_a_throttle_pauses_them(self) -> None:
        async def story() -> None:
            stage = Stage()
            stage.inner.faults.fail("terminate", ThrottledError("slow down"))
            with pytest.raises(ThrottledError):
                await stage.fleet.terminate([InstanceId("i-1")])
            assert (await stage.fleet.terminate([InstanceId("i-1")])).accepted == frozenset()
            assert stage.throttles == [B.TERMINATE_REQUESTS, B.TERMINATE_INSTANCES]
            assert stage.buckets.paused_until(B.TERMINATE_REQUESTS) == stage.clock.now() + 4

        run(story)


def test_other_limits_hold_from_the_next_look_on() -> None:
    async def story() -> None:
        stage = Stage()
        await stage.burst()
        task = asyncio.create_task(stage.launch(many(250)))
        await asyncio.sleep(11)
        stage.buckets.use({**EC2_DEFAULTS, B.LAUNCH_INSTANCES: Limit(1000, 1000)})
        await task
        assert stage.accepted == [("t-1", 15)]

    run(story)
