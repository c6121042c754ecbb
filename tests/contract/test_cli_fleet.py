"""clustermgtctl fleet over the lab's AWS, with no daemon and with one that listens."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clustermgtd.adapters.aws.dynamodb_claim_store import DynamoDbClaimStore
from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.cli.main import main
from clustermgtd.model.fleet_status import FleetRecord
from clustermgtd.model.ids import QueueName
from clustermgtd.model.safeguards import HeldBack, Safeguards
from resume_suspend.protocol import Reply, decode, encode

TABLE = "clustermgtd-cluster"
MINIMAL = Path(__file__).parents[2] / "docs" / "examples" / "minimal.yaml"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "cluster.yaml"
    text = MINIMAL.read_text().replace("eu-central-1", "us-east-1")
    assert "Clustermgtd:" not in text
    path.write_text(f"{text}\nClustermgtd:\n  Hooks:\n    SocketPath: {tmp_path}/hooks.sock\n")
    return path


@pytest.fixture
def aws(aws_endpoints: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The session's endpoints with a claim table that a test has for itself."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws_endpoints.endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "lab")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "lab")

    async def make_table() -> None:
        async with AwsSession("us-east-1") as session:
            await DynamoDbClaimStore(session, TABLE).ensure_table()

    asyncio.run(make_table())
    yield aws_endpoints
    client = aws_endpoints.client("dynamodb")
    client.delete_table(TableName=TABLE)
    client.close()


def answer(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_a_request_is_written_without_a_daemon(aws: Any, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fleet", "stop", "--queue", "q1", "--when-idle", "--config", str(config)]) == 0
    said = capsys.readouterr()
    assert "STOP_REQUESTED" in said.out
    assert "end first" in said.out
    assert "the daemon looks within 30 s if it runs" in said.err
    assert main(["fleet", "status", "--config", str(config), "--output", "json"]) == 0
    shown = answer(capsys)
    assert (shown["status"], shown["queues"][0]["status"]) == ("RUNNING", "STOP_REQUESTED")
    assert shown["queues"][0]["when_idle"] is True
    assert "@" in shown["queues"][0]["by"]


def test_a_listening_daemon_is_woken_about_the_nodes(
    aws: Any, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heard: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(config.parent / "hooks.sock"))
        listening.listen(1)
        listening.settimeout(10)

        def answer_once() -> None:
            connection, _ = listening.accept()
            with connection:
                heard.append(connection.makefile("rb").readline())
                connection.sendall(encode(Reply(True)))

        thread = threading.Thread(target=answer_once)
        thread.start()
        assert main(["fleet", "stop", "--config", str(config)]) == 0
        thread.join(10)
    (request,) = (decode(line) for line in heard)
    assert "q1-st-" in request.nodes  # type: ignore[union-attr]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["start"], "the cluster cannot be started: it is RUNNING already"),
        (["stop", "--queue", "q9"], "has no queue q9: q1"),
        (["stop", "--wait", "--timeout", "0"], "not STOPPED within 0 s: the cluster is STOP_REQUESTED"),
    ],
)
def test_what_cannot_be_done_is_said_and_fails(
    aws: Any, config: Path, capsys: pytest.CaptureFixture[str], argv: list[str], said: str
) -> None:
    assert main(["fleet", *argv, "--config", str(config)]) == 1
    assert said in capsys.readouterr().err


def test_a_queue_of_a_stopped_cluster_shows_the_clusters_status(
    aws: Any, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fleet", "stop", "--kill-jobs", "--config", str(config), "--output", "json"]) == 0
    shown = answer(capsys)
    assert (shown["status"], shown["kills_jobs"]) == ("STOP_REQUESTED", True)
    assert shown["queues"][0]["status"] == "STOP_REQUESTED"
    assert main(["fleet", "start", "--queue", "q1", "--config", str(config)]) == 1
    assert "start it first" in capsys.readouterr().err


def test_options_that_exclude_each_other_are_a_wrong_command_line(config: Path) -> None:
    with pytest.raises(SystemExit) as end:
        main(["fleet", "stop", "--when-idle", "--kill-jobs", "--config", str(config)])
    assert end.value.code == 2


def test_what_is_held_back_is_shown_and_confirmed(aws: Any, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def store(safeguards: Safeguards) -> FleetRecord:
        async with AwsSession("us-east-1") as session:
            claims = DynamoDbClaimStore(session, TABLE)
            await claims.begin_term("head")
            await claims.put_safeguards(safeguards)
            return await claims.load_fleet()

    argv = ["fleet", "confirm-terminations", "--config", str(config)]
    assert main(argv) == 1
    assert "no termination is held back" in capsys.readouterr().err
    asyncio.run(store(Safeguards(held_back=(HeldBack(QueueName("q1"), "instance-missing", 40),))))
    assert main(["fleet", "status", "--config", str(config), "--output", "json"]) == 0
    assert answer(capsys)["held_back"] == [{"queue": "q1", "reason": "instance-missing", "count": 40}]
    began = time.time()
    assert main(argv) == 0
    assert "40 terminations in queue q1 are held back: instance-missing" in capsys.readouterr().out
    record = asyncio.run(store(Safeguards(version=1)))
    assert record.confirmed_until >= began + 600
