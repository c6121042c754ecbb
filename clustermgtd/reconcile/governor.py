"""Spends EC2's API budget on purpose: a `Fleet` that makes calls only when the token buckets allow them.

A throttle is thus the exception, from which the buckets learn; it is never met by many callers at once.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog

from clustermgtd.decide.budget import BucketName, Limit, TokenBucket
from clustermgtd.decide.fairness import FairLine
from clustermgtd.errors import ClustermgtdError, ThrottledError, TransientError, WithdrawnError
from clustermgtd.model.claim import Launch, LaunchResult, TerminateResult
from clustermgtd.model.failure import FailureKind
from clustermgtd.model.ids import InstanceId, LaunchToken
from clustermgtd.model.instance import Instance
from clustermgtd.ports.clock import Clock
from clustermgtd.ports.fleet import Fleet

log = structlog.get_logger(__name__)

_B = BucketName

GUARD_S = 2.0
"""Refill of the instance bucket that a launch which had to wait leaves in it: requests take different times to reach
EC2, so its bucket may lag behind ours by that much."""
LOOK_S = 5.0
"""The first in the line looks at least this often whether the limits have changed."""
READ_WAIT_S = 10.0
"""Longest wait of an observation; a longer one fails the tick, which comes again anyhow."""
UNSETTLED_MAX = 1000
"""Launches of unknown outcome that are remembered as paid for."""


@dataclass
class _Waiter:
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    is_withdrawn: bool = False


@dataclass
class _Charge:
    """Instance tokens that a launch holds."""

    instances: int
    is_called: bool = False


class Buckets:
    """The buckets in force, on one clock."""

    def __init__(self, limits: Mapping[BucketName, Limit], clock: Clock) -> None:
        self._clock = clock
        self._buckets = {name: TokenBucket.full(limit, clock.monotonic()) for name, limit in limits.items()}
        self.on_throttle: Callable[[BucketName], None] = lambda _: None
        """Called once for each pause."""

    def __getitem__(self, name: BucketName) -> TokenBucket:
        return self._buckets[name]

    def use(self, limits: Mapping[BucketName, Limit]) -> None:
        """Other limits from now on."""
        now = self._clock.monotonic()
        for name, limit in limits.items():
            if self._buckets[name].limit != limit:
                self._buckets[name] = self._buckets[name].with_limit(limit, now)

    def level(self, name: BucketName) -> float:
        return self._buckets[name].level(self._clock.monotonic())

    def wait_s(self, name: BucketName, count: float = 1) -> float:
        return self._buckets[name].wait_s(count, self._clock.monotonic())

    def spend(self, name: BucketName, count: float = 1) -> None:
        """Take tokens, or give them back with a negative count."""
        self._buckets[name] = self._buckets[name].spend(count, self._clock.monotonic())

    def throttled(self, name: BucketName, called_at: float) -> None:
        now = self._clock.monotonic()
        before, after = self._buckets[name], self._buckets[name].throttled(called_at, now)
        if after is not before:
            self._buckets[name] = after
            log.warning(
                "bucket_throttled",
                bucket=name,
                believed_tokens=round(before.level(now), 1),
                share=round(after.share, 3),
                paused_s=round(after.paused_until - now, 1),
            )
            self.on_throttle(name)

    def spent_before(self, name: BucketName, moments: Iterable[float]) -> None:
        """Tokens were spent at these times of the wall clock, by whoever ran before us."""
        now = self._clock.monotonic()
        offset = now - self._clock.now()
        self._buckets[name] = self._buckets[name].after((moment + offset for moment in moments), now)

    def paused_until(self, name: BucketName) -> float:
        """Epoch seconds, 0 while it is not paused."""
        left = self._buckets[name].paused_until - self._clock.monotonic()
        return self._clock.now() + left if left > 0 else 0.0

    def refill_per_s(self, name: BucketName) -> float:
        """What is believed in at present."""
        return self._buckets[name].refill_at(self._clock.monotonic())

    def backlog_s(self, name: BucketName, count: float) -> float:
        return self._buckets[name].backlog_s(count, self._clock.monotonic())


class GovernedFleet:
    """A `Fleet` within EC2's limits, and the `LaunchQueue` before it."""

    def __init__(self, fleet: Fleet, buckets: Buckets, clock: Clock, *, page_size: int) -> None:
        """`page_size` is the number of instances that one request of `fleet.instances` reads."""
        self._fleet = fleet
        self._clock = clock
        self._page_size = page_size
        self._line = FairLine()
        self._waiters: dict[LaunchToken, _Waiter] = {}
        self._charges: dict[LaunchToken, _Charge] = {}
        self._paid: dict[LaunchToken, None] = {}
        """Launches of unknown outcome, oldest first: a replay needs no instance tokens of its own."""
        self._shown: Mapping[LaunchToken, int] = {}
        """Instances that the last observation showed, by launch: a replay gets them again and needs no tokens."""
        self._has_seen_instances = False
        self.buckets = buckets

    # the queue

    @property
    def waiting(self) -> frozenset[LaunchToken]:
        return frozenset(token for token, waiter in self._waiters.items() if not waiter.is_withdrawn)

    @property
    def backlog_s(self) -> float:
        """Seconds until the last instance that is waited for may be asked for."""
        return max(
            self.buckets.backlog_s(_B.LAUNCH_INSTANCES, self._line.count),
            self.buckets.backlog_s(_B.LAUNCH_REQUESTS, len(self._line)),
        )

    def withdraw(self, launch: LaunchToken) -> bool:
        if launch not in self.waiting:
            return False
        self._waiters[launch].is_withdrawn = True
        self._waiters[launch].woken.set()
        return True

    @asynccontextmanager
    async def turn(self, launch: Launch) -> AsyncIterator[float]:
        started = self._clock.monotonic()
        charge = _Charge(await self._wait_in_line(launch))
        self._charges[launch.token] = charge
        try:
            yield self._clock.monotonic() - started
        finally:
            del self._charges[launch.token]
            if not charge.is_called:
                self.buckets.spend(_B.LAUNCH_REQUESTS, -1)
                self._give_back(charge)

    async def _wait_in_line(self, launch: Launch) -> int:
        """Returns the instance tokens that were taken."""
        token = launch.token
        self._line.join(token, launch.request.queue, self._needed(launch), launch.request.jobs)
        waiter = self._waiters[token] = _Waiter()
        try:
            await self._first_with_tokens(launch, waiter)
        except BaseException:
            self._line.left(token)
            raise
        else:
            count = self._needed(launch)
            self._line.served(token)
            self.buckets.spend(_B.LAUNCH_REQUESTS)
            self.buckets.spend(_B.LAUNCH_INSTANCES, count)
            return count
        finally:
            del self._waiters[token]
            self._wake_first()

    async def _first_with_tokens(self, launch: Launch, waiter: _Waiter) -> None:
        pause = self._pause_s(launch, guard_s=0.0)
        if pause > 0:
            log.info(
                "launch_waits",
                launch_token=launch.token,
                queue=launch.request.queue,
                instances=self._needed(launch),
                waiting=len(self._line),
                backlog_s=round(self.backlog_s, 1),
            )
        while pause > 0:
            await _woken(waiter.woken, pause)
            if waiter.is_withdrawn:
                raise WithdrawnError(f"{launch.token} was withdrawn before its call")
            pause = self._pause_s(launch, guard_s=GUARD_S)

    def _needed(self, launch: Launch) -> int:
        """Instances that its call may make."""
        return 0 if launch.token in self._paid else max(0, launch.request.count - self._shown.get(launch.token, 0))

    def _pause_s(self, launch: Launch, guard_s: float) -> float:
        """Seconds until it is worth looking again; 0 if the call may be made, infinite while others are first."""
        if self._line.first() != launch.token:
            return math.inf
        request = self.buckets.wait_s(_B.LAUNCH_REQUESTS)
        count = self._needed(launch)
        if not count:
            return request
        guard = guard_s * self.buckets.refill_per_s(_B.LAUNCH_INSTANCES)
        return max(request, self.buckets.wait_s(_B.LAUNCH_INSTANCES, count + guard))

    def _wake_first(self) -> None:
        first = self._line.first()
        if first is not None:
            self._waiters[first].woken.set()

    def _give_back(self, charge: _Charge, used: int = 0) -> None:
        self.buckets.spend(_B.LAUNCH_INSTANCES, -max(0, charge.instances - used))
        self._wake_first()

    # the fleet

    async def launch(self, launch: Launch) -> LaunchResult:
        """The call, in the launch's turn; one that has none yet waits for it first."""
        if launch.token not in self._charges:
            async with self.turn(launch):
                return await self.launch(launch)
        charge = self._charges[launch.token]
        charge.is_called = True
        called_at = self._clock.monotonic()
        try:
            result = await self._fleet.launch(launch)
        except ThrottledError:
            self.buckets.throttled(_B.LAUNCH_REQUESTS, called_at)
            self._give_back(charge)
            raise
        except TransientError:
            self._remember_paid(launch.token)
            raise
        except ClustermgtdError:
            self._paid.pop(launch.token, None)
            self._give_back(charge)
            raise
        self._paid.pop(launch.token, None)
        if any(error.kind is FailureKind.THROTTLED for error in result.errors):
            self.buckets.throttled(_B.LAUNCH_INSTANCES, called_at)
        else:
            self._give_back(charge, used=len(result.instances))
        return result

    async def instances(self) -> Mapping[InstanceId, Instance]:
        """The read, after a short wait if need be.

        Raises:
            ThrottledError: also if the wait would be too long.
        """
        pause = self.buckets.wait_s(_B.DESCRIBE_REQUESTS)
        if pause > READ_WAIT_S:
            raise ThrottledError(f"no request for instances may be made for {pause:.0f} s")
        if pause > 0:
            await self._clock.sleep(pause)
        self.buckets.spend(_B.DESCRIBE_REQUESTS)
        called_at = self._clock.monotonic()
        try:
            found = await self._fleet.instances()
        except ThrottledError:
            self.buckets.throttled(_B.DESCRIBE_REQUESTS, called_at)
            raise
        self.buckets.spend(_B.DESCRIBE_REQUESTS, max(0, math.ceil(len(found) / self._page_size) - 1))
        self._shown = Counter(instance.token for instance in found.values())
        if not self._has_seen_instances:
            self._has_seen_instances = True
            launched = [instance.launched_at for instance in found.values() if instance.launched_at > 0]
            self.buckets.spent_before(_B.LAUNCH_INSTANCES, launched)
        return found

    async def terminate(self, instances: Iterable[InstanceId]) -> TerminateResult:
        """End as many as there are tokens for, at once; the others are in neither part of the result.

        It never waits: the loop asks again for what it does not see ending, and by then there are tokens.
        """
        ids = sorted(set(instances))
        count = min(len(ids), self._terminations())
        if count == 0:
            if ids:
                log.info("terminations_wait", instances=len(ids))
            return TerminateResult(frozenset())
        self.buckets.spend(_B.TERMINATE_REQUESTS)
        self.buckets.spend(_B.TERMINATE_INSTANCES, count)
        called_at = self._clock.monotonic()
        try:
            result = await self._fleet.terminate(ids[:count])
        except ThrottledError:  # which of the two limits it was, EC2 does not say
            self.buckets.throttled(_B.TERMINATE_REQUESTS, called_at)
            self.buckets.throttled(_B.TERMINATE_INSTANCES, called_at)
            raise
        self.buckets.spend(_B.TERMINATE_INSTANCES, len(result.accepted) - count)
        return result

    def _terminations(self) -> int:
        """Instances that may be ended now."""
        if self.buckets.wait_s(_B.TERMINATE_REQUESTS) > 0 or self.buckets.wait_s(_B.TERMINATE_INSTANCES) > 0:
            return 0
        return int(min(self.buckets.level(_B.TERMINATE_INSTANCES), 1_000_000))

    async def console_output(self, instance: InstanceId) -> str:
        return await self._fleet.console_output(instance)

    def _remember_paid(self, token: LaunchToken) -> None:
        self._paid[token] = None
        while len(self._paid) > UNSETTLED_MAX:
            self._paid.pop(next(iter(self._paid)))


async def _woken(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event; at most so long and at most `LOOK_S`, unless others are first (infinite)."""
    event.clear()
    try:
        async with asyncio.timeout(None if math.isinf(seconds) else max(0.001, min(seconds, LOOK_S))):
            await event.wait()
    except TimeoutError:
        return
