"""BatchGetItem to its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from clustermgtd.adapters.aws.claim_table import KEY
from clustermgtd.errors import ThrottledError

GET_BATCH_MAX = 100
_GET_ROUNDS_MAX = 10

_Item = dict[str, Any]


async def batch_get(
    call: Callable[[str, _Item], Awaitable[Any]], table: str, ids: Sequence[str], *, is_consistent: bool
) -> list[_Item]:
    """Those of the items that exist, in no particular order; `call` makes one DynamoDB call.

    Raises:
        ThrottledError: DynamoDB left keys unread again and again.
    """
    found: list[_Item] = []
    for start in range(0, len(ids), GET_BATCH_MAX):
        keys = [{KEY: {"S": id}} for id in ids[start : start + GET_BATCH_MAX]]
        wanted: _Item = {"Keys": keys, "ConsistentRead": is_consistent}
        for _ in range(_GET_ROUNDS_MAX):
            reply = await call("batch_get_item", {"RequestItems": {table: wanted}})
            found += reply["Responses"].get(table, [])
            wanted = reply.get("UnprocessedKeys", {}).get(table, {})
            if not wanted:
                break
        else:
            raise ThrottledError(f"DynamoDB left keys unread in {_GET_ROUNDS_MAX} rounds", code="UnprocessedKeys")
    return found
