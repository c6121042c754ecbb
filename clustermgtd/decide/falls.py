"""Compute resources that went on to a lower capacity tier, and when they try the higher ones again.

Without this, a market that has a little now and then would be asked by every job, and jobs would change over and over
between instances that are taken back soon and those that are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from clustermgtd.model.claim import Launch
from clustermgtd.model.ids import LaunchToken
from clustermgtd.model.offering_memory import Fall
from clustermgtd.model.policy import ComputeResourceKey, Policy

DOUBLINGS_MAX = 3
"""The time is at most eight times as long as the first one."""


def standing_falls(
    falls: tuple[Fall, ...], launches: Mapping[LaunchToken, Launch], policy: Policy, now: float
) -> tuple[Fall, ...]:
    """Those that are not disproved, forgotten, or of a configuration that is no more."""
    return tuple(
        fall
        for fall in falls
        if now < fall.until + policy.bans.forget_s
        and _configuration(fall, policy) == fall.configuration
        and not any(_disproves(launch, fall) for launch in launches.values())
    )


def _configuration(fall: Fall, policy: Policy) -> str | None:
    compute_resource = policy.compute_resources.get(ComputeResourceKey(fall.queue, fall.compute_resource))
    return None if compute_resource is None else compute_resource.configuration


def _disproves(launch: Launch, fall: Fall) -> bool:
    """A higher tier gave as many instances at once as it was said not to have."""
    request, outcome = launch.request, launch.outcome
    return (
        outcome is not None
        and (request.queue, request.compute_resource) == (fall.queue, fall.compute_resource)
        and request.tier < fall.tier
        and outcome.at > fall.since
        and sum(count for _, count in outcome.obtained) >= fall.count
    )


def with_falls(falls: tuple[Fall, ...], new: Iterable[Fall], policy: Policy) -> tuple[Fall, ...]:
    """All of them, after further demands went on to a lower tier. The new ones have no end yet.

    One that holds already only learns of the smaller size, so that it ends whatever is asked for meanwhile.
    """
    known = {_of(fall): fall for fall in falls}
    for fall in new:
        old = known.get(_of(fall))
        if old is not None and old.is_active(fall.since):
            known[_of(fall)] = replace(old, count=min(old.count, fall.count))
            continue
        level = 0 if old is None else min(old.level + 1, DOUBLINGS_MAX)
        known[_of(fall)] = replace(fall, level=level, until=fall.since + policy.tier_return_s * 2**level)
    return tuple(known[key] for key in sorted(known))


def _of(fall: Fall) -> tuple[str, str, int]:
    return fall.queue, fall.compute_resource, fall.tier
