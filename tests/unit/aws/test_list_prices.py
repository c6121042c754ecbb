"""Prices that need no internet."""

from __future__ import annotations

import pytest

from clustermgtd.adapters.aws.list_prices import ListPrices
from clustermgtd.model.ids import InstanceType
from clustermgtd.settings.instance_types import v_cpus


@pytest.mark.parametrize(
    ("name", "dollars"),
    [
        ("c5.large", 0.085),
        ("c5.18xlarge", 3.06),
        ("m6i.32xlarge", 6.144),
        ("c7g.medium", 0.03625),
        ("r5.24xlarge", 6.048),
        ("t3.micro", 0.0104),
        ("hpc7a.12xlarge", 7.2),
        ("g5.12xlarge", 5.672),
        ("x2idn.32xlarge", 13.338),
    ],
)
def test_the_list_knows_common_types_to_half_a_per_cent(name: str, dollars: float) -> None:
    assert ListPrices("us-east-1", v_cpus).price(InstanceType(name)) == pytest.approx(dollars, rel=0.005)


@pytest.mark.parametrize("name", ["c99.large", "c5.nonsense", "c5", ""])
def test_a_type_that_nobody_knows_has_no_price(name: str) -> None:
    assert ListPrices("us-east-1", v_cpus).price(InstanceType(name)) is None


def test_it_is_the_list_of_one_region() -> None:
    assert ListPrices("us-east-1", v_cpus).is_local
    assert not ListPrices("eu-central-1", v_cpus).is_local
