"""ResumeTimeout against EC2's limits and a boot."""

from __future__ import annotations

from pathlib import Path

from clustermgtd.decide.budget import EC2_DEFAULTS, UNLIMITED, BucketName, Limit
from clustermgtd.settings import Settings, loads
from clustermgtd.settings.resume_margin import resume_margins, warnings

MINIMAL = (Path(__file__).parents[3] / "docs" / "examples" / "minimal.yaml").read_text()


def a_cluster(count: int, own: str = "") -> Settings:
    return loads(MINIMAL.replace("MaxCount: 10", f"MaxCount: {count}") + f"\nClustermgtd:\n  ClusterName: big\n{own}")


def test_a_queue_within_the_burst_has_only_the_boot_to_wait_for() -> None:
    (margin,) = resume_margins(a_cluster(1000))
    assert (margin.nodes, margin.wait_s, margin.margin_s) == (1000, 0, 1800 - 180)
    assert warnings(a_cluster(1000)) == []


def test_the_warning_says_the_numbers() -> None:
    (text,) = warnings(a_cluster(4000, "  ResumeTimeoutSeconds: 900\n"))
    for words in ("4,000 nodes", "1,000 at once", "then 2 a second", "1,500 s", "1,680 s in all", "is 900 s"):
        assert words in text


def test_limits_that_aws_raised_are_written_down() -> None:
    raised = "  ResumeTimeoutSeconds: 900\n  Governor:\n    LaunchInstances: {Size: 3000, RefillPerSecond: 6}\n"
    (margin,) = resume_margins(a_cluster(4000, raised))
    assert margin.wait_s == 1000 / 6
    assert warnings(a_cluster(4000, raised)) == []


def test_a_bucket_that_is_off_needs_no_time() -> None:
    (margin,) = resume_margins(a_cluster(10_000, "  Governor: {Enabled: false}\n"))
    assert margin.wait_s == 0


def test_buckets_are_ec2s_unless_the_file_says_otherwise() -> None:
    assert a_cluster(1).clustermgtd.governor.limits == EC2_DEFAULTS
    own = "  Governor:\n    LaunchRequests: {Size: 10}\n    TerminateRequests: {Enabled: false}\n"
    limits = a_cluster(1, own).clustermgtd.governor.limits
    assert limits[BucketName.LAUNCH_REQUESTS] == Limit(10, 5)
    assert limits[BucketName.TERMINATE_REQUESTS] == UNLIMITED


def test_the_waits_of_capacity_tiers_count() -> None:
    tiers = "  CapacityTiers: [{MaxWaitSeconds: 500}, {CapacityType: SPOT, MaxWaitSeconds: 100}]\n"
    (margin,) = resume_margins(a_cluster(10, f"  ResumeTimeoutSeconds: 700\n{tiers}"))
    assert (margin.tiers_s, margin.margin_s) == (600, 700 - 600 - 180)
    (text,) = warnings(a_cluster(10, f"  ResumeTimeoutSeconds: 700\n{tiers}"))
    for words in ("MaxWaitSeconds are 600 s", "780 s in all", "is 700 s"):
        assert words in text


def test_a_hold_that_slurm_ends_before_its_time_is_warned_of() -> None:
    gangs = "  ResumeTimeoutSeconds: 700\n  Gangs: {KeepAboveNodes: 9, HoldSeconds: 600}\n"
    (text,) = warnings(a_cluster(10, gangs))
    for words in ("HoldSeconds", "600 s", "180 s", "is 700 s"):
        assert words in text
    assert warnings(a_cluster(9, gangs)) == [], "no job of the queue has so many nodes"
    assert warnings(a_cluster(10, gangs.replace("700", "780"))) == []
