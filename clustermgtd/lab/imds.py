"""The metadata service of the lab's instances: IMDSv2, one path prefix per instance in the endpoints' web server.

An instance's processes get `AWS_EC2_METADATA_SERVICE_ENDPOINT=<server>/imds/<instance id>`. There is no version 1: a
request without a valid token is answered 401, as with `HttpTokens=required`.
"""

from __future__ import annotations

import base64
import binascii
import email.utils
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from aiohttp import web

from clustermgtd.lab.ec2.model import Ec2Model
from clustermgtd.lab.ec2.records import InstanceRecord, ScheduledEvent

TTL_HEADER = "X-aws-ec2-metadata-token-ttl-seconds"
TOKEN_HEADER = "X-aws-ec2-metadata-token"  # noqa: S105 -- a header's name
_TTL_MAX_S = 21600
_TOKENS_MAX = 64
ACCOUNT = "123456789012"


@dataclass(frozen=True, slots=True)
class Metadata:
    """What an instance may know about itself."""

    instance_id: str
    instance_type: str
    private_address: str
    zone: str
    image_id: str = ""
    is_spot: bool = False
    launched_at: float = 0.0
    tags: Mapping[str, str] = field(default_factory=dict)
    user_data: str = ""
    spot_notice_at: float | None = None
    """Epoch seconds at which the interrupted instance will be ended; None without a notice."""
    rebalance_notice_at: float | None = None
    """Epoch seconds at which a rebalance recommendation was given."""
    events: tuple[ScheduledEvent, ...] = ()
    """Maintenance that is announced."""

    @property
    def region(self) -> str:
        return self.zone.rstrip("abcdef")


def metadata_of(model: Ec2Model, record: InstanceRecord) -> Metadata:
    """What the model's instance may know about itself now."""
    shows_tags = record.data.metadata_options.get("InstanceMetadataTags") == "enabled"
    return Metadata(
        instance_id=record.id,
        instance_type=record.instance_type,
        private_address=record.private_address,
        zone=record.zone,
        image_id=record.data.image_id,
        is_spot=record.is_spot,
        launched_at=record.launched_at,
        tags=record.tags if shows_tags else {},
        user_data=_decoded(record.data.user_data),
        spot_notice_at=model.reclaim_at(record.id),
        rebalance_notice_at=model.rebalance_at(record.id),
        events=model.statuses.scheduled(record.id),
    )


class MetadataServer:
    """Answers for every instance that `lookup` knows."""

    def __init__(self, lookup: Callable[[str], Metadata | None], now: Callable[[], float]) -> None:
        """`lookup`: the instance's metadata while it runs, else None."""
        self._lookup = lookup
        self._now = now
        self._tokens: dict[str, dict[str, float]] = {}

    def routes(self) -> list[web.RouteDef]:
        """For the endpoints' web server."""
        return [
            web.put("/imds/{instance}/latest/api/token", self._put_token),
            web.get("/imds/{instance}/latest/{path:.*}", self._get),
        ]

    def forget(self, instance: str) -> None:
        """The instance is gone; its tokens are worth nothing."""
        self._tokens.pop(instance, None)

    async def _put_token(self, request: web.Request) -> web.Response:
        instance = request.match_info["instance"]
        ttl = request.headers.get(TTL_HEADER, "")
        if "X-Forwarded-For" in request.headers:
            return _text(403, "Forbidden")
        if self._lookup(instance) is None:
            return _text(404, "Not Found")
        if not ttl.isdecimal() or not 1 <= int(ttl) <= _TTL_MAX_S:
            return _text(400, "Bad Request")
        token = secrets.token_urlsafe(32)
        tokens = self._tokens.setdefault(instance, {})
        tokens[token] = self._now() + int(ttl)
        while len(tokens) > _TOKENS_MAX:
            del tokens[next(iter(tokens))]
        return web.Response(text=token, headers={TTL_HEADER: ttl})

    async def _get(self, request: web.Request) -> web.Response:
        instance = request.match_info["instance"]
        metadata = self._lookup(instance)
        if metadata is None:
            return _text(404, "Not Found")
        until = self._tokens.get(instance, {}).get(request.headers.get(TOKEN_HEADER, ""))
        if until is None or until <= self._now():
            return _text(401, "Unauthorized")
        answer = find(entries(metadata), request.match_info["path"])
        return _text(404, "Not Found") if answer is None else _text(200, answer)


def entries(metadata: Metadata) -> dict[str, str]:
    """Every path below `/latest/` and its text."""
    address = metadata.private_address
    host = f"ip-{address.replace('.', '-')}.{metadata.region}.compute.internal"
    found = {
        "meta-data/ami-id": metadata.image_id,
        "meta-data/hostname": host,
        "meta-data/instance-id": metadata.instance_id,
        "meta-data/instance-life-cycle": "spot" if metadata.is_spot else "on-demand",
        "meta-data/instance-type": metadata.instance_type,
        "meta-data/local-hostname": host,
        "meta-data/local-ipv4": address,
        "meta-data/placement/availability-zone": metadata.zone,
        "meta-data/placement/region": metadata.region,
        "meta-data/events/maintenance/scheduled": json.dumps([_maintenance(event) for event in metadata.events]),
        "dynamic/instance-identity/document": json.dumps(_identity_document(metadata), indent=2),
    }
    found.update({f"meta-data/tags/instance/{key}": value for key, value in metadata.tags.items()})
    if metadata.user_data:
        found["user-data"] = metadata.user_data
    if metadata.spot_notice_at is not None:
        at = _iso(metadata.spot_notice_at)
        found["meta-data/spot/instance-action"] = json.dumps({"action": "terminate", "time": at})
        found["meta-data/spot/termination-time"] = at
    if metadata.rebalance_notice_at is not None:
        found["meta-data/events/recommendations/rebalance"] = json.dumps(
            {"noticeTime": _iso(metadata.rebalance_notice_at)}
        )
    return found


def find(known: Mapping[str, str], path: str) -> str | None:
    """The text of an entry, or the listing of a folder (folders in it end with a slash); None if it is neither."""
    if path in known:
        return known[path]
    prefix = path.rstrip("/") + "/" if path.strip("/") else ""
    below = {key[len(prefix) :] for key in known if key.startswith(prefix)}
    names = {name.partition("/")[0] + ("/" if "/" in name else "") for name in below}
    return "\n".join(sorted(names)) if names else None


def _maintenance(event: ScheduledEvent) -> dict[str, str]:
    return {
        "NotBefore": _date(event.not_before),
        "NotAfter": _date(event.not_after),
        "Code": event.code,
        "Description": event.description,
        "EventId": event.id,
        "State": "active",
    }


def _decoded(user_data: str) -> str:
    """Plain text; what is not text (a gzip, say) is none of the agent's business."""
    try:
        return base64.b64decode(user_data).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _identity_document(metadata: Metadata) -> dict[str, str]:
    return {
        "accountId": ACCOUNT,
        "architecture": "x86_64",
        "availabilityZone": metadata.zone,
        "imageId": metadata.image_id,
        "instanceId": metadata.instance_id,
        "instanceType": metadata.instance_type,
        "pendingTime": _iso(metadata.launched_at),
        "privateIp": metadata.private_address,
        "region": metadata.region,
        "version": "2017-09-30",
    }


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _date(at: float) -> str:
    """As in the entry of scheduled maintenance: `21 Jan 2026 09:00:43 GMT`."""
    return email.utils.format_datetime(datetime.fromtimestamp(at, UTC), usegmt=True).partition(", ")[2]


def _text(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text)
