"""The claim table itself: made when it is missing and permitted, checked when it is there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog

from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.errors import ConfigurationError, ConflictError, NotFoundError, TransientError

KEY = "Id"
EXPIRES_AT = "ExpiresAt"

CALL_DEADLINE_S = 15.0
ACTIVE_DEADLINE_S = 120.0
_POLL_S = 1.0

_log = structlog.get_logger(__name__)


async def ensure_table(session: AwsSession, table: str, tags: Mapping[str, str]) -> None:
    """Leave an ACTIVE table with the right key and a time to live, on demand and tagged if it was made here.

    Safe to call from two daemons at once.

    Raises:
        ConfigurationError: it is missing, or its state cannot be read, and the permission to do something about that
            is missing too; or a table of another shape has the name. The message says what to do.
        TransientError: DynamoDB does not answer, or the table is not ACTIVE in time.
    """
    description = await _described(session, table)
    if description is None:
        await _create(session, table, tags)
    description = await _active(session, table)
    if description["KeySchema"] != [{"AttributeName": KEY, "KeyType": "HASH"}]:
        raise ConfigurationError(
            f"DynamoDB table {table} has another key than {KEY!r}: name another table in cluster.yaml, or delete it"
        )
    await _expire(session, table)


async def _described(session: AwsSession, table: str) -> Mapping[str, Any] | None:
    try:
        reply = await session.call("dynamodb", "describe_table", {"TableName": table}, CALL_DEADLINE_S)
    except NotFoundError:
        return None
    except ConfigurationError as error:
        raise _not_permitted(session, table, "dynamodb:DescribeTable", "cannot be read", error) from error
    description: Mapping[str, Any] = reply["Table"]
    return description


async def _create(session: AwsSession, table: str, tags: Mapping[str, str]) -> None:
    parameters = {
        "TableName": table,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": KEY, "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": KEY, "KeyType": "HASH"}],
        "Tags": [{"Key": key, "Value": value} for key, value in sorted(tags.items())],
    }
    try:
        await session.call("dynamodb", "create_table", parameters, CALL_DEADLINE_S)
    except ConflictError:
        return  # another daemon is making it
    except ConfigurationError as error:
        raise _not_permitted(
            session, table, "dynamodb:CreateTable and dynamodb:TagResource", "is missing", error
        ) from error
    _log.info("claim_table_created", table=table)


async def _active(session: AwsSession, table: str) -> Mapping[str, Any]:
    try:
        async with asyncio.timeout(ACTIVE_DEADLINE_S):
            while True:
                description = await _described(session, table)
                if description is not None and description["TableStatus"] in ("ACTIVE", "UPDATING"):
                    return description
                await asyncio.sleep(_POLL_S)
    except TimeoutError as error:
        raise TransientError(f"DynamoDB table {table} is not ACTIVE after {ACTIVE_DEADLINE_S:g} s") from error


async def _expire(session: AwsSession, table: str) -> None:
    """Without a time to live closed launches stay for ever: worth a warning, not a stop."""
    wanted = {"Enabled": True, "AttributeName": EXPIRES_AT}
    try:
        reply = await session.call("dynamodb", "describe_time_to_live", {"TableName": table}, CALL_DEADLINE_S)
        if reply["TimeToLiveDescription"].get("TimeToLiveStatus") not in ("ENABLED", "ENABLING"):
            parameters = {"TableName": table, "TimeToLiveSpecification": wanted}
            await session.call("dynamodb", "update_time_to_live", parameters, CALL_DEADLINE_S)
    except ConfigurationError as error:
        _log.warning("claim_table.no_time_to_live", table=table, code=error.code, error=str(error))


def _not_permitted(session: AwsSession, table: str, action: str, what: str, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"DynamoDB table {table} in {session.region} {what} and this machine's role may not do {action}: allow that in "
        f"the head node's policy, or create the table with the string hash key {KEY!r} (docs/reference/dynamodb.md) "
        f"[{error}]",
        code=getattr(error, "code", ""),
    )
