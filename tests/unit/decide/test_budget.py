"""Token buckets: what may be spent when, and what a throttle teaches."""

from __future__ import annotations

import math

import pytest

from clustermgtd.decide.budget import EC2_DEFAULTS, UNLIMITED, BucketName, Limit, TokenBucket, launch_wait_s

LIMIT = Limit(1000, 2)


def a_bucket(tokens: float = 1000, limit: Limit = LIMIT) -> TokenBucket:
    return TokenBucket(limit, tokens, at=0.0)


def test_a_full_bucket_lets_a_burst_pass_and_then_its_refill() -> None:
    bucket = TokenBucket.full(LIMIT, 0.0).spend(1000, 0.0)
    assert bucket.level(0.0) == 0
    assert bucket.wait_s(250, 0.0) == 125
    assert bucket.level(125.0) == 250
    assert bucket.level(9999.0) == 1000


def test_more_than_it_holds_is_there_when_it_is_full() -> None:
    assert a_bucket(0).wait_s(5000, 0.0) == 500
    assert a_bucket().spend(5000, 0.0).level(0.0) == -4000


def test_tokens_that_were_not_needed_come_back_but_do_not_overflow() -> None:
    assert a_bucket().spend(250, 0.0).spend(-100, 0.0).level(0.0) == 850
    assert a_bucket(990).spend(-100, 0.0).level(0.0) == 1000


@pytest.mark.parametrize(("count", "seconds"), [(1, 0), (1000, 0), (1500, 250), (4000, 1500), (10_000, 4500)])
def test_the_wait_for_many_instances_is_that_of_the_documented_limits(count: int, seconds: float) -> None:
    assert launch_wait_s(count, EC2_DEFAULTS[BucketName.LAUNCH_INSTANCES]) == seconds


def test_a_bucket_that_is_off_never_holds_back() -> None:
    bucket = TokenBucket.full(UNLIMITED, 0.0).spend(1e9, 0.0).throttled(0.0, 1.0)
    assert bucket.wait_s(1e9, 1.0) == 0
    assert bucket.backlog_s(1e9, 1.0) == 0
    assert bucket.level(1.0) == math.inf
    assert bucket.after([1.0, 2.0], 3.0) is bucket


class TestThrottles:
    def test_a_throttle_empties_halves_and_pauses(self) -> None:
        bucket = a_bucket(600).throttled(9.0, 10.0)
        assert bucket.level(10.0) == 0
        assert bucket.refill_at(10.0) == 1
        assert bucket.size_at(10.0) == 500
        assert bucket.paused_until == 14
        assert bucket.wait_s(1, 10.0) == 4

    def test_calls_that_began_before_it_was_known_say_nothing_new(self) -> None:
        once = a_bucket(600).throttled(9.0, 10.0)
        assert once.throttled(9.5, 11.0) is once
        assert once.throttled(10.0, 12.0) is once
        assert once.throttled(15.0, 16.0).share == pytest.approx((0.5 + 6 / 600) / 2)

    def test_it_never_gives_up_and_never_pauses_for_long(self) -> None:
        bucket = a_bucket()
        for second in range(1, 100):
            bucket = bucket.throttled(second, second + 0.5)
        assert bucket.share == 1 / 16
        assert bucket.paused_until == 99.5 + 32

    def test_trust_comes_back_slowly(self) -> None:
        bucket = a_bucket(0).throttled(1.0, 0.0)
        assert bucket.share_at(150.0) == 0.75
        assert bucket.share_at(300.0) == 1
        assert bucket.share_at(9000.0) == 1
        assert bucket.level(300.0) == pytest.approx(450)  # at 1/s, rising to 2/s
        assert bucket.level(400.0) == pytest.approx(650)

    def test_looking_often_makes_no_difference(self) -> None:
        bucket = watched = a_bucket(0).throttled(1.0, 0.0)
        for second in range(400):
            watched = watched.spend(0, float(second))
        assert watched.level(400.0) == pytest.approx(bucket.level(400.0))

    def test_debt_is_not_forgiven(self) -> None:
        assert a_bucket(-50).throttled(1.0, 0.0).level(0.0) == -50


class TestRestart:
    def test_what_was_launched_shortly_before_is_missing_from_the_bucket(self) -> None:
        bucket = TokenBucket.full(LIMIT, 100.0).after([0.0] * 600, 100.0)
        assert bucket.level(100.0) == 600

    def test_what_was_launched_long_ago_is_not(self) -> None:
        assert TokenBucket.full(LIMIT, 9000.0).after([0.0] * 600, 9000.0).level(9000.0) == 1000

    def test_a_clock_ahead_of_ours_does_not_matter(self) -> None:
        assert TokenBucket.full(LIMIT, 0.0).after([5.0] * 600, 0.0).level(0.0) == 1000


class TestOtherLimits:
    def test_a_smaller_bucket_keeps_what_fits(self) -> None:
        assert a_bucket(600).with_limit(Limit(100, 1), 0.0).level(0.0) == 100

    def test_one_that_was_off_begins_full(self) -> None:
        assert TokenBucket.full(UNLIMITED, 0.0).with_limit(LIMIT, 0.0).level(0.0) == 1000
        assert a_bucket(0).with_limit(UNLIMITED, 0.0).level(0.0) == math.inf
