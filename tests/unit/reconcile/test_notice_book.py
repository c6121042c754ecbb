"""The book of notices: what is true now, however often and in whatever order it was told."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from clustermgtd.model.claim import ClaimState
from clustermgtd.model.ids import InstanceId, LaunchToken
from clustermgtd.model.instance import Instance, InstanceState
from clustermgtd.model.notice import Notice, NoticeAction, NoticeKind, NoticeSource
from clustermgtd.reconcile.notice_book import (
    MATTERS_MAX,
    RESERVATIONS_MAX,
    STRANGER_KEPT_S,
    STRANGERS_MAX,
    UNSTORED_MAX,
    NoticeBook,
    Offered,
)
from tests.builders import a_claim, a_launch, an_instance
from tests.fakes.clock import FakeClock

A, B = InstanceId("i-a"), InstanceId("i-b")
K = NoticeKind


def a_notice(
    kind: NoticeKind = K.SPOT_INTERRUPTION, *instances: InstanceId, at: float = 100.0, **facts: object
) -> Notice:
    facts = {"source": NoticeSource.QUEUE, "instances": instances or (A,), "id": f"{kind}-{at}"} | facts
    return Notice(kind=kind, announced_at=at, **facts)  # type: ignore[arg-type]


class Desk:
    """A book over instances that a test shows."""

    def __init__(self, *shown: str) -> None:
        self.clock = FakeClock()
        self.wakes = 0
        self.stored: list[str] = []
        self.book = NoticeBook(self.clock, self._wake)
        self.instances: dict[InstanceId, Instance] = {InstanceId(id): an_instance(id) for id in shown}
        self.view()
        self.wakes = 0

    def _wake(self) -> None:
        self.wakes += 1

    def offer(self, *notices: Notice, name: str = "") -> Offered:
        return self.book.offer(notices, lambda: self.stored.append(name))

    def view(self, **claims: tuple[str, ClaimState]) -> dict[str, list[str]]:
        """What a tick sees: by instance, the notices' kinds. `claims`: node=(instance, state)."""
        launch = a_launch(*(a_claim(node, state, id) for node, (id, state) in claims.items()))
        seen = self.book.view(self.instances, {LaunchToken("t-1"): launch} if claims else {})
        return {id: [notice.kind for notice in notices] for id, notices in seen.items()}


def test_a_notice_about_a_live_instance_is_seen_and_wakes_the_loop() -> None:
    desk = Desk("i-a", "i-b")
    assert desk.offer(a_notice()) is Offered.TAKEN
    assert desk.wakes == 1
    assert desk.view() == {"i-a": ["spot-interruption"]}


def test_a_repeated_notice_wakes_nobody_and_waits_for_the_tick_all_the_same() -> None:
    desk = Desk("i-a")
    desk.offer(a_notice(), name="first")
    assert desk.offer(a_notice(), name="second") is Offered.REPEATED
    assert desk.wakes == 1
    for on_stored in desk.book.drain():
        on_stored()
    assert desk.stored == ["first", "second"]


def test_the_newest_state_is_known_in_whatever_order_the_states_come() -> None:
    states = [
        a_notice(K.STATE_CHANGE, state=InstanceState.RUNNING, at=90.0, is_over=True),
        a_notice(K.STATE_CHANGE, state=InstanceState.SHUTTING_DOWN, at=100.0),
        a_notice(K.STATE_CHANGE, state=InstanceState.TERMINATED, at=100.0),
    ]
    for order in itertools.permutations([*states, states[1]]):
        desk = Desk("i-a")
        for notice in order:
            desk.offer(notice)
        ((notice,),) = desk.book.view(desk.instances, {}).values()
        assert notice.state is InstanceState.TERMINATED


def test_what_was_called_off_is_not_revived_by_late_news() -> None:
    for order in itertools.permutations([a_notice(at=100.0), a_notice(at=101.0, is_over=True)]):
        desk = Desk("i-a")
        for notice in order:
            desk.offer(notice)
        assert desk.view() == {}


