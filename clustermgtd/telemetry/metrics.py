"""Every metric of the daemon, declared here or in a module of its own (`..._metrics`), and what counts them.

Base units, `_total` on counters, a sentence of help each. Label values come from closed lists (`telemetry.labels`), so
that the number of series does not depend on how many nodes, jobs or instances there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry

from clustermgtd.model.action import Action, Reason
from clustermgtd.model.claim import ClaimState
from clustermgtd.model.failure import REMEMBERED, FailureKind
from clustermgtd.model.gang import GangEnd
from clustermgtd.model.ids import QueueName
from clustermgtd.model.instance import InstanceState
from clustermgtd.model.left_alone import LeftAlone
from clustermgtd.model.offering import Market
from clustermgtd.model.quota import QuotaKey, Quotas, VCpus
from clustermgtd.telemetry import labels
from clustermgtd.telemetry.block_metrics import BlockMetrics
from clustermgtd.telemetry.declarations import Declarations
from clustermgtd.telemetry.fleet_metrics import FleetMetrics
from clustermgtd.telemetry.governor_metrics import GovernorMetrics
from clustermgtd.telemetry.notice_metrics import NoticeMetrics
from clustermgtd.telemetry.slurm_metrics import SlurmMetrics
from clustermgtd.telemetry.tier_metrics import TierMetrics
from clustermgtd.telemetry.warm_metrics import WarmMetrics

TICK_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
CALL_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
BOOT_BUCKETS_S = (1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 300.0, 600.0, 1800.0)
READY_BUCKETS_S = (1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 300.0, 450.0, 600.0, 900.0, 1800.0)


class Metrics:
    """The daemon's metrics in a registry of its own. Every method returns at once and never raises."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.declarations = Declarations(registry)
        self._queues: frozenset[str] = frozenset()
        self._declare_loop()
        self._declare_world()
        self._declare_launches()
        self._declare_bounds()
        self._declare_hooks()
        self.governor = GovernorMetrics(self.declarations)
        self.slurm = SlurmMetrics(self.declarations)
        self.tiers = TierMetrics(self.declarations, self._queue)
        self.warm = WarmMetrics(self.declarations, self._queue)
        self.notices = NoticeMetrics(self.declarations)
        self.blocks = BlockMetrics(self.declarations, self._queue)
        self.fleet = FleetMetrics(self.declarations, self._queue)
        self._start_at_zero()

    def _declare_loop(self) -> None:
        d = self.declarations
        self._build = d.gauge("build_info", "Which version runs; the value is always 1.", labels.VERSION)
        self._epoch = d.gauge(
            "term_epoch", "Number of this daemon's term as the only writer; grows with every takeover."
        )
        self._ticks = d.counter("ticks_total", "Rounds of observe, decide, act by how they ended.", labels.TICK_OUTCOME)
        self._tick_seconds = d.histogram("tick_duration_seconds", "Time that one round took.", TICK_BUCKETS_S)
        self._last_tick = d.gauge(
            "last_successful_tick_timestamp_seconds", "Unix time at which a round last ended well; 0 before the first."
        )
        self._actions = d.counter(
            "actions_total",
            "Actions of plans by what became of them.",
            labels.ACTION,
            labels.REASON,
            labels.ACTION_OUTCOME,
        )
        self._call_seconds = d.histogram(
            "port_call_duration_seconds",
            "Time that calls to EC2, Slurm and the claim table took, by how they ended.",
            CALL_BUCKETS_S,
            labels.PORT,
            labels.METHOD,
            labels.CALL_OUTCOME,
        )
        self._heartbeat = d.gauge(
            "heartbeat_timestamp_seconds",
            "Unix time at which the sign of life for node agents was last written; 0 before the first.",
        )
        self._inbox = d.gauge("inbox_hints", "Hints that wait for the next round.")

    def _declare_world(self) -> None:
        d = self.declarations
        self._instances = d.gauge(
            "instances", "Instances of this cluster as EC2 showed them last.", labels.INSTANCE_STATE
        )
        self._nodes = d.gauge("nodes", "Managed nodes as Slurm showed them last.", labels.NODE_CLASS)
        self._claims = d.gauge("claims", "Node claims of open launches by state.", labels.CLAIM_STATE)
        self._unclaimed = d.gauge(
            "instances_unclaimed", "Live instances of this cluster that no claim names, as of the last round."
        )

    def _declare_launches(self) -> None:
        d = self.declarations
        self._launched = d.counter(
            "instances_launched_total", "Instances that CreateFleet gave.", labels.QUEUE, labels.MARKET
        )
        self._ended = d.counter(
            "instances_ended_total",
            "Instances that were live and then ended, for whatever reason.",
            labels.QUEUE,
            labels.MARKET,
        )
        self._launch_errors = d.counter(
            "launch_errors_total", "Errors in CreateFleet replies, one per override.", labels.FAILURE, labels.MARKET
        )
        self._unknown_codes = d.counter(
            "aws_unknown_error_codes_total",
            "Error codes of AWS replies that the error table lacks; the log has each the first time.",
        )
        self._bans = d.gauge(
            "offering_bans",
            "Bans on offerings that EC2 refused, by what was refused.",
            labels.BAN_KIND,
            labels.BAN_MARKET,
            labels.BAN_STATE,
        )
        self._probes = d.counter(
            "offering_probes_total", "Launches that tried whether a ban is over, by market.", labels.MARKET
        )
        self._held = d.gauge(
            "nodes_held", "Nodes kept out of scheduling because every offering of their compute resource is banned."
        )
        self._left_alone = d.gauge(
            "nodes_left_alone", "Nodes that are observed and reported only, by why.", labels.LEFT_ALONE
        )
        self._gangs = d.gauge("gangs_held", "Jobs that came short and keep what arrived.")
        self._gang_nodes = d.gauge("gang_nodes_missing", "Nodes of those jobs that have no instance.")
        self._gang_cost = d.counter(
            "gang_hold_cost_dollars_total",
            "US dollars that instances of jobs that came short cost while they waited, as far as prices are known.",
        )
        self._gang_ends = d.counter(
            "gang_holds_ended_total", "Jobs that came short and do not wait any more, by why.", labels.GANG_END
        )
        self._ready_seconds = d.histogram(
            "node_ready_seconds",
            "Time from seeing Slurm's demand to seeing slurmd registered.",
            READY_BUCKETS_S,
            labels.MARKET,
        )
        self._boot_seconds = d.histogram(
            "boot_phase_seconds",
            "Time from the instance's launch to the end of a boot phase.",
            BOOT_BUCKETS_S,
            labels.BOOT_PHASE,
        )

    def _declare_bounds(self) -> None:
        d = self.declarations
        self._quota = d.gauge(
            "vcpu_quota", "Virtual CPUs that the account may run, where it is known.", labels.MARKET, labels.QUOTA_CLASS
        )
        self._v_cpus = d.gauge(
            "vcpu_in_use",
            "Virtual CPUs of this cluster's instances; others of the account count in the quota too.",
            labels.MARKET,
            labels.QUOTA_CLASS,
        )
        self._over_quota = d.counter(
            "launches_over_quota_total",
            "Launches that go over a quota by what is known before the call.",
            labels.MARKET,
            labels.QUOTA_CLASS,
        )
        self._rejected = d.gauge(
            "offerings_rejected", "Spot offerings that are left out because they cost too much.", labels.QUEUE
        )
        self._facts_read = d.gauge(
            "facts_last_read_timestamp_seconds",
            "Unix time at which facts were last read from AWS; 0 before the first time.",
            labels.FACTS,
        )

    def _declare_hooks(self) -> None:
        d = self.declarations
        self._hooks = d.counter(
            "hook_requests_total", "Requests from Slurm's hooks that were taken.", labels.HOOK_KIND, labels.HOOK_SOURCE
        )
        self._hooks_rejected = d.counter(
            "hook_requests_rejected_total", "Requests from Slurm's hooks that were refused.", labels.HOOK_REJECTION
        )
        self._spool = d.gauge("spool_files", "Hook requests that wait in the spool folder.")
        self._gate_answers = d.counter(
            "start_gate_answers_total", "Jobs' prologs that were let go, by why.", labels.GATE_REASON
        )
        self._gate_waiting = d.gauge("start_gate_waiting", "Jobs' prologs that wait for their nodes.")

    def _start_at_zero(self) -> None:
        """Series exist before their first event wherever the list is short, so that `increase()` sees the first one."""
        for outcome in labels.TickOutcome:
            self._ticks.labels(outcome)
        for rejection in labels.HookRejection:
            self._hooks_rejected.labels(rejection)
        for reason in labels.GateReason:
            self._gate_answers.labels(reason)
        for kind in labels.HookKind:
            for source in labels.HookSource:
                self._hooks.labels(kind, source)
        for failure in FailureKind:
            for market in Market:
                self._launch_errors.labels(failure, market)
        for facts in labels.Facts:
            self._facts_read.labels(facts)
        self.instances({})
        self.nodes({})
        self.claims({})
        self.offering_bans({})
        for market in Market:
            self._probes.labels(market)
        for end in GangEnd:
            self._gang_ends.labels(end)

    # the process

    def started(self, version: str) -> None:
        self._build.labels(version).set(1)

    def term_began(self, epoch: int) -> None:
        self._epoch.set(epoch)

    def use_queues(self, queues: Iterable[QueueName]) -> None:
        """The queues that may become label values, at the start and after each reload; all others count as `other`."""
        self._queues = frozenset(queues)

    # the loop

    def tick(self, outcome: labels.TickOutcome, duration_s: float) -> None:
        self._ticks.labels(outcome).inc()
        self._tick_seconds.observe(duration_s)

    def last_successful_tick(self, at: float) -> None:
        """`at` in epoch seconds."""
        self._last_tick.set(at)

    def action(self, action: Action, outcome: labels.ActionOutcome) -> None:
        reason: Reason | None = getattr(action, "reason", None)
        self._actions.labels(labels.ACTION_KINDS[type(action)], reason or labels.NO_REASON, outcome).inc()

    def port_call(self, port: labels.Port, method: str, outcome: str, duration_s: float) -> None:
        """`method` is written in `telemetry.instrument`, `outcome` comes from `labels.call_outcome`."""
        self._call_seconds.labels(port, method, outcome).observe(duration_s)

    def watch_inbox(self, length: Callable[[], int]) -> None:
        """Ask for the number of waiting hints at each scrape; `length` must be cheap and not raise."""
        self._inbox.set_function(length)

    # the world

    def instances(self, counts: Mapping[InstanceState, int]) -> None:
        """All at once: a state that is left out is 0."""
        for state in InstanceState:
            self._instances.labels(state).set(counts.get(state, 0))

    def nodes(self, counts: Mapping[labels.NodeClass, int]) -> None:
        """All at once: a class that is left out is 0."""
        for state in labels.NodeClass:
            self._nodes.labels(state).set(counts.get(state, 0))

    def claims(self, counts: Mapping[ClaimState, int]) -> None:
        """All at once: a state that is left out is 0."""
        for state in ClaimState:
            self._claims.labels(state).set(counts.get(state, 0))

    def instances_unclaimed(self, count: int) -> None:
        self._unclaimed.set(count)

    # launches

    def instance_launched(self, queue: QueueName, market: Market) -> None:
        self._launched.labels(self._queue(queue), market).inc()

    def instance_ended(self, queue: QueueName, market: Market) -> None:
        self._ended.labels(self._queue(queue), market).inc()

    def launch_error(self, kind: FailureKind, market: Market) -> None:
        self._launch_errors.labels(kind, market).inc()

    def unknown_error_code(self) -> None:
        self._unknown_codes.inc()

    def offering_bans(self, counts: Mapping[tuple[FailureKind, str, labels.BanState], int]) -> None:
        """All at once, by kind, market (or `labels.ANY_MARKET`) and state: what is left out is 0."""
        for kind in REMEMBERED:
            for market in (*Market, labels.ANY_MARKET):
                for state in labels.BanState:
                    self._bans.labels(kind, market, state).set(counts.get((kind, market, state), 0))

    def offering_probed(self, market: Market) -> None:
        self._probes.labels(market).inc()

    def nodes_left_alone(self, counts: Mapping[LeftAlone, int]) -> None:
        """All at once: one that is left out is 0."""
        for why in LeftAlone:
            self._left_alone.labels(why).set(counts.get(why, 0))

    def nodes_held(self, count: int) -> None:
        self._held.set(count)

    def gangs_held(self, gangs: int, missing: int) -> None:
        self._gangs.set(gangs)
        self._gang_nodes.set(missing)

    def gang_hold_cost(self, dollars: float) -> None:
        """`dollars` more than before."""
        self._gang_cost.inc(dollars)

    def gang_ended(self, end: GangEnd) -> None:
        self._gang_ends.labels(end).inc()

    def node_ready(self, market: Market, seconds: float) -> None:
        """`seconds` from the round that saw the demand to the one that saw the node up."""
        self._ready_seconds.labels(market).observe(max(0.0, seconds))

    def boot_phase(self, phase: str, seconds: float) -> None:
        """`seconds` after the instance's launch. An unknown phase (of another version) is ignored."""
        if phase in labels.BOOT_PHASE.values:
            self._boot_seconds.labels(phase).observe(max(0.0, seconds))

    # bounds

    def v_cpu_quotas(self, quotas: Quotas) -> None:
        """All that are known; one that is not known any more disappears."""
        self._quota.clear()
        for key, v_cpus in quotas.items():
            self._quota.labels(key.market, key.quota_class).set(v_cpus)

    def v_cpus_in_use(self, used: VCpus) -> None:
        """All at once: a quota that is left out disappears."""
        self._v_cpus.clear()
        for key, v_cpus in used.items():
            self._v_cpus.labels(key.market, key.quota_class).set(v_cpus)

    def launch_over_quota(self, key: QuotaKey) -> None:
        self._over_quota.labels(key.market, key.quota_class).inc()

    def offerings_rejected(self, counts: Mapping[QueueName, int]) -> None:
        """All at once: a queue that is left out disappears."""
        self._rejected.clear()
        for queue, count in counts.items():
            self._rejected.labels(self._queue(queue)).set(count)

    def heartbeat_written(self, at: float) -> None:
        """`at` is an epoch second."""
        self._heartbeat.set(at)

    def facts_read(self, facts: labels.Facts, at: float) -> None:
        """`at` in epoch seconds."""
        self._facts_read.labels(facts).set(at)

    # hooks

    def hook_request(self, kind: labels.HookKind, source: labels.HookSource) -> None:
        self._hooks.labels(kind, source).inc()

    def hook_rejected(self, reason: labels.HookRejection) -> None:
        self._hooks_rejected.labels(reason).inc()

    def watch_spool(self, files: Callable[[], int]) -> None:
        """Ask for the number of waiting files at each scrape; a folder that cannot be read (OSError) shows as NaN."""

        def count() -> float:
            try:
                return files()
            except OSError:
                return math.nan

        self._spool.set_function(count)

    def gate_answer(self, reason: labels.GateReason) -> None:
        self._gate_answers.labels(reason).inc()

    def gate_waiting(self, count: int) -> None:
        self._gate_waiting.set(count)

    def _queue(self, queue: QueueName) -> str:
        return queue if queue in self._queues else labels.OTHER_QUEUE
