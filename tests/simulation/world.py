"""A world of Slurm, EC2, table and time as plain data, and the real decisions applied to it, with faults in between.

One random generator per run decides everything, so a seed is a story that can be told again.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from clustermgtd.decide.budget import EC2_DEFAULTS, UNLIMITED, BucketName, Limit
from clustermgtd.decide.falls import DOUBLINGS_MAX
from clustermgtd.decide.outcome import attempted, with_failure, with_result
from clustermgtd.decide.plan import decide
from clustermgtd.errors import ConfigurationError, ConflictError, FencedError, PermanentError, TransientError
from clustermgtd.lab.ec2.buckets import Bucket
from clustermgtd.lab.ec2.scenario import Faults, ReservationSpec, Scenario
from clustermgtd.model.action import (
    Action,
    AssignAddresses,
    CancelJobs,
    ClosePartitions,
    DeleteReservation,
    DrainNodes,
    ExplainJobs,
    HoldNodes,
    LiftRequeueHold,
    OpenPartitions,
    PowerDownNodes,
    PowerUpNodes,
    RecordFleet,
    RecordLaunch,
    RecordOfferings,
    RecordSafeguards,
    ReleaseNodes,
    RestoreDrains,
    ReturnNodesToService,
    SetNodesDown,
    SetReservation,
    StartLaunch,
    TerminateInstances,
    WithdrawLaunch,
)
from clustermgtd.model.claim import AllocationStrategy, Launch, LaunchTemplate
from clustermgtd.model.failure import FailureKind
from clustermgtd.model.fleet_status import FleetStatus
from clustermgtd.model.ids import (
    ComputeResourceName,
    InstanceId,
    InstanceType,
    JobId,
    LaunchToken,
    NodeName,
    QueueName,
    SubnetId,
)
from clustermgtd.model.instance import Instance
from clustermgtd.model.job import Job, JobTag
from clustermgtd.model.node import HOLD_MARK, REASON_PREFIX
from clustermgtd.model.notice import Notices
from clustermgtd.model.offering import Market, Offering, Subnet
from clustermgtd.model.offering_memory import OfferingMemory
from clustermgtd.model.partition import PartitionState
from clustermgtd.model.policy import (
    BlockPolicy,
    CapacityTier,
    ComputeResourceKey,
    ComputeResourcePolicy,
    PlacedNode,
    Policy,
    ScalingStrategy,
)
from clustermgtd.model.safeguards import Safeguards
from clustermgtd.model.snapshot import Memory, Plan, Snapshot
from tests.simulation.ailments import Ailments
from tests.simulation.announcements import Announcements
from tests.simulation.bad_boots import BadBoots
from tests.simulation.blast_radius import BlastRadius
from tests.simulation.blocks import BlockWorld, shown_reservations
from tests.simulation.capacity_tiers import (
    capacity_tiers,
    check_given_up,
    check_tier,
    check_waits,
    last_tiers_first,
    only_first_tiers,
    without_deadlines,
)
from tests.simulation.cloud import TOKEN_TAG, Cloud
from tests.simulation.fleet_operators import (
    FLEET_TROUBLE,
    check_call,
    check_fleet_action,
    fleet_trouble,
    start_everything,
    stop_everything,
    unsettled_fleet,
)
from tests.simulation.foreign_drains import ForeignDrains
from tests.simulation.hidden_instances import HiddenInstances
from tests.simulation.invariants import check_after_step, check_gangs, check_node_update, check_termination
from tests.simulation.kept_gangs import GANG_BUGS, Watch, gang_policy
from tests.simulation.price_market import PriceMarket
from tests.simulation.scheduled_events import ScheduledEvents
from tests.simulation.shortages import ban_policy, check_launch, chosen_subnets, read_subnets, region_subnets
from tests.simulation.slurm_model import SimNode, SimSlurm
from tests.simulation.table import Table
from tests.simulation.warm_schedules import WARM_BUGS, WarmSchedules

START = 1_700_000_000.0
Stored = TypeVar("Stored")
BUGS = frozenset(
    {
        "no-launch-token",
        "grace-below-read-lag",
        "intent-after-launch",
        "prices-ignored",
        "bans-ignored",
        "tiers-ignored",
        "tiers-turned",
        "waits-forever",
        "refusals-believed",
        "warnings-ignored",
        "events-ignored",
        "drains-forgotten",
        "answers-ignored",
        "illness-ignored",
        *GANG_BUGS,
        "blocks-ignored",
        *WARM_BUGS,
    }
)
"""Mistakes that can be planted to see the simulation catch them."""

QUIET_S = 30.0
"""The loop's own pause after a tick without an action."""
DECIDED_TWICE = 10
"""Each so-many-th decision is made a second time: `decide` may import nothing that could make it differ, so this is
about a value that it would change in place, which shows in any run."""
DAEMON_TROUBLE = ("crash", "rival")
TROUBLE = (
    *("kill", "spot", "stop", "drain", "down", "force", "power-up", "reconfigure", "cancel"),
    *("capacity", "prices", "configuration", "rebalance"),
)
TROUBLE += (*FLEET_TROUBLE, "event", "illness")


