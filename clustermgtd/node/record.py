"""The instance's record: which node it is, and how far its boot has come.

DynamoDB items, keyed by `Id`: `launch#<token>` is written by the daemon and holds `Nodes`, a map from instance id to
node name, which may lag the boot by seconds; `boot#<instance id>` is written here and read by the daemon.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import botocore.exceptions
import botocore.session
from botocore.config import Config

from clustermgtd.errors import NotFoundError, TransientError
from clustermgtd.node.imds import Identity

_REPORT_KEPT_S = 7 * 86400


class Record(Protocol):
    """What the agent reads and writes. Every call returns or raises within some seconds."""

    def node_name(self, identity: Identity) -> str:
        """The node that the launch's record gives to this instance.

        Raises:
            NotFoundError: there is no such entry (yet).
            TransientError: the table could not be read; why is in the message.
        """
        ...

    def report_boot(self, identity: Identity, node: str, phases: Mapping[str, float]) -> None:
        """Store all phases so far (epoch seconds); replaces the report before.

        Raises:
            TransientError: it was not stored, or that is not known.
        """
        ...


class DynamoDbRecord:
    """The record in DynamoDB. One client, used by several threads."""

    def __init__(self, table: str, region: str) -> None:
        config = Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 1})
        self._client: Any = botocore.session.Session().create_client("dynamodb", region_name=region, config=config)
        self._table = table

    def node_name(self, identity: Identity) -> str:
        try:
            response = self._client.get_item(
                TableName=self._table,
                Key={"Id": {"S": f"launch#{identity.launch_token}"}},
                ConsistentRead=True,
                ProjectionExpression="Nodes.#instance",
                ExpressionAttributeNames={"#instance": identity.instance_id},
            )
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            raise TransientError(f"cannot read table {self._table}: {error}") from error
        node = response.get("Item", {}).get("Nodes", {}).get("M", {}).get(identity.instance_id, {}).get("S", "")
        if not node:
            raise NotFoundError(
                f"table {self._table} does not say which node {identity.instance_id} is "
                f"(launch {identity.launch_token})"
            )
        return str(node)

    def report_boot(self, identity: Identity, node: str, phases: Mapping[str, float]) -> None:
        newest = max(phases.values(), default=0.0)
        item = {
            "Id": {"S": f"boot#{identity.instance_id}"},
            "Phases": {"M": {phase: {"N": f"{at:.3f}"} for phase, at in phases.items()}},
            "ExpiresAt": {"N": str(int(newest) + _REPORT_KEPT_S)},
        }
        if node:
            item["Node"] = {"S": node}
        try:
            self._client.put_item(TableName=self._table, Item=item)
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            raise TransientError(f"cannot write table {self._table}: {error}") from error

    def close(self) -> None:
        """End the connections."""
        self._client.close()
