"""Whose turn it is when launches wait for the same tokens: fair between queues, and between the jobs of a queue."""

from __future__ import annotations

from dataclasses import dataclass, field

from clustermgtd.model.ids import JobId, LaunchToken, QueueName


@dataclass(frozen=True, slots=True, order=True)
class Turn:
    """A launch in the line; the least one of a queue is the queue's next."""

    finish: float
    """Tokens that its queue had when its job came, and those that its job asked for up to and with this launch."""
    number: int
    """Order of arrival."""
    launch: LaunchToken = field(compare=False)
    jobs: tuple[JobId, ...] = field(compare=False)
    count: int = field(compare=False)


@dataclass(slots=True)
class _Queue:
    start: float
    """Virtual time up to which it has had its tokens."""
    turns: dict[LaunchToken, Turn] = field(default_factory=dict)
    finish: dict[tuple[JobId, ...], float] = field(default_factory=dict)
    """Of the newest launch, by the jobs that launches are for."""
    served: float = 0.0
    """Tokens it has had since it last had nobody in the line."""


class FairLine:
    """Launches that wait.

    Between queues the one that has had fewer tokens is next: a small launch passes a big one of another queue, but
    only until its queue has had as many tokens as the big one waits for.

    Within a queue the launches of one job keep their order, and each job comes in the order of the tokens that were
    given when it arrived plus its own. So a small job passes the later launches of a large one, and once the queue has
    had as many tokens as a launch's job asked for, nobody who comes then passes it: neither waits for ever.
    """

    def __init__(self) -> None:
        self._queues: dict[QueueName, _Queue] = {}
        self._queue_of: dict[LaunchToken, QueueName] = {}
        self._virtual_now = 0.0
        self._number = 0

    def __len__(self) -> int:
        return len(self._queue_of)

    @property
    def launches(self) -> frozenset[LaunchToken]:
        return frozenset(self._queue_of)

    @property
    def count(self) -> int:
        """Instances that all of them wait for."""
        return sum(turn.count for queue in self._queues.values() for turn in queue.turns.values())

    def join(self, launch: LaunchToken, queue: QueueName, count: int, jobs: tuple[JobId, ...] = ()) -> None:
        """Stand in line, behind the other launches for the same jobs."""
        assert launch not in self._queue_of, launch
        line = self._queues.setdefault(queue, _Queue(self._virtual_now))
        if not line.turns:
            line.start = max(self._virtual_now, line.start)
            line.finish.clear()
            line.served = 0.0
        finish = max(line.served, line.finish.get(jobs, 0.0)) + count
        self._number += 1
        line.finish[jobs] = finish
        line.turns[launch] = Turn(finish, self._number, launch, jobs, count)
        self._queue_of[launch] = queue

    def first(self) -> LaunchToken | None:
        """Whose turn it is."""
        heads = ((line.start, min(line.turns.values())) for line in self._queues.values() if line.turns)
        _, _, launch = min(((start + head.count, head.number, head.launch) for start, head in heads), default=_NOBODY)
        return launch

    def served(self, launch: LaunchToken) -> None:
        """It got its tokens, which counts against its queue."""
        line = self._queues[self._queue_of.pop(launch)]
        turn = line.turns.pop(launch)
        self._virtual_now = max(self._virtual_now, line.start)
        line.start += turn.count
        line.served += turn.count
        self._reset_if_empty()

    def left(self, launch: LaunchToken) -> None:
        """It went away without any; those behind it for the same jobs move up."""
        line = self._queues[self._queue_of.pop(launch)]
        turn = line.turns.pop(launch)
        line.finish[turn.jobs] -= turn.count
        for other in list(line.turns.values()):
            if other.jobs == turn.jobs and other.number > turn.number:
                line.turns[other.launch] = Turn(
                    other.finish - turn.count, other.number, other.launch, other.jobs, other.count
                )
        self._reset_if_empty()

    def _reset_if_empty(self) -> None:
        """Nobody waits: there is nothing to share, so nothing is held against anybody."""
        if not self._queue_of:
            self._queues.clear()
            self._virtual_now = 0.0


_NOBODY: tuple[float, int, LaunchToken | None] = (0.0, 0, None)
