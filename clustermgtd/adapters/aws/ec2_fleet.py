"""EC2 behind the port `Fleet`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from clustermgtd.adapters.aws import tags
from clustermgtd.adapters.aws.fleet_request import create_fleet_parameters, launch_result, refused_everywhere
from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.errors import (
    CapacityError,
    ClustermgtdError,
    IncompleteObservationError,
    NotFoundError,
    TransientError,
)
from clustermgtd.model.claim import Launch, LaunchResult, TerminateResult
from clustermgtd.model.ids import InstanceId
from clustermgtd.model.instance import Instance

LAUNCH_DEADLINE_S = 60.0
READ_DEADLINE_S = 20.0
TERMINATE_DEADLINE_S = 30.0
PAGE_SIZE = 500
PAGES_MAX = 1000
TERMINATE_BATCH_MAX = 500
TERMINATE_CALLS_MAX = 50
"""For one batch, however many of its ids are bad."""

_ABOUT_ONE_INSTANCE = ("InvalidInstanceID.", "OperationNotPermitted", "IncorrectInstanceState", "UnsupportedOperation")
"""Codes by which one instance spoils a whole TerminateInstances call."""
_INSTANCE_ID = re.compile(r"\bi-[0-9a-z]+\b")


class Ec2Fleet:
    """The instances of one cluster. Stateless: safe to use from several tasks."""

    def __init__(self, session: AwsSession, cluster_name: str, *, page_size: int = PAGE_SIZE) -> None:
        self._session = session
        self._cluster_name = cluster_name
        self._page_size = page_size

    async def launch(self, launch: Launch) -> LaunchResult:
        """One CreateFleet call. A shortage, also one that refuses the whole call, is a result and not an exception."""
        parameters = create_fleet_parameters(launch, self._cluster_name)
        try:
            reply = await self._call("create_fleet", parameters, LAUNCH_DEADLINE_S)
        except CapacityError as error:
            return refused_everywhere(launch.request, error.code, str(error), error.request_id)
        result = launch_result(launch.request, reply)
        for entry in reply.get("Errors", ()):
            self._session.unknown_codes.look_at(
                str(entry.get("ErrorCode", "")), str(entry.get("ErrorMessage", "")), result.request_id
            )
        return result

    async def instances(self) -> Mapping[InstanceId, Instance]:
        """One DescribeInstances call per page of `page_size`."""
        parameters: dict[str, Any] = {
            "Filters": [{"Name": f"tag:{tags.CLUSTER}", "Values": [self._cluster_name]}],
            "MaxResults": self._page_size,
        }
        found: dict[InstanceId, Instance] = {}
        for _ in range(PAGES_MAX):
            page = await self._call("describe_instances", parameters, READ_DEADLINE_S)
            found |= {instance.id: instance for instance in page["Instances"]}
            if not page["NextToken"]:
                return found
            parameters["NextToken"] = page["NextToken"]
        raise IncompleteObservationError(f"DescribeInstances did not end after {PAGES_MAX} pages")

    async def terminate(self, instances: Iterable[InstanceId]) -> TerminateResult:
        """TerminateInstances in batches, one after the other.

        An instance in neither part of the result was in a batch whose outcome is not known, or that was not sent any
        more after a throttle; asking again is safe.
        """
        ids = iter(sorted(set(instances)))
        accepted: set[InstanceId] = set()
        refused: dict[InstanceId, str] = {}
        while batch := list(islice(ids, TERMINATE_BATCH_MAX)):
            try:
                await self._terminate_batch(batch, accepted, refused)
            except TransientError:
                if not accepted and not refused:
                    raise
                break
        return TerminateResult(frozenset(accepted), tuple(sorted(refused.items())))

    async def console_output(self, instance: InstanceId) -> str:
        """One GetConsoleOutput call; a second one for types that keep no live console.

        Raises:
            NotFoundError: EC2 does not know the instance.
        """
        parameters = {"InstanceId": instance, "Latest": True}
        try:
            reply = await self._call("get_console_output", parameters, READ_DEADLINE_S)
        except ClustermgtdError as error:
            if error.code != "UnsupportedOperation":
                raise
            reply = await self._call("get_console_output", {"InstanceId": instance}, READ_DEADLINE_S)
        return str(reply.get("Output") or "")

    async def _terminate_batch(
        self, batch: list[InstanceId], accepted: set[InstanceId], refused: dict[InstanceId, str]
    ) -> None:
        """Terminate what can be: an id that spoils the call is set aside, and the others are tried again.

        Makes at most `TERMINATE_CALLS_MAX` calls; what is left then has no known outcome.
        """
        parts = [batch]
        for _ in range(TERMINATE_CALLS_MAX):
            part = parts.pop()
            try:
                await self._call("terminate_instances", {"InstanceIds": part}, TERMINATE_DEADLINE_S)
            except TransientError:
                raise
            except ClustermgtdError as error:
                guilty = _guilty(part, error)
                if isinstance(error, NotFoundError):
                    accepted |= guilty
                else:
                    refused |= dict.fromkeys(guilty, error.code)
                innocent = [id for id in part if id not in guilty]
                middle = 0 if guilty else len(innocent) // 2
                parts += [half for half in (innocent[:middle], innocent[middle:]) if half]
            else:
                accepted.update(part)
            if not parts:
                return

    async def _call(self, operation: str, parameters: Mapping[str, Any], deadline_s: float) -> Any:
        return await self._session.call("ec2", operation, parameters, deadline_s)


def _guilty(batch: Sequence[InstanceId], error: ClustermgtdError) -> set[InstanceId]:
    """The instances that an error speaks of; empty if it is about one of them and does not say which."""
    if len(batch) == 1 or not error.code.startswith(_ABOUT_ONE_INSTANCE):
        return set(batch)
    named = set(_INSTANCE_ID.findall(str(error)))
    return {id for id in batch if id in named}
