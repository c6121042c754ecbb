"""The instance's metadata service, version 2 only."""

from __future__ import annotations

import email.utils
import http.client
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from clustermgtd.errors import NotFoundError, PermanentError, TransientError

DEFAULT_ENDPOINT = "http://169.254.169.254"
ENDPOINT_VARIABLE = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
TOKEN_TAG = "clustermgtd:launch-token"  # noqa: S105 -- the name of a tag
_TOKEN_TTL_S = 21600
_REQUEST_TIMEOUT_S = 2.0
_BODY_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this instance is."""

    instance_id: str
    instance_type: str
    region: str
    launch_token: str


class MetadataService:
    """IMDSv2 over the standard library; never through a proxy. One request lasts two seconds at most."""

    def __init__(self, endpoint: str = DEFAULT_ENDPOINT) -> None:
        """Raises:
        PermanentError: the endpoint is not an http URL.
        """
        parts = urlsplit(endpoint)
        if parts.scheme != "http" or not parts.hostname:
            raise PermanentError(f"{ENDPOINT_VARIABLE} is {endpoint!r}, not an http:// address")
        self._host = parts.hostname
        self._port = parts.port or 80
        self._prefix = parts.path.rstrip("/")
        self._token = ""
        self._token_until = 0.0

    def get(self, path: str) -> str:
        """The text under `/latest/<path>`.

        Raises:
            NotFoundError: the service has no such entry.
            TransientError: it did not answer, or refused.
        """
        return self.get_dated(path)[0]

    def get_dated(self, path: str) -> tuple[str, float]:
        """The text, and when it was given: epoch seconds by the service's clock, or by ours where it does not tell.

        Raises:
            NotFoundError, TransientError: as `get`.
        """
        if time.monotonic() >= self._token_until:
            self._renew_token()
        status, body, at = self._request("GET", path, {"X-aws-ec2-metadata-token": self._token})
        if status == 401:
            self._token_until = 0.0
        if status == 404:
            raise NotFoundError(f"the metadata service has no {path}", code=str(status))
        if status != 200:
            raise TransientError(f"the metadata service answered {status} to {path}", code=str(status))
        return body, at

    def identity(self) -> Identity:
        """Who this instance is.

        Raises:
            NotFoundError: the instance has no launch token, or does not show its tags here.
            TransientError: the service did not answer.
        """
        instance_id = self.get("meta-data/instance-id")
        try:
            token = self.get(f"meta-data/tags/instance/{TOKEN_TAG}")
        except NotFoundError as error:
            raise NotFoundError(
                f"{instance_id} has no tag {TOKEN_TAG} in its metadata: it was not launched by clustermgtd, or its "
                "launch template does not set InstanceMetadataTags=enabled"
            ) from error
        return Identity(
            instance_id=instance_id,
            instance_type=self.get("meta-data/instance-type"),
            region=self.get("meta-data/placement/region"),
            launch_token=token,
        )

    def _renew_token(self) -> None:
        asked_at = time.monotonic()
        ttl = {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_TTL_S)}
        status, body, _ = self._request("PUT", "api/token", ttl)
        if status != 200:
            raise TransientError(f"the metadata service answered {status} to the request for a token", code=str(status))
        self._token = body
        self._token_until = asked_at + _TOKEN_TTL_S / 2

    def _request(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str, float]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=_REQUEST_TIMEOUT_S)
        try:
            connection.request(method, f"{self._prefix}/latest/{path}", headers=dict(headers))
            response = connection.getresponse()
            date = email.utils.parsedate_tz(response.getheader("Date") or "")
            at = time.time() if date is None else email.utils.mktime_tz(date)
            return response.status, response.read(_BODY_MAX).decode("utf-8", "replace"), at
        except (OSError, http.client.HTTPException) as error:
            raise TransientError(f"no answer from the metadata service: {error}") from error
        finally:
            connection.close()
