"""AWS on this machine, for the contract suites."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import boto3
import pytest
from botocore.config import Config

from clustermgtd.lab.aws.front import AwsEndpoints
from clustermgtd.lab.ec2.model import Ec2Model
from clustermgtd.lab.ec2.scenario import Scenario
from tests.contract.ec2_calls import make_template

T = TypeVar("T")

QUICK = Scenario(request_buckets={}, resource_buckets={}, boot_delay_s=0.2, terminate_delay_s=0.2, stop_delay_s=0.2)
"""No throttling, short delays."""


class ServedAws:
    """AWS endpoints on an event loop in a thread of their own."""

    def __init__(self, scenario: Scenario) -> None:
        self.endpoints = AwsEndpoints(scenario)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="aws", daemon=True)
        self._thread.start()
        self._run(self.endpoints.start())

    @property
    def endpoint_url(self) -> str:
        return self.endpoints.endpoint_url

    def model(self, use: Callable[[Ec2Model], T]) -> T:
        """`use(model)` on the event loop that owns the model; what it set off is told at once."""

        async def call() -> T:
            try:
                return use(self.endpoints.model)
            finally:
                self.endpoints.pump()

        return self._run(call())

    def client(self, service: str, **config: Any) -> Any:
        """A boto3 client that makes each call once; close it."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id="lab",
            aws_secret_access_key="lab",
            config=Config(**{"retries": {"total_max_attempts": 1}, "connect_timeout": 5, "read_timeout": 60, **config}),
        )

    def close(self) -> None:
        self._run(self.endpoints.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=90)


@contextmanager
def serve_aws(scenario: Scenario) -> Iterator[ServedAws]:
    """Endpoints for one scenario; moto starts only if something other than EC2 is called."""
    served = ServedAws(scenario)
    try:
        yield served
    finally:
        served.close()


@pytest.fixture(scope="session")
def aws_endpoints() -> Iterator[ServedAws]:
    """Endpoints shared by the session, without throttling: keep to your own tags, pools, tables and queues."""
    with serve_aws(QUICK) as served:
        yield served


@pytest.fixture(scope="session")
def serve() -> Callable[[Scenario], Any]:
    """`with serve(scenario) as aws:` for a test that needs a Region of its own."""
    return serve_aws


@pytest.fixture(scope="session")
def ec2(aws_endpoints: ServedAws) -> Iterator[Any]:
    """boto3's EC2 client on the shared endpoints."""
    client = aws_endpoints.client("ec2")
    yield client
    client.close()


@pytest.fixture
def template(ec2: Any) -> str:
    """A launch template's name, new for each test."""
    return make_template(ec2)
