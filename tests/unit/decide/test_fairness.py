"""Whose turn it is among launches of several queues."""

from __future__ import annotations

from clustermgtd.decide.fairness import FairLine
from clustermgtd.model.ids import LaunchToken, QueueName


def a_line(*launches: tuple[str, str, int]) -> FairLine:
    line = FairLine()
    for token, queue, count in launches:
        line.join(LaunchToken(token), QueueName(queue), count)
    return line


def served(line: FairLine, count: int = 1000) -> list[str]:
    order: list[str] = []
    while len(order) < count and (first := line.first()) is not None:
        line.served(first)
        order.append(first)
    return order


def test_a_queue_keeps_its_own_order() -> None:
    assert served(a_line(("a", "q1", 250), ("b", "q1", 1), ("c", "q1", 10))) == ["a", "b", "c"]


def test_a_small_launch_passes_a_big_one_of_another_queue() -> None:
    assert served(a_line(("big", "q1", 1000), ("small", "q2", 1))) == ["small", "big"]


def test_small_ones_pass_a_big_one_only_until_their_queue_had_as_much() -> None:
    line = a_line(("big", "q1", 5))
    order = []
    for n in range(20):
        line.join(LaunchToken(f"s{n}"), QueueName("q2"), 1)
        order += served(line, 1)
    assert order.index("big") <= 5


def test_two_queues_with_much_to_do_take_turns() -> None:
    line = a_line(*((f"a{n}", "q1", 250) for n in range(4)), *((f"b{n}", "q2", 250) for n in range(4)))
    assert served(line) == ["a0", "b0", "a1", "b1", "a2", "b2", "a3", "b3"]


def test_a_queue_that_comes_late_owes_nothing_and_is_owed_nothing() -> None:
    line = a_line(*((f"a{n}", "q1", 250) for n in range(4)))
    assert served(line, 2) == ["a0", "a1"]
    for n in range(3):
        line.join(LaunchToken(f"b{n}"), QueueName("q2"), 250)
    assert served(line) == ["b0", "a2", "b1", "a3", "b2"]


def test_a_launch_that_goes_away_is_not_counted_for_its_queue() -> None:
    line = a_line(("a0", "q1", 1000), ("a1", "q1", 10), ("b0", "q2", 20))
    assert line.first() == "b0"
    line.left(LaunchToken("a0"))
    assert (line.first(), line.count, len(line)) == ("a1", 30, 2)


def test_an_empty_line_holds_nothing_against_anybody() -> None:
    line = a_line(("a", "q1", 1000))
    assert served(line) == ["a"]
    line.join(LaunchToken("c"), QueueName("q1"), 10)
    line.join(LaunchToken("d"), QueueName("q2"), 20)
    assert served(line) == ["c", "d"]
    assert line.first() is None
