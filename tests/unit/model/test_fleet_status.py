"""Which requests are taken, and what a queue's status is."""

from __future__ import annotations

import pytest

from clustermgtd.model.fleet_status import (
    CLUSTER,
    PROGRESS,
    REQUESTS,
    STOPS,
    FleetRecord,
    FleetRequestError,
    FleetStatus,
    ScopeStatus,
    StopOptions,
    advanced,
    requested,
)
from clustermgtd.model.ids import QueueName

Q1, Q2 = QueueName("q1"), QueueName("q2")
S = FleetStatus


def a_record(**statuses: FleetStatus) -> FleetRecord:
    """`cluster` is the whole cluster."""
    record = FleetRecord()
    for name, status in statuses.items():
        record = record.with_scope(ScopeStatus(QueueName("" if name == "cluster" else name), status, 1000.0))
    return record


def wanted(status: FleetStatus, queue: QueueName = CLUSTER, **options: bool) -> ScopeStatus:
    return ScopeStatus(queue, status, 2000.0, StopOptions(**options), "operator@head")


def test_every_status_is_in_both_tables_and_operators_ask_only_for_requests() -> None:
    assert set(REQUESTS) == set(PROGRESS) == set(S)
    assert {status for asked in REQUESTS.values() for status in asked} == {S.STOP_REQUESTED, S.START_REQUESTED}
    assert not {S.STOP_REQUESTED, S.START_REQUESTED} & {status for made in PROGRESS.values() for status in made}


def test_from_every_status_both_a_stop_and_a_start_can_be_reached() -> None:
    for goal in (S.STOPPED, S.RUNNING):
        reached = {goal}
        while True:
            more = {s for s in S if (REQUESTS[s] | PROGRESS[s]) & reached} | reached
            if more == reached:
                break
            reached = more
        assert reached == set(S)


@pytest.mark.parametrize("status", list(S))
@pytest.mark.parametrize("request_", [S.STOP_REQUESTED, S.START_REQUESTED])
def test_a_request_is_taken_as_the_table_says_and_refused_with_the_status(
    status: FleetStatus, request_: FleetStatus
) -> None:
    record = a_record(cluster=status)
    if request_ in REQUESTS[status]:
        assert requested(record, wanted(request_)).scope() == wanted(request_)
    else:
        verb = "stopped" if request_ is S.STOP_REQUESTED else "started"
        with pytest.raises(FleetRequestError, match=f"the cluster cannot be {verb}: it is {status} already"):
            requested(record, wanted(request_))


@pytest.mark.parametrize("status", sorted(STOPS))
def test_a_queue_of_a_stopped_cluster_takes_no_request(status: FleetStatus) -> None:
    with pytest.raises(FleetRequestError, match=f"the whole cluster is {status}; start it first"):
        requested(a_record(cluster=status, q1=S.STOPPED), wanted(S.START_REQUESTED, Q1))


def test_a_stop_may_be_hardened_while_it_is_under_way() -> None:
    soft = requested(FleetRecord(), wanted(S.STOP_REQUESTED, Q1, when_idle=True))
    hard = requested(soft, wanted(S.STOP_REQUESTED, Q1, kills_jobs=True))
    assert hard.stop_options(Q1) == StopOptions(kills_jobs=True)


def test_of_two_stops_the_harder_one_counts() -> None:
    record = requested(FleetRecord(), wanted(S.STOP_REQUESTED, Q1))
    record = requested(record, wanted(S.STOP_REQUESTED, CLUSTER, when_idle=True))
    assert record.stop_options(Q1) == StopOptions()
    assert record.stop_options(Q2) == StopOptions(when_idle=True)


def test_a_queue_is_stopped_by_itself_or_with_the_cluster() -> None:
    assert not FleetRecord().is_stopped(Q1)
    assert a_record(q1=S.STOPPING).is_stopped(Q1)
    assert not a_record(q1=S.STOPPING).is_stopped(Q2)
    assert a_record(cluster=S.STOPPED).is_stopped(Q2)
    assert not a_record(cluster=S.STARTING).is_stopped(Q2)
    assert a_record(cluster=S.STARTING, q1=S.STOPPED).is_stopped(Q1)


def test_a_queue_shows_the_clusters_status_where_that_counts() -> None:
    assert a_record(cluster=S.STOPPING, q1=S.STOPPED).effective(Q1) is S.STOPPING
    assert a_record(cluster=S.RUNNING, q1=S.STOPPED).effective(Q1) is S.STOPPED
    assert a_record(cluster=S.PROTECTED, q1=S.PROTECTED).effective(Q2) is S.RUNNING


def test_an_edge_that_the_table_lacks_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="RUNNING -> STOPPED"):
        advanced(a_record().scope(), S.STOPPED, 1.0)
