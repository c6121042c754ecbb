"""The instance's record: which node it is, what it reports, and whether somebody on the head node lives.

DynamoDB items, keyed by `Id`: `launch#<token>` is written by the daemon and holds `Nodes`, a map from instance id to
node name, which may lag the boot by seconds; `boot#<instance id>` is written here and read by the daemon when the
instance's mark is in `announcements#<n>`; `heartbeat` and `variables#<digest>` are written by the daemon.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Protocol

import botocore.exceptions
import botocore.session
from botocore.config import Config

from clustermgtd.errors import NotFoundError, TransientError
from clustermgtd.model.node_report import NodeReport, announcement_shard
from clustermgtd.node.imds import Identity

_REPORT_KEPT_S = 30 * 86400
_ERRORS = (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError)


class Record(Protocol):
    """What the agent reads and writes. Every call returns or raises within some seconds."""

    def node_name(self, identity: Identity) -> str:
        """The node that the launch's record gives to this instance.

        Raises:
            NotFoundError: there is no such entry (yet).
            TransientError: the table could not be read; why is in the message.
        """
        ...

    def variables(self, digest: str) -> str:
        """The text of that digest, as the daemon stored it before it launched anything with it.

        Raises:
            NotFoundError: there is none.
            TransientError: the table could not be read.
        """
        ...

    def report(self, report: NodeReport) -> None:
        """Store the report in place of the one before, then announce it.

        Raises:
            TransientError: not all of that is done, or that is not known. Doing it again is safe.
        """
        ...

    def heartbeat(self) -> int | None:
        """The daemon's beats so far; None if no daemon ever wrote one. May lag some seconds.

        Raises:
            TransientError: the table could not be read.
        """
        ...


class DynamoDbRecord:
    """The record in DynamoDB. One client, used by several threads."""

    def __init__(self, table: str, region: str, endpoint_url: str | None = None) -> None:
        config = Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 1})
        self._client: Any = botocore.session.Session().create_client(
            "dynamodb", region_name=region, endpoint_url=endpoint_url, config=config
        )
        self._table = table

    def node_name(self, identity: Identity) -> str:
        item = self._read(
            f"launch#{identity.launch_token}",
            ConsistentRead=True,
            ProjectionExpression="Nodes.#instance",
            ExpressionAttributeNames={"#instance": identity.instance_id},
        )
        node = item.get("Nodes", {}).get("M", {}).get(identity.instance_id, {}).get("S", "")
        if not node:
            raise NotFoundError(
                f"table {self._table} does not say which node {identity.instance_id} is "
                f"(launch {identity.launch_token})"
            )
        return str(node)

    def variables(self, digest: str) -> str:
        """One strongly consistent GetItem: a read unit for each 4 KiB."""
        item = self._read(f"variables#{digest}", ConsistentRead=True, ProjectionExpression="Body")
        if not item:
            raise NotFoundError(f"table {self._table} has no variables#{digest}")
        return str(item["Body"]["S"])

    def report(self, report: NodeReport) -> None:
        """One PutItem, one UpdateItem."""
        item = {
            "Id": {"S": f"boot#{report.instance}"},
            "Phases": {"M": {phase: {"N": f"{at:.3f}"} for phase, at in report.phases.items()}},
            "Body": {"S": json.dumps(dataclasses.asdict(report), separators=(",", ":"))},
            "ExpiresAt": {"N": str(int(report.at) + _REPORT_KEPT_S)},
        }
        if report.node:
            item["Node"] = {"S": report.node}
        try:
            self._client.put_item(TableName=self._table, Item=item)
            self._client.update_item(
                TableName=self._table,
                Key={"Id": {"S": f"announcements#{announcement_shard(report.instance)}"}},
                UpdateExpression="ADD Marks :mark",
                ExpressionAttributeValues={":mark": {"SS": [f"{report.instance}#{report.sequence}"]}},
            )
        except _ERRORS as error:
            raise TransientError(f"cannot write table {self._table}: {error}") from error

    def heartbeat(self) -> int | None:
        """One eventually consistent GetItem: half a read unit."""
        beats = self._read("heartbeat", ProjectionExpression="Beats").get("Beats", {}).get("N")
        return None if beats is None else int(beats)

    def close(self) -> None:
        """End the connections."""
        self._client.close()

    def _read(self, id: str, **how: object) -> dict[str, Any]:
        """An item, empty if there is none. `how` are further parameters of GetItem."""
        try:
            response = self._client.get_item(TableName=self._table, Key={"Id": {"S": id}}, **how)
        except _ERRORS as error:
            raise TransientError(f"cannot read table {self._table}: {error}") from error
        return dict(response.get("Item", {}))
