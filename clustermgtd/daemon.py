"""The composition root: the only module that knows every concrete class."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from clustermgtd import __version__
from clustermgtd.adapters.aws.capacity_blocks import AwsBlocks
from clustermgtd.adapters.aws.dynamodb_claim_store import DynamoDbClaimStore
from clustermgtd.adapters.aws.dynamodb_node_agents import DynamoDbNodeAgents
from clustermgtd.adapters.aws.ec2_fleet import PAGE_SIZE, Ec2Fleet
from clustermgtd.adapters.aws.instance_status import AwsInstanceStatus
from clustermgtd.adapters.aws.launch_templates import ensure as ensure_templates
from clustermgtd.adapters.aws.leftovers import Leftovers, Needed
from clustermgtd.adapters.aws.list_prices import ListPrices
from clustermgtd.adapters.aws.node_variables import store_variables
from clustermgtd.adapters.aws.prices import AwsPrices
from clustermgtd.adapters.aws.quotas import AwsQuotas
from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.adapters.aws.sqs_notice_queue import SqsNoticeQueue
from clustermgtd.adapters.aws.subnets import AwsSubnets
from clustermgtd.adapters.slurm.backend import Backend
from clustermgtd.adapters.slurm.used_backend import UsedBackend
from clustermgtd.adapters.system import garbage
from clustermgtd.adapters.system.loop_clock import LoopClock
from clustermgtd.adapters.system.systemd import Notifier, inherited_sockets
from clustermgtd.adapters.system.users import uids
from clustermgtd.errors import ClustermgtdError, ConfigurationError, TransientError
from clustermgtd.intake.hooks import HookServer, HookServerSettings
from clustermgtd.model.ids import InstanceType
from clustermgtd.model.policy import Policy
from clustermgtd.node.from_settings import launch_specs, stored_variables
from clustermgtd.reconcile.background import CancelledAtTheEnd
from clustermgtd.reconcile.block_book import BlockBook
from clustermgtd.reconcile.block_log import BlockLog
from clustermgtd.reconcile.boot_reports import BootReports
from clustermgtd.reconcile.cleanup import Cleanup
from clustermgtd.reconcile.console_capture import ConsoleCapture
from clustermgtd.reconcile.fall_log import FallLog
from clustermgtd.reconcile.gang_watch import GangWatch
from clustermgtd.reconcile.governor import Buckets, GovernedFleet
from clustermgtd.reconcile.ledger import Ledger
from clustermgtd.reconcile.left_alone_log import LeftAloneLog
from clustermgtd.reconcile.loop import Loop, Pace
from clustermgtd.reconcile.node_agents import AgentDesk
from clustermgtd.reconcile.notice_receiver import NoticeReceiver, Polling
from clustermgtd.reconcile.observer import Observers
from clustermgtd.reconcile.price_book import PriceBook
from clustermgtd.reconcile.quota_watch import QuotaWatch
from clustermgtd.reconcile.refresher import Refresher
from clustermgtd.reconcile.retry import Retry, RetryPolicy
from clustermgtd.reconcile.start_gate import StartGate
from clustermgtd.reconcile.status import Status
from clustermgtd.reconcile.status_watch import StatusWatch
from clustermgtd.reconcile.subnet_book import SubnetBook
from clustermgtd.reconcile.warm_log import WarmLog
from clustermgtd.settings import Settings, load
from clustermgtd.settings.events import Events
from clustermgtd.settings.instance_types import v_cpus
from clustermgtd.settings.policy import build_policy
from clustermgtd.settings.restart_only import refuse_restart_only
from clustermgtd.settings.resume_margin import resume_margins
from clustermgtd.settings.schedules import Calendar
from clustermgtd.telemetry.exposition import Health, MetricsServer
from clustermgtd.telemetry.instrument import (
    InstrumentedClaimStore,
    InstrumentedFleet,
    InstrumentedInstanceStatus,
    InstrumentedNodeAgents,
    InstrumentedNoticeQueue,
    InstrumentedScheduler,
)
from clustermgtd.telemetry.intake_metrics import CountedGate, IntakeMetrics
from clustermgtd.telemetry.labels import Facts
from clustermgtd.telemetry.loop_metrics import LoopMetrics
from clustermgtd.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

_Read = Callable[[Policy], Awaitable[None]]
_START = RetryPolicy(attempts_max=20, deadline_s=120.0, first_delay_s=0.5, delay_max_s=10.0)


@dataclass(frozen=True, slots=True)
class Configured:
    """What a reload swaps as a whole."""

    settings: Settings
    policy: Policy
    placement_groups: frozenset[str]
    """Names of those that it uses."""
    calendar: Calendar

    @property
    def templates(self) -> frozenset[str]:
        """Ids of the launch templates that it uses."""
        resources = self.policy.compute_resources.values()
        return frozenset(tier.template.id for resource in resources for tier in resource.tiers)

    @property
    def pace(self) -> Pace:
        period = self.settings.clustermgtd.period_seconds
        return Pace(quiet_s=period, waiting_s=min(5.0, period))


class Daemon:
    """One daemon over one cluster.yaml."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self._clock = LoopClock()
        self._notifier = Notifier.from_environment(os.environ)
        self._metrics_registry = CollectorRegistry()
        self._metrics = Metrics(self._metrics_registry)
        self._metrics.started(__version__)
        self._stop = asyncio.Event()
        self._reload = asyncio.Event()
        self._refreshers: Sequence[Refresher] = ()

    async def run(self, settings: Settings) -> None:
        """Serve until SIGTERM or SIGINT.

        Raises:
            ConfigurationError: something a human has to change.
            TransientError: AWS or Slurm did not answer at the start.
            FencedError: another daemon took over.
        """
        with self._signals():
            count = self._metrics.unknown_error_code
            async with AwsSession(settings.region or "", count_unknown_code=count) as session:
                await self._serve(session, settings)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        handlers = {signal.SIGTERM: self._stop, signal.SIGINT: self._stop, signal.SIGHUP: self._reload}
        for number, event in handlers.items():
            loop.add_signal_handler(number, event.set)
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)

    async def _serve(self, session: AwsSession, settings: Settings) -> None:
        own = settings.clustermgtd
        store = DynamoDbClaimStore(session, own.table_name)
        quotas = QuotaWatch(
            Ec2Fleet(session, settings.cluster_name), AwsQuotas(session), self._v_cpus_of, self._clock, self._metrics
        )
        prices = PriceBook(
            AwsPrices(session, self._clock),
            ListPrices(session.region, self._v_cpus_of),
            self._metrics.offerings_rejected,
        )
        fleet = GovernedFleet(
            InstrumentedFleet(quotas, self._metrics, self._clock),
            Buckets(own.governor.limits, self._clock),
            self._clock,
            page_size=PAGE_SIZE,
        )
        self._metrics.governor.watch(fleet)
        self._buckets = fleet.buckets
        slurm = Backend(own.slurm, self._clock, self._metrics.slurm)
        scheduler = InstrumentedScheduler(slurm.scheduler, self._metrics, self._clock)
        ledger = Ledger(InstrumentedClaimStore(store, self._metrics, self._clock))
        status = Status(self._clock, self._notifier.status)
        boots = BootReports(store, self._metrics.boot_phase)
        agents = AgentDesk(
            InstrumentedNodeAgents(DynamoDbNodeAgents(session, own.table_name), self._metrics, self._clock),
            self._clock,
            lambda: self._configured.settings.clustermgtd.node_agent,
            lambda: loop,
            self._metrics.heartbeat_written,
        )
        gangs = GangWatch(self._metrics)
        logs = (BlockLog(), LeftAloneLog(), FallLog(), WarmLog())
        consoles = ConsoleCapture(fleet, lambda: self._configured.settings.clustermgtd.health.console_dir)
        observers = Observers([LoopMetrics(self._metrics), gangs, status, boots, agents.book, consoles, *logs])
        loop = Loop(fleet, scheduler, ledger, self._clock, observers, fleet)
        loop.node_reports = agents.book.reports
        loop.node_reports_at = lambda: agents.book.read_at
        subnets = SubnetBook(AwsSubnets(session, self._clock))
        loop.subnets = subnets.subnets
        receiver = self._notice_receiver(session, loop, own.events)
        statuses = InstrumentedInstanceStatus(AwsInstanceStatus(session, self._clock), self._metrics, self._clock)
        watch = StatusWatch(statuses, loop.notices)
        blocks = BlockBook(AwsBlocks(session), self._clock, own.capacity_blocks.refresh_seconds, loop.inbox.wake)
        loop.blocks = blocks.reading
        loop.schedules = lambda now: self._configured.calendar.at(now)
        self._metrics.watch_inbox(lambda: len(loop.inbox))
        self._metrics.watch_spool(lambda: sum(1 for _ in Path(own.hooks.spool_dir).glob("*.json")))
        self._configured = await self._start(session, store, ledger, settings)
        self._cleanup = self._make_cleanup(Leftovers(session, settings.cluster_name), store, ledger)
        # before the first tick, because EC2 refuses a launch into two subnets of one zone
        with suppress(ClustermgtdError):
            await subnets.read(self._configured.policy)
        self._refreshers = self._background_reads(prices, quotas, subnets, watch, receiver, blocks)

        gate = StartGate(
            scheduler,
            self._clock,
            own.slurm.start_gate.max_waiting,
            own.slurm.start_gate.deadline_seconds,
            loop.inbox.wake,
        )
        hooks = HookServer(
            _hook_settings(settings),
            loop.inbox,
            CountedGate(gate, self._metrics),
            self._clock,
            IntakeMetrics(self._metrics),
        )
        async with CancelledAtTheEnd() as start:
            if own.metrics.enabled:
                server = MetricsServer(
                    own.metrics.address,
                    own.metrics.port,
                    self._metrics_registry,
                    lambda: _health(status, self._configured.settings.clustermgtd.period_seconds, slurm.used),
                )
                port = server.bind()
                log.info("metrics_served", address=own.metrics.address, port=port)
                start(server.run(), "metrics")
            for refresher in self._refreshers:
                start(refresher.run(), refresher.name)
            if own.events.queue_url is not None:
                start(receiver.run(), "notices")
            start(slurm.run(), "slurm backend")
            start(slurm.tell_capabilities(), "slurm capabilities")
            await slurm.check()
            start(boots.run(), "boot reports")
            start(consoles.run(), "consoles")
            start(agents.run(), "node agents")
            start(gate.run(), "start gate")
            start(hooks.run(), "hooks")
            start(self._keep_watchdog(status), "watchdog")
            start(self._cleanup.run(), "cleanup")
            start(self._reload_on_request(session), "reload")
            start(self._stop_on_request(loop), "stop")
            await hooks.listening.wait()
            garbage.keep_out_of_the_way()
            self._notifier.ready("serving")
            log.info("daemon_ready", version=__version__, pid=os.getpid(), cluster=settings.cluster_name)
            await loop.run(lambda: prices.policy(self._configured.policy), lambda: self._configured.pace)
            self._notifier.stopping()
            log.info("daemon_stopped")

    async def _start(
        self, session: AwsSession, store: DynamoDbClaimStore, ledger: Ledger, settings: Settings
    ) -> Configured:
        """Table, launch templates, policy and term: everything the first tick needs."""
        retry = Retry(_START, self._clock, random.random)
        tags = {"clustermgtd:cluster": settings.cluster_name}
        await retry("ensure_table", lambda: store.ensure_table(tags))
        configured = await retry("ensure_templates", lambda: _configure(session, settings))
        term = await retry("begin_term", lambda: ledger.begin(f"{socket.gethostname()}:{os.getpid()}"))
        self._metrics.term_began(term.epoch)
        self._announce(configured)
        log.info("term_began", epoch=term.epoch, open_launches=len(ledger.launches))
        return configured

    def _announce(self, configured: Configured) -> None:
        """What a new configuration means for metrics and limits."""
        settings = configured.settings
        self._metrics.use_queues(sorted({key.queue for key in configured.policy.compute_resources}))
        self._buckets.use(settings.clustermgtd.governor.limits)
        margins = resume_margins(settings)
        self._metrics.governor.resume_margins({margin.queue: margin.margin_s for margin in margins})
        for margin in (margin for margin in margins if margin.margin_s < 0):
            log.warning("resume_timeout_short", queue=margin.queue, margin_s=margin.margin_s, detail=margin.text)
        for margin in (margin for margin in margins if margin.is_hold_short):
            log.warning("hold_time_long", queue=margin.queue, hold_s=margin.hold_s, detail=margin.hold_text)

    def _background_reads(
        self,
        prices: PriceBook,
        quotas: QuotaWatch,
        subnets: SubnetBook,
        statuses: StatusWatch,
        notices: NoticeReceiver,
        blocks: BlockBook,
    ) -> list[Refresher]:
        """What is read from AWS now and then, as far as the site wants it."""
        own = self._configured.settings.clustermgtd
        prices_s, quotas_s = own.prices.refresh_hours * 3600.0, own.quotas.refresh_hours * 3600.0
        status_s = own.events.status_seconds
        kinds: tuple[tuple[Facts, _Read, float | Callable[[], float], bool], ...] = (
            (Facts.ON_DEMAND_PRICES, prices.read_on_demand, prices_s, own.prices.enabled),
            (Facts.SPOT_PRICES, prices.read_spot, prices_s, own.prices.enabled),
            (Facts.QUOTAS, quotas.read, quotas_s, own.quotas.enabled),
            (Facts.SUBNETS, subnets.read, own.offerings.subnet_refresh_seconds, True),
            (Facts.INSTANCE_STATUS, statuses.read, status_s, own.events.status_checks),
            (Facts.NOTICE_QUEUE, notices.read_depth, status_s, own.events.queue_url is not None),
            (Facts.CAPACITY_BLOCKS, blocks.read, blocks.pause_s, True),
        )
        return [
            Refresher(facts, partial(self._read, read), period_s, self._clock, partial(self._metrics.facts_read, facts))
            for facts, read, period_s, is_wanted in kinds
            if is_wanted
        ]

    def _make_cleanup(self, leftovers: Leftovers, store: DynamoDbClaimStore, ledger: Ledger) -> Cleanup:
        def needed() -> Needed:
            configured = self._configured
            launching = frozenset(launch.request.template.id for launch in ledger.launches.values())
            return Needed(configured.templates, configured.placement_groups, launching)

        return Cleanup(store.confirm_term, lambda: leftovers.delete(needed, self._clock.now()), self._clock)

    async def _read(self, read: _Read) -> None:
        """`read` with the policy of this moment, which a reload may have changed."""
        await read(self._configured.policy)

    def _notice_receiver(self, session: AwsSession, loop: Loop, events: Events) -> NoticeReceiver:
        self._metrics.notices.watch_unstored(lambda: len(loop.notices))
        queue = SqsNoticeQueue(session, events.queue_url or "", events.visibility_seconds)
        return NoticeReceiver(
            InstrumentedNoticeQueue(queue, self._metrics, self._clock),
            loop.notices,
            self._clock,
            self._metrics.notices,
            Polling(events.receivers, events.poll_seconds),
            random.random,
        )

    def _v_cpus_of(self, instance_type: InstanceType) -> int:
        return v_cpus(instance_type, self._configured.settings.clustermgtd.instance_types)

    async def _stop_on_request(self, loop: Loop) -> None:
        await self._stop.wait()
        log.info("daemon_stopping")
        loop.stop()

    async def _keep_watchdog(self, status: Status) -> None:
        interval = self._notifier.watchdog_interval_s
        while interval is not None:
            if status.is_alive(self._configured.settings.clustermgtd.period_seconds):
                self._notifier.watchdog()
            await self._clock.sleep(interval / 2)

    async def _reload_on_request(self, session: AwsSession) -> None:
        """SIGHUP: the new file is taken whole, or refused and the old one stays."""
        while True:
            await self._reload.wait()
            self._reload.clear()
            self._notifier.reloading()
            try:
                settings = await asyncio.to_thread(load, self._config)
                refuse_restart_only(self._configured.settings, settings)
                async with self._cleanup.configuring:
                    self._configured = await _configure(session, settings)
                self._announce(self._configured)
            except (ConfigurationError, TransientError) as error:
                log.error("reload_refused", error=str(error))  # noqa: TRY400 - the message says it all
            else:
                self._cleanup.wake()
                for refresher in self._refreshers:
                    refresher.wake()
                log.info("reload_done", nodes=len(self._configured.policy.nodes))
            self._notifier.ready("serving")


