"""The broker over a pyslurm that gets into every trouble: nothing hangs, nothing ends, no part of an answer is used."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clustermgtd.adapters.slurm.broker_client import BrokerClient
from clustermgtd.adapters.slurm.broker_process import Launch
from clustermgtd.adapters.slurm.calls import NodeUpdate
from clustermgtd.adapters.slurm.preferred_calls import PreferredCalls
from clustermgtd.adapters.slurm.pyslurm_calls import PyslurmCalls
from clustermgtd.errors import (
    ConfigurationError,
    ConflictError,
    IncompleteObservationError,
    NotFoundError,
    TransientError,
)
from clustermgtd.model.ids import JobId, NodeName, QueueName
from clustermgtd.model.node import NodeBase, NodeFlag
from clustermgtd.model.partition import PartitionState
from clustermgtd.model.reservation import Reservation
from clustermgtd.model.slurm_backend import BrokerEnd
from tests.pyslurm_fixtures import Heard, fake_launch, kept_broker

UNABLE = "Unable to contact slurm controller (connect failure)"
NODE = ["n1", "IDLE+CLOUD+POWERED_DOWN", ["q1", "q2"], "n1", "n1", None]


class World:
    """What the fake pyslurm says."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "world.json"
        self.facts: dict[str, Any] = {
            "pyslurm": "24.11.0",
            "release": "24.11.5",
            "nodes": [NODE],
            "jobs": [],
            "reservations": {},
            "partitions": {"q1": "UP", "q2": "INACTIVE"},
        }
        self.has()

    def has(self, **facts: Any) -> None:
        self.facts |= facts
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(self.facts))
        new.replace(self.file)

    def updates(self) -> list[list[Any]]:
        return [json.loads(line) for line in Path(f"{self.file}.updates").read_text().splitlines()]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


class Stand:
    def __init__(self, client: BrokerClient, heard: Heard) -> None:
        self.client = client
        self.heard = heard
        self.calls = PyslurmCalls(client)

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        for _ in range(3_000):
            if condition():
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"never: {what}")


@asynccontextmanager
async def stand(launch: Launch) -> AsyncIterator[Stand]:
    async with kept_broker(launch) as (client, heard):
        yield Stand(client, heard)


def play(launch: Launch, story: Callable[[Stand], Coroutine[None, None, None]]) -> Heard:
    """The story with a broker that was tried."""

    async def run() -> Heard:
        async with stand(launch) as standing:
            await story(standing)
            return standing.heard

    return asyncio.run(run())


def exists(pid: int | None) -> bool:
    return Path(f"/proc/{pid}").exists()


