"""What `scontrol -o show nodes` and `squeue` print, turned into values. Strict: what is not understood is said.

Field names and their order are the same in releases 22.05 to 26.05 as far as they are read here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from sys import intern
from typing import NamedTuple

from clustermgtd.errors import IncompleteObservationError
from clustermgtd.model import hostlist
from clustermgtd.model.ids import JobId, NodeName, QueueName
from clustermgtd.model.job import Job
from clustermgtd.model.node import Node, NodeBase, NodeFlag
from clustermgtd.model.partition import PartitionState

JOB_FORMAT = (
    "JobID:0|,State:0|,RestartCnt:0|,Partition:0|,UserName:0|,Account:0|,PriorityLong:0|,StartTime:0|,NodeList:0|,"
    "Reason:0"
)
"""For `squeue -O`; width 0 is the value in full, whatever its length. The reason, free text at times, comes last."""
_JOB_FIELDS = JOB_FORMAT.count(",") + 1
_HOLD_HIDING_REASONS = frozenset({"None", "PartitionDown", "PartitionInactive"})
"""What a job shows while the hold after its requeue runs, instead of BeginTime: nothing until the next scheduling pass,
up to three seconds, and its partition's state as long as that is not UP."""
_AFTER_ADMIN_COMMENT = (" SystemComment=", " Comment=", " StdErr=", " Power=")
"""One of these follows it in a job's record."""
_NONE = frozenset({"", "(null)", "N/A", "None", "None assigned"})
_SYMBOLS = "*~#!%$@^-+"
_REASON_END = re.compile(r" \[[^\s\[\]@]*@[^\]]*\]")
_AFTER_REASON = (" Comment=", " Extra=", " InstanceId=", " InstanceType=", " ReservationName=")
_NAME = "NodeName="


class NodeFields(NamedTuple):
    """What Slurm says of a node, as scontrol prints it; partitions with commas between them."""

    name: str
    state: str
    partitions: str
    address: str
    hostname: str
    reason: str
    instance_id: str
    last_busy: str
    """Epoch seconds; no number where Slurm does not say."""


@dataclass(frozen=True, slots=True)
class ParsedNodes:
    """Nodes by name, and those of them of which no more than the name could be read (they are UNKNOWN)."""

    nodes: Mapping[NodeName, Node]
    unreadable: tuple[NodeName, ...] = ()
    missing: tuple[NodeName, ...] = ()
    """Asked for by name, and Slurm said that there is no such node."""


class NodeReader:
    """Nodes from what Slurm says of each in words; a cluster has few different states and partition lists, so each is
    taken apart once."""

    def __init__(self) -> None:
        self.nodes: dict[NodeName, Node] = {}
        self._unreadable: list[NodeName] = []
        self._states: dict[str, tuple[NodeBase, frozenset[NodeFlag]]] = {}
        self._partitions: dict[str, tuple[QueueName, ...]] = {}

    def add(self, fields: NodeFields) -> None:
        """One more; of one whose base state is unknown no more is kept than its name."""
        name = NodeName(intern(fields.name))
        try:
            base, flags = self._state(fields.state)
        except ValueError:
            self.add_unreadable(name)
            return
        self.nodes[name] = Node(
            name,
            base,
            flags,
            self._queues(fields.partitions),
            address=intern(fields.address),
            hostname=intern(fields.hostname),
            reason=fields.reason,
            instance_id=fields.instance_id,
            last_busy_at=_time(fields.last_busy),
        )

    def add_unreadable(self, name: NodeName) -> None:
        """One of which no more than the name could be read."""
        self.nodes[name] = Node(name, NodeBase.UNKNOWN)
        self._unreadable.append(name)

    def parsed(self, missing: Iterable[NodeName] = ()) -> ParsedNodes:
        """All that were added."""
        return ParsedNodes(self.nodes, tuple(sorted(self._unreadable)), tuple(sorted(missing)))

    def _state(self, text: str) -> tuple[NodeBase, frozenset[NodeFlag]]:
        """`IDLE+CLOUD+POWERED_DOWN` -> base and flags. Raises ValueError for an unknown base state."""
        known = self._states.get(text)
        if known is None:
            base, *flags = text.upper().split("+")
            known = (NodeBase(base.rstrip(_SYMBOLS)), frozenset(map(_flag, flags)))
            self._states[text] = known
        return known

    def _queues(self, listed: str) -> tuple[QueueName, ...]:
        if listed not in self._partitions:
            self._partitions[listed] = tuple(QueueName(queue) for queue in listed.split(",") if queue)
        return self._partitions[listed]


