"""vCPUs by quota."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clustermgtd.decide.vcpus import at_most, in_use, needed, over
from clustermgtd.model.ids import InstanceType, SubnetId
from clustermgtd.model.offering import Market, Offering
from clustermgtd.model.quota import QuotaClass, QuotaKey, quota_class
from tests.builders import a_policy, an_instance

STANDARD = QuotaKey(QuotaClass.STANDARD, Market.ON_DEMAND)
STANDARD_SPOT = QuotaKey(QuotaClass.STANDARD, Market.SPOT)
HPC = QuotaKey(QuotaClass.HPC, Market.ON_DEMAND)
SUBNET = SubnetId("subnet-1")


def v_cpus_of(name: InstanceType) -> int:
    return {"c5.large": 2, "m5.xlarge": 4, "hpc7a.12xlarge": 24}.get(name, 0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("c5.large", QuotaClass.STANDARD),
        ("t3a.micro", QuotaClass.STANDARD),
        ("im4gn.large", QuotaClass.STANDARD),
        ("hpc7a.12xlarge", QuotaClass.HPC),
        ("h1.2xlarge", QuotaClass.STANDARD),
        ("g6e.xlarge", QuotaClass.G_VT),
        ("gr6.4xlarge", QuotaClass.G_VT),
        ("vt1.3xlarge", QuotaClass.G_VT),
        ("p5en.48xlarge", QuotaClass.P),
        ("inf2.xlarge", QuotaClass.INF),
        ("trn1n.32xlarge", QuotaClass.TRN),
        ("dl1.24xlarge", QuotaClass.DL),
        ("d3.xlarge", QuotaClass.STANDARD),
        ("x2gd.large", QuotaClass.X),
        ("f2.6xlarge", QuotaClass.F),
        ("u-6tb1.metal", QuotaClass.HIGH_MEMORY),
        ("u7i-12tb.224xlarge", QuotaClass.HIGH_MEMORY),
        ("mac2.metal", None),
        ("", None),
    ],
)
def test_a_types_name_tells_its_class(name: str, expected: QuotaClass | None) -> None:
    assert quota_class(InstanceType(name)) is expected


def test_what_runs_counts_by_class_and_market() -> None:
    running = replace(an_instance("i-1"), instance_type=InstanceType("c5.large"))
    instances = [
        running,
        replace(running, is_spot=True),
        replace(running, instance_type=InstanceType("hpc7a.12xlarge")),
        replace(running, instance_type=InstanceType("")),
        replace(an_instance("i-2", "shutting-down"), instance_type=InstanceType("c5.large")),
        replace(an_instance("i-3", "stopped"), instance_type=InstanceType("c5.large")),
    ]
    assert in_use(instances, v_cpus_of) == {STANDARD: 2, STANDARD_SPOT: 2, HPC: 24}


def test_a_launch_counts_with_its_largest_type_in_each_quota_and_a_capacity_block_in_none() -> None:
    offerings = [
        Offering(InstanceType("c5.large"), SUBNET),
        Offering(InstanceType("m5.xlarge"), SUBNET),
        Offering(InstanceType("c5.large"), SUBNET, Market.SPOT),
        Offering(InstanceType("p5.48xlarge"), SUBNET, Market.CAPACITY_BLOCK),
    ]
    assert at_most(offerings, 10, v_cpus_of) == {STANDARD: 40, STANDARD_SPOT: 20}


def test_a_cluster_needs_what_all_of_its_nodes_need() -> None:
    assert needed(a_policy(), v_cpus_of) == {STANDARD: 20}


def test_only_a_known_quota_can_be_exceeded() -> None:
    wanted = {STANDARD: 10, STANDARD_SPOT: 10, HPC: 10}
    assert over(wanted, {STANDARD: 91, STANDARD_SPOT: 90}, {STANDARD: 100, STANDARD_SPOT: 100}) == {STANDARD: 101}
