"""Runs the daemon over one file, and says with the exit code why it ended."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from clustermgtd.daemon import Daemon
from clustermgtd.errors import ConfigurationError, FencedError, TransientError
from clustermgtd.settings import Settings, load
from clustermgtd.telemetry.logging import LogFormat, LogLevel, configure

log = structlog.get_logger(__name__)

EXIT_OK = 0
EXIT_UNAVAILABLE = 75
"""AWS or Slurm did not answer at the start: worth another try by the service manager."""
EXIT_FENCED = 76
"""Another daemon took over: starting again would take it back, so the service manager must not."""
EXIT_CONFIGURATION = 78
"""A human has to change something first."""


def run(config: Path) -> int:
    """Read the file, run the daemon, and say with the exit code why it ended."""
    try:
        settings = load(config)
    except ConfigurationError as error:
        log.error("configuration_refused", error=str(error))  # noqa: TRY400
        return EXIT_CONFIGURATION
    own = settings.clustermgtd
    output = configure(LogLevel(own.log.level), LogFormat(own.log.format))
    try:
        return asyncio.run(_outcome(config, settings))
    finally:
        output.close()


async def _outcome(config: Path, settings: Settings) -> int:
    try:
        await Daemon(config).run(settings)
    except* FencedError as group:
        log.error("fenced", error=_first(group))  # noqa: TRY400
        return_code = EXIT_FENCED
    except* ConfigurationError as group:
        log.error("configuration_refused", error=_first(group))  # noqa: TRY400
        return_code = EXIT_CONFIGURATION
    except* TransientError as group:
        log.error("start_failed", error=_first(group))  # noqa: TRY400
        return_code = EXIT_UNAVAILABLE
    else:
        return_code = EXIT_OK
    return return_code


def _first(group: BaseExceptionGroup[BaseException]) -> str:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)
