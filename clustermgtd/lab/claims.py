"""What the claim table says, read past the daemon: a check of the daemon cannot ask the daemon."""

from __future__ import annotations

from typing import Any

from clustermgtd.adapters.aws.codec import decode
from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.errors import NotFoundError, PermanentError
from clustermgtd.model.claim import NodeClaim

_DEADLINE_S = 10.0
_PAGES_MAX = 100


async def open_claims(session: AwsSession, table: str) -> list[NodeClaim]:
    """Claims that are not TERMINATED; a table that does not exist yet holds none.

    Raises:
        TransientError, PermanentError: the table cannot be read, or is too long for a lab.
    """
    parameters: dict[str, Any] = {
        "TableName": table,
        "ConsistentRead": True,
        "FilterExpression": "IsOpen = :yes",
        "ExpressionAttributeValues": {":yes": {"BOOL": True}},
    }
    found: list[NodeClaim] = []
    for _ in range(_PAGES_MAX):
        try:
            reply = await session.call("dynamodb", "scan", parameters, _DEADLINE_S)
        except NotFoundError:
            return []
        for item in reply["Items"]:
            body = item["Body"]
            launch = decode(body["S"] if "S" in body else body["B"], int(item["Version"]["N"]))
            found += [claim for claim in launch.claims if claim.is_open]
        if "LastEvaluatedKey" not in reply:
            return found
        parameters["ExclusiveStartKey"] = reply["LastEvaluatedKey"]
    raise PermanentError(f"table {table} has more than {_PAGES_MAX} pages")