class JobReader:
    """Jobs from the fields of `JOB_FORMAT`, with times as epoch seconds; `now` tells whether one is held."""

    def __init__(self, now: float) -> None:
        self.jobs: dict[JobId, Job] = {}
        self._now = now
        self._expanded: dict[str, tuple[NodeName, ...]] = {}

    def add(self, fields: Sequence[str]) -> None:
        """One more, if there is none of its id.

        Raises:
            ValueError: it is none.
        """
        job_id = JobId(int(fields[0]))
        if job_id not in self.jobs:
            self.jobs[job_id] = _parse_job(job_id, fields, self._expanded, self._now)


def parse_nodes(output: bytes) -> ParsedNodes:
    """Every node of `scontrol -o show nodes`.

    Raises:
        IncompleteObservationError: there is none, the last line is cut off, or a line belongs to no node.
    """
    missing: list[NodeName] = []
    reader = NodeReader()
    for line in _node_lines(output, missing):
        name = line[len(_NAME) : line.find(" ")] if " " in line else line[len(_NAME) :]
        try:
            reader.add(_node_fields(name, line))
        except ValueError:
            reader.add_unreadable(NodeName(name))
    if not reader.nodes and not missing:
        raise IncompleteObservationError("scontrol named no node")
    return reader.parsed(missing)


def parse_jobs(output: bytes, now: float) -> dict[JobId, Job]:
    """Every job of `squeue -h -a -r -O JOB_FORMAT` with times as epoch seconds; `now` tells whether one is held.

    A pending array is one record until its tasks start, under the array's id.

    Raises:
        IncompleteObservationError: a line has other fields than asked for, or the last one is cut off.
    """
    reader = JobReader(now)
    for line in _whole_lines(output, "squeue"):
        try:
            reader.add(line.split("|", _JOB_FIELDS - 1))
        except ValueError as error:
            raise IncompleteObservationError(f"squeue wrote a line that is not a job: {line[:200]!r}") from error
    return reader.jobs


def parse_partitions(output: bytes) -> dict[QueueName, PartitionState]:
    """The state of every partition of `scontrol -o show partitions`.

    Raises:
        IncompleteObservationError: a line names no partition or no state, or the last one is cut off.
    """
    partitions: dict[QueueName, PartitionState] = {}
    for line in _whole_lines(output, "scontrol"):
        try:
            name, word = _word(" " + line, " PartitionName="), _word(line, " State=")
        except ValueError as error:
            raise IncompleteObservationError(f"scontrol wrote a line that is no partition: {line[:200]!r}") from error
        partitions[QueueName(name)] = partition_state(word)
    return partitions


def partition_state(word: str) -> PartitionState:
    """UNKNOWN for a word that is not known."""
    return PartitionState(word) if word in PartitionState.__members__ else PartitionState.UNKNOWN


