"""The metrics' promises: names, sentences, closed labels, and how many series there can be."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from clustermgtd.errors import ConfigurationError, FencedError, TransientError
from clustermgtd.model.action import Action, LiftRequeueHold, Reason, RecordLaunch, TerminateInstances
from clustermgtd.model.claim import ClaimState
from clustermgtd.model.failure import FailureKind
from clustermgtd.model.ids import InstanceId, JobId, QueueName
from clustermgtd.model.instance import InstanceState
from clustermgtd.model.node import NodeBase, NodeFlag
from clustermgtd.model.offering import Market
from clustermgtd.telemetry import labels
from clustermgtd.telemetry.metrics import Metrics
from tests.builders import a_launch, a_node


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


def value(metrics: Metrics, name: str, **of: str) -> float | None:
    return metrics.registry.get_sample_value(f"clustermgtd_{name}", of)


def test_names_say_what_and_in_which_unit(metrics: Metrics) -> None:
    for declaration in metrics.declarations:
        assert re.fullmatch(r"clustermgtd(_[a-z]+)+", declaration.name), declaration.name
        assert (declaration.kind == "counter") == declaration.name.endswith("_total"), declaration.name
        if declaration.kind == "histogram":
            assert declaration.name.endswith("_seconds"), declaration.name
            assert list(declaration.buckets) == sorted(set(declaration.buckets))


def test_help_is_a_sentence(metrics: Metrics) -> None:
    for declaration in metrics.declarations:
        assert re.fullmatch(r"[A-Z].*[^.]\.", declaration.help), declaration.name


def test_no_label_names_a_thing_of_which_there_are_many(metrics: Metrics) -> None:
    for declaration in metrics.declarations:
        for label in declaration.labels:
            assert label.name not in {"node", "nodes", "job", "job_id", "instance", "instance_id", "user", "request_id"}
            assert label.values or label.bound, f"{declaration.name}: {label.name} has no bound"


def test_one_registry_holds_one_daemon() -> None:
    registry = CollectorRegistry()
    Metrics(registry)
    with pytest.raises(ValueError, match="Duplicated"):
        Metrics(registry)


def test_series_do_not_grow_with_the_cluster(metrics: Metrics) -> None:
    metrics.use_queues([QueueName("q1")])

    def count_everything(number: int) -> None:
        metrics.instance_launched(QueueName(f"q{number}"), Market.SPOT)
        metrics.instance_ended(QueueName(f"q{number}"), Market.SPOT)
        metrics.boot_phase(f"phase-{number}", 1.0)
        metrics.action(TerminateInstances((InstanceId(f"i-{number}"),), Reason.ORPHAN), labels.ActionOutcome.OK)

    for number in range(1, 10):
        count_everything(number)
    before = generate_latest(metrics.registry).count(b"\n")
    for number in range(10, 500):
        count_everything(number)
    assert generate_latest(metrics.registry).count(b"\n") == before


def test_a_queue_that_left_the_configuration_counts_as_other(metrics: Metrics) -> None:
    metrics.use_queues([QueueName("q1")])
    metrics.instance_launched(QueueName("q1"), Market.SPOT)
    metrics.instance_launched(QueueName("old"), Market.SPOT)
    assert value(metrics, "instances_launched_total", queue="q1", market="spot") == 1
    assert value(metrics, "instances_launched_total", queue="other", market="spot") == 1


def test_every_action_has_its_word() -> None:
    assert set(labels.ACTION_KINDS) == set(get_args(Action))
    assert sorted(labels.ACTION_KINDS.values()) == sorted(labels.ActionKind)


def test_an_action_is_counted_with_its_reason(metrics: Metrics) -> None:
    metrics.action(LiftRequeueHold(JobId(7)), labels.ActionOutcome.FAILED)
    metrics.action(RecordLaunch(a_launch()), labels.ActionOutcome.OK)
    assert value(metrics, "actions_total", action="lift-requeue-hold", reason="job-freed", outcome="failed") == 1
    assert value(metrics, "actions_total", action="record-launch", reason="none", outcome="ok") == 1


def test_what_may_be_alerted_on_exists_before_it_happens(metrics: Metrics) -> None:
    assert value(metrics, "ticks_total", outcome="failed") == 0
    assert value(metrics, "launch_errors_total", kind="capacity", market="spot") == 0
    assert value(metrics, "hook_requests_rejected_total", reason="malformed") == 0
    assert value(metrics, "last_successful_tick_timestamp_seconds") == 0


def test_a_gauge_by_state_forgets_what_is_gone(metrics: Metrics) -> None:
    metrics.instances({InstanceState.RUNNING: 3})
    metrics.claims({ClaimState.READY: 3})
    metrics.nodes({labels.NodeClass.IDLE: 3})
    metrics.instances({InstanceState.PENDING: 1})
    metrics.claims({})
    metrics.nodes({})
    assert value(metrics, "instances", state="running") == 0
    assert value(metrics, "instances", state="pending") == 1
    assert value(metrics, "claims", state="READY") == 0
    assert value(metrics, "nodes", state="idle") == 0


def test_the_rest_is_counted_where_it_belongs(metrics: Metrics) -> None:
    metrics.started("1.2.3")
    metrics.term_began(4)
    metrics.watch_inbox(lambda: 5)
    metrics.watch_spool(lambda: 6)
    metrics.gate_waiting(7)
    metrics.gate_answer(labels.GateReason.READY)
    metrics.hook_request(labels.HookKind.RESUME, labels.HookSource.SPOOL)
    metrics.hook_rejected(labels.HookRejection.BUSY)
    metrics.launch_error(FailureKind.QUOTA, Market.ON_DEMAND)
    metrics.boot_phase("slurmd-started", 20.0)
    assert value(metrics, "build_info", version="1.2.3") == 1
    assert value(metrics, "term_epoch") == 4
    assert value(metrics, "inbox_hints") == 5
    assert value(metrics, "spool_files") == 6
    assert value(metrics, "start_gate_waiting") == 7
    assert value(metrics, "start_gate_answers_total", reason="ready") == 1
    assert value(metrics, "hook_requests_total", kind="resume", source="spool") == 1
    assert value(metrics, "hook_requests_rejected_total", reason="busy") == 1
    assert value(metrics, "launch_errors_total", kind="quota", market="on-demand") == 1
    assert value(metrics, "boot_phase_seconds_bucket", phase="slurmd-started", le="20.0") == 1
    assert value(metrics, "boot_phase_seconds_bucket", phase="slurmd-started", le="15.0") == 0


def test_a_spool_folder_that_cannot_be_read_does_not_cost_the_other_metrics(metrics: Metrics, tmp_path: Path) -> None:
    metrics.watch_spool(lambda: len(list((tmp_path / "gone").iterdir())))
    assert b"clustermgtd_spool_files NaN" in generate_latest(metrics.registry)


def test_readiness_is_told_apart_up_to_half_an_hour(metrics: Metrics) -> None:
    metrics.node_ready(Market.SPOT, 1700.0)
    assert value(metrics, "node_ready_seconds_bucket", market="spot", le="1800.0") == 1
    assert value(metrics, "node_ready_seconds_bucket", market="spot", le="900.0") == 0


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (None, "ok"),
        (TransientError("x"), "TransientError"),
        (FencedError("x"), "FencedError"),
        (ConfigurationError("x"), "ConfigurationError"),
        (ValueError("x"), "unexpected"),
        (KeyboardInterrupt(), "unexpected"),
    ],
)
def test_a_calls_end_is_the_most_telling_class_of_the_tree(error: BaseException | None, word: str) -> None:
    assert labels.call_outcome(error) == word
    assert word in labels.CALL_OUTCOME.values


def test_an_error_class_outside_the_tree_adds_no_series() -> None:
    class HomeMade(TransientError):
        """Not in errors.py."""

    assert labels.call_outcome(HomeMade("x")) == "unexpected"


@pytest.mark.parametrize(
    ("base", "flags", "expected"),
    [
        (NodeBase.IDLE, [NodeFlag.CLOUD, NodeFlag.POWERED_DOWN], "powered-down"),
        (NodeBase.IDLE, [NodeFlag.CLOUD], "idle"),
        (NodeBase.ALLOCATED, [NodeFlag.POWERING_UP, NodeFlag.NOT_RESPONDING], "powering-up"),
        (NodeBase.ALLOCATED, [NodeFlag.POWER_UP], "powering-up"),
        (NodeBase.ALLOCATED, [], "allocated"),
        (NodeBase.MIXED, [NodeFlag.DRAIN], "draining"),
        (NodeBase.IDLE, [NodeFlag.POWER_DOWN], "draining"),
        (NodeBase.IDLE, [NodeFlag.POWERING_DOWN], "powering-down"),
        (NodeBase.DOWN, [NodeFlag.POWERED_DOWN], "down"),
        (NodeBase.IDLE, [NodeFlag.NOT_RESPONDING], "not-responding"),
        (NodeBase.IDLE, [NodeFlag.COMPLETING], "allocated"),
        (NodeBase.FUTURE, [], "other"),
    ],
)
def test_a_node_is_in_one_class(base: NodeBase, flags: list[NodeFlag], expected: str) -> None:
    assert labels.node_class(a_node("n1", "+".join((base, *flags)))) == expected


def test_codes_that_the_table_lacks_are_counted(metrics: Metrics) -> None:
    metrics.unknown_error_code()
    assert value(metrics, "aws_unknown_error_codes_total") == 1
