"""From cluster.yaml to the instance: what a site asks for is what EC2 shows, over the wire."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import boto3
import pytest

from clustermgtd.adapters.aws.ec2_fleet import Ec2Fleet
from clustermgtd.adapters.aws.launch_templates import ensure
from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.errors import ConfigurationError
from clustermgtd.lab.aws.front import AwsEndpoints
from clustermgtd.lab.ec2.records import InstanceRecord
from clustermgtd.lab.ec2.scenario import ReservationSpec, Scenario
from clustermgtd.model.claim import LaunchRequest, LaunchResult
from clustermgtd.model.failure import FailureKind
from clustermgtd.model.ids import LaunchToken
from clustermgtd.model.job import JobTag, JobTags
from clustermgtd.settings import loads
from clustermgtd.settings.policy import build_policy, template_specs
from tests.contract.aws.builders import a_launch

NOW = 1_700_000_000.0
ZONE = "us-east-1a"
GROUP_ARN = "arn:aws:resource-groups:us-east-1:123456789012:group/near"
SCENARIO = Scenario(
    request_buckets={},
    resource_buckets={},
    placement_groups={"near": 3},
    capacity_reservations={
        "cr-1": ReservationSpec("c5.xlarge", ZONE, 2, targeted=True),
        "cr-2": ReservationSpec("c5.xlarge", ZONE, 2, targeted=True, group=GROUP_ARN),
        "cr-3": ReservationSpec("m5.xlarge", ZONE, 1),
        "cr-4": ReservationSpec("p4d.24xlarge", ZONE, 4, kind="capacity-block"),
        "cr-5": ReservationSpec("p4d.24xlarge", ZONE, 4, kind="capacity-block", starts_at=NOW + 60),
    },
)
CLUSTER = """
Region: us-east-1
Image: {Os: alinux2023, CustomAmi: ami-0123456789abcdef0}
HeadNode:
  InstanceType: c5.large
  Networking: {SubnetId: subnet-0000000000000000a}
Scheduling:
  Scheduler: slurm
  SlurmQueues:
    - Name: q1
      %(queue)s
      Networking:
        SubnetIds: [subnet-0000000000000000a]
        SecurityGroups: [sg-0123456789abcdef0]
        %(networking)s
      ComputeResources:
        - Name: c5
          %(types)s
          MinCount: 4
          MaxCount: 4
          %(resource)s
Clustermgtd: {ClusterName: %(cluster)s}
"""
C5 = "InstanceType: c5.xlarge"
NO_TAGS = JobTags()


@dataclass
class Site:
    """One cluster.yaml, and the Region that its instances are launched in."""

    endpoints: AwsEndpoints
    session: AwsSession
    cluster: str

    async def launch(self, count: int = 2, *, job_tags: JobTags = NO_TAGS, **said: str) -> LaunchResult:
        """Everything from the text on: settings, template, policy, request, CreateFleet."""
        blank = {"queue": "", "networking": "", "resource": "", "types": C5, "cluster": self.cluster}
        settings = loads(CLUSTER % (blank | said))
        specs = template_specs(settings, "#!/bin/sh\n")
        templates = await ensure(self.session, self.cluster, specs)
        [policy] = build_policy(settings, templates).compute_resources.values()
        [tier] = policy.tiers
        request = LaunchRequest(
            policy.key.queue,
            policy.key.name,
            tier.template,
            tier.offerings,
            tier.market,
            tier.strategy,
            count,
            1,
            tier.max_price,
            job_tags=job_tags,
        )
        launch = replace(a_launch(request=request), token=LaunchToken(f"clmgtd-{uuid4().hex[:8]}-1-1"))
        return await Ec2Fleet(self.session, self.cluster).launch(launch)

    async def shown(self, result: LaunchResult) -> list[Any]:
        """The instances as DescribeInstances has them, in launch order."""
        ids = [instance.id for instance in result.instances]
        reply = await self.boto("describe_instances", InstanceIds=ids)
        return [i for r in reply["Reservations"] for i in r["Instances"]]

    async def boto(self, operation: str, **parameters: Any) -> Any:
        """A call of the SDK that people use, beside the daemon's own."""

        def call() -> Any:
            client = boto3.client("ec2", endpoint_url=self.endpoints.endpoint_url, region_name="us-east-1")
            try:
                return getattr(client, operation)(**parameters)
            finally:
                client.close()

        return await asyncio.to_thread(call)

    def records(self) -> list[InstanceRecord]:
        return self.endpoints.model.live_instances()