async def _configure(session: AwsSession, settings: Settings) -> Configured:
    host = socket.gethostname()
    specs = launch_specs(settings, host)
    # before the templates, whose instances look for them
    await store_variables(session, settings.clustermgtd.table_name, stored_variables(settings, host))
    templates = await ensure_templates(session, settings.cluster_name, specs)
    groups = frozenset(spec.placement_group.name for spec in specs.values() if spec.placement_group)
    return Configured(settings, build_policy(settings, templates), groups, Calendar(settings.clustermgtd.schedules))


def _health(status: Status, period_s: float, slurm: UsedBackend) -> Health:
    detail: dict[str, str | float] = {"status": status.text, "last_tick_age_s": round(status.last_success_age_s, 1)}
    backend = {"slurm_backend": slurm.backend, "slurm_backend_why": slurm.why}
    return Health(status.is_healthy(period_s), detail | backend)


def _hook_settings(settings: Settings) -> HookServerSettings:
    hooks = settings.clustermgtd.hooks
    return HookServerSettings(
        socket_path=Path(hooks.socket_path),
        spool_folder=Path(hooks.spool_dir),
        allowed_uids=uids(hooks.allowed_users),
        inherited_fd=next(iter(inherited_sockets(os.environ).get("hooks", ())), None),
    )
