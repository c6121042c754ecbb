"""What former configurations left in EC2 is deleted, and nothing else, over the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from structlog.testing import capture_logs

from clustermgtd.adapters.aws import tags
from clustermgtd.adapters.aws.ec2_fleet import Ec2Fleet
from clustermgtd.adapters.aws.launch_templates import ensure
from clustermgtd.adapters.aws.leftovers import AGE_MIN_S, Deleted, Leftovers, Needed
from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.errors import ConfigurationError
from clustermgtd.lab.aws.front import AwsEndpoints
from clustermgtd.lab.ec2.scenario import Scenario
from clustermgtd.model.claim import LaunchTemplate
from clustermgtd.model.ids import ComputeResourceName, InstanceType, QueueName
from clustermgtd.model.policy import ComputeResourceKey
from clustermgtd.model.template import PlacementGroup, TemplateKey, TemplateSpec
from tests.contract.aws.builders import a_launch, a_request, an_offering
from tests.contract.aws.wire import Fault, Wire

NOW = 1_700_000_000.0
KEY = ComputeResourceKey(QueueName("q1"), ComputeResourceName("c5"))
OTHER = ComputeResourceKey(QueueName("q1"), ComputeResourceName("m5"))
IMAGE = "ami-0123456789abcdef0"
NOTHING_NEEDED = Needed(frozenset(), frozenset(), frozenset())


def a_spec(key: ComputeResourceKey = KEY, *, tier: int = 0, user_data: str = "", group: str = "") -> TemplateSpec:
    return TemplateSpec(
        key,
        IMAGE,
        tier=tier,
        user_data=user_data,
        instance_types=(InstanceType("c5.large"),),
        placement_group=PlacementGroup(group, is_managed=True) if group else None,
    )


@dataclass
class Region:
    session: AwsSession
    wire: Wire
    now: float = NOW
    fleets: int = 0
    needed: Needed = NOTHING_NEEDED

    async def ensured(self, *specs: TemplateSpec, cluster: str = "demo") -> list[LaunchTemplate]:
        made = await ensure(self.session, cluster, {TemplateKey(spec.key, spec.tier): spec for spec in specs})
        return list(made.values())

    async def launched(self, template: LaunchTemplate) -> None:
        self.fleets += 1
        request = a_request(an_offering(subnet="subnet-0000000000000000a"), template=template)
        result = await Ec2Fleet(self.session, "demo").launch(a_launch(f"t-{self.fleets}", request))
        assert result.instances, result.errors

    async def deleted(self, *, after_s: float = AGE_MIN_S) -> Deleted:
        self.now += after_s
        return await Leftovers(self.session, "demo").delete(lambda: self.needed, self.now)

    async def names(self, operation: str, key: str, name: str) -> set[str]:
        reply: Any = await self.session.call("ec2", operation, {}, 10.0)
        return {item[name] for item in reply[key]}

    async def templates(self) -> set[str]:
        return await self.names("describe_launch_templates", "LaunchTemplates", "LaunchTemplateId")

    async def groups(self) -> set[str]:
        return await self.names("describe_placement_groups", "PlacementGroups", "GroupName")

    @contextmanager
    def needs(self, needed: Needed) -> Iterator[None]:
        self.needed = needed
        yield
        self.needed = NOTHING_NEEDED


Play = Callable[[Callable[[Region], Awaitable[None]]], None]


@pytest.fixture
def play() -> Play:
    def played(scenario: Callable[[Region], Awaitable[None]]) -> None:
        async def run() -> None:
            regions: list[Region] = []
            endpoints = AwsEndpoints(
                Scenario(request_buckets={}, resource_buckets={}, placement_groups={"near": None}),
                clock=lambda: regions[0].now if regions else NOW,
            )
            await endpoints.start()
            try:
                async with (
                    Wire(endpoints.endpoint_url) as wire,
                    AwsSession("us-east-1", endpoint_url=wire.url) as session,
                ):
                    regions.append(Region(session, wire))
                    await scenario(regions[0])
            finally:
                await endpoints.close()

        asyncio.run(run())

    return played


def needed(*templates: LaunchTemplate, groups: tuple[str, ...] = ()) -> Needed:
    return Needed(frozenset(t.id for t in templates), frozenset(groups), frozenset())


def test_a_template_that_nothing_needs_is_deleted_and_told_of(play: Play) -> None:
    async def scenario(region: Region) -> None:
        [old] = await region.ensured(a_spec())
        [new] = await region.ensured(a_spec(user_data="#!/bin/sh\n"))
        [tier] = await region.ensured(a_spec(tier=1))
        with region.needs(needed(new)), capture_logs() as lines:
            gone = await region.deleted()
        assert await region.templates() == {new.id}
        assert len(gone.templates) == 2
        assert {(line["event"], line["template_id"]) for line in lines} == {
            ("launch_template_deleted", old.id),
            ("launch_template_deleted", tier.id),
        }

    play(scenario)


def test_an_open_launch_keeps_its_template(play: Play) -> None:
    async def scenario(region: Region) -> None:
        [old] = await region.ensured(a_spec())
        with region.needs(Needed(frozenset(), frozenset(), frozenset({old.id}))):
            assert await region.deleted() == Deleted()
        assert len((await region.deleted()).templates) == 1

    play(scenario)


def test_an_instance_keeps_its_template(play: Play) -> None:
    async def scenario(region: Region) -> None:
        [old] = await region.ensured(a_spec())
        await region.launched(old)
        assert await region.deleted() == Deleted()
        shown = await Ec2Fleet(region.session, "demo").instances()
        await Ec2Fleet(region.session, "demo").terminate(shown)
        region.now += 300.0
        assert len((await region.deleted()).templates) == 1

    play(scenario)


def test_a_template_in_its_first_hour_stays(play: Play) -> None:
    async def scenario(region: Region) -> None:
        await region.ensured(a_spec())
        assert await region.deleted(after_s=AGE_MIN_S - 1) == Deleted()
        assert len((await region.deleted(after_s=1)).templates) == 1

    play(scenario)


def test_what_others_made_stays(play: Play) -> None:
    async def scenario(region: Region) -> None:
        [theirs] = await region.ensured(a_spec(), cluster="demo-2")
        by_hand = {}
        for name in ("demo-q1-c5", "demo-q1-c5-0123456789abcdeg", "demo-q1-m5-0123456789abcdef"):
            made = await region.session.call(
                "ec2",
                "create_launch_template",
                {
                    "LaunchTemplateName": name,
                    "LaunchTemplateData": {"ImageId": IMAGE},
                    "TagSpecifications": [{"ResourceType": "launch-template", "Tags": marks(KEY)}],
                },
                10.0,
            )
            by_hand[name] = made["LaunchTemplate"]["LaunchTemplateId"]
        await region.session.call(
            "ec2",
            "create_placement_group",
            {
                "GroupName": "demo-q1-c5-mine",
                "Strategy": "cluster",
                "TagSpecifications": [{"ResourceType": "placement-group", "Tags": marks(KEY)}],
            },
            10.0,
        )
        assert await region.deleted() == Deleted()
        assert await region.templates() == {theirs.id, *by_hand.values()}
        assert await region.groups() == {"near", "demo-q1-c5-mine"}

    play(scenario)


def marks(key: ComputeResourceKey) -> list[dict[str, str]]:
    named = {tags.CLUSTER: "demo", tags.QUEUE: key.queue, tags.COMPUTE_RESOURCE: key.name}
    return [{"Key": tag, "Value": value} for tag, value in named.items()]


def test_a_group_goes_with_the_templates_that_may_name_it(play: Play) -> None:
    async def scenario(region: Region) -> None:
        await region.ensured(a_spec(group="demo-q1-c5"), a_spec(OTHER, group="demo-q1-m5"))
        [new] = await region.ensured(a_spec(OTHER))
        assert await region.groups() == {"near", "demo-q1-c5", "demo-q1-m5"}
        with region.needs(needed(new)):
            assert await region.deleted(after_s=60.0) == Deleted()
            gone = await region.deleted()
        assert (len(gone.templates), gone.placement_groups) == (2, ("demo-q1-c5", "demo-q1-m5"))
        assert await region.groups() == {"near"}

    play(scenario)


def test_a_group_of_the_configuration_stays(play: Play) -> None:
    async def scenario(region: Region) -> None:
        [new] = await region.ensured(a_spec(group="demo-q1-c5"))
        with region.needs(needed(new, groups=("demo-q1-c5",))):
            assert await region.deleted() == Deleted()

    play(scenario)


def test_a_missing_permission_is_an_error_that_names_the_call(play: Play) -> None:
    async def scenario(region: Region) -> None:
        await region.ensured(a_spec())
        region.wire.spoil_next("DeleteLaunchTemplate", Fault.DENIED)
        with pytest.raises(ConfigurationError, match="UnauthorizedOperation"):
            await region.deleted()
        assert len((await region.deleted()).templates) == 1

    play(scenario)


def test_a_lost_reply_is_made_good_next_time(play: Play) -> None:
    async def scenario(region: Region) -> None:
        await region.ensured(a_spec())
        region.wire.spoil_next("DeleteLaunchTemplate", Fault.REPLY_LOST)
        with pytest.raises(Exception, match="delete_launch_template"):
            await region.deleted()
        assert await region.deleted() == Deleted()
        assert await region.templates() == set()

    play(scenario)
