"""Every call to AWS goes by the proxy that the environment names, but for addresses that are exempt."""

from __future__ import annotations

import asyncio
import http.server
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.cli.secret import SecretError, read
from clustermgtd.errors import ClustermgtdError, TransientError
from clustermgtd.node.record import DynamoDbRecord

REGION = "eu-central-1"


class Proxy(http.server.ThreadingHTTPServer):
    """Notes what it is asked for: whole URLs of HTTP, `host:port` of HTTPS, to which it opens no tunnel."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Proxy

    def do_CONNECT(self) -> None:
        self.server.asked.append(self.path)
        self.send_error(403)

    def do_POST(self) -> None:
        self.server.asked.append(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = urllib.request.Request(self.path, body, dict(self.headers), method="POST")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as reply:
            content = reply.read()
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.headers["Content-Type"])
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, *arguments: Any) -> None:
        """Nothing: `asked` is the log."""


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy on this machine, named by the environment."""
    with Proxy() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_address[1]}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        yield server
        server.shutdown()
        thread.join()


def call(service: str, operation: str, parameters: dict[str, Any], endpoint_url: str | None = None) -> Any:
    async def once() -> Any:
        async with AwsSession(REGION, endpoint_url=endpoint_url) as session:
            return await session.call(service, operation, parameters, 20)

    return asyncio.run(once())


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "host"),
    [
        ("ec2", "describe_subnets", {}, f"ec2.{REGION}.amazonaws.com"),
        ("dynamodb", "describe_table", {"TableName": "claims"}, f"dynamodb.{REGION}.amazonaws.com"),
        (
            "sqs",
            "receive_message",
            {"QueueUrl": f"https://sqs.{REGION}.amazonaws.com/1/q"},
            f"sqs.{REGION}.amazonaws.com",
        ),
        ("pricing", "get_products", {"ServiceCode": "AmazonEC2"}, "api.pricing.eu-central-1.amazonaws.com"),
    ],
)
def test_the_daemon_asks_the_proxy_for_a_tunnel_to_each_service(
    proxy: Proxy, service: str, operation: str, parameters: dict[str, Any], host: str
) -> None:
    with pytest.raises(TransientError):
        call(service, operation, parameters)
    assert set(proxy.asked) == {f"{host}:443"}


def test_an_answer_comes_back_through_the_proxy(proxy: Proxy, aws_endpoints: Any) -> None:
    found = call("ec2", "describe_subnets", {}, aws_endpoints.endpoint_url)
    assert found["Subnets"]
    assert proxy.asked == [f"{aws_endpoints.endpoint_url}/"]


def test_exempt_addresses_are_called_directly(
    proxy: Proxy, aws_endpoints: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1,169.254.169.254")
    assert call("ec2", "describe_subnets", {}, aws_endpoints.endpoint_url)["Subnets"]
    assert proxy.asked == []


def test_the_node_agent_asks_the_proxy(proxy: Proxy) -> None:
    record = DynamoDbRecord("claims", REGION)
    with pytest.raises(ClustermgtdError):
        record.heartbeat()
    record.close()
    assert set(proxy.asked) == {f"dynamodb.{REGION}.amazonaws.com:443"}


def test_the_cookbooks_secrets_are_read_by_the_proxy(proxy: Proxy) -> None:
    with pytest.raises(SecretError):
        read(f"arn:aws:secretsmanager:{REGION}:123456789012:secret:munge-AbCdEf")
    assert set(proxy.asked) == {f"secretsmanager.{REGION}.amazonaws.com:443"}
