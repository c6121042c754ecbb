"""Whose turn it is among launches of several queues and several jobs."""

from __future__ import annotations

from clustermgtd.decide.fairness import FairLine
from clustermgtd.model.ids import JobId, LaunchToken, QueueName


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


def test_launches_of_one_job_keep_their_order() -> None:
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


def join(line: FairLine, token: str, count: int, *jobs: int) -> None:
    line.join(LaunchToken(token), QueueName("q1"), count, tuple(JobId(job) for job in jobs))


def a_large_job(launches: int = 16, size: int = 250) -> FairLine:
    line = FairLine()
    for n in range(launches):
        join(line, f"large-{n}", size, 1)
    return line


def test_a_small_job_does_not_wait_for_all_launches_of_a_large_one_before_it() -> None:
    line = a_large_job()
    assert served(line, 3) == ["large-0", "large-1", "large-2"]
    join(line, "small", 2, 2)
    assert line.first() == "small"


def test_a_stream_of_small_jobs_passes_a_large_one_only_until_as_many_tokens_were_given_as_it_asks_for() -> None:
    """A job of 4,000 nodes among jobs of 10 that come twice as fast as tokens do."""
    line = a_large_job()
    given, larges = 0, 0
    given_before: dict[str, int] = {}
    while larges < 16:
        for _ in range(2):
            number = len(given_before) + 2
            given_before[f"small-{number}"] = given
            join(line, f"small-{number}", 10, number)
        (turn,) = served(line, 1)
        if turn.startswith("large"):
            larges, given = larges + 1, given + 250
        else:
            given += 10
            assert given_before[turn] < 250 * (larges + 1), f"{turn} passed launch {larges}"
    assert given > 4000


def test_a_launch_of_a_job_that_goes_away_moves_the_job_up_and_nobody_else() -> None:
    line = a_large_job(3, 10)
    join(line, "small", 15, 2)
    line.left(LaunchToken("large-0"))
    assert served(line) == ["large-1", "small", "large-2"]
