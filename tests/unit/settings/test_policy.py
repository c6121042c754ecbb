"""What decisions and launch templates get from cluster.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from clustermgtd.model.claim import AllocationStrategy, LaunchTemplate
from clustermgtd.model.ids import (
    CapacityReservationId,
    ComputeResourceName,
    InstanceType,
    NodeName,
    QueueName,
    SubnetId,
)
from clustermgtd.model.node_report import BootPhase
from clustermgtd.model.offering import Market, Offering
from clustermgtd.model.policy import BlockPolicy, ComputeResourceKey, Policy, ScalingStrategy
from clustermgtd.model.safeguards import ProtectionPolicy, TerminationPolicy
from clustermgtd.model.template import TemplateKey
from clustermgtd.settings import Settings, SettingsError, load, loads
from clustermgtd.settings.policy import build_policy, template_specs

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"


def key(queue: str, resource: str) -> ComputeResourceKey:
    return ComputeResourceKey(QueueName(queue), ComputeResourceName(resource))


def template(queue: str, resource: str, tier: int = 0) -> TemplateKey:
    return TemplateKey(key(queue, resource), tier)


@pytest.fixture
def cluster() -> Settings:
    return load(EXAMPLES / "parallelcluster.yaml")


def policy_of(cluster: Settings) -> Policy:
    specs = template_specs(cluster, "")
    return build_policy(cluster, {k: LaunchTemplate(f"lt-{k.compute_resource.name}-{k.tier}", "1") for k in specs})


def test_nodes_are_named_as_parallelcluster_names_them_and_know_their_place(cluster: Settings) -> None:
    nodes = policy_of(cluster).nodes
    assert tuple(nodes) == cluster.node_names
    static = [name for name, place in nodes.items() if place.is_static]
    assert static == ["general-st-c6i-small-1", "general-st-c6i-small-2"]
    assert nodes[NodeName("general-dy-c6i-small-48")].key == key("general", "c6i-small")
    assert NodeName("general-dy-c6i-small-49") not in nodes


def test_several_types_and_subnets_make_an_offering_each_types_first(cluster: Settings) -> None:
    (spot,) = policy_of(cluster).compute_resources[key("spot", "flexible")].tiers
    first, second = SubnetId("subnet-0a1b2c3d4e5f60718"), SubnetId("subnet-0a1b2c3d4e5f60719")
    assert spot.offerings[:3] == (
        Offering(InstanceType("c5.2xlarge"), first, Market.SPOT),
        Offering(InstanceType("c5.2xlarge"), second, Market.SPOT),
        Offering(InstanceType("c5d.2xlarge"), first, Market.SPOT),
    )
    assert len(spot.offerings) == 6
    assert (spot.market, spot.max_price) == (Market.SPOT, 0.25)
    assert spot.strategy is AllocationStrategy.PRICE_CAPACITY_OPTIMIZED
    assert spot.template == LaunchTemplate("lt-flexible-0", "1")


def test_compute_resources_of_capacity_blocks_know_their_block() -> None:
    text = (EXAMPLES / "minimal.yaml").read_text()
    assert policy_of(loads(text)).blocks == BlockPolicy({}, 2400.0)
    block = "CapacityType: CAPACITY_BLOCK\n      CapacityReservationTarget: {CapacityReservationId: cr-0123}"
    text = text.replace("- Name: q1\n", f"- Name: q1\n      {block}\n").replace("MinCount: 1\n", "MinCount: 10\n")
    text += "Clustermgtd: {CapacityBlocks: {DrainMinutes: 1.5}}\n"
    expected = BlockPolicy({key("q1", "c5"): CapacityReservationId("cr-0123")}, 90.0)
    assert policy_of(loads(text)).blocks == expected


def test_times_and_limits_are_taken_over() -> None:
    text = (EXAMPLES / "minimal.yaml").read_text().replace("slurm\n", "slurm\n  ScalingStrategy: best-effort\n", 1)
    text += (
        "Clustermgtd:\n"
        "  Slurm: {CloudRegAddrs: false}\n"
        "  Launch: {BatchMax: 7, TimeoutSeconds: 71, ReplaySeconds: 3}\n"
        "  Termination: {BatchMax: 8, RetrySeconds: 9, OrphanGraceSeconds: 40, MissingGraceSeconds: 30}\n"
    )
    policy = policy_of(loads(text))
    assert policy.scaling is ScalingStrategy.BEST_EFFORT
    assert (policy.launch_batch_max, policy.terminate_batch_max) == (7, 8)
    assert (policy.launch_timeout_s, policy.replay_interval_s, policy.terminate_retry_s) == (71, 3, 9)
    assert (policy.orphan_grace_s, policy.missing_grace_s) == (40, 30)
    assert policy.assigns_addresses


def test_limits_of_terminations_and_of_failed_boots_reach_the_policy() -> None:
    text = (EXAMPLES / "minimal.yaml").read_text() + (
        "Clustermgtd:\n"
        "  Termination: {InvoluntaryPerMinute: 7, InvoluntaryPercent: 12.5}\n"
        "  Protection: {FailuresMax: 4, BackoffSeconds: [60, 120]}\n"
    )
    policy = policy_of(loads(text))
    assert policy.terminations == TerminationPolicy(7, 12.5)
    assert policy.protection == ProtectionPolicy(4, (60.0, 120.0))
    with pytest.raises(SettingsError, match="must not become shorter with each failure"):
        loads(text.replace("[60, 120]", "[120, 60]"))


def test_templates_hold_the_queues_image_network_disk_and_tags(cluster: Settings) -> None:
    specs = template_specs(cluster, lambda k: f"join {k.queue}")
    general, gpu = specs[template("general", "c6i-small")], specs[template("gpu", "g5")]
    assert (general.image_id, gpu.image_id) == ("ami-0aaaabbbbccccdddd", "ami-0bbbbccccddddeeee")
    assert (general.user_data, general.key_name) == ("join general", "ops")
    assert general.root_volume.size_gib == 60
    assert (general.root_volume.iops, general.root_volume.throughput_mib_s) == (4000, 250)
    assert general.tags == (("cost-center", "4711"), ("project", "genomics"), ("queue", "general"))
    assert (general.assign_public_ip, gpu.assign_public_ip) == (None, False)
    assert specs[template("spot", "flexible")].instance_profile.endswith(":instance-profile/spot-nodes")
    assert general.detailed_monitoring


def test_a_compute_resources_tag_wins_over_its_queues_and_the_clusters() -> None:
    tag = "[{{Key: owner, Value: {}}}]"
    text = (EXAMPLES / "minimal.yaml").read_text() + f"Tags: {tag.format('cluster')}\n"
    text = text.replace("- Name: q1\n", f"- Name: q1\n      Tags: {tag.format('queue')}\n")
    specs = template_specs(loads(text), "")
    assert specs[template("q1", "c5")].tags == (("owner", "queue"),)
    text = text.replace("- Name: c5\n", f"- Name: c5\n          Tags: {tag.format('nodes')}\n")
    assert template_specs(loads(text), "")[template("q1", "c5")].tags == (("owner", "nodes"),)


def test_queues_without_an_image_are_named() -> None:
    text = (EXAMPLES / "minimal.yaml").read_text().replace("  CustomAmi: ami-0123456789abcdef0\n", "")
    with pytest.raises(SettingsError, match=r"SlurmQueues\[0\]\.Image\.CustomAmi: queue q1 has no image"):
        template_specs(loads(text), "")


def test_times_of_a_queue_are_its_own_or_the_clusters() -> None:
    cluster = load(EXAMPLES / "clustermgtd.yaml")
    day, test = cluster.times_of("day"), cluster.times_of("test")
    assert (day.scaledown_idletime_seconds, test.scaledown_idletime_seconds) == (300, 30)
    assert test.resume_timeout_seconds == cluster.resume_timeout_s == 900
    assert test.suspend_timeout_seconds == 90


def test_times_come_from_parallelclusters_keys_if_ours_are_not_set(cluster: Settings) -> None:
    assert (cluster.suspend_time_s, cluster.resume_timeout_s, cluster.suspend_timeout_s) == (300, 1200, 120)
    assert (cluster.cluster_name, cluster.clustermgtd.table_name) == ("cluster", "clustermgtd-cluster")


def test_waits_for_ill_instances_are_told_apart_and_null_is_for_ever() -> None:
    own = (
        "Clustermgtd:\n  Interruptions: {MaintenanceLeadMinutes: 45}\n"
        "  Health: {ImpairedSeconds: null, SlurmdStartSeconds: 7, RegistrationSeconds: 8, KeepFailedNodeMinutes: 2}\n"
    )
    policy = policy_of(loads((EXAMPLES / "minimal.yaml").read_text() + own))
    health = policy.health
    assert (policy.maintenance_lead_s, health.impaired_s, health.keep_s) == (2700.0, None, 120.0)
    assert health.boot_s[BootPhase.NODE_KNOWN] == 7.0
    assert health.boot_s[BootPhase.SLURMD_STARTED] == 8.0
