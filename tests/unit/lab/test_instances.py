"""Instances as process trees: real agents with a real metadata service; DynamoDB and slurmd are played by the test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from clustermgtd.lab import leftovers
from clustermgtd.lab.environment import aws_variables
from clustermgtd.lab.imds import Metadata, MetadataServer
from clustermgtd.lab.instances import InstanceHost, InstanceSupervisor
from clustermgtd.node.arguments import AgentArguments
from clustermgtd.node.user_data import user_data

SLURMD = """#!/bin/sh
[ "$1" = -h ] && exit 0
echo "$@" >arguments
env >environment
setsid sleep 300 &
wait
"""


class World:
    """The lab around the instances, and what they did to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: dict[str, Metadata] = {}
        self.nodes: dict[str, str] = {}
        """Instance -> node, as the launch's record says."""
        self.reports: dict[str, dict[str, object]] = {}
        self.powered_off: list[str] = []
        self.tables: set[str] = set()
        self.slurmd = folder / "slurmd"
        self.slurmd.write_text(SLURMD)
        self.slurmd.chmod(0o755)

    def launch(self, instance: str, text: str = "") -> None:
        tags = {"clustermgtd:launch-token": "token-7"}
        self.running[instance] = Metadata(instance, "c5.large", "10.0.0.7", "us-east-1a", tags=tags, user_data=text)

    async def dynamodb(self, request: web.Request) -> web.Response:
        operation = request.headers["X-Amz-Target"].partition(".")[2]
        asked = json.loads(await request.read())
        self.tables.add(asked["TableName"])
        if operation == "PutItem":
            self.reports[asked["Item"]["Id"]["S"]] = asked["Item"]
            return web.json_response({})
        assert asked["Key"] == {"Id": {"S": "launch#token-7"}}
        assert asked["ConsistentRead"] is True
        nodes = {instance: {"S": node} for instance, node in self.nodes.items()}
        return web.json_response({"Item": {"Nodes": {"M": nodes}}})

    async def power_off(self, instance: str) -> None:
        self.powered_off.append(instance)
        self.running.pop(instance)

    def file(self, instance: str, name: str) -> Path:
        return self.folder / "instances" / instance / name

    async def until(self, fact: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not fact():  # noqa: ASYNC110 -- facts are files and dictionaries, which do not call back
                await asyncio.sleep(0.05)


def play(folder: Path, story: Callable[[World, InstanceSupervisor], Awaitable[None]], give_up_s: float = 60.0) -> None:
    async def run() -> None:
        world = World(folder)
        application = web.Application()
        application.add_routes(MetadataServer(world.running.get, lambda: 0.0).routes())
        application.router.add_post("/", world.dynamodb)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
        agent = AgentArguments(
            table="t", conf_file="/lab/slurm.conf", slurmd=str(world.slurmd), give_up_s=give_up_s,
            power_off_command="", console="",
        )  # fmt: skip
        environment = {**aws_variables(endpoint, "us-east-1"), leftovers.LAB_MARKER: str(folder)}
        supervisor = InstanceSupervisor(InstanceHost(folder, endpoint, environment, agent), world.power_off)
        try:
            await story(world, supervisor)
        finally:
            await supervisor.close()
            await runner.cleanup()
            assert leftovers.end_all(folder) == 0

    asyncio.run(run())


def test_a_running_instance_is_a_slurmd_and_a_terminated_one_is_nothing(tmp_path: Path) -> None:
    async def story(world: World, supervisor: InstanceSupervisor) -> None:
        world.launch("i-1")
        await supervisor.reconcile(world.running)
        world.nodes["i-1"] = "q1-dy-c5-1"  # the record lags the boot
        await world.until(world.file("i-1", "environment").exists)
        await supervisor.reconcile(world.running)
        assert list(supervisor.pids) == ["i-1"]
        assert len(leftovers.belonging_to(tmp_path, "i-1")) == 4  # machine, agent, slurmd, what slurmd started
        assert world.file("i-1", "arguments").read_text() == "-D -b -N q1-dy-c5-1 -f /lab/slurm.conf\n"

        await world.until(lambda: "slurmd-started" in str(world.reports))
        assert world.reports["boot#i-1"]["Node"] == {"S": "q1-dy-c5-1"}

        world.running.clear()
        await supervisor.reconcile(world.running)
        await world.until(lambda: not supervisor.pids)
        assert leftovers.belonging_to(tmp_path) == []
        assert world.powered_off == []

    play(tmp_path, story)


def test_an_agent_that_gives_up_ends_its_instance(tmp_path: Path) -> None:
    async def story(world: World, supervisor: InstanceSupervisor) -> None:
        world.launch("i-1")
        await supervisor.reconcile(world.running)
        await world.until(lambda: world.powered_off == ["i-1"])
        assert "giving up after 1 s" in world.file("i-1", "console.log").read_text()
        assert "does not say which node i-1 is" in world.file("i-1", "console.log").read_text()

    play(tmp_path, story, give_up_s=1.0)


def test_user_data_tells_the_agent_what_it_tells_it_on_ec2(tmp_path: Path) -> None:
    async def story(world: World, supervisor: InstanceSupervisor) -> None:
        on_ec2 = AgentArguments(table="from-user-data", conf_server="head:6820", slurmd="/opt/slurm/sbin/slurmd")
        world.launch("i-1", user_data(on_ec2))
        world.nodes["i-1"] = "q1-dy-c5-1"
        await supervisor.reconcile(world.running)
        await world.until(world.file("i-1", "arguments").exists)
        assert world.tables == {"from-user-data"}

    play(tmp_path, story)


def test_nothing_of_the_users_environment_reaches_an_instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(world: World, supervisor: InstanceSupervisor) -> None:
        world.launch("i-1")
        world.nodes["i-1"] = "q1-dy-c5-1"
        await supervisor.reconcile(world.running)
        await world.until(world.file("i-1", "environment").exists)
        await world.until(lambda: "AWS_ENDPOINT_URL" in world.file("i-1", "environment").read_text())
        environment = dict(
            line.split("=", 1) for line in world.file("i-1", "environment").read_text().splitlines() if "=" in line
        )
        assert not [name for name in environment if "proxy" in name.lower() and name.lower() != "no_proxy"]
        assert environment["AWS_SECRET_ACCESS_KEY"] == "lab"
        assert "AWS_PROFILE" not in environment
        assert environment["AWS_EC2_METADATA_SERVICE_ENDPOINT"].endswith("/imds/i-1")

    for name, value in {"https_proxy": "http://p:3128", "AWS_PROFILE": "work", "AWS_SECRET_ACCESS_KEY": "real"}.items():
        monkeypatch.setenv(name, value)
    play(tmp_path, story)
