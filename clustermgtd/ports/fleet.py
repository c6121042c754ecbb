"""Instances."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from clustermgtd.model.claim import Launch, LaunchResult, TerminateResult
from clustermgtd.model.ids import InstanceId
from clustermgtd.model.instance import Instance


class Fleet(Protocol):
    """EC2, as far as this cluster's instances go.

    Reads are eventually consistent: a new instance may be missing, or lack fields, for a minute or two; an ended one
    may be shown live for some seconds. Writes under one launch token are idempotent.
    """

    async def launch(self, launch: Launch) -> LaunchResult:
        """CreateFleet (instant) for `launch.request` under `launch.token`.

        A partial result is data. The same token with the same request returns the same instances, however often it
        is called. Instances carry the token, cluster, queue and compute resource as tags from the first moment.

        Raises:
            TransientError: nothing is known about the outcome, or EC2 asked to come back (ThrottledError).
            PermanentError: the request itself is refused and will be again. As a result that is a refusal, this says
                nothing about an earlier call under the token.
        """
        ...

    async def instances(self) -> Mapping[InstanceId, Instance]:
        """Every compute instance with this cluster's tag, ended ones as long as EC2 shows them. All pages or nothing.

        Raises:
            TransientError: some page could not be read.
        """
        ...

    async def terminate(self, instances: Iterable[InstanceId]) -> TerminateResult:
        """Ask EC2 to end instances; idempotent. One bad id does not save the others.

        Raises:
            TransientError: the outcome for all of them is not known.
        """
        ...

    async def console_output(self, instance: InstanceId) -> str:
        """The newest console text, empty if there is none yet."""
        ...
