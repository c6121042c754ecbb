"""A lean reader for DescribeInstances replies.

botocore's own parser builds every field of every instance and holds the event loop for half a second per thousand of
them. This one pulls what `Instance` needs while the text streams through expat, and lets the loop run between chunks.
Texts are interned: thousands of instances share their type, subnet and tags, and the next reading says the same again.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from sys import intern
from xml.parsers import expat

from clustermgtd.adapters.aws.tags import COMPUTE_RESOURCE, LAUNCH_TOKEN, QUEUE
from clustermgtd.model.ids import ComputeResourceName, InstanceId, InstanceType, LaunchToken, QueueName, SubnetId
from clustermgtd.model.instance import Instance, InstanceState

_CHUNK_BYTES = 32 * 1024

_REPLY = "DescribeInstancesResponse"
_INSTANCE = f"{_REPLY}/reservationSet/item/instancesSet/item"
_TAG = f"{_INSTANCE}/tagSet/item"
_FIELDS = frozenset(
    f"{_INSTANCE}/{field}"
    for field in (
        "instanceId",
        "instanceState/name",
        "launchTime",
        "instanceType",
        "placement/availabilityZone",
        "subnetId",
        "instanceLifecycle",
        "privateIpAddress",
        "stateReason/code",
        "capacityReservationId",
    )
)
_TEXTS = _FIELDS | {f"{_TAG}/key", f"{_TAG}/value", f"{_REPLY}/nextToken", f"{_REPLY}/requestId"}
_WANTED = frozenset("/".join(path.split("/")[:depth]) for path in _TEXTS for depth in range(1, path.count("/") + 2))
"""The paths of texts that are kept, and of what is around them."""


class Page:
    """One reply, filled while expat walks through it."""

    def __init__(self) -> None:
        self.instances: list[Instance] = []
        self.next_token = ""
        self.request_id = ""
        self.is_whole = False
        self._path = ""
        self._skipped = 0  # depth below the nearest wanted element
        self._text: list[str] | None = None
        self._fields: dict[str, str] = {}
        self._tags: dict[str, str] = {}
        self._tag_key = ""
        self._tag_value = ""

    def start(self, name: str, _attributes: object) -> None:
        if self._skipped:
            self._skipped += 1
            return
        path = f"{self._path}/{name}" if self._path else name
        if path not in _WANTED:
            self._skipped = 1
            return
        self._path = path
        self._text = [] if path in _TEXTS else None

    def data(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def end(self, _name: str) -> None:
        if self._skipped:
            self._skipped -= 1
            return
        path = self._path
        self._path = path.rpartition("/")[0]
        if self._text is not None:
            self._keep(path, "".join(self._text))
            self._text = None
        elif path == _INSTANCE:
            self.instances.append(_instance(self._fields, self._tags))
            self._fields, self._tags = {}, {}
        elif path == _TAG:
            self._tags[self._tag_key] = self._tag_value
            self._tag_key = self._tag_value = ""
        elif path == _REPLY:
            self.is_whole = True

    def _keep(self, path: str, text: str) -> None:
        if path in _FIELDS:
            self._fields[path[len(_INSTANCE) + 1 :]] = intern(text)
        elif path == f"{_TAG}/key":
            self._tag_key = intern(text)
        elif path == f"{_TAG}/value":
            self._tag_value = intern(text)
        elif path == f"{_REPLY}/nextToken":
            self.next_token = text
        else:
            self.request_id = text


async def read_page(body: bytes) -> Page:
    """One reply's instances, next token and request id.

    Raises:
        ExpatError, ValueError, KeyError: it is not a whole DescribeInstances reply.
    """
    page = Page()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = page.start
    parser.CharacterDataHandler = page.data
    parser.EndElementHandler = page.end
    for offset in range(0, len(body), _CHUNK_BYTES):
        parser.Parse(body[offset : offset + _CHUNK_BYTES], False)
        await asyncio.sleep(0)
    parser.Parse(b"", True)
    if not page.is_whole:
        raise ValueError(f"no {_REPLY} element")
    return page


def _instance(fields: dict[str, str], tags: dict[str, str]) -> Instance:
    launch_time = fields.get("launchTime", "")
    return Instance(
        id=InstanceId(fields["instanceId"]),
        state=InstanceState(fields["instanceState/name"]),
        token=LaunchToken(tags.get(LAUNCH_TOKEN, "")),
        launched_at=datetime.fromisoformat(launch_time).timestamp() if launch_time else 0.0,
        instance_type=InstanceType(fields.get("instanceType", "")),
        zone=fields.get("placement/availabilityZone", ""),
        subnet=SubnetId(fields.get("subnetId", "")),
        is_spot=fields.get("instanceLifecycle") == "spot",
        private_address=fields.get("privateIpAddress", ""),
        state_reason=fields.get("stateReason/code", ""),
        queue=QueueName(tags.get(QUEUE, "")),
        compute_resource=ComputeResourceName(tags.get(COMPUTE_RESOURCE, "")),
        reservation=fields.get("capacityReservationId", ""),
    )
