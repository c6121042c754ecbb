"""AWS for the machines of one network: the lab's endpoints, whose EC2 instances are machines booted from an image."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import aiohttp
import boto3
from aiohttp import web

from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.lab.aws.event_queue import make_event_queue, queue_url
from clustermgtd.lab.aws.front import AwsEndpoints
from clustermgtd.lab.ec2.records import Ec2Error
from clustermgtd.lab.ec2.scenario import Scenario, SubnetSpec
from clustermgtd.lab.environment import aws_variables
from clustermgtd.lab.imds import Metadata, MetadataServer, metadata_of
from tests.cookbooks.machines import Image, Machine, Place
from tests.cookbooks.network import METADATA_PORT

REGION = "us-east-1"
SUBNET = "subnet-0000000000000000a"
_PERIOD_S = 0.5
_START_S = 60.0


class Cloud:
    """Runs in a thread of its own from `start` to `stop`."""

    def __init__(self, place: Place, binds: Mapping[Path, str]) -> None:
        self._place = place
        self._binds = binds
        network = place.network
        # addresses that EC2 gives are those of the upper half of the network
        subnets = {SUBNET: SubnetSpec(f"{REGION}a", network.address(128) + "/25")}
        scenario = Scenario(region=REGION, subnets=subnets, boot_delay_s=1.0, terminate_delay_s=1.0)
        self._account = scenario.account
        self._metadata = MetadataServer(self._metadata_of, time.time)
        self._aws = AwsEndpoints(
            scenario,
            port=network.aws_port,
            extra_routes=lambda application: application.add_routes(self._metadata.routes()),
        )
        self.image: Image | None = None
        """What instances boot from; none start before it is there."""
        self.booted: dict[str, Machine] = {}
        """Machines that run, by instance."""
        self.started_at: dict[str, float] = {}
        """Epoch seconds at which each instance's machine was switched on."""
        self._ready = threading.Event()
        self._end: Callable[[], object] = lambda: None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="cloud")

    @property
    def environment(self) -> dict[str, str]:
        """What makes the machines' AWS clients talk to these endpoints."""
        gateway = self._place.network.gateway
        variables = aws_variables(f"http://{gateway}:{self._place.network.aws_port}", REGION)
        return variables | {"NO_PROXY": gateway, "no_proxy": gateway}

    @property
    def queue_url(self) -> str:
        """Of the queue of EC2's events."""
        return queue_url(self.environment["AWS_ENDPOINT_URL"], self._account)

    @contextlib.contextmanager
    def running(self) -> Iterator[Cloud]:
        """Serve; every machine ends with the block."""
        self._thread.start()
        try:
            if not self._ready.wait(_START_S):
                raise TimeoutError("AWS did not come up")
            if self._failure is None:
                yield self
        finally:
            self._end()
            self._thread.join()
        if self._failure is not None:
            raise self._failure

    def make_secret(self, name: str, value: str) -> str:
        """In Secrets Manager; returns its ARN."""
        client = boto3.client("secretsmanager", REGION, endpoint_url=self._aws.endpoint_url)
        try:
            return str(client.create_secret(Name=name, SecretString=value)["ARN"])
        finally:
            client.close()

    def boot_phases(self, table: str) -> dict[str, dict[str, float]]:
        """Seconds from the start of each machine's systemd until its agent's phases, by node."""
        client = boto3.client("dynamodb", REGION, endpoint_url=self._aws.endpoint_url)
        try:
            items = client.scan(TableName=table)["Items"]
        finally:
            client.close()
        found: dict[str, dict[str, float]] = {}
        for item in items:
            instance = item["Id"]["S"].removeprefix("boot#")
            if instance in self.started_at and "Node" in item:
                phases = {phase: float(at["N"]) for phase, at in item["Phases"]["M"].items()}
                found[item["Node"]["S"]] = {
                    phase: at - self.started_at[instance] for phase, at in sorted(phases.items(), key=lambda p: p[1])
                } | {"started-at": self.started_at[instance]}
        return found

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error
            self._ready.set()

    async def _serve(self) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        await self._aws.start()
        try:
            await self._aws.warm_up()
            async with AwsSession(REGION, endpoint_url=self._aws.endpoint_url) as session:
                await make_event_queue(session, self._account)
            async with self._metadata_service():
                self._end = lambda: loop.call_soon_threadsafe(stop.set)
                self._ready.set()
                await self._keep_instances(stop)
        finally:
            await self._aws.close()

    async def _keep_instances(self, stop: asyncio.Event) -> None:
        """Machines are those that the model shows running."""
        machines: dict[str, contextlib.ExitStack] = {}
        while True:
            running = {r.id: r for r in self._aws.model.instances() if r.state == "running"}
            wanted = {} if stop.is_set() or self.image is None else running
            for instance in sorted(machines.keys() - wanted.keys()):
                del self.booted[instance]
                await asyncio.to_thread(machines.pop(instance).close)
            for instance in sorted(wanted.keys() - machines.keys()):
                machines[instance] = contextlib.ExitStack()
                self.started_at[instance] = time.time()
                self.booted[instance] = await asyncio.to_thread(
                    self._boot, machines[instance], running[instance].private_address
                )
            for instance, machine in sorted(self.booted.items()):
                if machine.process.poll() is not None:  # it has powered itself off
                    self._aws.model.kill_instance(instance, time.time())
                    self._aws.pump()
            if stop.is_set():
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PERIOD_S):
                    await stop.wait()

    def _boot(self, stack: contextlib.ExitStack, address: str) -> Machine:
        assert self.image is not None
        name = "ip-" + address.replace(".", "-")
        return stack.enter_context(self._place.machine(name, address, self.image, self._binds, wait=False))

    @contextlib.asynccontextmanager
    async def _metadata_service(self) -> AsyncIterator[None]:
        """EC2's metadata service knows who asks by the address."""
        async with aiohttp.ClientSession() as client:

            async def relay(request: web.Request) -> web.Response:
                instance = next((i for i, m in self.booted.items() if m.address == request.remote), "nobody")
                target = f"{self._aws.endpoint_url}/imds/{instance}{request.path}"
                async with client.request(request.method, target, headers=request.headers) as answer:
                    headers = {"Date": answer.headers["Date"]} if "Date" in answer.headers else {}
                    return web.Response(status=answer.status, body=await answer.read(), headers=headers)

            application = web.Application()
            application.router.add_route("*", "/{path:.*}", relay)
            runner = web.AppRunner(application, access_log=None)
            await runner.setup()
            try:
                await web.TCPSite(runner, self._place.network.gateway, METADATA_PORT).start()
                yield
            finally:
                await runner.cleanup()

    def _metadata_of(self, instance: str) -> Metadata | None:
        try:
            record = self._aws.model.instance(instance)
        except Ec2Error:
            return None
        return metadata_of(self._aws.model, record) if record.state == "running" else None
