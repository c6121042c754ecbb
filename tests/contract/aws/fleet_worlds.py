"""The two worlds of the fleet's contract: the fake, and the EC2 adapter over the wire to the lab's EC2."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Protocol
from uuid import uuid4

from clustermgtd.adapters.aws.ec2_fleet import Ec2Fleet
from clustermgtd.adapters.aws.launch_templates import ensure
from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.errors import ThrottledError, TransientError
from clustermgtd.lab.aws.front import AwsEndpoints
from clustermgtd.lab.ec2.scenario import Scenario
from clustermgtd.model.claim import Launch, LaunchRequest, LaunchTemplate
from clustermgtd.model.ids import ComputeResourceName, InstanceId, InstanceType, LaunchToken, QueueName, SubnetId
from clustermgtd.model.instance import InstanceState
from clustermgtd.model.offering import Market, Offering
from clustermgtd.model.policy import ComputeResourceKey
from clustermgtd.model.template import TemplateKey, TemplateSpec
from clustermgtd.ports.fleet import Fleet
from tests.contract.aws.builders import a_launch
from tests.contract.aws.wire import Fault, Wire
from tests.fakes.faults import Faults
from tests.fakes.fleet import FakeFleet

START = 1_700_000_000.0
BOOT_DELAY_S = 20.0
READ_LAG_S = 2.0


class Clock:
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> float:
        return self.time


class World(Protocol):
    """One cluster's EC2, and what a test may do to it. Instances boot for `BOOT_DELAY_S`; reads lag `READ_LAG_S`."""

    fleet: Fleet
    clock: Clock

    def launch(self, request: LaunchRequest) -> Launch:
        """A new intent of a request, with a template that exists."""
        ...

    def offering(self, instance_type: str, *, zone: str = "a", market: Market = Market.ON_DEMAND) -> Offering: ...

    def leave(self, offering: Offering, free: int) -> None:
        """The offering gives `free` more instances."""
        ...

    def protect(self, instance: InstanceId) -> None: ...

    def kill(self, instance: InstanceId) -> None: ...

    def print_on_console(self, instance: InstanceId, text: str) -> None: ...

    def lose_reply_of(self, method: str) -> None: ...

    def throttle(self, method: str) -> None: ...

    def refuse(self, method: str) -> None:
        """The next call of a method finds nobody."""
        ...


class InMemory:
    def __init__(self) -> None:
        self.clock = Clock()
        self.fake = FakeFleet(self.clock, boot_delay_s=BOOT_DELAY_S, read_lag_s=READ_LAG_S)
        self.fleet: Fleet = self.fake
        self.faults: Faults = self.fake.faults

    def launch(self, request: LaunchRequest) -> Launch:
        return a_launch(f"clmgtd-{uuid4().hex[:8]}-1-1", request)

    def offering(self, instance_type: str, *, zone: str = "a", market: Market = Market.ON_DEMAND) -> Offering:
        return Offering(InstanceType(instance_type), SubnetId(f"subnet-{zone}"), market)

    def leave(self, offering: Offering, free: int) -> None:
        self.fake.free[offering] = free

    def protect(self, instance: InstanceId) -> None:
        self.fake.protected.add(instance)

    def kill(self, instance: InstanceId) -> None:
        self.fake.end(instance, InstanceState.TERMINATED, "Server.InternalError")

    def print_on_console(self, instance: InstanceId, text: str) -> None:
        self.fake.consoles[instance] = text

    def lose_reply_of(self, method: str) -> None:
        self.faults.lose_reply(method)

    def throttle(self, method: str) -> None:
        self.faults.fail(method, ThrottledError("slower", code="RequestLimitExceeded"))

    def refuse(self, method: str) -> None:
        self.faults.fail(method, TransientError("nobody there"))


OPERATIONS = {
    "launch": "CreateFleet",
    "instances": "DescribeInstances",
    "terminate": "TerminateInstances",
    "console_output": "GetConsoleOutput",
}


class OverTheWire:
    def __init__(self, endpoints: AwsEndpoints, session: AwsSession, wire: Wire, clock: Clock) -> None:
        self.clock = clock
        self.cluster = f"demo-{uuid4().hex[:8]}"
        self.fleet: Fleet = Ec2Fleet(session, self.cluster, page_size=100)
        self.model = endpoints.model
        self.session = session
        self.wire = wire
        self.template = LaunchTemplate("", "")

    async def prepare(self) -> None:
        key = ComputeResourceKey(QueueName("q1"), ComputeResourceName("c5"))
        spec = TemplateSpec(key=key, image_id="ami-0123456789abcdef0", tags=(("team", "physics"),))
        self.template = (await ensure(self.session, self.cluster, {TemplateKey(key): spec}))[TemplateKey(key)]

    def launch(self, request: LaunchRequest) -> Launch:
        launch = a_launch(request=replace(request, template=self.template))
        return replace(launch, token=LaunchToken(f"clmgtd-{uuid4().hex[:8]}-1-1"))

    def offering(self, instance_type: str, *, zone: str = "a", market: Market = Market.ON_DEMAND) -> Offering:
        return Offering(InstanceType(instance_type), SubnetId(f"subnet-0000000000000000{zone}"), market)

    def leave(self, offering: Offering, free: int) -> None:
        pool = (str(offering.instance_type), f"us-east-1{offering.subnet[-1]}", offering.market.value)
        self.model.set_capacity(*pool, self.model.capacity.used().get(pool, 0) + free)

    def protect(self, instance: InstanceId) -> None:
        self.model.set_protected(instance, True, self.clock())

    def kill(self, instance: InstanceId) -> None:
        self.model.kill_instance(instance, self.clock())

    def print_on_console(self, instance: InstanceId, text: str) -> None:
        self.model.consoles.append(instance, text)

    def lose_reply_of(self, method: str) -> None:
        self.wire.spoil_next(OPERATIONS[method], Fault.REPLY_LOST)

    def throttle(self, method: str) -> None:
        self.wire.spoil_next(OPERATIONS[method], Fault.THROTTLED)

    def refuse(self, method: str) -> None:
        self.wire.spoil_next(OPERATIONS[method], Fault.REFUSED)


@asynccontextmanager
async def in_memory() -> AsyncIterator[World]:
    yield InMemory()


@asynccontextmanager
async def over_the_wire() -> AsyncIterator[OverTheWire]:
    clock = Clock()
    scenario = Scenario(boot_delay_s=BOOT_DELAY_S, read_lag_s=READ_LAG_S, request_buckets={}, resource_buckets={})
    endpoints = AwsEndpoints(scenario, clock=clock)
    await endpoints.start()
    try:
        async with (
            Wire(endpoints.endpoint_url) as wire,
            AwsSession(scenario.region, endpoint_url=wire.url) as session,
        ):
            world = OverTheWire(endpoints, session, wire, clock)
            await world.prepare()
            yield world
    finally:
        await endpoints.close()
