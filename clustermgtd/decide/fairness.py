"""Whose turn it is when launches of several queues wait for the same tokens: fair queueing by virtual finish times."""

from __future__ import annotations

from dataclasses import dataclass, field

from clustermgtd.model.ids import LaunchToken, QueueName


@dataclass(frozen=True, slots=True, order=True)
class Turn:
    """A launch in the line; the least one is next."""

    finish: float
    """Virtual time at which it would have all its tokens if the waiting queues shared the bucket equally."""
    number: int
    """Order of arrival."""
    launch: LaunchToken = field(compare=False)
    queue: QueueName = field(compare=False)
    count: int = field(compare=False)


class FairLine:
    """Launches that wait.

    Within a queue in the order of arrival. Between queues the one that has had fewer tokens: a small launch passes
    a big one of another queue, but only until its queue has had as many tokens as the big one waits for.
    """

    def __init__(self) -> None:
        self._turns: dict[LaunchToken, Turn] = {}
        self._finish: dict[QueueName, float] = {}
        self._virtual_now = 0.0
        self._number = 0

    def __len__(self) -> int:
        return len(self._turns)

    @property
    def launches(self) -> frozenset[LaunchToken]:
        return frozenset(self._turns)

    @property
    def count(self) -> int:
        """Instances that all of them wait for."""
        return sum(turn.count for turn in self._turns.values())

    def join(self, launch: LaunchToken, queue: QueueName, count: int) -> None:
        """Stand in line, behind the queue's own launches."""
        assert launch not in self._turns, launch
        start = max(self._virtual_now, self._finish.get(queue, 0.0))
        self._number += 1
        self._finish[queue] = start + count
        self._turns[launch] = Turn(start + count, self._number, launch, queue, count)

    def first(self) -> LaunchToken | None:
        """Whose turn it is."""
        return min(self._turns.values()).launch if self._turns else None

    def served(self, launch: LaunchToken) -> None:
        """It got its tokens, which counts against its queue."""
        turn = self._turns.pop(launch)
        self._virtual_now = max(self._virtual_now, turn.finish - turn.count)
        self._reset_if_empty()

    def left(self, launch: LaunchToken) -> None:
        """It went away without any; what it was counted for is taken from its queue's account again."""
        turn = self._turns.pop(launch)
        self._finish[turn.queue] -= turn.count
        for other in list(self._turns.values()):
            if other.queue == turn.queue and other.number > turn.number:
                moved = Turn(other.finish - turn.count, other.number, other.launch, other.queue, other.count)
                self._turns[other.launch] = moved
        self._reset_if_empty()

    def _reset_if_empty(self) -> None:
        """Nobody waits: there is nothing to share, so nothing is held against anybody."""
        if not self._turns:
            self._finish.clear()
            self._virtual_now = 0.0
