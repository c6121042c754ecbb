"""One aiobotocore session: clients made once, one place where calls get a deadline and errors get our classes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import aiohttp
import botocore.exceptions as boto
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from botocore.parsers import ResponseParserError

from clustermgtd import __version__
from clustermgtd.adapters.aws.error_codes import error_from
from clustermgtd.adapters.aws.parsers import ParserFactory
from clustermgtd.adapters.aws.unknown_codes import UnknownCodes
from clustermgtd.errors import ClustermgtdError, ConfigurationError, PermanentError, TransientError

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 20.0
LONG_READ_TIMEOUT_S = 30.0
"""Of services that make callers wait: SQS answers a long poll after twenty seconds."""
POOL_SIZE = 50

_UNREACHABLE = (
    boto.ConnectionError,
    boto.HTTPClientError,
    ResponseParserError,
    boto.IncompleteReadError,
    boto.CredentialRetrievalError,
    boto.MetadataRetrievalError,
    aiohttp.ClientError,
    OSError,
    TimeoutError,
)
"""Nothing is known about the outcome: no reply, half a reply, or no credentials just now."""

_LONG_POLLED = frozenset({"sqs"})
_NOT_SET_UP = (boto.NoCredentialsError, boto.PartialCredentialsError, boto.NoRegionError, boto.ProfileNotFound)


class AwsSession:
    """Clients of one region, shared by every AWS adapter.

    Use as an async context manager. botocore does not retry (the reconcile loop does); it honours `AWS_ENDPOINT_URL`
    and `AWS_ENDPOINT_URL_<SERVICE>` unless `endpoint_url` is given.
    """

    def __init__(
        self, region: str, *, endpoint_url: str | None = None, count_unknown_code: Callable[[], None] = lambda: None
    ) -> None:
        self.region = region
        self.calls: Counter[str] = Counter()
        """Calls made, by `service:operation`."""
        self.unknown_codes = UnknownCodes(count_unknown_code)
        self._endpoint_url = endpoint_url
        self._session: AioSession = get_session()
        self._session.register_component("response_parser_factory", ParserFactory())
        self._config = AioConfig(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            max_pool_connections=POOL_SIZE,
            retries={"mode": "standard", "total_max_attempts": 1},
            user_agent_extra=f"clustermgtd/{__version__}",
        )
        self._stack = AsyncExitStack()
        self._clients: dict[str, Any] = {}
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clients.clear()
        await self._stack.aclose()

    async def call(self, service: str, operation: str, parameters: Mapping[str, Any], deadline_s: float) -> Any:
        """One call of a client's method (`"ec2"`, `"create_fleet"`), answered within `deadline_s` seconds.

        Returns botocore's reply, a dict.

        Raises:
            TransientError: no reply in time, or one that asks to come back (ThrottledError).
            ClustermgtdError: the class that `error_codes` gives the reply's code.
        """
        self.calls[f"{service}:{operation}"] += 1
        try:
            async with asyncio.timeout(deadline_s):
                client = await self._client(service)
                return await getattr(client, operation)(**parameters)
        except boto.ClientError as error:
            raise self._replied(error) from error
        except _NOT_SET_UP as error:
            raise ConfigurationError(f"{service} {operation}: {error}", code=type(error).__name__) from error
        except _UNREACHABLE as error:
            detail = str(error) or f"no reply within {deadline_s:g} s"
            raise TransientError(f"{service} {operation}: {detail}", code=type(error).__name__) from error
        except boto.BotoCoreError as error:
            raise PermanentError(f"{service} {operation}: {error}", code=type(error).__name__) from error

    async def _client(self, service: str) -> Any:
        if service not in self._clients:
            async with self._lock:
                if service not in self._clients:
                    config = self._config
                    if service in _LONG_POLLED:
                        config = config.merge(AioConfig(read_timeout=LONG_READ_TIMEOUT_S))
                    context = self._session.create_client(
                        service,
                        region_name=_home_of(service, self.region),
                        endpoint_url=self._endpoint_url,
                        config=config,
                    )
                    self._clients[service] = await self._stack.enter_async_context(context)
        return self._clients[service]

    def _replied(self, error: boto.ClientError) -> ClustermgtdError:
        reply = error.response
        code = str(reply.get("Error", {}).get("Code", "")) or "NoCode"
        message = str(reply.get("Error", {}).get("Message", ""))
        metadata = reply.get("ResponseMetadata", {})
        request_id = str(metadata.get("RequestId", ""))
        self.unknown_codes.look_at(code, message, request_id)
        return error_from(code, message, status=int(metadata.get("HTTPStatusCode", 0)), request_id=request_id)


def _home_of(service: str, region: str) -> str:
    """The Region to ask: the price list is served in three, for all of them, and in China for China."""
    if service != "pricing":
        return region
    if region.startswith("cn-"):
        return "cn-northwest-1"
    return {"eu": "eu-central-1", "ap": "ap-south-1"}.get(region.partition("-")[0], "us-east-1")