async def fails(call: Awaitable[object], kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        await call


def test_nodes_jobs_partitions_and_reservations_are_read(world: World) -> None:
    down = ["n2", "DOWN+CLOUD+POWERED_DOWN+NOT_RESPONDING", ["q1"], "10.0.0.2", "h2", "ResumeTimeout reached"]
    pending = {"id": 7, "state": "PENDING", "requeue_count": 1, "start_time": 4_000_000_000, "account": "physics"}
    running = {"id": 8, "state": "RUNNING", "allocated_nodes": "n[1-2]", "start_time": 1_700_000_000, "user_id": 2**31}
    over = {"id": 9, "state": "COMPLETED", "allocated_nodes": "n1"}
    nodes_of_r = {"start_time": 100, "end_time": 200, "node_list": "n[1-2]"}
    up = ["n3", "IDLE+CLOUD", ["q1"], "10.0.0.3", "n3", None]
    world.has(nodes=[NODE, down, up], jobs=[pending, running, over], reservations={"r": nodes_of_r})

    async def story(s: Stand) -> None:
        nodes = (await s.calls.nodes()).nodes
        assert [nodes[NodeName(name)].state for name in ("n1", "n2")] == [
            NODE[1],
            "DOWN+CLOUD+POWERED_DOWN+NOT_RESPONDING",
        ]
        assert nodes[NodeName("n1")].partitions == ("q1", "q2")
        second = nodes[NodeName("n2")]
        assert (second.address, second.hostname, second.reason) == ("10.0.0.2", "h2", "ResumeTimeout reached")
        assert [nodes[NodeName(name)].last_busy_at for name in ("n1", "n2", "n3")] == [0.0, 0.0, 1_700_000_000]
        jobs = await s.calls.jobs()
        assert sorted(jobs) == [7, 8]
        assert jobs[JobId(7)].is_held_after_requeue
        assert (jobs[JobId(7)].account, jobs[JobId(7)].user) == ("physics", "root")
        assert (jobs[JobId(8)].nodes, jobs[JobId(8)].started_at) == (("n1", "n2"), 1_700_000_000)
        assert jobs[JobId(8)].user == str(2**31)
        assert list(await s.calls.jobs([JobId(9), JobId(10)])) == [9]
        assert await s.calls.partitions() == {"q1": PartitionState.UP, "q2": PartitionState.INACTIVE}
        assert await s.calls.reservations() == {"r": Reservation("r", (NodeName("n1"), NodeName("n2")), 100.0, 200.0)}

    heard = play(fake_launch(world.file), story)
    assert [(hello.release, slurm) for hello, slurm in heard.served] == [("24.11.0", "24.11.5")]


def test_some_nodes_are_those_that_were_asked_for_and_the_others_are_missing(world: World) -> None:
    world.has(nodes=[NODE, ["n2", *NODE[1:]], ["n3", *NODE[1:]]])

    async def story(s: Stand) -> None:
        parsed = await s.calls.nodes([NodeName("n2"), NodeName("n9")])
        assert (list(parsed.nodes), parsed.missing) == (["n2"], ("n9",))

    play(fake_launch(world.file), story)


def test_a_big_answer_comes_in_slices_between_which_the_loop_goes_on(world: World) -> None:
    world.has(nodes=[[f"n{number}", *NODE[1:]] for number in range(5_000)])

    async def story(s: Stand) -> None:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(others())
        assert len((await s.calls.nodes()).nodes) == 5_000
        task.cancel()
        assert turns >= 25

    play(fake_launch(world.file), story)


def test_a_reason_that_is_not_utf_8_stays_a_reason_and_an_unknown_state_is_unreadable(world: World) -> None:
    odd = ["n2", "FROZEN+CLOUD+NEW_FLAG", ["q1"], "n2", "n2", None]
    world.has(nodes=[[*NODE[:5], "latin-1"], odd, ["n3", "IDLE+NEW_FLAG", None, None, None, None]])

    async def story(s: Stand) -> None:
        parsed = await s.calls.nodes()
        assert parsed.nodes[NodeName("n1")].reason
        assert parsed.nodes[NodeName("n2")].base is NodeBase.UNKNOWN
        assert parsed.unreadable == ("n2",)
        assert parsed.nodes[NodeName("n3")].flags == {NodeFlag.UNRECOGNISED}

    play(fake_launch(world.file), story)


def test_updates_reach_pyslurm(world: World) -> None:
    async def story(s: Stand) -> None:
        both = (NodeName("n1"), NodeName("n2"))
        await s.calls.update_nodes(NodeUpdate(both, "DOWN", "clustermgtd: x"))
        await s.calls.update_nodes(NodeUpdate(both, addresses=("10.0.0.1", "10.0.0.2")))
        await s.calls.start_now(JobId(7))
        await s.calls.cancel_jobs([JobId(7), JobId(8)])
        await s.calls.set_partition_state(QueueName("q1"), PartitionState.INACTIVE)

    play(fake_launch(world.file), story)
    assert world.updates() == [
        ["node", "n[1-2]", {"state": "DOWN", "reason": "clustermgtd: x"}],
        ["node", "n[1-2]", {"address": "10.0.0.1,10.0.0.2"}],
        ["job", 7, ["begin_time"]],
        *[["cancel", 7], ["cancel", 8]],
        ["partition", "q1", "INACTIVE"],
    ]


@pytest.mark.parametrize(
    ("number", "text", "kind"),
    [
        (2018, "Invalid node name specified", NotFoundError),
        (2073, "Job is no longer pending execution", ConflictError),
        (1800, UNABLE, TransientError),
        (2002, "Access/permission denied", ConfigurationError),
    ],
)
def test_what_slurmctld_complains_of_is_the_same_error_as_from_its_programs(
    world: World, number: int, text: str, kind: type[Exception]
) -> None:
    world.has(trouble={"Node.modify": ["error", number, text], "Nodes.load": ["error", number, text]})

    async def story(s: Stand) -> None:
        await fails(s.calls.update_nodes(NodeUpdate((NodeName("n1"),), "DOWN")), kind, text.split(" (", 1)[0])
        read = ConfigurationError if kind is ConfigurationError else IncompleteObservationError
        await fails(s.calls.nodes(), read, text.split(" (", 1)[0])
        assert s.client.can("nodes"), "slurmctld's trouble is not the broker's"

    assert play(fake_launch(world.file), story).ended == []


def test_no_node_at_all_is_no_observation(world: World) -> None:
    world.has(nodes=[])
    play(fake_launch(world.file), lambda s: fails(s.calls.nodes(), IncompleteObservationError, "no node"))


def test_a_broker_that_is_killed_ends_the_call_and_the_next_one_serves(world: World) -> None:
    world.has(trouble={"Nodes.load": ["hang", 60]})

    async def story(s: Stand) -> None:
        reading = asyncio.create_task(s.calls.nodes())
        waiting = asyncio.create_task(s.calls.update_nodes(NodeUpdate((NodeName("n1"),), "DOWN")))
        await asyncio.sleep(0.3)
        assert s.client.pid is not None
        world.has(trouble={})
        os.kill(s.client.pid, signal.SIGKILL)
        await fails(reading, IncompleteObservationError, "ended with -9")
        await fails(waiting, TransientError, "ended with -9")
        assert not s.client.can("nodes")
        await s.until(lambda: s.client.can("nodes"), "another broker serves")
        assert len((await s.calls.nodes()).nodes) == 1

    heard = play(fake_launch(world.file), story)
    assert [error.why for error, _ in heard.ended] == [BrokerEnd.ENDED]
    assert len(heard.served) == 2


def test_a_broker_that_dies_while_nobody_asks_is_noticed(world: World) -> None:
    async def story(s: Stand) -> None:
        assert s.client.pid is not None
        os.kill(s.client.pid, signal.SIGKILL)
        await s.until(lambda: not s.client.can("nodes"), "it does not serve")
        await s.until(lambda: s.client.can("nodes"), "another broker serves")

    play(fake_launch(world.file), story)


def test_a_broker_that_hangs_is_given_up_at_the_deadline_and_killed(world: World) -> None:
    world.has(trouble={"Nodes.load": ["hang", 60]})

    async def story(s: Stand) -> None:
        pid = s.client.pid
        assert pid is not None
        async with asyncio.timeout(10):
            await fails(s.calls.nodes(), IncompleteObservationError, "within 1 s")
        await s.until(lambda: bool(s.heard.ended), "the broker is given up")
        assert not exists(pid)

    heard = play(fake_launch(world.file, deadline_s=1.0), story)
    assert heard.ended[0][0].why is BrokerEnd.NO_ANSWER


def test_a_stopped_broker_is_given_up_too(world: World) -> None:
    async def story(s: Stand) -> None:
        await s.until(lambda: s.client.can("nodes"), "a broker serves")
        served = len(s.heard.served)
        assert s.client.pid is not None
        os.kill(s.client.pid, signal.SIGSTOP)
        async with asyncio.timeout(10):
            await fails(s.calls.nodes(), IncompleteObservationError, "within 1 s")
        await s.until(lambda: len(s.heard.served) > served, "another broker serves")

    play(fake_launch(world.file, deadline_s=1.0), story)


def frame_of(body: str) -> str:
    return (b"clmg" + len(body).to_bytes(4, "big") + body.encode()).hex()


def frame(message: dict[str, Any]) -> str:
    return frame_of(json.dumps(message))


@pytest.mark.parametrize(
    "written",
    [
        b"slurm_load_node error: what a library prints\n".hex(),
        b"clmg\xff\xff\xff\xff".hex(),
        b"clmg\x00\x00\x00\x03{]}".hex(),
        b"clmg\x00\x00\x00\x02[]".hex(),
        frame({"id": 99, "done": 0}),
        frame({"id": 2, "rows": [["n1"]]}),
        frame({"id": 2, "rows": [["n1", 5, "", "", "", "", "", ""]]}),
        frame({"id": 2, "rows": 5}),
        frame({"id": 2, "done": 3}),
        frame({"id": 2}),
    ],
    ids=["text", "size", "json", "object", "id", "short-row", "number", "no-rows", "count", "no-end"],
)
def test_garbage_on_the_pipe_is_no_answer_and_ends_the_broker(world: World, written: str) -> None:
    world.has(trouble={"Nodes.load": ["garbage", written]})

    async def story(s: Stand) -> None:
        await fails(s.calls.nodes(), IncompleteObservationError, "pyslurm's nodes")
        await s.until(lambda: bool(s.heard.ended), "the broker is given up")

    assert play(fake_launch(world.file), story).ended[0][0].why is BrokerEnd.GARBAGE


def test_an_exit_in_the_middle_of_a_read_is_no_answer_and_its_words_are_kept(world: World) -> None:
    world.has(trouble={"Nodes.load": ["exit", "fatal: Could not establish a configuration source"]})

    async def story(s: Stand) -> None:
        await fails(s.calls.nodes(), IncompleteObservationError, "ended with 1: fatal: Could not establish")

    play(fake_launch(world.file), story)


@pytest.mark.parametrize(
    ("facts", "why", "said"),
    [
        ({"pyslurm": "25.11.2"}, BrokerEnd.OTHER_RELEASE, "25.11.2 is not for Slurm 24.11.5"),
        ({"trouble": {"import": ["exit", "fatal: no slurm.conf"]}}, BrokerEnd.ENDED, "fatal: no slurm.conf"),
        ({"trouble": {"import": ["hang", 60]}}, BrokerEnd.NO_ANSWER, "hello"),
        ({"trouble": {"config.get": ["error", 1800, UNABLE]}}, BrokerEnd.NO_SLURMCTLD, "Unable to contact"),
    ],
)
def test_a_broker_that_cannot_serve_says_why_and_is_tried_again_later(
    world: World, facts: dict[str, Any], why: BrokerEnd, said: str
) -> None:
    world.has(**facts)

    async def story(s: Stand) -> None:
        assert not s.client.can("nodes")
        assert s.client.last_error is not None
        assert said in str(s.client.last_error)
        assert s.client.last_error.why is why
        world.has(pyslurm="24.11.0", trouble={})
        await s.until(lambda: s.client.can("nodes"), "the next one serves")
        assert s.client.last_error is None

    assert play(fake_launch(world.file, deadline_s=2.0), story).ended[0][1] == 1.0


def test_a_broker_of_another_protocol_is_not_asked(tmp_path: Path) -> None:
    body = '{"protocol": 2, "pyslurm": "24.11.0", "operations": []}'
    python = tmp_path / "python"
    python.write_text(
        f"#!{sys.executable}\nimport socket, sys\n"
        f"socket.socket(fileno=int(sys.argv[-1])).sendall(bytes.fromhex('{frame_of(body)}'))\n"
    )
    python.chmod(0o755)

    async def story(s: Stand) -> None:
        assert "protocol 2, expected 1" in str(s.client.last_error)

    play(Launch(os.environ, 10.0, str(python)), story)


def test_a_python_that_is_not_there_is_no_broker(tmp_path: Path) -> None:
    async def story(s: Stand) -> None:
        assert s.client.last_error is not None
        assert s.client.last_error.why is BrokerEnd.NOT_IMPORTABLE

    play(Launch(os.environ, 10.0, str(tmp_path / "python")), story)


def test_pauses_between_brokers_grow(world: World) -> None:
    world.has(pyslurm="23.11.0")

    async def story(s: Stand) -> None:
        await s.until(lambda: len(s.heard.ended) == 3, "three were tried")

    assert [pause for _, pause in play(fake_launch(world.file), story).ended][:3] == [1.0, 2.0, 5.0]


def test_a_pyslurm_that_cannot_be_imported_is_not_tried_again(world: World) -> None:
    world.has(missing="libslurmfull.so: cannot open shared object file")

    async def story(s: Stand) -> None:
        assert "libslurmfull" in str(s.client.last_error)
        await asyncio.sleep(1.5)

    heard = play(fake_launch(world.file), story)
    assert [(error.why, pause) for error, pause in heard.ended] == [(BrokerEnd.NOT_IMPORTABLE, float("inf"))]


def test_a_new_slurm_conf_starts_a_new_broker_at_once(world: World, tmp_path: Path) -> None:
    conf_file = tmp_path / "slurm.conf"
    conf_file.write_text("ClusterName=a\n")

    async def story(s: Stand) -> None:
        assert await s.calls.partitions() != {}
        os.utime(conf_file, (1, 1))
        assert await s.calls.partitions() != {}, "whoever asked already is answered"
        await s.until(lambda: len(s.heard.served) == 2, "another broker serves")
        assert await s.calls.partitions() != {}

    heard = play(replace(fake_launch(world.file), conf_file=conf_file), story)
    assert [(error.why, pause) for error, pause in heard.ended] == [(BrokerEnd.NEW_CONFIGURATION, 0.0)]


def test_a_caller_that_goes_away_does_no_harm_to_the_next(world: World) -> None:
    world.has(trouble={"Nodes.load": ["hang", 0.5]})

    async def story(s: Stand) -> None:
        leaving = asyncio.create_task(s.calls.nodes())
        await asyncio.sleep(0.1)
        leaving.cancel()
        world.has(trouble={})
        assert await s.calls.partitions() != {}

    assert play(fake_launch(world.file), story).ended == []


def test_an_operation_that_this_pyslurm_has_otherwise_is_not_asked_for_again(world: World) -> None:
    world.has(trouble={"Partitions.load": ["raise", "AttributeError"]})

    async def story(s: Stand) -> None:
        await fails(s.calls.partitions(), IncompleteObservationError, "AttributeError")
        assert not s.client.can("partitions")
        assert s.client.can("nodes")

    heard = play(fake_launch(world.file), story)
    assert (heard.lacking, heard.ended) == (["partitions"], [])


class TestPreferred:
    """Which way a call goes."""

    class CommandLine(PyslurmCalls):
        """Says that it was asked."""

        def __init__(self) -> None:
            self.asked = 0

        async def partitions(self) -> dict[QueueName, PartitionState]:
            self.asked += 1
            return {QueueName("by-command-line"): PartitionState.UP}

    def test_the_broker_while_it_serves_and_the_command_line_while_it_does_not(self, world: World) -> None:
        async def story(s: Stand) -> None:
            command_line = self.CommandLine()
            calls = PreferredCalls(s.client, command_line)
            assert "q1" in await calls.partitions()
            assert s.client.pid is not None
            os.kill(s.client.pid, signal.SIGKILL)
            await s.until(lambda: not s.client.can("partitions"), "it does not serve")
            assert list(await calls.partitions()) == ["by-command-line"]
            await s.until(lambda: s.client.can("partitions"), "another broker serves")
            assert "q1" in await calls.partitions()
            assert command_line.asked == 1

        play(fake_launch(world.file), story)

    def test_an_unanswered_call_is_not_made_again_the_other_way(self, world: World) -> None:
        world.has(trouble={"Partitions.load": ["exit", "gone"]})

        async def story(s: Stand) -> None:
            command_line = self.CommandLine()
            await fails(PreferredCalls(s.client, command_line).partitions(), IncompleteObservationError, "gone")
            assert command_line.asked == 0

        play(fake_launch(world.file), story)

    def test_the_call_right_after_an_unanswered_one_goes_by_the_command_line(self, world: World) -> None:
        """The broker has its own deadline, which began a moment after the caller's."""
        world.has(trouble={"Partitions.load": ["hang", 60]})

        async def story(s: Stand) -> None:
            calls = PreferredCalls(s.client, self.CommandLine())
            await fails(calls.partitions(), IncompleteObservationError, "within 1 s")
            assert list(await calls.partitions()) == ["by-command-line"]

        play(fake_launch(world.file, deadline_s=1.0), story)


def test_a_broker_ends_with_its_daemon(world: World) -> None:
    async def story(s: Stand) -> None:
        pids.append(s.client.pid)

    pids: list[int | None] = []
    play(fake_launch(world.file), story)
    assert not exists(pids[0])