def _parse_job(job_id: JobId, fields: Sequence[str], expanded: dict[str, tuple[NodeName, ...]], now: float) -> Job:
    _, state, restarts, partition, user, account, priority, start_time, allocation, reason = fields
    if allocation not in expanded:
        names = () if allocation in _NONE else hostlist.expand(allocation)
        expanded[allocation] = tuple(sorted(NodeName(name) for name in names))
    count = int(restarts)
    is_waiting = state == "PENDING" and count > 0 and reason in _HOLD_HIDING_REASONS
    if is_waiting and start_time.isdigit() and int(start_time) > now:
        reason = "BeginTime"
    starts_at = float(start_time) if start_time.isdigit() else 0.0
    is_pending = state == "PENDING"
    return Job(
        job_id,
        state,
        reason,
        QueueName(partition),
        user,
        expanded[allocation],
        count,
        int(priority),
        "" if account in _NONE else account,
        0.0 if is_pending else starts_at,
        starts_at if is_pending else 0.0,
    )


def _node_fields(name: str, line: str) -> NodeFields:
    return NodeFields(
        name,
        _word(line, " State="),
        _word(line, " Partitions=", ""),
        _word(line, " NodeAddr="),
        _word(line, " NodeHostName="),
        _reason(line),
        _instance_id(line),
        _word(line, " LastBusyTime=", ""),
    )


def parse_admin_comment(output: bytes) -> str:
    """That of the first record of `scontrol -o show job`; empty if it has none. It stands behind all that users name,
    but for their own comment and files."""
    line = output.decode(errors="replace").partition("\n")[0].partition(" WorkDir=")[2]
    text = line.partition(" AdminComment=")[2]
    for key in _AFTER_ADMIN_COMMENT:
        text = text.partition(key)[0]
    return text.strip()


def _word(line: str, key: str, default: str | None = None) -> str:
    """The value of the first ` Key=`, up to the next space."""
    start = line.find(key)
    if start < 0:
        if default is None:
            raise ValueError(f"no {key.strip()}")
        return default
    start += len(key)
    end = line.find(" ", start)
    return line[start:end] if end >= 0 else line[start:]


def _time(text: str) -> float:
    """Epoch seconds as `SLURM_TIME_FORMAT=%s` prints them; 0 for `Unknown` and `None`."""
    return float(text) if text.isdigit() else 0.0


def _reason(line: str) -> str:
    """The reason without who wrote it and when."""
    start = line.find(" Reason=")
    if start < 0:
        return ""
    text = line[start + len(" Reason=") :]
    end = _REASON_END.search(text)
    if end is not None:
        return text[: end.start()].rstrip()
    ends = [position for key in _AFTER_REASON if (position := text.find(key)) >= 0]
    return text[: min(ends, default=len(text))].rstrip()


def _instance_id(line: str) -> str:
    """The last ` InstanceId=`: what people wrote in reason, comment and extra stands before it."""
    start = line.rfind(" InstanceId=")
    if start < 0:
        return ""
    value = _word(line[start:], " InstanceId=")
    return "" if value in _NONE else value


def _flag(text: str) -> NodeFlag:
    try:
        return NodeFlag(text.rstrip(_SYMBOLS))
    except ValueError:
        return NodeFlag.UNRECOGNISED


def _node_lines(output: bytes, missing: list[NodeName]) -> Iterator[str]:
    """One line per node; names that Slurm does not know are added to `missing`.

    A line that starts otherwise continues the node before it: a comment may hold line breaks.
    """
    node = ""
    for line in _whole_lines(output, "scontrol"):
        if line.startswith(_NAME):
            if node:
                yield node
            node = line
        elif line.startswith("Node ") and line.endswith(" not found"):
            missing.append(NodeName(line.removeprefix("Node ").removesuffix(" not found")))
        elif node:
            node += " " + line
        else:
            raise IncompleteObservationError(f"scontrol wrote a line that is not a node: {line[:200]!r}")
    if node:
        yield node


def _whole_lines(output: bytes, program: str) -> Iterator[str]:
    """Lines that are not blank, one at a time: those of ten thousand nodes are seven megabytes."""
    if output and not output.endswith(b"\n"):
        raise IncompleteObservationError(f"the answer of {program} is cut off: ...{output[-80:]!r}")
    for raw in BytesIO(output):
        line = raw[:-1].decode("utf-8", errors="replace")
        if line and not line.isspace():
            yield line
