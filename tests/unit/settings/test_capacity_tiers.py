"""`CapacityTiers`: which tiers a compute resource has, and what cannot be in them."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from clustermgtd.model.claim import AllocationStrategy, LaunchTemplate
from clustermgtd.model.ids import ComputeResourceName, QueueName
from clustermgtd.model.offering import Market
from clustermgtd.model.policy import CapacityTier, ComputeResourceKey
from clustermgtd.model.template import CapacityReservation, PlacementGroup, TemplateKey
from clustermgtd.settings import Settings, SettingsError, loads
from clustermgtd.settings.policy import build_policy, template_keys, template_specs
from clustermgtd.settings.slurm_conf import PROGRAMS, SlurmSite, render

CLUSTER = """
Region: us-east-1
Image: {Os: rocky9, CustomAmi: ami-0123456789abcdef0}
HeadNode: {InstanceType: c5.large, Networking: {SubnetId: subnet-0000000000000000a}}
Scheduling:
  Scheduler: slurm
  SlurmQueues:
    - Name: spot
      CapacityType: SPOT
      AllocationStrategy: price-capacity-optimized
      Networking: {SubnetIds: [subnet-0000000000000000a]}
      ComputeResources:
        - {Name: cr, Instances: [{InstanceType: c5.large}, {InstanceType: c5d.large}], SpotPrice: 0.05}
    - Name: od
      Networking: {SubnetIds: [subnet-0000000000000000a]}
      ComputeResources:
        - {Name: cr, InstanceType: c5.large}
        - {Name: big, InstanceType: c5.xlarge}
"""
SPOT_CR = ComputeResourceKey(QueueName("spot"), ComputeResourceName("cr"))
OD_CR = ComputeResourceKey(QueueName("od"), ComputeResourceName("cr"))
OD_BIG = ComputeResourceKey(QueueName("od"), ComputeResourceName("big"))


def cluster(own: str = "") -> Settings:
    return loads(CLUSTER + "Clustermgtd:\n" + textwrap.indent(own or "{}", "  ") + "\n")


def tiers(own: str, key: ComputeResourceKey) -> tuple[CapacityTier, ...]:
    settings = cluster(own)
    templates = {key: LaunchTemplate(f"lt-{key.tier}", "1") for key in template_keys(settings)}
    return build_policy(settings, templates).compute_resources[key].tiers


def problems(own: str) -> str:
    with pytest.raises(SettingsError) as caught:
        cluster(own)
    return str(caught.value)


SPOT_THEN_ON_DEMAND = "[{MaxWaitSeconds: 60}, {CapacityType: ONDEMAND}]"


def test_without_tiers_there_is_the_one_that_the_queue_describes() -> None:
    (tier,) = tiers("", SPOT_CR)
    assert (tier.market, tier.max_price, tier.max_wait_s) == (Market.SPOT, 0.05, 0.0)
    assert tier.template == LaunchTemplate("lt-0", "1")


def test_a_tier_takes_over_what_it_does_not_say() -> None:
    spot, on_demand = tiers(f"CapacityTiers: {SPOT_THEN_ON_DEMAND}", SPOT_CR)
    assert (spot.market, spot.max_wait_s, spot.max_price) == (Market.SPOT, 60.0, 0.05)
    assert spot.strategy is AllocationStrategy.PRICE_CAPACITY_OPTIMIZED
    assert [o.instance_type for o in on_demand.offerings] == ["c5.large", "c5d.large"]
    assert {o.market for o in on_demand.offerings} == {Market.ON_DEMAND}
    assert on_demand.template == LaunchTemplate("lt-1", "1")


def test_what_is_for_the_queues_capacity_type_does_not_hold_in_a_tier_of_another() -> None:
    on_demand = tiers(f"CapacityTiers: {SPOT_THEN_ON_DEMAND}", SPOT_CR)[1]
    assert (on_demand.strategy, on_demand.max_price) == (AllocationStrategy.LOWEST_PRICE, None)


def test_the_nearest_list_wins_whole_and_an_empty_one_is_none() -> None:
    own = """\
CapacityTiers: [{CapacityType: SPOT}, {CapacityType: ONDEMAND}]
Queues:
  od:
    CapacityTiers: []
    ComputeResources:
      big: {CapacityTiers: [{SubnetIds: [subnet-0000000000000000b]}, {}, {CapacityType: SPOT}]}
"""
    assert [tier.market for tier in tiers(own, SPOT_CR)] == [Market.SPOT, Market.ON_DEMAND]
    assert [tier.market for tier in tiers(own, OD_CR)] == [Market.ON_DEMAND]
    assert [tier.market for tier in tiers(own, OD_BIG)] == [Market.ON_DEMAND, Market.ON_DEMAND, Market.SPOT]
    assert {o.subnet for o in tiers(own, OD_BIG)[0].offerings} == {"subnet-0000000000000000b"}


def test_a_tier_that_asks_for_the_same_as_one_before_is_left_out() -> None:
    own = f"CapacityTiers: {SPOT_THEN_ON_DEMAND}"
    assert [(tier.market, tier.max_wait_s) for tier in tiers(own, OD_CR)] == [(Market.ON_DEMAND, 60.0)]
    assert len(template_specs(cluster(own), "")) == 4


def test_a_reservation_comes_first_and_everybodys_capacity_after_it() -> None:
    own = """\
