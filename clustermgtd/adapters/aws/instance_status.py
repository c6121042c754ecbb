"""DescribeInstanceStatus behind the port `InstanceStatusSource`.

botocore's parser serves: a hundred statuses hold the event loop for six milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.errors import NotFoundError
from clustermgtd.model.ids import InstanceId
from clustermgtd.model.notice import Notice, NoticeAction, NoticeKind, Notices, NoticeSource
from clustermgtd.ports.clock import Clock

CALL_DEADLINE_S = 20.0
IDS_MAX = 100
"""In one call; EC2 gives no pages to a call that names instances."""
PAUSE_S = 0.1
"""Between two calls, so that a large cluster takes half of what EC2 refills and never its whole bucket."""
UNKNOWN_MAX = 100
"""Ids of one call that EC2 may not know; each costs a call of its own."""
DETAIL_MAX = 200

_INSTANCE_ID = re.compile(r"\bi-[0-9a-z]+\b")
_OVER = ("[Completed]", "[Canceled]")
"""How the description of an event begins that EC2 still shows for a week."""
_ACTIONS: Mapping[str, NoticeAction] = {
    "instance-reboot": NoticeAction.REBOOT,
    "system-reboot": NoticeAction.REBOOT,
    "instance-stop": NoticeAction.STOP,
    "instance-retirement": NoticeAction.TERMINATE,  # or a stop, where the root volume persists: gone all the same
}
"""By event code; `system-maintenance` and codes to come may cost network or power."""
_CHECKS: Mapping[str, str] = {"SystemStatus": "system", "InstanceStatus": "instance", "AttachedEbsStatus": "ebs"}


class AwsInstanceStatus:
    """The status of instances in the session's Region."""

    def __init__(self, session: AwsSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def statuses(self, ids: Iterable[InstanceId]) -> Notices:
        """One call per hundred, one after the other; an id that EC2 does not know is left out and costs one more."""
        wanted = sorted(set(ids))
        found: dict[InstanceId, tuple[Notice, ...]] = {}
        for start in range(0, len(wanted), IDS_MAX):
            if start:
                await self._clock.sleep(PAUSE_S)
            for item in await self._described(wanted[start : start + IDS_MAX]):
                found[InstanceId(item["InstanceId"])] = tuple(_notices(item, self._clock.now()))
        return found

    async def _described(self, ids: Sequence[InstanceId]) -> Sequence[Mapping[str, Any]]:
        known = list(ids)
        for _ in range(UNKNOWN_MAX):
            if not known:
                break
            parameters = {"InstanceIds": known, "IncludeAllInstances": False}
            try:
                reply = await self._session.call("ec2", "describe_instance_status", parameters, CALL_DEADLINE_S)
            except NotFoundError as error:
                gone = set(_INSTANCE_ID.findall(str(error))) & set(known)
                if not gone:
                    raise
                known = [id for id in known if id not in gone]
            else:
                statuses: Sequence[Mapping[str, Any]] = reply.get("InstanceStatuses", ())
                return statuses
        return ()


def _notices(item: Mapping[str, Any], now: float) -> Iterator[Notice]:
    """What one instance's status says, sorted by kind and matter."""
    id = InstanceId(item["InstanceId"])
    for member, check in sorted(_CHECKS.items(), key=lambda pair: pair[1]):
        status = item.get(member, {})
        if status.get("Status") == "impaired":
            since = [d["ImpairedSince"] for d in status.get("Details", ()) if "ImpairedSince" in d]
            yield Notice(
                id=f"{id}/{check}",
                kind=NoticeKind.IMPAIRED,
                announced_at=min(map(_epoch_s, since), default=now),
                source=NoticeSource.STATUS,
                instances=(id,),
                matter=check,
                detail=f"{check} status check fails",
            )
    for event in sorted(item.get("Events", ()), key=lambda e: str(e.get("InstanceEventId", ""))):
        description = str(event.get("Description", ""))
        if description.startswith(_OVER):
            continue
        code = str(event.get("Code", ""))
        yield Notice(
            id=str(event.get("InstanceEventId", "")),
            kind=NoticeKind.SCHEDULED_EVENT,
            announced_at=now,
            source=NoticeSource.STATUS,
            instances=(id,),
            action=_ACTIONS.get(code, NoticeAction.MAINTENANCE),
            effective_at=_epoch_s(event["NotBefore"]) if "NotBefore" in event else None,
            matter=str(event.get("InstanceEventId", "")) or code,
            detail=f"{code}: {description}"[:DETAIL_MAX],
        )


def _epoch_s(at: datetime) -> float:
    return at.timestamp()
