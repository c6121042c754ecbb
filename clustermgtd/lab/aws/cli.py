"""`clustermgtd lab aws`: the AWS endpoints alone."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from clustermgtd.errors import ConfigurationError
from clustermgtd.lab.aws.front import AwsEndpoints
from clustermgtd.lab.ec2.scenario import Scenario, load_scenario


def run(port: int, scenario_file: Path | str | None = None) -> int:
    """Serve on `port` (0: a free one) until SIGTERM or SIGINT; returns the exit code.

    Prints one line when it serves: the endpoint, and the variables to export.
    """
    try:
        scenario = load_scenario(Path(scenario_file)) if scenario_file else Scenario()
        asyncio.run(_serve(port, scenario))
    except (ConfigurationError, OSError, RuntimeError) as error:
        print(f"clustermgtd lab aws: {error}", file=sys.stderr)
        return 1
    return 0


def environment(endpoint_url: str, region: str) -> dict[str, str]:
    """What any AWS client needs in its environment to use the endpoints."""
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_ACCESS_KEY_ID": "lab",
        "AWS_SECRET_ACCESS_KEY": "lab",
    }


async def _serve(port: int, scenario: Scenario) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    endpoints = AwsEndpoints(scenario, port=port)
    await endpoints.start()
    try:
        await endpoints.warm_up()
        variables = environment(endpoints.endpoint_url, scenario.region)
        exports = " ".join(f"{name}={value}" for name, value in variables.items())
        print(f"{endpoints.endpoint_url} export {exports}", flush=True)
        await stop.wait()
    finally:
        await endpoints.close()
