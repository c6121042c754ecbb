"""DynamoDB behind the port `ClaimStore`. The items are described in docs/reference/dynamodb.md."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import botocore.exceptions

from clustermgtd.adapters.aws.batch_get import batch_get
from clustermgtd.adapters.aws.claim_table import EXPIRES_AT, KEY, ensure_table
from clustermgtd.adapters.aws.codec import decode, decode_offerings, encode, encode_offerings
from clustermgtd.adapters.aws.error_codes import error_from
from clustermgtd.adapters.aws.fleet_item import (
    FLEET_ID,
    SAFEGUARDS_ID,
    fleet_item,
    fleet_record,
    safeguards_from,
    safeguards_item,
)
from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.errors import (
    ClustermgtdError,
    ConfigurationError,
    ConflictError,
    FencedError,
    IncompleteObservationError,
    NotFoundError,
)
from clustermgtd.model.claim import BACKED, Launch
from clustermgtd.model.fleet_status import FleetRecord
from clustermgtd.model.ids import InstanceId, LaunchToken
from clustermgtd.model.offering_memory import OfferingMemory
from clustermgtd.model.safeguards import Safeguards
from clustermgtd.ports.claim_store import Term

LEADER_ID = "leader"
OFFERINGS_ID = "offerings"
CALL_DEADLINE_S = 15.0
CLOSED_KEPT_S = 7 * 24 * 3600

_Item = dict[str, Any]


class DynamoDbClaimStore:
    """Claims of one cluster in one table.

    The leader item holds the set of open launches, so that `load` reads those and not a week of closed ones; it is
    part of every write's transaction, which also is the fence. Writes of one store go one after the other, because
    DynamoDB cancels transactions that meet on an item.
    """

    def __init__(self, session: AwsSession, table: str, *, now: Callable[[], float] = time.time) -> None:
        self._session = session
        self._table = table
        self._now = now
        self._epoch = 0
        self._writing = asyncio.Lock()
        self._read: dict[LaunchToken, Launch] = {}
        """Open launches as last read or written: a version's content never changes, so it is decoded once."""

    async def ensure_table(self, tags: Mapping[str, str] | None = None) -> None:
        """Make the table if it is missing and that is permitted; see `claim_table.ensure_table` for errors."""
        await ensure_table(self._session, self._table, tags or {})

    async def begin_term(self, holder: str) -> Term:
        """One UpdateItem: DynamoDB increments atomically, so two daemons never share an epoch."""
        reply = await self._call(
            "update_item",
            {
                "Key": _key(LEADER_ID),
                "UpdateExpression": "SET Incarnation = if_not_exists(Incarnation, :new), Holder = :holder, "
                "Since = :now ADD Epoch :one",
                "ExpressionAttributeValues": {
                    ":new": {"S": secrets.token_hex(4)},
                    ":holder": {"S": holder},
                    ":now": _number(self._now()),
                    ":one": {"N": "1"},
                },
                "ReturnValues": "ALL_NEW",
            },
        )
        leader = reply["Attributes"]
        self._epoch = int(leader["Epoch"]["N"])
        self._read = {}
        return Term(leader["Incarnation"]["S"], self._epoch)

    async def confirm_term(self) -> None:
        """One consistent GetItem."""
        leader = await self._get(LEADER_ID)
        if leader is None or int(leader["Epoch"]["N"]) != self._epoch:
            raise FencedError(f"table {self._table}: term {self._epoch} of this daemon is over", code="Fenced")

    async def load(self) -> Mapping[LaunchToken, Launch]:
        """One GetItem for the set of open launches, one BatchGetItem per hundred of them."""
        leader = await self._get(LEADER_ID)
        tokens = leader.get("OpenLaunches", {}).get("SS", []) if leader else []
        items = await self._get_many([_launch_id(token) for token in sorted(tokens)])
        launches = [self._decoded(item) for item in items]
        if missing := set(tokens) - {launch.token for launch in launches}:
            raise IncompleteObservationError(
                f"table {self._table}: the leader record lists launches that are not there: {sorted(missing)[:5]}; "
                "if somebody deleted them, remove them from its OpenLaunches too",
                code="RecordMissing",
            )
        self._read = {launch.token: launch for launch in launches if launch.is_open}
        return dict(self._read)

    async def put(self, launch: Launch) -> Launch:
        """One TransactWriteItems of two items."""
        if not self._epoch:
            raise FencedError("no term was begun")
        written = replace(launch, version=launch.version + 1)
        async with self._writing:
            try:
                await self._call("transact_write_items", {"TransactItems": self._transaction(written)})
            except ConflictError as error:
                if isinstance(error, FencedError) or not await self._is_stored(written):
                    raise
        if written.is_open:
            self._read[written.token] = written
        else:
            self._read.pop(written.token, None)
        return written

    async def load_offerings(self) -> OfferingMemory:
        """One consistent GetItem."""
        item = await self._get(OFFERINGS_ID)
        return OfferingMemory() if item is None else _offerings(item)

    async def put_offerings(self, offerings: OfferingMemory) -> OfferingMemory:
        """One TransactWriteItems of two items."""
        if not self._epoch:
            raise FencedError("no term was begun")
        written = replace(offerings, version=offerings.version + 1)
        body = encode_offerings(written)
        record: _Item = {
            KEY: {"S": OFFERINGS_ID},
            "Version": {"N": str(written.version)},
            "Epoch": {"N": str(self._epoch)},
            "Body": {"S": body} if isinstance(body, str) else {"B": body},
        }
        async with self._writing:
            try:
                await self._put_fenced(record, written.version)
            except ConflictError as error:
                if isinstance(error, FencedError) or await self.load_offerings() != written:
                    raise
        return written

    async def load_fleet(self) -> FleetRecord:
        """One consistent GetItem."""
        return fleet_record(await self._get(FLEET_ID))

    async def put_fleet(self, record: FleetRecord) -> FleetRecord:
        """One TransactWriteItems of two items."""
        if not self._epoch:
            raise FencedError("no term was begun")
        written = replace(record, version=record.version + 1)
        async with self._writing:
            try:
                await self._put_fenced(fleet_item(written), written.version)
            except ConflictError as error:
                if isinstance(error, FencedError) or await self.load_fleet() != written:
                    raise
        return written

    async def load_safeguards(self) -> Safeguards:
        """One consistent GetItem."""
        return safeguards_from(await self._get(SAFEGUARDS_ID))

    async def put_safeguards(self, safeguards: Safeguards) -> Safeguards:
        """One TransactWriteItems of two items."""
        if not self._epoch:
            raise FencedError("no term was begun")
        written = replace(safeguards, version=safeguards.version + 1)
        async with self._writing:
            try:
                await self._put_fenced(safeguards_item(written), written.version)
            except ConflictError as error:
                if isinstance(error, FencedError) or await self.load_safeguards() != written:
                    raise
        return written

    async def _put_fenced(self, record: _Item, version: int) -> None:
        transaction = [
            {"ConditionCheck": self._fence | {"ExpressionAttributeValues": self._epoch_value}},
            {"Put": self._versioned(record, version)},
        ]
        await self._call("transact_write_items", {"TransactItems": transaction})

    async def boot_phases(self, instances: Iterable[InstanceId]) -> Mapping[InstanceId, Mapping[str, float]]:
        """One BatchGetItem per hundred instances."""
        items = await self._get_many([f"boot#{instance}" for instance in sorted(set(instances))])
        return {
            InstanceId(item[KEY]["S"].removeprefix("boot#")): {
                phase: float(value["N"]) for phase, value in item.get("Phases", {}).get("M", {}).items()
            }
            for item in items
        }

    def _transaction(self, written: Launch) -> list[_Item]:
        values = self._epoch_value
        fence = self._fence
        verb = "ConditionCheck"
        if written.version == 1 or not written.is_open:
            verb = "Update"
            fence["UpdateExpression"] = f"{'ADD' if written.is_open else 'DELETE'} OpenLaunches :token"
            values[":token"] = {"SS": [written.token]}
        record = self._versioned(self._record(written), written.version)
        return [{verb: fence | {"ExpressionAttributeValues": values}}, {"Put": record}]

    @property
    def _fence(self) -> _Item:
        return {"Key": _key(LEADER_ID), "ConditionExpression": "Epoch = :epoch", "TableName": self._table}

    @property
    def _epoch_value(self) -> _Item:
        return {":epoch": {"N": str(self._epoch)}}

    def _versioned(self, item: _Item, version: int) -> _Item:
        """A Put that succeeds only over the version before."""
        put: _Item = {"TableName": self._table, "Item": item}
        if version == 1:
            return put | {"ConditionExpression": f"attribute_not_exists({KEY})"}
        return put | {
            "ConditionExpression": "Version = :version",
            "ExpressionAttributeValues": {":version": {"N": str(version - 1)}},
        }

    def _record(self, written: Launch) -> _Item:
        body = encode(written)
        item: _Item = {
            KEY: {"S": _launch_id(written.token)},
            "Version": {"N": str(written.version)},
            "Epoch": {"N": str(self._epoch)},
            "IsOpen": {"BOOL": written.is_open},
            "Body": {"S": body} if isinstance(body, str) else {"B": body},
            "Nodes": {"M": {claim.instance: {"S": claim.node} for claim in written.claims if claim.state in BACKED}},
            "CreatedAt": _number(written.created_at),
        }
        if not written.is_open:
            item[EXPIRES_AT] = {"N": str(int(self._now()) + CLOSED_KEPT_S)}
        return item

    async def _is_stored(self, written: Launch) -> bool:
        """An earlier `put` of this value, whose reply was lost, did succeed."""
        item = await self._get(_launch_id(written.token))
        return item is not None and self._decoded(item) == written

    def _decoded(self, item: _Item) -> Launch:
        version = int(item["Version"]["N"])
        known = self._read.get(LaunchToken(item[KEY]["S"].removeprefix("launch#")))
        if known is not None and known.version == version:
            return known
        body = item["Body"]
        return decode(body["S"] if "S" in body else body["B"], version)

    async def _get(self, id: str) -> _Item | None:
        reply = await self._call("get_item", {"Key": _key(id), "ConsistentRead": True})
        item: _Item | None = reply.get("Item")
        return item

    async def _get_many(self, ids: Sequence[str]) -> list[_Item]:
        """Those of the items that exist, in no particular order."""
        return await batch_get(self._call, self._table, ids, is_consistent=True)

    async def _call(self, operation: str, parameters: _Item) -> Any:
        if operation not in ("transact_write_items", "batch_get_item"):
            parameters = {"TableName": self._table} | parameters
        try:
            return await self._session.call("dynamodb", operation, parameters, CALL_DEADLINE_S)
        except NotFoundError as error:
            raise ConfigurationError(
                f"DynamoDB table {self._table} in {self._session.region} does not exist any more", code=error.code
            ) from error
        except ClustermgtdError as error:
            if error.code == "TransactionCanceledException":
                raise _why_cancelled(error) from error
            raise


def _why_cancelled(error: ClustermgtdError) -> ClustermgtdError:
    """The error that the first telling cancellation reason stands for; the fence is the first item."""
    cause = error.__cause__
    reply = cause.response if isinstance(cause, botocore.exceptions.ClientError) else {}
    reasons = [str(reason.get("Code") or "None") for reason in reply.get("CancellationReasons", ())]
    if reasons[:1] == ["ConditionalCheckFailed"]:
        return FencedError("another daemon began a term", code=reasons[0], request_id=error.request_id)
    for code in reasons:
        if code != "None":
            return error_from(code, str(error), request_id=error.request_id)
    return error


def _offerings(item: _Item) -> OfferingMemory:
    body = item["Body"]
    return decode_offerings(body["S"] if "S" in body else body["B"], int(item["Version"]["N"]))


def _key(id: str) -> _Item:
    return {KEY: {"S": id}}


def _launch_id(token: str) -> str:
    return f"launch#{token}"


def _number(value: float) -> _Item:
    return {"N": repr(value)}
