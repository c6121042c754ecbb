"""Everything of one lab, in the order in which it has to come up and go down."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import structlog
import yaml
from aiohttp import web

import resume_suspend
from clustermgtd import settings
from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.errors import ClustermgtdError
from clustermgtd.lab import door, leftovers
from clustermgtd.lab.aws.event_queue import make_event_queue, queue_url
from clustermgtd.lab.aws.front import AwsEndpoints
from clustermgtd.lab.claims import open_claims
from clustermgtd.lab.cluster_files import Chosen, cluster_text, localise, scenario_for
from clustermgtd.lab.consoles import ConsoleFeed
from clustermgtd.lab.daemon_process import DaemonProcess
from clustermgtd.lab.ec2.records import Ec2Error, Ec2Event
from clustermgtd.lab.environment import aws_variables
from clustermgtd.lab.folder import LabFolder
from clustermgtd.lab.imds import Metadata, MetadataServer, metadata_of
from clustermgtd.lab.instances import InstanceHost, InstanceSupervisor
from clustermgtd.lab.slurm import SlurmControl
from clustermgtd.lab.slurm_files import PortReservation, SlurmPorts, find_program, slurm_release
from clustermgtd.model.claim import BACKED
from clustermgtd.node.arguments import AgentArguments
from clustermgtd.settings.slurm_conf import SlurmSite, render
from resume_suspend.programs import write_programs

_EVENTS_KEPT = 1000
_RECONCILE_PERIOD_S = 1.0

_log = structlog.get_logger(__name__)


class LabSite:
    """AWS endpoints, Slurm, instances, daemon. `start`, then `run` until cancelled, then `close`."""

    def __init__(self, folder: LabFolder, chosen: Chosen, progress: Callable[[str], None]) -> None:
        """Choose ports and read the files.

        Raises:
            ConfigurationError: a file is wrong (all problems at once), or there are no ports.
        """
        self.folder = folder
        self._progress = progress
        text = cluster_text(chosen)
        first_look = _load(text, folder)
        node_count = len(first_look.node_names)
        self._reservation = PortReservation.take(node_count + 3)
        first = self._reservation.first
        self.ports = {"slurmctld": first, "first_node": first + 1, "aws": first + 1 + node_count}
        self.ports["metrics"] = self.ports["aws"] + 1
        subnets = {name for queue in first_look.scheduling.slurm_queues for name in queue.networking.subnet_ids}
        self.region = first_look.region or "us-east-1"
        scenario = scenario_for(chosen, self.region, subnets)
        self._account = scenario.account
        queue = queue_url(f"http://127.0.0.1:{self.ports['aws']}", self._account)
        self.settings = _load(text, folder, self.ports["metrics"], queue)
        self._metadata = MetadataServer(self._metadata_of, time.time)
        self.aws = AwsEndpoints(
            scenario,
            port=self.ports["aws"],
            extra_routes=lambda application: _add_routes(application, self._metadata.routes(), door.routes(self)),
        )
        self.slurm = SlurmControl(folder.slurm, ports=SlurmPorts(self.ports["slurmctld"], self.ports["first_node"]))
        self._consoles = ConsoleFeed(folder.path / "instances", self.aws.model.consoles.append)
        self._session = AwsSession(self.region, endpoint_url=f"http://127.0.0.1:{self.ports['aws']}")
        self._instances: InstanceSupervisor | None = None
        self._daemon: DaemonProcess | None = None
        self._events: deque[dict[str, Any]] = deque(maxlen=_EVENTS_KEPT)
        self._event_count = 0
        self._states: dict[str, str] = {}
        self._wake = asyncio.Event()

    @property
    def metrics_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['metrics']}/metrics"

    async def start(self) -> None:
        """Bring everything up; returns when all of it answers.

        Raises:
            ConfigurationError: something did not come up; why is in the message. What was started is still there:
                `close` ends it.
        """
        started_at = time.monotonic()
        self.aws.listen(self._on_event)
        await self.aws.start()
        await self.aws.warm_up()
        await make_event_queue(self._session, self._account)
        self._progress(f"AWS endpoints answer at {self.aws.endpoint_url}")
        variables = {
            **aws_variables(self.aws.endpoint_url, self.region),
            leftovers.LAB_MARKER: str(self.folder.path),
            "SLURM_CONF": str(self.folder.slurm_conf),
        }
        self._instances = InstanceSupervisor(self._host(variables), self._power_off)
        self._write_slurm_conf()
        await self.slurm.start()
        self._progress(f"slurmctld answers on port {self.ports['slurmctld']}, {len(self.settings.node_names)} nodes")
        self._daemon = DaemonProcess(self.folder.cluster_yaml, self.folder.daemon_log, variables)
        await self._daemon.start()
        self._progress(f"clustermgtd is ready, metrics at {self.metrics_url}")
        self._progress(f"the lab is up after {time.monotonic() - started_at:.1f} s")

    async def run(self) -> None:
        """Keep the process trees like EC2's model, until cancelled."""
        assert self._instances is not None
        while True:
            self._wake.clear()
            records = self.aws.model.instances()
            self._states.update({record.id: record.state for record in records})
            await self._instances.reconcile(
                {r.id: metadata_of(self.aws.model, r) for r in records if r.state == "running"}
            )
            self._consoles.feed(record.id for record in records if record.state in ("running", "shutting-down"))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_RECONCILE_PERIOD_S):
                    await self._wake.wait()

    async def close(self) -> None:
        """End everything, the last started first; goes on past what fails."""
        closers: list[Callable[[], Awaitable[object]]] = [self.slurm.stop, self._close_session, self.aws.close]
        if self._instances is not None:
            closers.insert(0, self._instances.close)
        if self._daemon is not None:
            closers.insert(0, self._daemon.stop)
        for closer in closers:
            try:
                await closer()
            except (ClustermgtdError, OSError) as error:
                _log.warning("lab.close_failed", error=str(error))
        self._reservation.close()

    async def describe(self, since: int) -> Mapping[str, Any]:
        """See `door.Switchboard`."""
        records = self.aws.model.instances()
        self._states.update({record.id: record.state for record in records})
        daemon = self._daemon
        claims = await open_claims(self._session, self.settings.clustermgtd.table_name)
        return {
            "region": self.region,
            "endpoint_url": self.aws.endpoint_url,
            "metrics_url": self.metrics_url,
            "table": self.settings.clustermgtd.table_name,
            "ports": self.ports,
            "pids": {
                "daemon": daemon.pid if daemon else None,
                "supervisor": os.getpid(),
                "moto": self.aws.moto_pid,
                **self.slurm.pids(),
            },
            "instance_pids": dict(self._instances.pids) if self._instances else {},
            "daemon_status": daemon.status if daemon else "",
            "daemon_exit_code": daemon.exit_code if daemon else None,
            "instances": dict(sorted(Counter(record.state for record in records).items())),
            "launched": len(self._states),
            "terminated": sum(state == "terminated" for state in self._states.values()),
            "open_claims": len(claims),
            "backing": {claim.node: claim.instance for claim in claims if claim.state in BACKED},
            "event_count": self._event_count,
            "events": [event for event in self._events if event["number"] >= since],
        }

    async def start_daemon(self) -> None:
        """See `door.Switchboard`."""
        assert self._daemon is not None
        await self._daemon.start()

    async def stop_daemon(self) -> None:
        """See `door.Switchboard`."""
        assert self._daemon is not None
        await self._daemon.stop()

    async def restart_slurmctld(self) -> None:
        """See `door.Switchboard`."""
        await self.slurm.restart_controller()

    async def _close_session(self) -> None:
        await self._session.__aexit__(None, None, None)

    def _host(self, variables: Mapping[str, str]) -> InstanceHost:
        agent = AgentArguments(
            table=self.settings.clustermgtd.table_name,
            region=self.region,
            conf_file=str(self.folder.slurm_conf),
            slurmd=find_program("slurmd"),
            give_up_s=self.settings.clustermgtd.node_agent.give_up_seconds,
            power_off_command="",  # the machine ends with the agent
            console="",  # stderr is the console
            processes_below="parent",
        )
        return InstanceHost(self.folder.path, self.aws.endpoint_url, variables, agent)

    def _write_slurm_conf(self) -> None:
        hooks = self.settings.clustermgtd.hooks
        programs = write_programs(
            self.folder.path / "programs",
            Path(sys.executable),
            Path(resume_suspend.__file__).parent.parent,
            {
                "CLUSTERMGTD_SOCKET": hooks.socket_path,
                "CLUSTERMGTD_SPOOL": hooks.spool_dir,
                leftovers.LAB_MARKER: str(self.folder.path),
            },
        )
        site = SlurmSite(
            programs, node_address="127.0.0.1", node_port_base=self.ports["first_node"], release=slurm_release()
        )
        self.slurm.write_conf(render(self.settings, site))

    def _metadata_of(self, instance: str) -> Metadata | None:
        try:
            record = self.aws.model.instance(instance)
        except Ec2Error:
            return None
        return metadata_of(self.aws.model, record) if record.state == "running" else None

    async def _power_off(self, instance: str) -> None:
        self._consoles.feed([instance])
        self.aws.model.kill_instance(instance, time.time())
        self.aws.pump()

    def _on_event(self, event: Ec2Event) -> None:
        self._events.append(
            {
                "number": self._event_count,
                "at": event.at,
                "kind": event.kind.value,
                "instance_id": event.instance_id,
                "state": event.state,
            }
        )
        self._event_count += 1
        self._wake.set()


def _add_routes(application: web.Application, *routes: list[web.RouteDef]) -> None:
    for some in routes:
        application.add_routes(some)


def _load(text: str, folder: LabFolder, metrics_port: int = 0, events_queue: str | None = None) -> settings.Settings:
    """The site's cluster.yaml, localised, written into the lab's folder and read back as the daemon will read it."""
    localised = yaml.safe_dump(localise(text, folder, metrics_port, events_queue), sort_keys=False)
    folder.cluster_yaml.write_text(localised, encoding="utf-8")
    return settings.load(folder.cluster_yaml)
