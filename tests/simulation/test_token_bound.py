"""A job larger than EC2's burst: nothing is throttled, nothing given up, and time is what the limits take."""

from __future__ import annotations

from clustermgtd.model.ids import JobId
from tests.simulation.token_bound import run_big_job, run_jobs


def test_fifteen_hundred_nodes_are_requested_in_the_time_that_ec2s_limits_take() -> None:
    outcome = run_big_job(1500, 3000, resume_timeout_s=1800.0)
    assert (outcome.instances, outcome.calls) == (1500, 6)
    assert (outcome.throttled, outcome.given_back, outcome.down) == (0, 0, 0)
    assert 250 <= outcome.last_accepted_s <= 250 * 1.05


def test_a_small_job_of_the_same_queue_does_not_wait_for_the_whole_of_a_large_one() -> None:
    """2,000 nodes take 500 s at EC2's limits; jobs of two nodes come after 100 s and 300 s."""
    outcome = run_jobs(2010, [(0.0, 2000), (100.0, 2), (300.0, 2)])
    assert outcome.asked_s[JobId(2)] - 100 < 30
    assert outcome.asked_s[JobId(3)] - 300 < 30
    assert 500 <= outcome.asked_s[JobId(1)] <= 502 * 1.05
    assert (outcome.throttled, outcome.given_back) == (0, 0)


def test_a_stream_of_small_jobs_does_not_keep_a_large_one_of_the_same_queue_waiting() -> None:
    """Jobs of ten nodes ask for a quarter more than EC2 gives, and go on. Those pass the large job that came before as
    many instances were given as it asks for: 610 nodes, which take 305 s. No later one does."""
    stream = [(1.0 + 4.0 * n, 10) for n in range(170)]
    outcome = run_jobs(3200, [(0.0, 1500), *stream])
    alone_s, passed_s = 250, 305
    assert outcome.asked_s[JobId(1)] <= (alone_s + passed_s) * 1.1
    assert max(outcome.asked_s.values()) > outcome.asked_s[JobId(1)], "the stream went on"
    assert outcome.throttled == 0