Play = Callable[[Callable[[Site], Awaitable[None]]], None]


@pytest.fixture
def play() -> Play:
    def played(scenario: Callable[[Site], Awaitable[None]]) -> None:
        async def run() -> None:
            endpoints = AwsEndpoints(SCENARIO, clock=lambda: NOW)
            await endpoints.start()
            try:
                async with AwsSession("us-east-1", endpoint_url=endpoints.endpoint_url) as session:
                    await scenario(Site(endpoints, session, f"demo-{uuid4().hex[:8]}"))
            finally:
                await endpoints.close()

        asyncio.run(run())

    return played


def codes(result: LaunchResult) -> list[str]:
    return [error.code for error in result.errors]


def tags_of(instance: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in instance["Tags"]}


def test_a_placement_group_is_made_once_and_instances_are_in_it(play: Play) -> None:
    async def scenario(site: Site) -> None:
        for _ in range(2):
            result = await site.launch(networking="PlacementGroup: {Enabled: true}")
            groups = {one["Placement"]["GroupName"] for one in await site.shown(result)}
            assert groups == {f"{site.cluster}-q1-c5"}
        assert site.session.calls["ec2:create_placement_group"] == 1

    play(scenario)


def test_a_placement_group_that_is_named_has_to_exist(play: Play) -> None:
    async def scenario(site: Site) -> None:
        with pytest.raises(ConfigurationError, match="placement group far does not exist"):
            await site.launch(networking="PlacementGroup: {Name: far}")
        result = await site.launch(networking="PlacementGroup: {Name: near}")
        assert {one["Placement"]["GroupName"] for one in await site.shown(result)} == {"near"}

    play(scenario)


def test_a_full_placement_group_is_a_shortage(play: Play) -> None:
    async def scenario(site: Site) -> None:
        result = await site.launch(4, networking="PlacementGroup: {Name: near}")
        assert (len(result.instances), codes(result)) == (3, ["InsufficientInstanceCapacity"])

    play(scenario)


def test_a_reservation_gives_what_it_has_and_no_more(play: Play) -> None:
    async def scenario(site: Site) -> None:
        target = "CapacityReservationTarget: {CapacityReservationId: cr-1}"
        result = await site.launch(3, resource=target)
        assert {one["CapacityReservationId"] for one in await site.shown(result)} == {"cr-1"}
        assert (len(result.instances), codes(result)) == (2, ["ReservationCapacityExceeded"])

    play(scenario)


def test_a_group_of_reservations_is_used_up_before_what_is_paid_anew(play: Play) -> None:
    async def scenario(site: Site) -> None:
        target = f"CapacityReservationTarget: {{CapacityReservationResourceGroupArn: '{GROUP_ARN}'}}"
        result = await site.launch(3, queue=target)
        assert [r.capacity_reservation for r in site.records()] == ["cr-2", "cr-2", ""]
        assert codes(result) == []

    play(scenario)


def test_an_open_reservation_goes_before_a_cheaper_type(play: Play) -> None:
    async def scenario(site: Site) -> None:
        types = "Instances: [{InstanceType: c5.xlarge}, {InstanceType: m5.xlarge}]"
        await site.launch(3, types=types)
        found = sorted((r.instance_type, r.capacity_reservation) for r in site.records())
        assert found == [("c5.xlarge", ""), ("c5.xlarge", ""), ("m5.xlarge", "cr-3")]

    play(scenario)


def test_a_reservation_that_does_not_exist_is_a_configuration_error_of_the_launch(play: Play) -> None:
    async def scenario(site: Site) -> None:
        result = await site.launch(1, queue="CapacityReservationTarget: {CapacityReservationId: cr-9}")
        assert codes(result) == ["InvalidCapacityReservationId.NotFound"]

    play(scenario)


