"""A lean reader for DescribeInstances replies.

botocore's own parser builds every field of every instance and holds the event loop for half a second per thousand of
them. This one pulls what `Instance` needs while the text streams through expat, and lets the loop run between chunks.
Texts are interned: thousands of instances share their type, subnet and tags, and the next reading says the same again.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from hashlib import blake2b
from sys import intern
from xml.parsers import expat

from clustermgtd.adapters.aws.tags import COMPUTE_RESOURCE, LAUNCH_TOKEN, QUEUE
from clustermgtd.model.ids import ComputeResourceName, InstanceId, InstanceType, LaunchToken, QueueName, SubnetId
from clustermgtd.model.instance import Instance, InstanceState

_CHUNK_BYTES = 32 * 1024
_PIECES = 100
"""Instances that are looked up before the loop runs again."""
KNOWN_MAX = 50_000
_ID = b"<instanceId>"

_UNREAD = (b"networkInterfaceSet", b"blockDeviceMapping", b"metadataOptions")
"""Most of an instance's text, and nothing in it is read: it is cut out, because every element costs two calls."""

_REPLY = "DescribeInstancesResponse"
_INSTANCE = "reservationSet/item/instancesSet/item"
_FIELDS = (
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


class _Element:
    """An element that is wanted, for its text or for what is in it. The texts of all others are passed over."""

    __slots__ = ("children", "field", "kind")

    def __init__(self) -> None:
        self.children: dict[str, _Element] = {}
        self.kind = ""
        """What its end means; empty: nothing."""
        self.field = ""

    def at(self, path: str) -> _Element:
        """The element at this path below, made if it is new."""
        here = self
        for name in path.split("/"):
            here = here.children.setdefault(name, _Element())
        return here


def _wanted() -> _Element:
    document = _Element()
    document.at(_REPLY).kind = "reply"
    document.at(f"{_REPLY}/nextToken").kind = "next token"
    document.at(f"{_REPLY}/requestId").kind = "request id"
    instance = document.at(f"{_REPLY}/{_INSTANCE}")
    instance.kind = "instance"
    for path in _FIELDS:
        field = instance.at(path)
        field.kind, field.field = "field", path
    instance.at("tagSet/item").kind = "tag"
    instance.at("tagSet/item/key").kind = "tag key"
    instance.at("tagSet/item/value").kind = "tag value"
    return document


_DOCUMENT = _wanted()


class Page:
    """One reply, filled while expat walks through it."""

    def __init__(self) -> None:
        self.instances: list[Instance] = []
        self.next_token = ""
        self.request_id = ""
        self.is_whole = False
        self._here = _DOCUMENT
        self._around: list[_Element] = []
        self._skipped = 0  # depth below the nearest wanted element
        self._text = ""
        self._fields: dict[str, str] = {}
        self._tags: dict[str, str] = {}
        self._tag_key = ""
        self._tag_value = ""

    def start(self, name: str, _attributes: object) -> None:
        if self._skipped:
            self._skipped += 1
            return
        child = self._here.children.get(name)
        if child is None:
            self._skipped = 1
            return
        self._around.append(self._here)
        self._here = child
        self._text = ""

    def data(self, text: str) -> None:
        if not self._skipped:
            self._text += text

    def end(self, _name: str) -> None:
        if self._skipped:
            self._skipped -= 1
            return
        ended, self._here = self._here, self._around.pop()
        match ended.kind:
            case "field":
                self._fields[ended.field] = intern(self._text)
            case "tag key":
                self._tag_key = intern(self._text)
            case "tag value":
                self._tag_value = intern(self._text)
            case "tag":
                self._tags[self._tag_key] = self._tag_value
                self._tag_key = self._tag_value = ""
            case "instance":
                self.instances.append(_instance(self._fields, self._tags))
                self._fields, self._tags = {}, {}
            case "next token":
                self.next_token = self._text
            case "request id":
                self.request_id = self._text
            case "reply":
                self.is_whole = True


class KnownInstances:
    """Instances by the text in which EC2 told of them.

    Between two readings next to nothing changes, and the same text means the same instance: nine tenths of what a
    reading costs is saved. Where EC2 writes the same facts in another order they are read again, and nothing is wrong.
    """

    def __init__(self, size_max: int = KNOWN_MAX) -> None:
        self._size_max = size_max
        self._by_digest: dict[bytes, Instance] = {}

    def __len__(self) -> int:
        return len(self._by_digest)

    def get(self, digest: bytes) -> Instance | None:
        return self._by_digest.get(digest)

    def remember(self, digest: bytes, instance: Instance) -> None:
        """Forgets all others when there are too many: former states of instances are never asked for again."""
        if len(self._by_digest) >= self._size_max:
            self._by_digest.clear()
        self._by_digest[digest] = instance


async def read_page(body: bytes, known: KnownInstances) -> Page:
    """One reply's instances, next token and request id.

    A reply is cut at each instance's id. A piece that was read before is left out of what is parsed: it goes from
    within one instance to within the next, so what is around it stays whole. The last piece holds the reply's end.

    Raises:
        ExpatError, ValueError, KeyError: it is not a whole DescribeInstances reply.
    """
    pieces = body.split(_ID)
    unread, digests, found = pieces[:1], [], []
    for number, piece in enumerate(pieces[1:-1], start=1):
        digest = blake2b(piece, digest_size=16).digest()
        instance = known.get(digest)
        if instance is None:
            unread.append(piece)
            digests.append(digest)
        else:
            found.append(instance)
        if not number % _PIECES:
            await asyncio.sleep(0)
    unread += pieces[1:][-1:]
    page = await _parsed(_without_unread(_ID.join(unread)))
    if len(page.instances) == len(digests) + 1:
        for digest, piece, instance in zip(digests, unread[1:], page.instances, strict=False):
            if piece.startswith(b"%b</" % instance.id.encode()):
                known.remember(digest, instance)
    page.instances += found
    return page


async def _parsed(body: bytes) -> Page:
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


def _without_unread(body: bytes) -> bytes:
    """The reply without the elements that nothing is read from. In one that is cut off within such an element, what
    remains is cut off too."""
    for name in _UNREAD:
        before, *parts = body.split(b"<%b>" % name)
        body = b"".join([before, *(part.partition(b"</%b>" % name)[2] for part in parts)])
    return body


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