_RESERVATIONS: tuple[dict[str, ReservationSpec], ...] = (
    {},
    {"cr-1": ReservationSpec("c5.large", "us-east-1a", 2)},
    {"cr-1": ReservationSpec("m5.large", "us-east-1b", 1), "cr-2": ReservationSpec("m5.large", "us-east-1b", 3)},
)


class Crash(Exception):
    """The daemon dies here."""


@dataclass
class Daemon:
    """What a daemon process holds in memory."""

    epoch: int
    launches: dict[LaunchToken, Launch]
    offerings: OfferingMemory
    safeguards: Safeguards
    memory: Memory = field(default_factory=Memory)
    next_launch: int = 0
    pending: dict[LaunchToken, float] = field(default_factory=dict)
    """Launch calls in flight and when they are made."""
    waiting: set[LaunchToken] = field(default_factory=set)
    """Those that wait for EC2's limits until then."""
    is_stale: bool = False


class World:
    """One run."""

    def __init__(self, seed: int, bugs: frozenset[str] = frozenset()) -> None:
        assert bugs <= BUGS
        self.rng = random.Random(seed)
        self.seed = seed
        self.bugs = bugs
        self.now = START
        self.trace: list[str] = []
        self.counts: Counter[str] = Counter()
        self.decisions = 0
        self.is_healed = False
        rng = self.rng
        self.read_lag = rng.choice([0.0, 5.0, 20.0, 60.0])
        self.blocks = BlockWorld(seed, START)
        self.scenario = Scenario(
            pools=self._pools(),
            subnets=region_subnets(rng),
            not_offered=frozenset(rng.choice([(), (("m5.large", "us-east-1b"),), (("c5.large", "us-east-1b"),)])),
            quotas=rng.choice([{}, {"on-demand": 8}, {"spot": 6, "on-demand": 20}]),
            capacity_reservations={**_RESERVATIONS[self.seed % len(_RESERVATIONS)], **self.blocks.specs()},
            block_reclaim_s=self.blocks.reclaim_s,
            boot_delay_s=rng.choice([1.0, 20.0, 60.0]),
            boot_jitter_s=rng.choice([0.0, 30.0]),
            read_lag_s=self.read_lag,
            address_lag_s=self.read_lag,
            terminate_delay_s=rng.choice([1.0, 30.0]),
            request_buckets={
                "mutating": Bucket(rng.choice([3, 50]), rng.choice([0.1, 5])),
                "non-mutating": Bucket(100, 20),
                "unfiltered": Bucket(1000, 1000),
                "TerminateInstances": Bucket(rng.choice([5, 100]), rng.choice([0.2, 5])),
            },
            resource_buckets={
                "RunInstances": Bucket(rng.choice([4, 1000]), rng.choice([0.05, 2])),
                "TerminateInstances": Bucket(1000, 20),
            },
            faults=Faults(
                internal_error_rate=rng.choice([0.0, 0.05]),
                reply_lost_rate=rng.choice([0.0, 0.1, 0.3]),
                terminate_ignored_rate=rng.choice([0.0, 0.2]),
                death_while_pending_rate=rng.choice([0.0, 0.1]),
            ),
        )
        self.cloud = Cloud(self.scenario, rng)
        self.blocks.use(self)
        self.limits = self._limits()
        self.slurm = SimSlurm(
            resume_timeout=rng.choice([120.0, 600.0]),
            suspend_timeout=rng.choice([30.0, 120.0]),
            suspend_time=rng.choice([60.0, 300.0]),
            now=self.now,
        )
        self.announcements = Announcements(seed)
        self.events = ScheduledEvents(seed)
        self.events.is_ignored = "events-ignored" in bugs
        self.blast = BlastRadius(seed)
        self.ailments = Ailments(seed)
        self.ailments.is_ignored = "illness-ignored" in bugs
        self.boots = BadBoots(seed)
        self.drains = ForeignDrains(seed)
        self.hidden = HiddenInstances(seed)
        policy = self.events.policy(self.blocks.policy(self._policy()))
        self.policy = self.boots.policy(self.blast.policy(self.ailments.policy(policy)))
        for node, placed in self.policy.nodes.items():
            self.slurm.nodes[node] = SimNode(node, placed.key.queue, placed.is_static)
            self.slurm.partitions[placed.key.queue] = PartitionState.UP
        self.schedules = WarmSchedules(seed, START, bugs)
        self.policy = self.schedules.use(self.policy, self.slurm)
        self.market = PriceMarket(rng, [SubnetId(s) for s in sorted(self.scenario.subnets)[:2]], self.now)
        self.market.is_ignored = "prices-ignored" in bugs
        self.table = Table()
        self.daemon: Daemon | None = None
        self.rival: Daemon | None = None
        self.foreign: dict[NodeName, str] = {}
        """Nodes with an operator's mark, and the mark."""
        self.foreign_since: dict[NodeName, float] = {}
        self.closed_by_operator: set[QueueName] = set()
        self.latencies_s: Sequence[float] = (0.01, 0.2, 3.0)
        """Of one way on the wire, where time is told by an event loop."""
        self.mark_seen_after_s = 0.0
        """How old an operator's mark must be for the daemon to have seen it; above 0 where observing takes time."""
        self.registered: set[InstanceId] = set()
        self.watch = Watch()
        self.shown: Mapping[InstanceId, Instance] = {}
        self.jobs_seen: Mapping[NodeName, Job] = {}
        """As the daemon saw them last."""
        self.subnets_read_at: float | None = None
        self.planned: tuple[Launch, ...] = ()
        """Launches under way when the plan that is being carried out was made, its own too, whatever became of them."""
        self.late: dict[tuple[NodeName, JobId, int], int] = {}
        """Ticks in which a node of a job's present attempt should have been asked for and was not."""
        self.crash_rate = rng.choice([0.0, 0.01, 0.05])

    # set-up

    def _pools(self) -> dict[tuple[str, str, str], int | None]:
        rng = self.rng
        return {
            (kind, zone, market): rng.choice([None, 0, 2, 5])
            for kind in ("c5.large", "m5.large")
            for zone in ("us-east-1a", "us-east-1b")
            for market in ("on-demand", "spot")
        }

    def _limits(self) -> Mapping[BucketName, Limit]:
        """What the daemon believes of EC2's limits: the truth, far too much, or nothing at all."""
        requests, resources = self.scenario.request_buckets, self.scenario.resource_buckets
        truth = {
            BucketName.DESCRIBE_REQUESTS: requests["non-mutating"],
            BucketName.LAUNCH_REQUESTS: requests["mutating"],
            BucketName.LAUNCH_INSTANCES: resources["RunInstances"],
            BucketName.TERMINATE_REQUESTS: requests["TerminateInstances"],
            BucketName.TERMINATE_INSTANCES: resources["TerminateInstances"],
        }
        beliefs: tuple[Mapping[BucketName, Limit], ...] = (
            {name: Limit(bucket.size, bucket.refill_per_s) for name, bucket in truth.items()},
            EC2_DEFAULTS,
            dict.fromkeys(BucketName, UNLIMITED),
        )
        return self.rng.choice(beliefs)

    def _policy(self) -> Policy:
        rng = self.rng
        tier_rng = random.Random(f"tiers of {self.seed}")
        is_tiered = tier_rng.random() < 0.6
        compute_resources: dict[ComputeResourceKey, ComputeResourcePolicy] = {}
        nodes: dict[NodeName, PlacedNode] = {}
        for queue, name, types, market in (
            ("od", "alt", ("m5.large",), Market.ON_DEMAND),
            ("od", "cr", ("c5.large",), Market.ON_DEMAND),
            ("spot", "cr", ("c5.large", "m5.large"), Market.SPOT),
        ):
            if name == "alt" and rng.random() < 0.5:
                continue
            key = ComputeResourceKey(QueueName(queue), ComputeResourceName(name))
            subnets = chosen_subnets(rng)
            tier = CapacityTier(
                LaunchTemplate("lt-1", "1"),
                tuple(Offering(InstanceType(t), s, market) for t in types for s in subnets),
                market,
                AllocationStrategy.LOWEST_PRICE,
            )
            tiers = capacity_tiers(tier_rng, tier) if is_tiered else (tier,)
            compute_resources[key] = ComputeResourcePolicy(key, tiers)
            for n in range(1, rng.choice([0, 0, 2]) + 1):
                nodes[NodeName(f"{queue}-st-{name}-{n}")] = PlacedNode(key, is_static=True)
            for n in range(1, rng.choice([3, 8]) + 1):
                nodes[NodeName(f"{queue}-dy-{name}-{n}")] = PlacedNode(key, is_static=False)
        return Policy(
            compute_resources,
            nodes,
            scaling=rng.choice(list(ScalingStrategy)),
            launch_batch_max=rng.choice([2, 250]),
            terminate_batch_max=rng.choice([2, 500]),
            missing_grace_s=self.read_lag / 4 if "grace-below-read-lag" in self.bugs else self.read_lag * 2 + 30.0,
            orphan_grace_s=self.read_lag * 2 + 60.0,
            launch_timeout_s=self.read_lag * 2 + 120.0,
            terminate_retry_s=20.0,
            bans=ban_policy(rng),
            interruption_lead_s=self.announcements.lead_s,
            rebalance=self.announcements.rebalance,
            gangs=gang_policy(self.seed),
            tier_return_s=tier_rng.choice([60.0, 600.0]),
            job_tags=tuple(JobTag) if self.seed % 2 else (),
        )

    def note(self, text: str) -> None:
        self.trace.append(f"{self.now - START:8.1f} {text}")

    # time

    def run(self, steps: int = 120) -> None:
        """Trouble for so many steps, then healing, then a fixed point or an AssertionError."""
        self.start_daemon()
        for _ in range(steps):
            self.step()
        self.heal()

    def step(self) -> None:
        self.pass_time(self.rng.choice([0.5, 2.0, 5.0, 15.0, 30.0]))
        self.users()
        if self.rng.random() < 0.15:
            self.trouble(DAEMON_TROUBLE + TROUBLE)
        self.blast.step(self)
        self.hidden.step(self)
        self.drains.step(self)
        self.boots.step(self)
        if self.rng.random() < 0.9:
            self._turn()
        check_after_step(self)

    def pass_time(self, seconds: float) -> None:
        self.pass_to(self.now + seconds)

    def pass_to(self, now: float) -> None:
        """What EC2, the instances and Slurm do until `now`."""
        self.now = now
        self.events.pass_time(self)
        events = self.cloud.advance(self.now)
        self.announcements.hear(events, self)
        for event in events:
            if event.state in ("shutting-down", "terminated", "stopping", "stopped"):
                self.slurm.silence(event.instance_id)
        live = self.cloud.live()
        for node in self.slurm.nodes.values():
            if node.backing and node.backing not in live:
                self.slurm.silence(node.backing)
        self._agents()
        self.slurm.advance(self.now)

    def _agents(self) -> None:
        """Each booted instance learns its node from the table and starts slurmd there, once."""
        for instance, record in sorted(self.cloud.live().items()):
            if record.state != "running" or instance in self.registered:
                continue
            node = self.table.node_of(instance)
            if node is not None and self.ailments.boots(instance, self):
                self.registered.add(instance)
                if self.boots.never_registers(self, node, instance):
                    continue
                self.slurm.register(node, instance)

    def users(self) -> None:
        self.blocks.users(self)
        rng = self.rng
        if self.is_healed or rng.random() > 0.2:
            return
        queue = rng.choice(["od", "spot"])
        nodes = sum(1 for n in self.slurm.nodes.values() if n.queue == queue)
        if rng.random() < 0.1:
            orders = [(min(size, nodes), 1.0) for size in (2, 1, 3, 2)]
        else:
            orders = [(rng.randint(1, nodes), rng.choice([1.0, 60.0, 600.0]))]
        for size, duration in orders:
            job = self.slurm.submit(QueueName(queue), size, duration)
            self.note(f"job {job} wants {size} of {queue}")

    # trouble

    def trouble(self, kinds: tuple[str, ...]) -> None:
        """One thing goes wrong, or somebody acts behind our back."""
        rng = self.rng
        kind = rng.choice(kinds)
        live = sorted(self.cloud.live())
        name = rng.choice(sorted(self.slurm.nodes))
        self.counts[kind] += 1
        self.note(f"trouble: {kind}")
        if kind == "crash":
            self.start_daemon()
        elif kind == "rival" and self.daemon is not None:
            self.rival = self.daemon
            self.start_daemon()
        elif kind == "kill" and live:
            self.cloud.model.kill_instance(rng.choice(live), self.now)
        elif kind == "spot":
            spot = [i for i in live if self.cloud.live()[i].is_spot]
            if spot:
                self.cloud.model.spot_reclaim(rng.choice(spot), self.now, rng.choice([0.0, 120.0]))
        elif kind == "drain" and name not in self.foreign:
            self.drain_by_operator(name)
        elif kind == "down" and name not in self.foreign and self.slurm.nodes[name].power == "up":
            self.slurm.set_down(name, "operator: broken fan")
            self._mark(name, "down")
        elif kind == "force" and name not in self.foreign:
            self.slurm.power_down_force(name)
        elif kind == "power-up":
            self.slurm.power_up(name)
        elif kind == "cancel":
            jobs = [j.id for j in self.slurm.jobs.values() if j.state not in ("COMPLETED", "CANCELLED")]
            if jobs:
                self.slurm.cancel(rng.choice(jobs))
        elif kind == "configuration":
            self.cloud.refuses_until = self.now + rng.choice([5.0, 60.0])
        elif kind == "capacity":
            zone, market = rng.choice(["us-east-1a", "us-east-1b"]), rng.choice(["on-demand", "spot"])
            self.cloud.model.set_capacity(rng.choice(["c5.large", "m5.large"]), zone, market, rng.choice([None, 0, 3]))
        elif kind == "stop" and live:
            self.cloud.stop(rng.choice(live), self.now)
        elif kind == "reconfigure":
            self.slurm.reconfigure()
            self.closed_by_operator.clear()
        elif kind == "prices":
            self.market.move(self.now)
        elif kind == "rebalance":
            self.announcements.trouble(self)
        elif kind == "illness":
            self.ailments.trouble(self)
        elif kind == "event":
            self.events.trouble(self)
        elif kind in FLEET_TROUBLE:
            fleet_trouble(self, kind)

    def drain_by_operator(self, name: NodeName) -> None:
        """For a reason of theirs."""
        self.slurm.drain(name, "bad dimm")
        self._mark(name, "drain")

    def _mark(self, name: NodeName, mark: str) -> None:
        self.foreign[name], self.foreign_since[name] = mark, self.now

    def start_daemon(self) -> None:
        """A fresh process: what it knows is what the table knows."""
        self.daemon = Daemon(
            self.table.begin_term(), self.table.open_launches(), self.table.offerings, self.table.safeguards
        )
        self.blocks.forget_reading()
        self.events.start_daemon(self)

    # the daemon

    def _turn(self) -> None:
        """A tick of the daemon, and perhaps one of a former daemon that does not know yet."""
        if self.rival is not None and self.rng.random() < 0.5:
            try:
                self.tick(self.rival)
            except FencedError:
                self.note("the former daemon stops: fenced")
                self.rival = None
            except Crash:
                self.rival = None
        assert self.daemon is not None
        try:
            self.tick(self.daemon)
        except Crash:
            self.note("crash")
            self.counts["crash in a plan"] += 1
            self.start_daemon()

    def tick(self, daemon: Daemon) -> Plan | None:
        """One round: complete or nothing."""
        self.table.confirm_term(daemon.epoch)
        if daemon.is_stale:
            daemon.launches, daemon.is_stale = self.table.open_launches(), False
            daemon.offerings, daemon.safeguards = self.table.offerings, self.table.safeguards
        for token in [t for t, due in sorted(daemon.pending.items()) if due <= self.now]:
            del daemon.pending[token]
            launch = daemon.launches[token]
            if token in daemon.waiting:
                daemon.waiting.remove(token)
                try:
                    launch = self._store(daemon, replace(launch, last_attempt_at=self.now))
                except TransientError as error:
                    self.note(f"{token} waited in vain: {error}")
                    return None
                self._maybe_crash()
            self._call(daemon, launch)
        try:
            instances = self.hidden.shown(self, self.blast.shown(self, self.cloud.instances(self.now)))
        except TransientError:
            self.counts["EC2 unreadable"] += 1
            return None
        nodes, jobs = self.slurm.view()
        if "answers-ignored" in self.bugs:
            nodes = self.hidden.disbelieved(nodes)
        snapshot = Snapshot(
            now=self.now,
            nodes=self.schedules.shown(nodes),
            jobs=jobs,
            instances=instances,
            launches=dict(daemon.launches),
            in_flight=frozenset(daemon.pending),
            waiting=frozenset(daemon.waiting),
            token_prefix=f"sim-{daemon.epoch}-",
            next_launch=daemon.next_launch,
            memory=daemon.memory,
            offerings=replace(daemon.offerings, bans=()) if "bans-ignored" in self.bugs else daemon.offerings,
            subnets=self.subnets(),
            notices=self.notices(),
            blocks=self.blocks.reading(self),
            reservations=shown_reservations(self),
            node_reports=self.ailments.reports(self),
            node_reports_at=self.now,
            fleet=self.table.fleet,
            safeguards=daemon.safeguards,
            partitions={} if self.table.fleet.is_settled else dict(self.slurm.partitions),
            schedules=self.schedules.times(self.now),
        )
        policy = self.watch.believed(self, self.market.policy(self._planted(self.policy)))
        if "blocks-ignored" in self.bugs:
            policy = replace(policy, blocks=BlockPolicy())
        policy = self.schedules.planted(policy)
        self.shown = instances
        self.jobs_seen = {name: job for job in jobs.values() for name in job.nodes}
        self.watch.before_decision(self)
        plan = decide(snapshot, policy)
        self.decisions += 1
        if self.decisions % DECIDED_TWICE == 0:
            assert plan == decide(snapshot, policy), "the same snapshot gave two plans"
        daemon.memory, daemon.next_launch = plan.memory, plan.next_launch
        if "drains-forgotten" in self.bugs:
            daemon.memory = replace(plan.memory, drained_by_others={})
        self.drains.look(daemon, snapshot)
        starts = [action.launch for action in plan.actions if isinstance(action, StartLaunch)]
        self.planned = (*starts, *(launch for launch in snapshot.launches.values() if launch.is_unresolved))
        self.blast.decided(plan)
        for action in plan.actions:
            self._maybe_crash()
            check_fleet_action(self, action, snapshot.fleet)
            self.schedules.check_action(action, snapshot, self)
            self.blast.check(self, action)
            self.hidden.check(self, action)
            self.boots.check(self, action, snapshot.safeguards)
            try:
                self._apply(daemon, action)
            except TransientError as error:
                self.note(f"{type(action).__name__} failed: {error}")
                if isinstance(action, RecordLaunch | RecordOfferings | RecordFleet | RecordSafeguards):
                    daemon.memory = plan.memory.unless_carried_out(snapshot.memory)
                    return None
            except ConflictError as error:
                if isinstance(error, FencedError):
                    raise
                daemon.is_stale = True
                daemon.memory = plan.memory.unless_carried_out(snapshot.memory)
                return None
        self.announcements.check(self)
        self.events.check(snapshot, self)
        self.schedules.check(snapshot, self)
        self.ailments.check(snapshot, plan, self)
        self.drains.check(self, snapshot)
        self.hidden.after(self)
        if not daemon.is_stale:  # what the table did not answer for is decided about in the next round
            self.watch.after_decision(self)
        check_waits(self, snapshot, plan, self.market.policy(self.policy))
        return plan

    def notices(self) -> Notices:
        """What the daemon knows of EC2's announcements."""
        told = {} if "warnings-ignored" in self.bugs else self.announcements.notices(self)
        return self.ailments.added_to(self.events.added_to(told, self), self)

    def _planted(self, policy: Policy) -> Policy:
        if "tiers-ignored" in self.bugs:
            return only_first_tiers(policy)
        if "waits-forever" in self.bugs:
            return without_deadlines(policy)
        return last_tiers_first(policy) if "tiers-turned" in self.bugs else policy

    def _maybe_crash(self) -> None:
        if not self.is_healed and self.rng.random() < self.crash_rate:
            raise Crash

    def subnets(self) -> Mapping[SubnetId, Subnet]:
        """The newest reading of the subnets, up to five minutes old."""
        if self.subnets_read_at is None or self.now - self.subnets_read_at >= 300.0:
            self.subnets_read_at, self._subnets = self.now, read_subnets(self)
        return self._subnets

    def _written(self, daemon: Daemon, write: Callable[[], Stored]) -> Stored:
        """A conditional write that may time out before or after its effect."""
        timeout = 0.0 if self.is_healed else self.rng.random()
        if 0.0 < timeout < 0.02:
            daemon.is_stale = True
            raise TransientError("the table did not answer, nothing stored")
        stored = write()
        if 0.02 <= timeout < 0.04:
            daemon.is_stale = True
            raise TransientError("the table did not answer, stored all the same")
        return stored

    def _store(self, daemon: Daemon, launch: Launch) -> Launch:
        stored = self._written(daemon, lambda: self.table.put(launch, daemon.epoch))
        if stored.is_open:
            daemon.launches[stored.token] = stored
        else:
            daemon.launches.pop(stored.token, None)
        return stored

    def _apply(self, daemon: Daemon, action: Action) -> None:
        self.note(_text(action))
        self.counts[type(action).__name__] += 1
        match action:
            case RecordOfferings(offerings):
                daemon.offerings = self._written(daemon, lambda: self.table.put_offerings(offerings, daemon.epoch))
            case RecordSafeguards(safeguards):
                daemon.safeguards = self._written(daemon, lambda: self.table.put_safeguards(safeguards, daemon.epoch))
            case RecordFleet(record):
                self._written(daemon, lambda: self.table.put_fleet(record, daemon.epoch))
            case RecordLaunch(launch):
                self._store(daemon, launch)
            case StartLaunch(launch, reason):
                check_launch(self, action, self.subnets())
                check_tier(self, action, self.market.policy(self.policy), self.subnets())
                self.counts[reason] += 1
                if launch.version == 0:
                    self.blocks.check_launch(launch, self)
                self._start_launch(daemon, launch)
            case WithdrawLaunch(token):
                self._withdraw(daemon, token)
            case TerminateInstances(instances, reason):
                check_termination(self, instances, reason)
                self.watch.check_ended(self, instances, reason)
                self.cloud.terminate(instances, self.now)
            case SetNodesDown(nodes, reason, _, powers_down):
                check_node_update(self, nodes, action)
                self.watch.check_given_back(self, action)
                self.ailments.check_down(action, self)
                check_given_up(self, action, self.market.policy(self.policy), self.subnets())
                for name in nodes:
                    self.slurm.set_down(name, f"{REASON_PREFIX} {reason}")
                self._maybe_crash()
                for name in nodes if powers_down else ():
                    self.slurm.power_down(name)
            case HoldNodes(nodes, detail):
                check_node_update(self, nodes, action)
                for name in nodes:
                    self.slurm.hold(name, f"{HOLD_MARK} {detail}")
            case RestoreDrains(nodes, text):
                check_node_update(self, nodes, action)
                for name in nodes:
                    self.slurm.hold(name, text)
            case DrainNodes(nodes, reason):
                check_node_update(self, nodes, action)
                for name in nodes:
                    self.slurm.drain_if_up(name, f"{REASON_PREFIX} {reason}")
            case ReleaseNodes(nodes):
                check_node_update(self, nodes, action)
                for name in nodes:
                    self.slurm.release(name)
            case PowerDownNodes(nodes):
                check_node_update(self, nodes, action)
                self.blocks.check_power_down(action, self)
                for name in nodes:
                    self.slurm.power_down(name)
            case PowerUpNodes(nodes):
                check_node_update(self, nodes, action)
                for name in nodes:
                    self.slurm.power_up(name)
            case ReturnNodesToService(nodes):
                check_node_update(self, nodes, action)
                for name in nodes:
                    self.slurm.return_to_service(name)
            case SetReservation(reservation):
                self.blocks.check_name(reservation.name)
                self.events.check_reservation(reservation, self)
                self.slurm.reserve(reservation)
            case DeleteReservation(name):
                self.blocks.check_name(name)
                self.slurm.delete_reservation(name)
            case LiftRequeueHold(job):
                self.slurm.lift_requeue_hold(job)
            case ExplainJobs(jobs, text):
                for job in jobs:
                    self.slurm.explain_job(job, text)
                self.counts["explained" if text else "explained no more"] += len(jobs)
            case ClosePartitions(partitions):
                self.slurm.partitions.update(dict.fromkeys(partitions, PartitionState.INACTIVE))
            case OpenPartitions(partitions):
                self.slurm.partitions.update(dict.fromkeys(partitions, PartitionState.UP))
            case CancelJobs(jobs):
                for job in jobs:
                    self.slurm.cancel(job)
            case AssignAddresses(addresses):
                for name, address in addresses:
                    self.slurm.assign_address(name, address)

    def _start_launch(self, daemon: Daemon, launch: Launch) -> None:
        if launch.version == 0:
            self.market.check(launch, self.mark_seen_after_s)
        intent = attempted(launch, self.now)
        if "intent-after-launch" in self.bugs and launch.version == 0:
            try:
                result = self.cloud.launch(intent, self.now)
            except PermanentError as error:
                self.note(f"CreateFleet {launch.token}: {error}")
                return
            self._maybe_crash()
            daemon.launches[launch.token] = self._store(daemon, with_result(intent, result, self.now))
            return
        stored = self._store(daemon, intent)
        self._maybe_crash()
        draw = 1.0 if self.is_healed else self.rng.random()
        if draw < 0.2:
            daemon.pending[stored.token] = self.now + self.rng.choice([1.0, 20.0])
        elif draw < 0.3:
            daemon.pending[stored.token] = self.now + self.rng.choice([20.0, 200.0, 1500.0])
            daemon.waiting.add(stored.token)
        else:
            self._call(daemon, stored)

    def _withdraw(self, daemon: Daemon, token: LaunchToken) -> None:
        """A call that waits is not made; if it never was, that is known and recorded."""
        daemon.waiting.remove(token)
        del daemon.pending[token]
        launch = daemon.launches[token]
        if launch.attempts == 1:
            self._store(daemon, with_failure(launch, FailureKind.THROTTLED, "", "withdrawn", self.now))

    def _call(self, daemon: Daemon, launch: Launch) -> None:
        """CreateFleet and the record of its answer."""
        check_call(self, launch)
        token = f"{launch.token}-{launch.attempts}" if "no-launch-token" in self.bugs else None
        try:
            result = self.cloud.launch(launch, self.now, token)
        except TransientError as error:
            self.note(f"CreateFleet {launch.token}: {error}")
            return
        except PermanentError as error:
            kind = FailureKind.CONFIGURATION if isinstance(error, ConfigurationError) else FailureKind.UNKNOWN
            self.note(f"CreateFleet {launch.token}: {error}")
            if any(r.tags.get(TOKEN_TAG) == launch.token for r in self.cloud.live().values()):
                self.counts["refused replay of a lost call"] += 1
            called = replace(launch, attempts=1) if "refusals-believed" in self.bugs else launch
            settled = with_failure(called, kind, error.code, str(error), self.now)
        else:
            codes = [error.code for error in result.errors]
            self.note(f"CreateFleet {launch.token}: {[i.id for i in result.instances]} {codes}")
            settled = with_result(launch, result, self.now)
            self.counts["incomplete gang"] += check_gangs(launch, settled)
        self._maybe_crash()
        try:
            self._store(daemon, settled)
        except TransientError as error:
            self.note(f"record of {launch.token}: {error}")

    # healing

    def end_trouble(self) -> None:
        """From here on nothing goes wrong any more, capacity is there, and operators took their marks away."""
        self.is_healed = True
        self.note("healed")
        self.blast.end()
        self.hidden.end()
        self.boots.end()
        self.schedules.end()
        self.rival = None
        self.cloud.end_trouble(self.now)
        self.market.forget(self.now)
        self.blocks.end_trouble(self)
        self.subnets_read_at = None
        for kind, zone, market in self.scenario.pools:
            self.cloud.model.set_capacity(kind, zone, market, None)
        for name in sorted(self.foreign):
            self.slurm.resume(name)
            if self.slurm.nodes[name].power == "up":
                self.slurm.power_down_force(name)
        self.foreign.clear()

    def heal(self, rounds_max: int = 600) -> None:
        """No more trouble: every job ends, every dynamic node goes, and then nothing happens for ten ticks."""
        self.end_trouble()
        if self.rng.random() < 0.3:
            self._stop_for_good()
        start_everything(self)
        self._settle(rounds_max)
        if self.schedules.prove(self):
            self._settle(rounds_max)
        self._outlive_bans()

    def _settle(self, rounds_max: int) -> None:
        """Until the world is as everybody wants it and ten ticks in a row change nothing."""
        quiet = 0
        plan: Plan | None = None
        for _ in range(rounds_max):
            self.pass_time(15.0 if plan is None or plan.actions else QUIET_S)
            self.blast.confirm(self)
            self.boots.start(self)
            assert self.daemon is not None
            plan = self.tick(self.daemon)
            check_after_step(self)
            is_quiet = plan is not None and not plan.actions and not self.unsettled(self.daemon.launches)
            quiet = quiet + 1 if is_quiet else 0
            if quiet == 10:
                return
        assert self.daemon is not None
        raise AssertionError(f"no fixed point: {self.unsettled(self.daemon.launches)}")

    def _stop_for_good(self, rounds_max: int = 600) -> None:
        """A stop that nothing disturbs ends STOPPED, without an instance."""
        stop_everything(self)
        for _ in range(rounds_max):
            self.pass_time(15.0)
            self.blast.confirm(self)
            self.boots.start(self)
            assert self.daemon is not None
            self.tick(self.daemon)
            check_after_step(self)
            if self.table.fleet.scope().status is FleetStatus.STOPPED and not self.cloud.live():
                return
        raise AssertionError(f"never STOPPED: {self.table.fleet}, {sorted(self.cloud.live())}")

    def _outlive_bans(self) -> None:
        """Long after the last refusal nothing is remembered."""
        bans = self.policy.bans
        assert self.daemon is not None
        fallen_s = self.policy.tier_return_s * 2**DOUBLINGS_MAX
        self.pass_time(max(*bans.steps_s, bans.unsupported_s, bans.configuration_s, fallen_s) + bans.forget_s)
        self.tick(self.daemon)
        assert self.table.offerings.bans == (), self.table.offerings.bans
        assert self.table.offerings.falls == (), self.table.offerings.falls

    def unsettled(self, launches: dict[LaunchToken, Launch]) -> list[str]:
        """What keeps the world from being as everybody wants it."""
        jobs = [j for j in self.slurm.jobs.values() if j.state not in ("COMPLETED", "CANCELLED")]
        nodes = list(self.slurm.nodes.values())
        static = {n.name for n in nodes if n.is_static and self.blocks.has_instances(n.name, self)}
        live = self.cloud.live()
        return [
            *(f"job {j.id} is {j.state}" for j in jobs),
            *(f"job {job} says that it waits" for job in self.table.safeguards.told),
            *unsettled_fleet(self),
            *(f"{n.name} is held" for n in nodes if n.is_draining),
            *(f"{n.name} does not respond" for n in nodes if n.is_silent),
            *(f"{n.name} is {n.power}" for n in nodes if n.name in static and n.power != "up"),
            *(f"{n.name} is {n.power}" for n in nodes if n.name not in static and n.power != "down"),
            *self.blocks.unsettled(self),
            *self.events.unsettled(self),
            *([f"{len(live)} live instances for {len(static)} static nodes"] if len(live) != len(static) else []),
            *(
                f"claim of {c.node} is {c.state}"
                for launch in launches.values()
                for c in launch.claims
                if c.is_open and c.node not in static
            ),
        ]

    def story(self) -> str:
        return f"seed {self.seed}, bugs {sorted(self.bugs)}\n" + "\n".join(self.trace[-200:])


def _text(action: Action) -> str:
    if isinstance(action, StartLaunch | RecordLaunch):
        claims = " ".join(f"{c.node}={c.state}" for c in action.launch.claims)
        return f"{type(action).__name__} {action.launch.token} {claims}"
    return repr(action)