def test_matters_of_one_kind_are_apart() -> None:
    desk = Desk("i-a")
    for matter in ("one", "two"):
        desk.offer(a_notice(K.SCHEDULED_EVENT, matter=matter))
    desk.offer(a_notice(K.SCHEDULED_EVENT, matter="one", at=200.0, is_over=True))
    ((notice,),) = desk.book.view(desk.instances, {}).values()
    assert notice.matter == "two"


@pytest.mark.parametrize("state", ["shutting-down", "terminated"])
def test_a_notice_is_forgotten_when_its_instance_is_seen_gone(state: str) -> None:
    desk = Desk("i-a")
    desk.offer(a_notice())
    desk.instances[A] = an_instance("i-a", state)
    assert desk.view() == {}
    desk.instances[A] = an_instance("i-a")
    assert desk.view() == {}


def test_an_instance_that_ec2_does_not_show_yet_is_ours_if_a_claim_names_it() -> None:
    desk = Desk()
    assert desk.view(n=("i-a", ClaimState.LAUNCHED)) == {}
    desk.offer(a_notice())
    assert desk.wakes == 1
    assert desk.view(n=("i-a", ClaimState.LAUNCHED)) == {"i-a": ["spot-interruption"]}


def test_a_strangers_notice_wakes_nobody_and_is_forgotten_after_a_while() -> None:
    desk = Desk("i-b")
    desk.offer(a_notice())
    assert (desk.wakes, desk.view()) == (0, {})
    desk.clock.move(STRANGER_KEPT_S + 1)
    assert desk.view() == {}
    desk.instances[A] = an_instance("i-a")
    assert desk.view() == {}


def test_a_stranger_who_turns_out_to_be_ours_is_not_forgotten() -> None:
    desk = Desk("i-b")
    desk.offer(a_notice())
    desk.clock.move(STRANGER_KEPT_S / 2)
    desk.view()
    desk.instances[A] = an_instance("i-a")
    with capture_logs() as lines:
        assert desk.view() == {"i-a": ["spot-interruption"]}
        desk.book.drain()
    assert [line["instances"] for line in lines] == [["i-a"]]


def test_a_state_change_that_we_asked_for_wakes_nobody() -> None:
    desk = Desk("i-a", "i-b")
    desk.view(n1=("i-a", ClaimState.TERMINATING), n2=("i-b", ClaimState.READY))
    desk.offer(a_notice(K.STATE_CHANGE, A, state=InstanceState.SHUTTING_DOWN))
    assert desk.wakes == 0
    desk.offer(a_notice(K.STATE_CHANGE, B, state=InstanceState.SHUTTING_DOWN))
    assert desk.wakes == 1


def test_the_end_of_a_reservation_concerns_whoever_runs_in_it() -> None:
    desk = Desk("i-b")
    desk.instances[A] = replace(an_instance("i-a"), reservation="cr-1")
    desk.instances[InstanceId("i-c")] = replace(an_instance("i-c", "terminated"), reservation="cr-1")
    ends = desk.clock.now() + 600
    desk.offer(replace(a_notice(K.RESERVATION_ENDING), instances=(), reservation="cr-1", effective_at=ends))
    desk.offer(a_notice(K.IMPAIRED, A))
    assert desk.view() == {"i-a": ["impaired", "reservation-ending"]}
    desk.clock.move(5000)
    assert desk.view() == {"i-a": ["impaired"]}


def a_status(kind: NoticeKind, at: float, **facts: object) -> Notice:
    return a_notice(kind, at=at, source=NoticeSource.STATUS, **facts)


