"""The record of stops and starts in the claim table, as operators write it: from any machine, with or without a daemon.

The daemon writes the same item through `DynamoDbClaimStore`; both name the version that they read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clustermgtd.adapters.aws.claim_table import CALL_DEADLINE_S, KEY
from clustermgtd.adapters.aws.codec import decode_fleet, decode_safeguards, encode_fleet, encode_safeguards
from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.errors import ConfigurationError, ConflictError, NotFoundError, TransientError
from clustermgtd.model.fleet_status import FleetRecord
from clustermgtd.model.safeguards import Safeguards

FLEET_ID = "fleet-status"
SAFEGUARDS_ID = "safeguards"
ATTEMPTS_MAX = 5
"""Of one request: each time somebody else wrote in between, it is made anew."""


def fleet_item(record: FleetRecord) -> dict[str, Any]:
    """The item that holds the record."""
    body = encode_fleet(record)
    return {
        KEY: {"S": FLEET_ID},
        "Version": {"N": str(record.version)},
        "Body": {"S": body} if isinstance(body, str) else {"B": body},
    }


def fleet_record(item: dict[str, Any] | None) -> FleetRecord:
    """The record that the item holds; an empty one if there is none.

    Raises:
        PermanentError: a newer release wrote it, or it is damaged.
    """
    if item is None:
        return FleetRecord()
    body = item["Body"]
    return decode_fleet(body["S"] if "S" in body else body["B"], int(item["Version"]["N"]))


def safeguards_item(safeguards: Safeguards) -> dict[str, Any]:
    """The item that holds them."""
    body = encode_safeguards(safeguards)
    return {
        KEY: {"S": SAFEGUARDS_ID},
        "Version": {"N": str(safeguards.version)},
        "Body": {"S": body} if isinstance(body, str) else {"B": body},
    }


def safeguards_from(item: dict[str, Any] | None) -> Safeguards:
    """What the item holds; empty if there is none.

    Raises:
        PermanentError: a newer release wrote it, or it is damaged.
    """
    if item is None:
        return Safeguards()
    body = item["Body"]
    return decode_safeguards(body["S"] if "S" in body else body["B"], int(item["Version"]["N"]))


class FleetRequests:
    """What `clustermgtctl fleet` reads and writes."""

    def __init__(self, session: AwsSession, table: str) -> None:
        self._session = session
        self._table = table

    async def read(self) -> FleetRecord:
        """One consistent GetItem.

        Raises:
            ConfigurationError: there is no such table, or this role may not read it.
            TransientError: DynamoDB did not answer.
        """
        reply = await self._call("get_item", {"Key": {KEY: {"S": FLEET_ID}}, "ConsistentRead": True})
        return fleet_record(reply.get("Item"))

    async def safeguards(self) -> Safeguards:
        """What the daemon holds back: one consistent GetItem.

        Raises:
            ConfigurationError, TransientError: as `read`.
        """
        reply = await self._call("get_item", {"Key": {KEY: {"S": SAFEGUARDS_ID}}, "ConsistentRead": True})
        return safeguards_from(reply.get("Item"))

    async def change(self, change: Callable[[FleetRecord], FleetRecord]) -> FleetRecord:
        """Store `change` of the present record, conditionally, again if somebody else was faster; returns it.

        Raises:
            ConfigurationError, TransientError: as `read`.
            Whatever `change` raises.
        """
        for attempt in range(ATTEMPTS_MAX):
            before = await self.read()
            after = change(before)
            try:
                await self._put(after, before.version)
            except (ConflictError, TransientError):
                if attempt == ATTEMPTS_MAX - 1:
                    raise
                continue
            return after
        raise AssertionError("the last attempt returns or raises")

    async def _put(self, record: FleetRecord, version: int) -> None:
        item = fleet_item(record) | {"Version": {"N": str(version + 1)}}
        condition: dict[str, Any] = {"ConditionExpression": f"attribute_not_exists({KEY})"}
        if version:
            condition = {
                "ConditionExpression": "Version = :version",
                "ExpressionAttributeValues": {":version": {"N": str(version)}},
            }
        await self._call("put_item", {"Item": item, **condition})

    async def _call(self, operation: str, parameters: dict[str, Any]) -> Any:
        try:
            return await self._session.call(
                "dynamodb", operation, {"TableName": self._table} | parameters, CALL_DEADLINE_S
            )
        except NotFoundError as error:
            raise ConfigurationError(
                f"there is no DynamoDB table {self._table} in {self._session.region}: the daemon makes it at its first "
                "start",
                code=error.code,
            ) from error