BLOCK = "CapacityType: CAPACITY_BLOCK\n      CapacityReservationTarget: {CapacityReservationId: %s}"
P4D = "InstanceType: p4d.24xlarge"


def test_static_nodes_run_in_a_capacity_block(play: Play) -> None:
    async def scenario(site: Site) -> None:
        result = await site.launch(4, queue=BLOCK % "cr-4", types=P4D)
        shown = await site.shown(result)
        assert {(i["InstanceLifecycle"], i["CapacityReservationId"]) for i in shown} == {("capacity-block", "cr-4")}
        assert len(shown) == 4
        [one] = (await site.boto("describe_capacity_reservations", CapacityReservationIds=["cr-4"]))[
            "CapacityReservations"
        ]
        assert (one["TotalInstanceCount"], one["AvailableInstanceCount"], one["State"]) == (4, 0, "active")
        assert codes(await site.launch(1, queue=BLOCK % "cr-4", types=P4D)) == ["ReservationCapacityExceeded"]

    play(scenario)


def test_a_capacity_block_gives_nothing_before_it_starts(play: Play) -> None:
    async def scenario(site: Site) -> None:
        result = await site.launch(1, queue=BLOCK % "cr-5", types=P4D)
        assert codes(result) == ["InvalidCapacityReservationState.PendingActivation"]
        assert [error.kind for error in result.errors] == [FailureKind.CAPACITY]

    play(scenario)


@pytest.mark.parametrize(("kind", "cards"), [("c5n.18xlarge", 1), ("hpc6a.48xlarge", 1), ("p4d.24xlarge", 4)])
def test_every_network_card_has_an_adapter_and_the_security_groups(play: Play, kind: str, cards: int) -> None:
    async def scenario(site: Site) -> None:
        result = await site.launch(1, types=f"InstanceType: {kind}", resource="Efa: {Enabled: true}")
        [shown] = await site.shown(result)
        interfaces = sorted(shown["NetworkInterfaces"], key=lambda one: one["Attachment"]["NetworkCardIndex"])
        assert [
            (one["InterfaceType"], one["Attachment"]["NetworkCardIndex"], one["Attachment"]["DeviceIndex"])
            for one in interfaces
        ] == [("efa", card, min(card, 1)) for card in range(cards)]
        groups = [[group["GroupId"] for group in one["Groups"]] for one in interfaces]
        assert groups == [["sg-0123456789abcdef0"]] * cards

    play(scenario)


def test_without_efa_the_cards_are_there_all_the_same(play: Play) -> None:
    async def scenario(site: Site) -> None:
        [shown] = await site.shown(await site.launch(1, types=P4D))
        assert [one["InterfaceType"] for one in shown["NetworkInterfaces"]] == ["interface"] * 4

    play(scenario)


def test_an_adapter_that_a_type_does_not_have_is_refused_at_the_start(play: Play) -> None:
    async def scenario(site: Site) -> None:
        with pytest.raises(ConfigurationError, match=r"queue q1, compute resource c5: Efa .* c5.xlarge has none"):
            await site.launch(resource="Efa: {Enabled: true}")

    play(scenario)


def test_a_public_address_for_several_cards_is_refused_at_the_start(play: Play) -> None:
    async def scenario(site: Site) -> None:
        with pytest.raises(ConfigurationError, match=r"AssignPublicIp cannot be true.* 4 network cards"):
            await site.launch(types=P4D, networking="AssignPublicIp: true")

    play(scenario)


def test_hyper_threading_is_off_for_all_types_of_a_compute_resource(play: Play) -> None:
    async def scenario(site: Site) -> None:
        site.endpoints.model.set_capacity("c5.xlarge", ZONE, "on-demand", 1)
        types = "Instances: [{InstanceType: c5.xlarge}, {InstanceType: m5.xlarge}]"
        result = await site.launch(3, types=types, resource="DisableSimultaneousMultithreading: true")
        shown = await site.shown(result)
        assert {one["InstanceType"] for one in shown} == {"c5.xlarge", "m5.xlarge"}
        for one in shown:
            assert one["CpuOptions"] == {"CoreCount": 2, "ThreadsPerCore": 1}

    play(scenario)


