"""What the governor believes, as Prometheus sees it."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from clustermgtd.decide.budget import EC2_DEFAULTS, BucketName
from clustermgtd.reconcile.governor import Buckets, GovernedFleet
from clustermgtd.telemetry.metrics import Metrics
from tests.fakes.clock import FakeClock
from tests.fakes.fleet import FakeFleet


def test_buckets_are_read_at_each_scrape_and_throttles_counted() -> None:
    metrics, clock = Metrics(CollectorRegistry()), FakeClock()
    fleet = GovernedFleet(FakeFleet(), Buckets(EC2_DEFAULTS, clock), clock, page_size=500)
    metrics.governor.watch(fleet)

    def value(name: str, bucket: str = "launch-instances") -> float | None:
        return metrics.registry.get_sample_value(f"clustermgtd_bucket_{name}", {"bucket": bucket})

    assert (value("tokens"), value("refill_per_second"), value("throttles_total")) == (1000, 2, 0)
    fleet.buckets.spend(BucketName.LAUNCH_INSTANCES, 400)
    assert value("tokens") == 600
    fleet.buckets.throttled(BucketName.LAUNCH_INSTANCES, clock.monotonic())
    assert (value("tokens"), value("refill_per_second"), value("throttles_total")) == (0, 1, 1)
    assert value("paused_until_timestamp_seconds") == clock.now() + 4
    assert metrics.registry.get_sample_value("clustermgtd_launch_backlog_seconds") == 4
    assert metrics.registry.get_sample_value("clustermgtd_launches_waiting") == 0


def test_a_queue_that_is_gone_has_no_margin() -> None:
    metrics = Metrics(CollectorRegistry())
    metrics.governor.resume_margins({"q1": -780.0, "q2": 1000.0})
    metrics.governor.resume_margins({"q1": -780.0})
    name = "clustermgtd_resume_timeout_margin_seconds"
    assert metrics.registry.get_sample_value(name, {"queue": "q1"}) == -780
    assert metrics.registry.get_sample_value(name, {"queue": "q2"}) is None
