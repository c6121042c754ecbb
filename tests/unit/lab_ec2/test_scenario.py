"""Scenario files."""

from __future__ import annotations

from pathlib import Path

import pytest

from clustermgtd.errors import ConfigurationError
from clustermgtd.lab.ec2.buckets import REQUEST_BUCKETS, RESOURCE_BUCKETS, Bucket
from clustermgtd.lab.ec2.catalog import type_spec
from clustermgtd.lab.ec2.scenario import Scenario, SubnetSpec, load_scenario

FULL = """
region: eu-west-1
pools:
  - {type: c5.large, zone: eu-west-1a, market: spot, capacity: 3, price: 0.02}
  - {type: p5.48xlarge, zone: eu-west-1a, offered: false}
default_capacity: 100
subnets:
  subnet-1: {zone: eu-west-1a, cidr: 10.0.0.0/24, free_addresses: 5}
quotas: {on-demand: 64}
resource_buckets:
  RunInstances: {size: 20, refill_per_s: 1}
  TerminateInstances:
boot_delay_s: 90
faults: {reply_lost_rate: 0.1}
"""


def test_a_scenario_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text(FULL)
    scenario = load_scenario(path)
    assert scenario == load_scenario(FULL)
    assert scenario.pools == {("c5.large", "eu-west-1a", "spot"): 3}
    assert scenario.spot_price("c5.large", "eu-west-1a") == 0.02
    assert scenario.not_offered == frozenset({("p5.48xlarge", "eu-west-1a")})
    assert scenario.subnets == {"subnet-1": SubnetSpec("eu-west-1a", "10.0.0.0/24", 5)}
    assert scenario.zones() == ("eu-west-1a",)
    assert scenario.request_buckets == REQUEST_BUCKETS
    assert scenario.resource_buckets["RunInstances"] == Bucket(20, 1)
    assert "TerminateInstances" not in scenario.resource_buckets
    assert (scenario.boot_delay_s, scenario.faults.reply_lost_rate) == (90, 0.1)


def test_an_empty_scenario_is_the_default_one() -> None:
    assert load_scenario("") == Scenario()


def test_the_default_buckets_are_ec2s() -> None:
    assert REQUEST_BUCKETS["mutating"] == Bucket(50, 5)
    assert RESOURCE_BUCKETS["RunInstances"] == Bucket(1000, 2)


def test_the_unlimited_profile_has_no_buckets_but_those_that_are_named() -> None:
    scenario = load_scenario("{buckets: unlimited, request_buckets: {mutating: {size: 2, refill_per_s: 1}}}")
    assert scenario.request_buckets == {"mutating": Bucket(2, 1)}
    assert scenario.resource_buckets == {}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("boot_delay: 1", "boot_delay: Extra inputs"),
        ("boot_delay_s: -1", "boot_delay_s: Input should be greater"),
        ("pools: [{type: c5, zone: us-east-1a}]", "pools.0.type"),
        ("pools: [{type: c5.large, zone: here}]", "pools.0.zone"),
        ("subnets: {s: {zone: us-east-1a, cidr: 10.0.0.0/8}}", "subnets.s.cidr"),
        ("request_buckets: {Everything: {size: 1, refill_per_s: 1}}", "no bucket is called Everything"),
        ("faults: {reply_lost_rate: 2}", "faults.reply_lost_rate"),
        ("[", "scenario: while parsing"),
        ("[1]", "scenario: "),
    ],
)
def test_what_is_wrong_is_named(text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_scenario(text)
    assert complaint in str(caught.value)


def test_a_file_that_is_not_there_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        load_scenario(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("name", "vcpus", "memory_gib"),
    [
        ("c5.large", 2, 4),
        ("c5.9xlarge", 36, 72),
        ("m6i.4xlarge", 16, 64),
        ("r5.2xlarge", 8, 64),
        ("c7g.medium", 1, 2),
        ("t3.small", 2, 2),
        ("m7i.metal-48xl", 192, 768),
    ],
)
def test_a_type_is_known_by_its_name(name: str, vcpus: int, memory_gib: int) -> None:
    spec = type_spec(name)
    assert spec is not None
    assert (spec.vcpus, spec.memory_mib) == (vcpus, memory_gib * 1024)


@pytest.mark.parametrize("name", ["", "c5", "c5.huge", "large", "c5.large.x"])
def test_what_is_no_type_is_none(name: str) -> None:
    assert type_spec(name) is None
