"""`clustermgtctl prices`: what the nodes of a cluster.yaml cost."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

from clustermgtd.cli import facts_command
from clustermgtd.cli.aws_facts import policy_of, price_facts
from clustermgtd.cli.command import Help, Subparsers
from clustermgtd.cli.facts_command import Answer, Question
from clustermgtd.cli.table import UNKNOWN, number, table
from clustermgtd.decide.price_order import PriceChoice, choices_of
from clustermgtd.model.offering import Market, Offering
from clustermgtd.model.policy import ComputeResourcePolicy, Policy
from clustermgtd.model.price import Prices

_HELP = Help(
    name="prices",
    summary="US dollars per hour of each offering, compute resource and the whole cluster",
    description="""\
Show what one instance of each offering (instance type x subnet) costs per hour on demand and as spot, in US
dollars, in the order in which the daemon asks for them, capacity tier by tier (from 0); which spot offerings it
leaves out; and what each compute resource and the whole cluster cost per hour if every node ran. Prices are those of
instances only. A spot instance whose price is not known counts with the on-demand price, its upper bound.

Reads the Price List API and EC2's spot price history, unless --offline: then the built-in table serves, which
holds approximate on-demand prices of us-east-1.""",
    examples="""\
examples:
  clustermgtctl prices cluster.yaml
  clustermgtctl prices cluster.yaml --offline
  clustermgtctl prices cluster.yaml --output json | jq .hourly_max

exit status: 0, 1 if the file is not accepted or something could not be read, 2 for a wrong command line""",
)
_PRICE_DIGITS = 4


@dataclass(frozen=True, slots=True)
class _Cost:
    """One compute resource."""

    resource: ComputeResourcePolicy
    nodes: int
    choices: tuple[PriceChoice, ...]
    """By capacity tier."""
    cheapest: float | None
    """US dollars per instance-hour; None if no price is known."""
    dearest: float | None


def register(subparsers: Subparsers) -> None:
    facts_command.register(subparsers, _HELP, "contact nothing; use the built-in table", _answer)


def _answer(question: Question) -> Answer:
    facts = price_facts(question.settings, online=question.online)
    costs = _costs(policy_of(question.settings), facts.prices)
    return Answer((_json if question.as_json else _text)(costs, facts.prices), facts.unread)


def _costs(policy: Policy, prices: Prices) -> list[_Cost]:
    nodes = Counter(placed.key for placed in policy.nodes.values())
    costs = []
    for key, resource in policy.compute_resources.items():
        choices = choices_of(resource, prices)
        accepted = (offering for choice in choices for offering in choice.accepted)
        known = [price for offering in accepted if (price := _at_most(offering, prices)) is not None]
        costs.append(_Cost(resource, nodes[key], choices, min(known, default=None), max(known, default=None)))
    return costs


def _at_most(offering: Offering, prices: Prices) -> float | None:
    price = prices.of(offering)
    if price is None and offering.market is Market.SPOT:
        return prices.on_demand.get(offering.instance_type)
    return price


def _hourly(costs: list[_Cost]) -> tuple[float, float, int]:
    """Least and most if every node ran, and the nodes without a known price."""
    least = sum(cost.nodes * cost.cheapest for cost in costs if cost.cheapest is not None)
    most = sum(cost.nodes * cost.dearest for cost in costs if cost.dearest is not None)
    return least, most, sum(cost.nodes for cost in costs if cost.cheapest is None)


def _text(costs: list[_Cost], prices: Prices) -> str:
    headings = ("QUEUE", "RESOURCE", "NODES", "TIER", "TYPE", "SUBNET", "MARKET", "ON-DEMAND", "SPOT", "NOTE")
    rows = [
        [
            cost.resource.key.queue,
            cost.resource.key.name,
            str(cost.nodes),
            str(tier),
            offering.instance_type,
            offering.subnet,
            offering.market,
            number(prices.on_demand.get(offering.instance_type), _PRICE_DIGITS),
            number(prices.spot.get((offering.instance_type, offering.subnet)), _PRICE_DIGITS),
            _note(offering, cost, prices, is_rejected=offering in choice.rejected),
        ]
        for cost in costs
        for tier, choice in enumerate(cost.choices)
        for offering in (*choice.accepted, *choice.rejected)
    ]
    lines = [table(headings, rows, right=("NODES", "TIER", "ON-DEMAND", "SPOT")), ""]
    lines += [
        f"{cost.resource.key.queue} {cost.resource.key.name}: {_range(cost.nodes, cost.cheapest, cost.dearest)}"
        for cost in costs
    ]
    least, most, unpriced = _hourly(costs)
    tail = f", without {unpriced} nodes of unknown price" if unpriced else ""
    lines.append(f"cluster: {_dollars(least, most)} per hour if every node ran{tail}")
    if prices.approximate:
        lines.append("~ price of us-east-1: other Regions differ")
    return "\n".join(lines)


def _note(offering: Offering, cost: _Cost, prices: Prices, *, is_rejected: bool) -> str:
    price = _at_most(offering, prices)
    notes = ["left out: costs too much"] if is_rejected else []
    if not notes and price is not None and cost.cheapest != cost.dearest:
        notes = [word for word, bound in (("cheapest", cost.cheapest), ("dearest", cost.dearest)) if price == bound]
    return ", ".join([*notes, *(["~"] if offering.instance_type in prices.approximate else [])])


def _range(nodes: int, cheapest: float | None, dearest: float | None) -> str:
    if cheapest is None or dearest is None:
        return f"{nodes} nodes, price {UNKNOWN}"
    return f"{nodes} nodes, {_dollars(nodes * cheapest, nodes * dearest)} per hour"


def _dollars(least: float, most: float) -> str:
    return f"${least:,.2f}" if least == most else f"${least:,.2f} to ${most:,.2f}"


def _json(costs: list[_Cost], prices: Prices) -> str:
    least, most, unpriced = _hourly(costs)
    resources = [
        {
            "queue": cost.resource.key.queue,
            "compute_resource": cost.resource.key.name,
            "nodes": cost.nodes,
            "cheapest": cost.cheapest,
            "dearest": cost.dearest,
            "offerings": [
                {
                    "tier": tier,
                    "instance_type": offering.instance_type,
                    "subnet": offering.subnet,
                    "market": offering.market.value,
                    "on_demand": prices.on_demand.get(offering.instance_type),
                    "spot": prices.spot.get((offering.instance_type, offering.subnet)),
                    "is_approximate": offering.instance_type in prices.approximate,
                    "is_rejected": offering in choice.rejected,
                }
                for tier, choice in enumerate(cost.choices)
                for offering in (*choice.accepted, *choice.rejected)
            ],
        }
        for cost in costs
    ]
    totals = {"hourly_min": round(least, 6), "hourly_max": round(most, 6), "nodes_of_unknown_price": unpriced}
    return json.dumps({"compute_resources": resources, **totals}, indent=2)
