"""Log lines: what they hold, what they must not hold, and what they may cost."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from clustermgtd.model.action import Reason
from clustermgtd.telemetry.line_writer import LineWriter
from clustermgtd.telemetry.logging import REDACTED, LogFormat, LogLevel, configure, is_secret


class Logged:
    """The lines that a process would have written to stderr."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def lines(self) -> list[str]:
        return self._path.read_text().splitlines()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


@contextmanager
def logging_to(
    path: Path, level: LogLevel = LogLevel.INFO, log_format: LogFormat = LogFormat.JSON
) -> Iterator[structlog.typing.FilteringBoundLogger]:
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    output = configure(level, log_format, descriptor)
    try:
        yield structlog.get_logger("test")
    finally:
        output.close()
        os.close(descriptor)
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_a_line_is_an_event_with_its_keys(path: Path) -> None:
    with logging_to(path) as log:
        log.info("instances_terminating", instances=["i-1"], reason=Reason.ORPHAN, seconds=0.25)
    (event,) = Logged(path).events
    assert list(event) == ["timestamp", "level", "event", "instances", "reason", "seconds"]
    assert event["timestamp"].endswith("Z")
    assert event | {"timestamp": ""} == {
        "timestamp": "",
        "level": "info",
        "event": "instances_terminating",
        "instances": ["i-1"],
        "reason": "orphan",
        "seconds": 0.25,
    }


def test_the_tick_is_on_every_line_of_the_tick(path: Path) -> None:
    with logging_to(path) as log:
        with structlog.contextvars.bound_contextvars(tick=7):
            log.info("nodes_down")
        log.info("stopping")
    assert [event.get("tick") for event in Logged(path).events] == [7, None]


def test_below_the_level_nothing_is_written(path: Path) -> None:
    with logging_to(path, LogLevel.WARNING) as log:
        log.debug("call_retried")
        log.info("tick")
        log.log(logging.INFO, "tick")
        log.warning("tick_failed")
    assert [event["event"] for event in Logged(path).events] == ["tick_failed"]


def test_a_person_reads_the_event_and_the_keys(path: Path) -> None:
    with logging_to(path, log_format=LogFormat.CONSOLE) as log:
        log.info("nodes_powering_up", nodes="q1-dy-c5-[1-10]")
    (line,) = Logged(path).lines
    assert "nodes_powering_up" in line and "nodes=q1-dy-c5-[1-10]" in line


def test_an_error_comes_with_its_traceback_and_without_local_variables(path: Path) -> None:
    with logging_to(path) as log:
        hidden = "local-variable-value"
        try:
            int(f"{hidden}")
        except ValueError:
            log.exception("tick_crashed")
    (event,) = Logged(path).events
    assert event["level"] == "error"
    assert "ValueError" in event["exception"]
    assert "hidden = " not in event["exception"].replace('hidden = "local-variable-value"', "")
    assert event["exception"].count("local-variable-value") == 1  # the error's own message


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "secret",
        "token",
        "session_token",
        "SecretAccessKey",
        "aws_secret_access_key",
        "X-Amz-Security-Token",
        "Authorization",
        "authorization",
        "munge_key",
        "key",
        "credentials",
    ],
)
def test_keys_of_secrets(key: str) -> None:
    assert is_secret(key)


@pytest.mark.parametrize(
    "key", ["launch_token", "token_prefix", "node", "keyboard", "monkey", "reason", "key_name", "tokens_left", "author"]
)
def test_keys_of_what_may_be_read(key: str) -> None:
    assert not is_secret(key)


def test_secrets_are_replaced_at_any_depth(path: Path) -> None:
    with logging_to(path) as log:
        log.info(
            "session_opened",
            launch_token="clmgtd-1-1-1",
            password="hunter2",
            answer={"Credentials": {"a": "hunter2"}, "items": [{"SecretAccessKey": "hunter2", "Region": "eu-west-1"}]},
        )
    (line,), (event,) = Logged(path).lines, Logged(path).events
    assert "hunter2" not in line
    assert event["launch_token"] == "clmgtd-1-1-1"
    assert event["answer"]["items"] == [{"SecretAccessKey": REDACTED, "Region": "eu-west-1"}]


def test_a_value_that_contains_itself_ends(path: Path) -> None:
    endless: dict[str, Any] = {}
    endless["again"] = endless
    with logging_to(path) as log:
        log.info("answer", value=endless)
    assert len(Logged(path).lines) == 1


def test_long_values_are_cut_and_say_so(path: Path) -> None:
    with logging_to(path) as log:
        log.info("many", text="x" * 100_000, instances=list(range(5000)))
    (line,), (event,) = Logged(path).lines, Logged(path).events
    assert len(line) < 12_000
    assert event["text"].endswith("(+91808 characters)")
    assert event["instances"][-1] == "... (+4800)"


def test_any_value_can_be_written(path: Path) -> None:
    with logging_to(path) as log:
        log.info("odd", path=Path("x"), nodes=frozenset({"b", "a"}), text="lone \ud800 surrogate\nsecond line")
    (event,) = Logged(path).events
    assert event["path"] == "x" and event["nodes"] == ["a", "b"]


def test_libraries_join_at_warning(path: Path) -> None:
    with logging_to(path):
        library = logging.getLogger("some.library")
        library.info("not this")
        library.warning("pool is full: %s", "host")
    (event,) = Logged(path).events
    assert event["event"] == "library_message"
    assert (event["logger"], event["message"], event["level"]) == ("some.library", "pool is full: host", "warning")


def test_after_closing_libraries_are_as_before(path: Path) -> None:
    before = list(logging.getLogger().handlers)
    with logging_to(path):
        assert logging.getLogger().handlers != before
    assert logging.getLogger().handlers == before


def test_a_reader_that_stands_still_costs_lines_and_never_time() -> None:
    reading, writing = os.pipe()
    try:
        writer = LineWriter(writing, lines_max=10)
        for _ in range(1000):
            writer.write("x" * 4000)  # a pipe holds 16 of these
        assert writer.dropped > 900
        received = bytearray()
        reader = threading.Thread(target=_read_until_closed, args=(reading, received))
        reader.start()
        while writer.dropped:
            writer.write("after")
        writer.close()
        os.close(writing)
        writing = -1
        reader.join(20)
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)
    lines = bytes(received).decode().splitlines()
    reports = [json.loads(line) for line in lines if line.startswith("{")]
    lost = sum(report["lines"] for report in reports)
    assert reports[0]["event"] == "log_lines_dropped"
    assert sum(line.startswith("x") for line in lines) + lost >= 1000


def _read_until_closed(descriptor: int, into: bytearray) -> None:
    while data := os.read(descriptor, 65536):
        into.extend(data)


def test_a_reader_that_went_away_is_survived() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        writer = LineWriter(writing)
        writer.write("nobody hears this")
        writer.close()
        assert writer.dropped == 1
    finally:
        os.close(writing)


def test_closing_twice_is_harmless(path: Path) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
    writer = LineWriter(descriptor)
    writer.write("once")
    writer.close()
    writer.close()
    os.close(descriptor)
    assert Logged(path).lines == ["once"]
