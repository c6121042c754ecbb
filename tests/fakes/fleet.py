"""EC2 as plain data behind the port `Fleet`: tokens replay, offerings run short, reads lag, replies get lost."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from clustermgtd.errors import NotFoundError, PermanentError
from clustermgtd.model.claim import (
    Launch,
    LaunchedInstance,
    LaunchError,
    LaunchRequest,
    LaunchResult,
    TerminateResult,
)
from clustermgtd.model.failure import FailureKind
from clustermgtd.model.ids import InstanceId
from clustermgtd.model.instance import Instance, InstanceState
from clustermgtd.model.offering import Market, Offering
from tests.fakes.faults import Faults


@dataclass
class _Machine:
    instance: Instance
    created_at: float
    ended_at: float | None = None


@dataclass
class FakeFleet:
    """Instances boot at once unless told otherwise. Times in seconds."""

    now: Callable[[], float] = time.time
    free: dict[Offering, int] = field(default_factory=dict)
    """Instances that an offering can still give; one that is not listed never runs short."""
    shortage: tuple[str, FailureKind] = ("InsufficientInstanceCapacity", FailureKind.CAPACITY)
    boot_delay_s: float = 0.0
    """pending for this long."""
    read_lag_s: float = 0.0
    """Missing from reads for this long after the launch."""
    protected: set[InstanceId] = field(default_factory=set)
    """Under termination protection."""
    faults: Faults = field(default_factory=Faults)
    """By method: `launch`, `instances`, `terminate`, `console_output`."""
    calls: Counter[str] = field(default_factory=Counter)
    consoles: dict[InstanceId, str] = field(default_factory=dict)
    _machines: dict[InstanceId, _Machine] = field(default_factory=dict)
    _replies: dict[str, tuple[LaunchRequest, LaunchResult]] = field(default_factory=dict)

    async def launch(self, launch: Launch) -> LaunchResult:
        self.calls["launch"] += 1
        with self.faults.around("launch"):
            if launch.token not in self._replies:
                self._replies[launch.token] = (launch.request, self._launched(launch))
            request, result = self._replies[launch.token]
            if request != launch.request:
                raise PermanentError("the token was used for another request", code="IdempotentParameterMismatch")
        return result

    async def instances(self) -> Mapping[InstanceId, Instance]:
        self.calls["instances"] += 1
        with self.faults.around("instances"):
            return {
                id: self._at_present(machine)
                for id, machine in self._machines.items()
                if self.now() >= machine.created_at + self.read_lag_s
            }

    async def terminate(self, instances: Iterable[InstanceId]) -> TerminateResult:
        self.calls["terminate"] += 1
        ids = set(instances)
        with self.faults.around("terminate"):
            for id in ids - self.protected:
                self.end(id, InstanceState.TERMINATED, "Client.UserInitiatedShutdown")
        refused = tuple((id, "OperationNotPermitted") for id in sorted(ids & self.protected))
        return TerminateResult(frozenset(ids - self.protected), refused)

    async def console_output(self, instance: InstanceId) -> str:
        self.calls["console_output"] += 1
        with self.faults.around("console_output"):
            if instance not in self._machines:
                raise NotFoundError("no such instance", code="InvalidInstanceID.NotFound")
        return self.consoles.get(instance, "")

    def end(self, instance: InstanceId, state: InstanceState, reason: str) -> None:
        """The world, or a call, brings an instance to another state; nothing if it is not there."""
        if machine := self._machines.get(instance):
            machine.instance = replace(machine.instance, state=state, state_reason=reason, private_address="")
            machine.ended_at = self.now()

    def forget(self, instance: InstanceId) -> None:
        """An ended instance is no longer shown."""
        self._machines.pop(instance, None)

    def add(self, instance: Instance) -> None:
        """An instance with this cluster's tag that somebody else made."""
        self._machines[instance.id] = _Machine(instance, self.now())

    def _launched(self, launch: Launch) -> LaunchResult:
        request = launch.request
        room = sum(self.free.get(offering, request.count) for offering in request.offerings)
        short = [o for o in request.offerings if o in self.free and self.free[o] < request.count]
        wanted = 0 if room < max(1, request.minimum) else min(request.count, room)
        instances: list[LaunchedInstance] = []
        for offering in request.offerings:
            share = min(wanted - len(instances), self.free.get(offering, wanted))
            if offering in self.free:
                self.free[offering] -= share
            instances += [self._started(launch, offering) for _ in range(share)]
        code, kind = self.shortage
        errors = [LaunchError(offering, code, "short", kind) for offering in short] if wanted < request.count else []
        return LaunchResult(tuple(instances), tuple(errors), f"req-{len(self._replies)}")

    def _started(self, launch: Launch, offering: Offering) -> LaunchedInstance:
        number = len(self._machines) + 1
        instance = Instance(
            id=InstanceId(f"i-{number:017x}"),
            state=InstanceState.PENDING,
            token=launch.token,
            launched_at=self.now(),
            instance_type=offering.instance_type,
            zone=f"zone-of-{offering.subnet}",
            subnet=offering.subnet,
            is_spot=offering.market is Market.SPOT,
            private_address=f"127.1.{number // 250}.{number % 250 + 1}",
            queue=launch.request.queue,
            compute_resource=launch.request.compute_resource,
        )
        self._machines[instance.id] = _Machine(instance, self.now())
        return LaunchedInstance(instance.id, offering, instance.zone)

    def _at_present(self, machine: _Machine) -> Instance:
        booted = self.now() >= machine.created_at + self.boot_delay_s
        if machine.instance.state is InstanceState.PENDING and booted:
            machine.instance = replace(machine.instance, state=InstanceState.RUNNING)
        return machine.instance
