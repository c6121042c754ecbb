"""What cluster.yaml says about placement and instances, as the templates get it."""

from __future__ import annotations

from pathlib import Path

import pytest

from clustermgtd.model.ids import ComputeResourceName, InstanceType, QueueName
from clustermgtd.model.job import JobTag
from clustermgtd.model.offering import Market
from clustermgtd.model.policy import ComputeResourceKey
from clustermgtd.model.template import CapacityReservation, PlacementGroup, TemplateKey, TemplateSpec
from clustermgtd.settings import SettingsError, loads
from clustermgtd.settings.policy import template_specs

MINIMAL = (Path(__file__).parents[3] / "docs" / "examples" / "minimal.yaml").read_text()
KEY = TemplateKey(ComputeResourceKey(QueueName("q1"), ComputeResourceName("c5")))
OWN = "Networking: {PlacementGroup: {%s}}"


def spec(*, of_queue: str = "", of_resource: str = "", group_of_queue: str = "") -> TemplateSpec:
    """The template of the minimal example with lines added to its queue, its networking, its compute resource."""
    text = MINIMAL.replace("- Name: q1\n", f"- Name: q1\n      {of_queue}\n" if of_queue else "- Name: q1\n")
    if group_of_queue:
        text = text.replace("        SubnetIds", f"        PlacementGroup: {{{group_of_queue}}}\n        SubnetIds")
    if of_resource:
        text = text.replace("- Name: c5\n", f"- Name: c5\n          {of_resource}\n")
    return template_specs(loads(text), "")[KEY]


MANAGED = PlacementGroup("cluster-q1-c5", is_managed=True)


@pytest.mark.parametrize(
    ("of_queue", "of_resource", "expected"),
    [
        ("", "", None),
        ("Enabled: true", "", MANAGED),
        ("", "Enabled: true", MANAGED),
        ("Name: near", "", PlacementGroup("near")),
        ("Id: near", "", PlacementGroup("near")),
        ("Name: near", "Name: nearer", PlacementGroup("nearer")),
        ("Name: near", "Enabled: true", MANAGED),
        ("Name: near", "Enabled: false", None),
        ("Enabled: false", "Name: nearer", PlacementGroup("nearer")),
    ],
)
def test_a_compute_resource_s_own_placement_group_wins(
    of_queue: str, of_resource: str, expected: PlacementGroup | None
) -> None:
    found = spec(group_of_queue=of_queue, of_resource=OWN % of_resource if of_resource else "")
    assert found.placement_group == expected


def test_a_reservation_is_the_compute_resource_s_or_the_queue_s() -> None:
    of_queue = "CapacityReservationTarget: {CapacityReservationId: cr-1}"
    arn = "arn:aws:resource-groups:us-east-1:123456789012:group/near"
    of_resource = f"CapacityReservationTarget: {{CapacityReservationResourceGroupArn: '{arn}'}}"
    assert spec().reservation is None
    assert spec(of_queue=of_queue).reservation == CapacityReservation("cr-1")
    assert spec(of_queue=of_queue, of_resource=of_resource).reservation == CapacityReservation(group_arn=arn)


def test_cores_adapters_types_and_market_reach_the_template() -> None:
    plain = spec()
    assert (plain.efa, plain.multithreading, plain.market) == (False, True, Market.ON_DEMAND)
    assert plain.instance_types == (InstanceType("c5.xlarge"),)
    assert spec(of_resource="Efa: {Enabled: true}").efa
    assert not spec(of_resource="DisableSimultaneousMultithreading: true").multithreading
    assert spec(of_queue="CapacityType: SPOT").market is Market.SPOT


def test_job_tags_are_an_allow_list() -> None:
    assert loads(MINIMAL).clustermgtd.job_tags == ()
    assert loads(MINIMAL + "Clustermgtd: {JobTags: [User, JobId]}\n").clustermgtd.job_tags == (
        JobTag.USER,
        JobTag.JOB_ID,
    )


def test_ec2_s_fifty_tags_are_enough_for_ours_and_the_site_s() -> None:
    tags = "Tags:\n" + "".join(f"  - {{Key: k{n}, Value: v}}\n" for n in range(36))
    loads(MINIMAL + tags)
    loads(MINIMAL + tags + "Clustermgtd: {JobTags: [User, JobId, Account]}\n")
    with pytest.raises(SettingsError, match="more than 35 tags"):
        loads(MINIMAL + tags + "Clustermgtd: {JobTags: [User, JobId, Account, Partition]}\n")


def test_the_folder_of_the_instance_store_is_known_by_queue() -> None:
    assert loads(MINIMAL).local_storage_of("q1").ephemeral_volume.mount_dir == "/scratch"
    said = "ComputeSettings: {LocalStorage: {EphemeralVolume: {MountDir: /fast}}}"
    text = MINIMAL.replace("- Name: q1\n", f"- Name: q1\n      {said}\n")
    assert loads(text).local_storage_of("q1").ephemeral_volume.mount_dir == "/fast"