@pytest.mark.parametrize("kind", ["hpc6a.48xlarge", "c7g.xlarge"])
def test_a_type_without_hyper_threading_is_not_told_to_turn_it_off(play: Play, kind: str) -> None:
    async def scenario(site: Site) -> None:
        result = await site.launch(1, types=f"InstanceType: {kind}", resource="DisableSimultaneousMultithreading: true")
        [shown] = await site.shown(result)
        assert shown["CpuOptions"]["ThreadsPerCore"] == 1

    play(scenario)


def test_bare_metal_cannot_be_told(play: Play) -> None:
    async def scenario(site: Site) -> None:
        with pytest.raises(ConfigurationError, match=r"no choice for c5\.metal; turn it off in the image"):
            await site.launch(types="InstanceType: c5.metal", resource="DisableSimultaneousMultithreading: true")

    play(scenario)


def test_a_spot_queue_gives_spot_instances_at_its_price_or_none(play: Play) -> None:
    async def scenario(site: Site) -> None:
        types = "Instances: [{InstanceType: c5.xlarge}, {InstanceType: m5.xlarge}]"
        for strategy in ("lowest-price", "capacity-optimized", "price-capacity-optimized", "prioritized"):
            queue = f"CapacityType: SPOT\n      AllocationStrategy: {strategy}"
            shown = await site.shown(await site.launch(2, queue=queue, types=types))
            assert [one["InstanceLifecycle"] for one in shown] == ["spot", "spot"]
        cheap = await site.launch(2, queue="CapacityType: SPOT", types=types, resource="SpotPrice: 0.001")
        assert (cheap.instances, set(codes(cheap))) == ((), {"SpotMaxPriceTooLow"})

    play(scenario)


def test_a_prioritized_queue_takes_the_first_type_though_another_is_cheaper(play: Play) -> None:
    async def scenario(site: Site) -> None:
        types = "Instances: [{InstanceType: m5.xlarge}, {InstanceType: c5.xlarge}]"
        shown = await site.shown(await site.launch(2, queue="AllocationStrategy: prioritized", types=types))
        kinds = sorted(one["InstanceType"] for one in shown)
        assert kinds == ["m5.xlarge", "m5.xlarge"]

    play(scenario)


def test_site_and_job_are_on_the_instance_from_the_first_moment(play: Play) -> None:
    async def scenario(site: Site) -> None:
        said = JobTags(((JobTag.ACCOUNT, "r&d;x"), (JobTag.JOB_ID, "7"), (JobTag.USER, "alice")), is_shared=True)
        result = await site.launch(1, job_tags=said, queue="Tags: [{Key: team, Value: physics}]")
        [shown] = await site.shown(result)
        tags = tags_of(shown)
        assert (tags["team"], tags["clustermgtd:queue"]) == ("physics", "q1")
        assert (tags["clustermgtd:job-id"], tags["clustermgtd:user"]) == ("7", "alice")
        assert tags["clustermgtd:account"] == "r_d_x", "EC2 takes no such characters in a tag"
        assert tags["clustermgtd:shared"] == "true"
        assert "clustermgtd:partition" not in tags

    play(scenario)


def test_the_root_volume_and_user_data_are_the_site_s(play: Play) -> None:
    async def scenario(site: Site) -> None:
        queue = "ComputeSettings: {LocalStorage: {RootVolume: {Size: 50, VolumeType: io2, Iops: 4000}}}"
        [record] = await site.shown(await site.launch(1, queue=queue))
        template = next(tag["Value"] for tag in record["Tags"] if tag["Key"] == "aws:ec2launchtemplate:id")
        reply = await site.boto("describe_launch_template_versions", LaunchTemplateId=template)
        data = reply["LaunchTemplateVersions"][0]["LaunchTemplateData"]
        [mapping] = data["BlockDeviceMappings"]
        assert mapping["Ebs"] == {
            "VolumeSize": 50,
            "VolumeType": "io2",
            "Iops": 4000,
            "Encrypted": True,
            "DeleteOnTermination": True,
        }
        assert base64.b64decode(data["UserData"]) == b"#!/bin/sh\n"

    play(scenario)