def test_the_status_of_an_instance_replaces_what_was_known_of_it_by_status() -> None:
    desk = Desk("i-a", "i-b")
    desk.offer(a_notice(K.REBALANCE, A))
    impaired, event = a_status(K.IMPAIRED, 100.0, matter="system"), a_status(K.SCHEDULED_EVENT, 100.0, matter="e")
    desk.book.take_statuses({A: (impaired, event), B: ()})
    assert desk.view() == {"i-a": ["impaired", "rebalance", "scheduled-event"]}
    assert desk.wakes == 3
    later = [replace(notice, announced_at=160.0) for notice in (impaired, event)]
    desk.book.take_statuses({A: tuple(later), B: ()})
    assert desk.wakes == 3
    ((first, *_),) = desk.book.view(desk.instances, {}).values()
    assert (first.kind, first.announced_at) == (K.IMPAIRED, 100.0)
    desk.book.take_statuses({A: (replace(event, effective_at=7.0),)})
    assert desk.wakes == 4
    desk.book.take_statuses({A: ()})
    assert desk.view() == {"i-a": ["rebalance"]}


def test_an_instance_that_the_reading_left_out_keeps_its_status() -> None:
    desk = Desk("i-a")
    desk.book.take_statuses({A: (a_status(K.IMPAIRED, 100.0),)})
    desk.book.take_statuses({})
    assert desk.view() == {"i-a": ["impaired"]}


def test_running_instances_are_those_to_ask_about() -> None:
    desk = Desk("i-a")
    desk.instances[B] = an_instance("i-b", "pending")
    desk.view()
    assert desk.book.running == {"i-a"}


def test_a_failed_tick_leaves_messages_to_the_next_one_in_order() -> None:
    desk = Desk("i-a")
    desk.offer(a_notice(), name="first")
    unstored = desk.book.drain()
    desk.offer(a_notice(at=200.0), name="second")
    desk.book.put_back(unstored)
    assert desk.stored == []
    for on_stored in desk.book.drain():
        on_stored()
    assert desk.stored == ["first", "second"]
    assert len(desk.book) == 0


def test_messages_about_strangers_wake_the_loop_before_there_are_too_many() -> None:
    desk = Desk()
    for number in range(UNSTORED_MAX):
        assert desk.offer(a_notice(K.REBALANCE, InstanceId(f"i-{number % 7}"))) is not Offered.REFUSED
        assert bool(desk.wakes) == (number + 1 >= UNSTORED_MAX // 2)
    assert desk.offer(a_notice()) is Offered.REFUSED
    desk.book.drain()
    assert desk.offer(a_notice()) is Offered.TAKEN


def test_memory_is_bounded() -> None:
    desk = Desk("i-a")
    for number in range(STRANGERS_MAX + 10):
        desk.offer(a_notice(K.REBALANCE, InstanceId(f"i-{number}")))
        desk.book.drain()
    assert len(desk.book._strangers) == STRANGERS_MAX
    for number in range(RESERVATIONS_MAX + 10):
        desk.offer(replace(a_notice(K.RESERVATION_ENDING), instances=(), reservation=f"cr-{number}"))
    assert len(desk.book._reservations) == RESERVATIONS_MAX
    for number in range(MATTERS_MAX + 10):
        desk.offer(a_notice(K.SCHEDULED_EVENT, A, matter=str(number), at=float(number)))
    kept = [int(notice.matter) for notice in desk.book.view(desk.instances, {})[A]]
    assert sorted(kept) == list(range(10, MATTERS_MAX + 10))


def test_news_is_logged_once_for_all_instances_that_it_names() -> None:
    desk = Desk("i-a", "i-b")
    for id in (A, B):
        desk.offer(a_notice(K.SPOT_INTERRUPTION, id, action=NoticeAction.TERMINATE))
        desk.offer(a_notice(K.SPOT_INTERRUPTION, id, action=NoticeAction.TERMINATE))
    desk.offer(a_notice(K.SPOT_INTERRUPTION, InstanceId("i-stranger")))
    with capture_logs() as lines:
        desk.book.drain()
        desk.book.drain()
    assert lines == [
        {
            "event": "notices_received",
            "log_level": "info",
            "kind": "spot-interruption",
            "action": "terminate",
            "source": "queue",
            "instances": ["i-a", "i-b"],
            "count": 2,
        }
    ]
