"""Prices choose among offerings, and a quota is told of before it is hit, on real Slurm."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.lab import Lab, running_lab

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

SCENARIO = Path(__file__).with_name("spot-market.yaml")


def events(lab: Lab, name: str) -> list[dict[str, Any]]:
    """Lines of the daemon's log."""
    lines = lab.folder.daemon_log.read_text().splitlines()
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return [entry for entry in found if entry["event"] == name]


@pytest.fixture
def market(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with running_lab(scenario=SCENARIO) as lab:
        yield lab


def test_spot_that_costs_too_much_is_not_launched_and_a_quota_is_told_of_ahead(market: Lab) -> None:
    (rejected,) = market.wait_until(lambda: events(market, "offerings_rejected"))
    assert [text.split()[0] for text in rejected["offerings"]] == ["c5.large"]
    # the lab serves no price list: that is said once and disturbs nobody
    market.wait_until(lambda: [entry["facts"] for entry in events(market, "facts_unreadable")] == ["on-demand-prices"])

    job = market.submit("true", "--partition=spot", "--nodes=2")
    market.wait_for_job(job)
    reservations = market.aws("ec2").describe_instances()["Reservations"]
    types = {instance["InstanceType"] for entry in reservations for instance in entry["Instances"]}
    assert types and "c5.large" not in types
    assert events(market, "launch_over_quota") == []

    market.submit("true", "--partition=spot", "--nodes=5")
    over = market.wait_until(lambda: events(market, "launch_over_quota"))[0]
    assert (over["quota_class"], over["market"], over["quota"]) == ("standard", "spot", 4.0)
    assert over["total"] == over["in_use"] + over["wanted"] > 4
