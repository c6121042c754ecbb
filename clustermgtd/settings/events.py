"""`Clustermgtd.Events`: how the daemon learns what AWS is about to do to instances."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from clustermgtd.settings.section import Section


class Events(Section):
    """What AWS announces about instances: spot interruptions, maintenance, the end of a reservation."""

    queue_url: Annotated[str, Field(pattern=r"^https?://[!-~]+/[0-9]+/[A-Za-z0-9_.-]+$")] | None = None
    """URL of the SQS queue that EventBridge's rules fill, in the cluster's Region; by default there is none, and
    interruptions are learned when they have happened."""
    receivers: Annotated[int, Field(ge=1, le=32)] = 4
    """Calls at a time while messages pile up in the queue."""
    poll_seconds: Annotated[int, Field(ge=1, le=20)] = 20
    """Longest wait of one call for a message, seconds; it is answered as soon as there is one."""
    visibility_seconds: Annotated[int, Field(ge=30, le=43_200)] = 120
    """A received message comes again after this time unless its effect was stored meanwhile, seconds."""
    status_checks: bool = True
    """Ask EC2 for scheduled events and failing status checks too, with or without a queue."""
    status_seconds: Annotated[float, Field(ge=10, le=3600)] = 60.0
    """Between two such readings, seconds."""
