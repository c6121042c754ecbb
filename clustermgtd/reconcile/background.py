"""Tasks that run beside the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class CancelledAtTheEnd:
    """A TaskGroup whose tasks serve the body and are cancelled when it ends."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Callable[[Awaitable[None], str], None]:
        await self._group.__aenter__()

        def start(work: Awaitable[None], name: str) -> None:
            self._tasks.append(self._group.create_task(work, name=name))  # type: ignore[arg-type]

        return start

    async def __aexit__(self, *error: object) -> None:
        for task in self._tasks:
            task.cancel()
        await self._group.__aexit__(*error)  # type: ignore[arg-type]
