"""Launch templates by content, against an EC2 that keeps them."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import pytest

from clustermgtd.adapters.aws.launch_templates import ensure, template_name
from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.adapters.aws.template_data import template_data
from clustermgtd.errors import ConfigurationError
from clustermgtd.model.ids import ComputeResourceName, QueueName
from clustermgtd.model.policy import ComputeResourceKey
from clustermgtd.model.template import RootVolume, TemplateKey, TemplateSpec


def a_key(number: int = 1, tier: int = 0) -> TemplateKey:
    return TemplateKey(ComputeResourceKey(QueueName("q1"), ComputeResourceName(f"cr{number}")), tier)


def a_spec(image: str = "ami-1", number: int = 1, **changes: Any) -> TemplateSpec:
    return TemplateSpec(key=a_key(number).compute_resource, image_id=image, **changes)


@dataclass
class Region:
    session: AwsSession
    image: str
    cluster: str

    async def contents(self, template_id: str) -> Any:
        reply = await self.session.call(
            "ec2", "describe_launch_template_versions", {"LaunchTemplateId": template_id}, 10
        )
        [version] = reply["LaunchTemplateVersions"]
        return version["LaunchTemplateData"]


Play = Callable[[Callable[[Region], Awaitable[None]]], None]


@pytest.fixture(scope="module")
def image(ec2_endpoint: str) -> str:
    """An image that exists."""

    async def found() -> str:
        async with AwsSession("us-east-1", endpoint_url=ec2_endpoint) as session:
            reply = await session.call("ec2", "describe_images", {"Owners": ["amazon"]}, 30)
            return str(reply["Images"][0]["ImageId"])

    return asyncio.run(found())


@pytest.fixture
def play(ec2_endpoint: str, image: str) -> Play:
    def played(scenario: Callable[[Region], Awaitable[None]]) -> None:
        async def run() -> None:
            async with AwsSession("us-east-1", endpoint_url=ec2_endpoint) as session:
                await scenario(Region(session, image, f"demo-{uuid4().hex[:8]}"))

        asyncio.run(run())

    return played


def test_a_template_is_made_once_and_then_only_described(play: Play) -> None:
    async def scenario(region: Region) -> None:
        specs = {a_key(n): a_spec(region.image, n) for n in (1, 2)}
        first = await ensure(region.session, region.cluster, specs)
        assert region.session.calls["ec2:create_launch_template"] == 2
        region.session.calls.clear()
        assert await ensure(region.session, region.cluster, specs) == first
        assert region.session.calls == {"ec2:describe_images": 1, "ec2:describe_launch_templates": 1}
        assert len({template.id for template in first.values()}) == 2

    play(scenario)


def test_another_content_is_another_template_and_the_old_one_stays(play: Play) -> None:
    async def scenario(region: Region) -> None:
        before = await ensure(region.session, region.cluster, {a_key(): a_spec(region.image)})
        changed = a_spec(region.image, user_data="#!/bin/sh\necho hello\n")
        after = await ensure(region.session, region.cluster, {a_key(): changed})
        assert before != after
        assert "UserData" not in await region.contents(before[a_key()].id)
        assert base64.b64decode((await region.contents(after[a_key()].id))["UserData"]).startswith(b"#!/bin/sh")

    play(scenario)


def test_two_daemons_at_once_end_with_the_same_templates(play: Play) -> None:
    async def scenario(region: Region) -> None:
        specs = {a_key(n): a_spec(region.image, n) for n in range(4)}
        one, other = await asyncio.gather(
            ensure(region.session, region.cluster, specs), ensure(region.session, region.cluster, specs)
        )
        assert one == other

    play(scenario)


def test_an_image_that_does_not_exist_is_named(play: Play) -> None:
    async def scenario(region: Region) -> None:
        with pytest.raises(ConfigurationError, match="ami-0000000000000dead"):
            await ensure(region.session, region.cluster, {a_key(): a_spec("ami-0000000000000dead")})

    play(scenario)


def test_tiers_have_templates_of_their_own_even_if_they_hold_the_same(play: Play) -> None:
    async def scenario(region: Region) -> None:
        specs = {a_key(1, tier): a_spec(region.image, tier=tier) for tier in (0, 1)}
        made = await ensure(region.session, region.cluster, specs)
        assert made[a_key(1, 0)] != made[a_key(1, 1)]
        assert await ensure(region.session, region.cluster, specs) == made

    play(scenario)


def test_no_compute_resources_cost_no_call(play: Play) -> None:
    async def scenario(region: Region) -> None:
        assert await ensure(region.session, region.cluster, {}) == {}
        assert not region.session.calls

    play(scenario)


def test_metadata_needs_a_token_shows_tags_and_stays_on_the_instance() -> None:
    data = template_data(a_spec(), "/dev/xvda")
    assert data["MetadataOptions"] == {
        "HttpEndpoint": "enabled",
        "HttpTokens": "required",
        "HttpPutResponseHopLimit": 1,
        "InstanceMetadataTags": "enabled",
    }
    assert data["InstanceInitiatedShutdownBehavior"] == "terminate"


def test_the_root_volume_is_that_of_the_image_with_the_site_s_settings() -> None:
    volume = RootVolume(size_gib=50, iops=4000, throughput_mib_s=200)
    [mapping] = template_data(a_spec(root_volume=volume), "/dev/sda1")["BlockDeviceMappings"]
    assert mapping == {
        "DeviceName": "/dev/sda1",
        "Ebs": {
            "VolumeSize": 50,
            "Encrypted": True,
            "VolumeType": "gp3",
            "Iops": 4000,
            "Throughput": 200,
            "DeleteOnTermination": True,
        },
    }


def test_tags_go_to_instance_and_volume() -> None:
    data = template_data(a_spec(tags=(("team", "physics"),)), "/dev/xvda")
    tags = [{"Key": "Name", "Value": "Compute"}, {"Key": "team", "Value": "physics"}]
    assert data["TagSpecifications"] == [
        {"ResourceType": "instance", "Tags": tags},
        {"ResourceType": "volume", "Tags": tags},
    ]


def test_a_profile_may_be_a_name_or_an_arn() -> None:
    assert template_data(a_spec(instance_profile="p"), "/dev/xvda")["IamInstanceProfile"] == {"Name": "p"}
    arn = "arn:aws:iam::123456789012:instance-profile/p"
    assert template_data(a_spec(instance_profile=arn), "/dev/xvda")["IamInstanceProfile"] == {"Arn": arn}


def test_security_groups_move_to_the_interface_where_a_public_address_is_chosen() -> None:
    spec = a_spec(security_groups=("sg-1", "sg-2"))
    assert template_data(spec, "/dev/xvda")["SecurityGroupIds"] == ["sg-1", "sg-2"]
    public = template_data(replace(spec, assign_public_ip=False), "/dev/xvda")
    assert "SecurityGroupIds" not in public
    assert public["NetworkInterfaces"] == [
        {"DeviceIndex": 0, "AssociatePublicIpAddress": False, "Groups": ["sg-1", "sg-2"]}
    ]


@pytest.mark.parametrize("key", ["my tag", "a/b", "ä"])
def test_a_tag_that_would_make_every_launch_fail_is_refused_here(key: str) -> None:
    with pytest.raises(ConfigurationError, match="queue q1, compute resource cr1"):
        template_data(a_spec(tags=((key, "value"),)), "/dev/xvda")


def test_user_data_that_is_too_long_is_refused_here() -> None:
    with pytest.raises(ConfigurationError, match="16385 bytes"):
        template_data(a_spec(user_data="x" * 16385), "/dev/xvda")


def test_a_name_fits_however_long_the_parts_are() -> None:
    key = ComputeResourceKey(QueueName("q" * 60), ComputeResourceName("c" * 60))
    keys = [TemplateKey(key, tier) for tier in (0, 1)]
    names = {template_name("n" * 60, key, {"ImageId": image}) for image in ("ami-1", "ami-2") for key in keys}
    assert len(names) == 4
    assert all(len(name) <= 128 for name in names)
