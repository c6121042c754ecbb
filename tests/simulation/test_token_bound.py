"""A job larger than EC2's burst: nothing is throttled, nothing given up, and time is what the limits take."""

from __future__ import annotations

from tests.simulation.token_bound import run_big_job


def test_fifteen_hundred_nodes_are_requested_in_the_time_that_ec2s_limits_take() -> None:
    outcome = run_big_job(1500, 3000, resume_timeout_s=1800.0)
    assert (outcome.instances, outcome.calls) == (1500, 6)
    assert (outcome.throttled, outcome.given_back, outcome.down) == (0, 0, 0)
    assert 250 <= outcome.last_accepted_s <= 250 * 1.05