Queues:
  od:
    ComputeResources:
      cr:
        CapacityTiers:
          - {CapacityReservationTarget: {CapacityReservationId: cr-1}}
          - {CapacityType: SPOT, InstanceTypes: [c5a.large, c5.large], SpotPrice: 0.04}
          - {}
"""
    reserved, spot, plain = tiers(own, OD_CR)
    assert (reserved.pool, spot.pool, plain.pool) == ("cr-1", "", "")
    assert ([o.instance_type for o in spot.offerings], spot.max_price) == (["c5a.large", "c5.large"], 0.04)
    specs = template_specs(cluster(own), "")
    of_tiers = [specs[TemplateKey(OD_CR, number)] for number in range(3)]
    assert [spec.reservation for spec in of_tiers] == [CapacityReservation("cr-1"), None, None]
    assert [spec.market for spec in of_tiers] == [Market.ON_DEMAND, Market.SPOT, Market.ON_DEMAND]
    assert of_tiers[1].instance_types == ("c5a.large", "c5.large")
    assert TemplateKey(OD_BIG, 1) not in specs


def test_a_placement_group_is_shared_by_the_tiers_that_have_it() -> None:
    own = """\
Queues:
  od:
    CapacityTiers:
      - PlacementGroup: {Enabled: true}
      - {CapacityType: SPOT, PlacementGroup: {Enabled: true}}
      - {SubnetIds: [subnet-0000000000000000b]}
"""
    group = PlacementGroup("cluster-od-cr", is_managed=True)
    specs = template_specs(cluster(own), "")
    assert [specs[TemplateKey(OD_CR, number)].placement_group for number in range(3)] == [group, group, None]


def test_the_configuration_changes_with_a_tier_and_not_with_its_wait() -> None:
    def configuration(own: str) -> str:
        settings = cluster(own)
        templates = dict.fromkeys(template_keys(settings), LaunchTemplate("lt", "1"))
        return build_policy(settings, templates).compute_resources[SPOT_CR].configuration

    waits, hurries = (f"CapacityTiers: [{{MaxWaitSeconds: {s}}}, {{CapacityType: ONDEMAND}}]" for s in (60, 0))
    assert configuration(waits) == configuration(hurries) != configuration("")


def test_slurm_is_told_the_types_of_all_tiers_and_the_memory_of_the_least() -> None:
    own = "Queues: {od: {ComputeResources: {cr: {CapacityTiers: [{}, {InstanceTypes: [c5.large, m5.large]}]}}}}"
    text = render(cluster(own), SlurmSite({name: Path("/opt") / name for name in PROGRAMS}))
    (line,) = [line for line in text.splitlines() if line.startswith("NodeName=od-dy-cr")]
    assert "Features=dynamic,c5.large,m5.large,cr" in line
    assert f"RealMemory={int(4096 * 0.95)}" in line


@pytest.mark.parametrize(
    ("tier", "where", "says"),
    [
        ("{InstanceTypes: [c5.large, c5.large]}", "CapacityTiers[1].InstanceTypes[1]", "is also InstanceTypes[0]"),
        ("{InstanceTypes: [c5.9xlarge]}", "CapacityTiers[1].InstanceTypes[0]", "differ in CPUs, GPUs or architecture"),
        ("{InstanceTypes: [zz9.large]}", "CapacityTiers[1].InstanceTypes[0]", "are not known"),
        ("{SpotPrice: 0.1}", "CapacityTiers[1].SpotPrice", "needs CapacityType: SPOT"),
        (
            "{CapacityType: SPOT, CapacityReservationTarget: {CapacityReservationId: cr-1}}",
            "CapacityTiers[1].CapacityReservationTarget",
            "never run in a capacity reservation",
        ),
        ("{CapacityType: CAPACITY_BLOCK}", "CapacityTiers[1].CapacityReservationTarget", "needs a CapacityRes"),
        (
            "{AllocationStrategy: capacity-optimized}",
            "CapacityTiers[1].AllocationStrategy",
            "is for CapacityType: SPOT",
        ),
        ("{MaxWaitSeconds: -1}", "CapacityTiers[1].MaxWaitSeconds", "at least 0"),
        ("{Types: [c5.large]}", "CapacityTiers[1].Types", "InstanceTypes"),
        (
            "{SubnetIds: [subnet-0000000000000000a, subnet-0000000000000000b], PlacementGroup: {Enabled: true}}",
            "CapacityTiers[1].SubnetIds",
            "which is in one zone",
        ),
    ],
)
def test_what_cannot_be_is_said_where_it_is_written(tier: str, where: str, says: str) -> None:
    own = f"Queues: {{od: {{ComputeResources: {{cr: {{CapacityTiers: [{{}}, {tier}]}}}}}}}}"
    text = problems(own)
    assert f"Clustermgtd.Queues.od.ComputeResources.cr.{where}" in text
    assert says in text


def test_a_global_mistake_is_said_once() -> None:
    text = problems("CapacityTiers: [{}, {InstanceTypes: [c5.large, c5.9xlarge]}]")
    assert text.count("CapacityTiers[1].InstanceTypes[1]") == 1


def test_names_that_do_not_exist_are_found() -> None:
    text = problems("Queues: {od: {ComputeResources: {small: {CapacityTiers: []}}}}")
    assert "Clustermgtd.Queues.od.ComputeResources.small" in text
    assert "cr, big" in text


def test_there_are_at_most_eight() -> None:
    assert "at most 8" in problems(f"CapacityTiers: [{', '.join(['{}'] * 9)}]")
