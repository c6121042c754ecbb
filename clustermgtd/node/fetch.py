"""`python -m clustermgtd.node.fetch URL FILE`: a file of the site's own, from S3 or the web, onto this machine."""

from __future__ import annotations

import argparse
import http.client
import shutil
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import botocore.exceptions
import botocore.session
from botocore.config import Config

_PAUSES_S = (2.0, 4.0)
"""Between attempts."""
_FETCH_S = 60.0
_ERRORS = (
    OSError,
    http.client.HTTPException,
    botocore.exceptions.ClientError,
    botocore.exceptions.BotoCoreError,
)


class FetchError(Exception):
    """A URL cannot be read; the message names it."""


def fetch(url: str, path: Path, sleep: Callable[[float], None] = time.sleep) -> None:
    """Write what a URL (s3://, https://, http:// or file:///) names to a path; proxies are those of the environment.

    Raises:
        FetchError: three attempts failed.
    """
    for pause_s in (*_PAUSES_S, None):
        try:
            _once(url, path)
        except _ERRORS as error:
            if pause_s is None:
                raise FetchError(f"{url} cannot be fetched: {error}") from error
            sleep(pause_s)
        else:
            return


def _once(url: str, path: Path) -> None:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "s3":
        config = Config(connect_timeout=10, read_timeout=_FETCH_S, retries={"total_max_attempts": 1})
        client: Any = botocore.session.Session().create_client("s3", config=config)
        body = client.get_object(Bucket=parts.netloc, Key=parts.path.lstrip("/"))["Body"]
        with path.open("wb") as file:
            shutil.copyfileobj(body, file)
        return
    with urllib.request.urlopen(url, timeout=_FETCH_S) as answer, path.open("wb") as file:  # noqa: S310 -- the site's own URL
        shutil.copyfileobj(answer, file)


def main() -> int:
    """Say `changed` if the file is another one now; exit code 1 and the reason if it cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m clustermgtd.node.fetch", description=__doc__)
    parser.add_argument("url", help="s3://BUCKET/KEY, https://, http:// or file:///")
    parser.add_argument("file", type=Path, help="where it goes; readable by everyone")
    options = parser.parse_args()
    target: Path = options.file
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as folder:
        new = Path(folder) / target.name
        try:
            fetch(options.url, new)
        except FetchError as error:
            print(error, file=sys.stderr)
            return 1
        if target.exists() and target.read_bytes() == new.read_bytes():
            return 0
        new.chmod(0o644)
        new.replace(target)
    print("changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
