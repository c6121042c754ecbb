"""The child process that runs moto; it ends with its parent, however that ends.

`python -m clustermgtd.lab.aws.moto_child` prints its port on one line. Its parent holds the other end of its standard
input: when that closes (also by `kill -9` of the parent), the child exits.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from asyncio.subprocess import DEVNULL, PIPE, Process

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 5.0


class MotoChild:
    """Starts and ends the child."""

    def __init__(self, account: str) -> None:
        self._account = account
        self._process: Process | None = None
        self._url = ""

    @property
    def url(self) -> str:
        """Where the child serves; empty until it was started."""
        return self._url

    @property
    def pid(self) -> int | None:
        """The child's process id; None when it does not run."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self) -> None:
        """Start the child and wait until it serves.

        Raises:
            RuntimeError: it ended at once, or did not come up in time.
        """
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "MOTO_"))},
            "MOTO_ACCOUNT_ID": self._account,
            "MOTO_EC2_LOAD_DEFAULT_AMIS": "false",
            "PYTHONUNBUFFERED": "1",
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", __name__, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment
        )
        self._process = process
        assert process.stdout is not None
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                line = await process.stdout.readline()
        except TimeoutError:
            line = b""
        if not line.startswith(b"port "):
            await self.close()
            raise RuntimeError("moto did not start; is the extra [lab] installed?")
        self._url = f"http://127.0.0.1:{int(line.split()[1])}"

    async def close(self) -> None:
        """End the child."""
        process, self._process, self._url = self._process, None, ""
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _exit_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


def main() -> None:
    """Serve until standard input closes."""
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    import logging

    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class KeepAlive(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=KeepAlive)
    print(f"port {server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
