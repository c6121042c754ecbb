"""DynamoDB behind the port `NodeAgents`. The items are described in docs/reference/dynamodb.md."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import structlog
from pydantic import TypeAdapter, ValidationError

from clustermgtd.adapters.aws.batch_get import batch_get
from clustermgtd.adapters.aws.claim_table import KEY
from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.errors import ConfigurationError, NotFoundError
from clustermgtd.model.ids import InstanceId
from clustermgtd.model.node_report import ANNOUNCEMENT_SHARDS, TEXT_MAX, NodeReport, announcement_shard
from clustermgtd.model.notice import NoticeKind, NoticeSource
from clustermgtd.ports.node_agents import Announcement

HEARTBEAT_ID = "heartbeat"
CALL_DEADLINE_S = 10.0
_BODY_MAX = 64 * 1024
_TOLD = frozenset({NoticeKind.SPOT_INTERRUPTION, NoticeKind.REBALANCE, NoticeKind.SCHEDULED_EVENT})
_REPORT: TypeAdapter[NodeReport] = TypeAdapter(NodeReport)

_Item = dict[str, Any]

log = structlog.get_logger(__name__)


class DynamoDbNodeAgents:
    """One cluster's agents, in its claim table."""

    def __init__(self, session: AwsSession, table: str, *, now: Callable[[], float] = time.time) -> None:
        self._session = session
        self._table = table
        self._now = now

    async def beat(self) -> None:
        """One UpdateItem that adds one to a counter; the time beside it is for people."""
        await self._call(
            "update_item",
            {
                "TableName": self._table,
                "Key": {KEY: {"S": HEARTBEAT_ID}},
                "UpdateExpression": "SET BeatAt = :now ADD Beats :one",
                "ExpressionAttributeValues": {":now": {"N": repr(self._now())}, ":one": {"N": "1"}},
            },
        )

    async def announcements(self) -> Collection[Announcement]:
        """One BatchGetItem. Marks that are none are deleted where they are found: nobody will read them."""
        ids = [_shard_id(number) for number in range(ANNOUNCEMENT_SHARDS)]
        items = await batch_get(self._call, self._table, ids, is_consistent=False)
        found: list[Announcement] = []
        for item in items:
            marks = item.get("Marks", {}).get("SS", [])
            read = {mark: _announcement(mark) for mark in marks}
            found += [announcement for announcement in read.values() if announcement is not None]
            if damaged := sorted(mark for mark, announcement in read.items() if announcement is None):
                log.warning("announcements_unreadable", item=item[KEY]["S"], count=len(damaged), first=damaged[0][:80])
                await self._delete(item[KEY]["S"], damaged)
        return sorted(found)

    async def reports(self, instances: Iterable[InstanceId]) -> Mapping[InstanceId, NodeReport]:
        """One BatchGetItem per hundred, strongly consistent: a report is never older than its announcement."""
        ids = [f"boot#{instance}" for instance in sorted(set(instances))]
        items = await batch_get(self._call, self._table, ids, is_consistent=True)
        reports = [report for item in items if (report := _report(item)) is not None]
        return {report.instance: report for report in reports}

    async def acknowledge(self, announcements: Iterable[Announcement]) -> None:
        """One UpdateItem per shard that holds any of them."""
        marks: defaultdict[str, list[str]] = defaultdict(list)
        for announcement in sorted(announcements):
            shard = _shard_id(announcement_shard(announcement.instance))
            marks[shard].append(f"{announcement.instance}#{announcement.sequence}")
        for shard, these in sorted(marks.items()):
            await self._delete(shard, these)

    async def _delete(self, shard: str, marks: list[str]) -> None:
        await self._call(
            "update_item",
            {
                "TableName": self._table,
                "Key": {KEY: {"S": shard}},
                "UpdateExpression": "DELETE Marks :marks",
                "ExpressionAttributeValues": {":marks": {"SS": marks}},
            },
        )

    async def _call(self, operation: str, parameters: _Item) -> Any:
        try:
            return await self._session.call("dynamodb", operation, parameters, CALL_DEADLINE_S)
        except NotFoundError as error:
            raise ConfigurationError(
                f"DynamoDB table {self._table} in {self._session.region} does not exist any more", code=error.code
            ) from error


def _shard_id(number: int) -> str:
    return f"announcements#{number}"


def _announcement(mark: str) -> Announcement | None:
    instance, _, sequence = mark.partition("#")
    if not instance or not (sequence.isascii() and sequence.isdecimal()):
        return None
    return Announcement(InstanceId(instance), int(sequence))


def _report(item: _Item) -> NodeReport | None:
    """The report in an item; None, and a line in the log, if an agent of another release or somebody else wrote it."""
    instance = InstanceId(item[KEY]["S"].removeprefix("boot#"))
    body = item.get("Body", {}).get("S", "")
    try:
        report = _REPORT.validate_json(body[:_BODY_MAX])
    except ValidationError as error:
        complaint = str(error)
    else:
        complaint = _complaint(report, instance)
    if complaint:
        log.warning("node_report_unreadable", instance_id=instance, error=complaint[:200])
        return None
    return report


def _complaint(report: NodeReport, instance: InstanceId) -> str:
    if report.instance != instance:
        return f"it names {report.instance!r}"
    if any(
        notice.instances != (instance,) or notice.source is not NoticeSource.NODE_AGENT or notice.kind not in _TOLD
        for notice in report.notices
    ):
        return "a notice in it is not about that instance, or of a kind that its metadata does not have"
    texts = [report.ended, report.health.output if report.health else ""]
    texts += [text for notice in report.notices for text in (notice.id, notice.matter, notice.detail)]
    return "a text in it is too long" if max(map(len, texts)) > TEXT_MAX else ""
