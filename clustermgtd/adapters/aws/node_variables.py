"""What compute nodes configure themselves with, in the claim table."""

from __future__ import annotations

from collections.abc import Mapping

from clustermgtd.adapters.aws.claim_table import KEY
from clustermgtd.adapters.aws.session import AwsSession

CALL_DEADLINE_S = 10.0


async def store_variables(session: AwsSession, table: str, variables: Mapping[str, str]) -> None:
    """One PutItem for each text, by its digest: what another configuration's nodes read is never changed.

    Raises:
        TransientError, ConfigurationError: not all are stored; storing them again is safe.
    """
    for digest, body in sorted(variables.items()):
        item = {KEY: {"S": f"variables#{digest}"}, "Body": {"S": body}}
        await session.call("dynamodb", "put_item", {"TableName": table, "Item": item}, CALL_DEADLINE_S)
