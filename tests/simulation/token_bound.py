"""Big jobs against EC2's default token buckets, in virtual time: the production loop and governor, no trouble.

The world is the simulation's: the lab's EC2 model, a model of slurmctld, the claim table as plain data.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import async_solipsism
import structlog

from clustermgtd.decide.budget import EC2_DEFAULTS
from clustermgtd.lab.ec2.scenario import Scenario
from clustermgtd.model.action import Action, SetNodesDown
from clustermgtd.model.claim import BACKED, AllocationStrategy, Launch, LaunchResult, LaunchTemplate
from clustermgtd.model.failure import FailureKind
from clustermgtd.model.ids import ComputeResourceName, InstanceType, JobId, NodeName, QueueName, SubnetId
from clustermgtd.model.offering import Market, Offering
from clustermgtd.model.policy import CapacityTier, ComputeResourceKey, ComputeResourcePolicy, PlacedNode, Policy
from clustermgtd.model.snapshot import Plan, Snapshot
from clustermgtd.reconcile.governor import Buckets, GovernedFleet
from clustermgtd.reconcile.ledger import Ledger
from clustermgtd.reconcile.loop import Loop, Pace
from tests.simulation.cloud import Cloud
from tests.simulation.shell import VirtualClock, WorldFleet, WorldScheduler, WorldStore
from tests.simulation.slurm_model import SimNode, SimSlurm
from tests.simulation.table import Table
from tests.simulation.world import START

KEY = ComputeResourceKey(QueueName("big"), ComputeResourceName("cr"))
PACE = Pace(waiting_s=15.0)
"""Three times as slow as the daemon's, to keep the run short: launches wait in the background, not for ticks."""
LOOK_S = 5.0
"""Between two looks of the world at its instances and timers."""


class BigCluster:
    """One compute resource of `count` nodes, and EC2 as it is for a new account."""

    def __init__(self, count: int, resume_timeout_s: float) -> None:
        self.rng = random.Random(count)
        self.now = START
        self.is_healed = True
        self.latencies_s = (0.02, 0.1, 1.0)
        self.cloud = Cloud(Scenario(boot_delay_s=60.0, boot_jitter_s=30.0, read_lag_s=5.0), self.rng)
        self.slurm = SimSlurm(resume_timeout=resume_timeout_s, suspend_timeout=120.0, suspend_time=600.0, now=START)
        self.table = Table()
        self._looked_at = START
        self._registered: set[str] = set()
        self.ever_down: set[NodeName] = set()
        nodes = [NodeName(f"big-dy-cr-{n}") for n in range(1, count + 1)]
        for name in nodes:
            self.slurm.nodes[name] = SimNode(name, KEY.queue, is_static=False)
        offering = Offering(InstanceType("c5.large"), SubnetId("subnet-0000000000000000a"), Market.ON_DEMAND)
        tier = CapacityTier(LaunchTemplate("lt-1", "1"), (offering,), Market.ON_DEMAND, AllocationStrategy.LOWEST_PRICE)
        self.policy = Policy(
            {KEY: ComputeResourcePolicy(KEY, (tier,))},
            {name: PlacedNode(KEY, is_static=False) for name in nodes},
            names_resolve=True,
        )

    def pass_to(self, now: float) -> None:
        self.now = now
        if now - self._looked_at < LOOK_S:
            return
        self._looked_at = now
        self.cloud.advance(now)
        nodes = {
            claim.instance: claim.node
            for launch in self.table.items.values()
            for claim in launch.claims
            if claim.state in BACKED
        }
        for instance, record in self.cloud.live().items():
            if record.state == "running" and instance not in self._registered and instance in nodes:
                self._registered.add(instance)
                self.slurm.register(nodes[instance], instance)
        self.slurm.advance(now)
        self.ever_down |= {node.name for node in self.slurm.nodes.values() if node.is_down}


@dataclass
class Outcome:
    """What was seen. Times in seconds after the job's submission."""

    last_accepted_s: float = 0.0
    instances: int = 0
    calls: int = 0
    throttled: int = 0
    """Errors of replies, and whole calls, that EC2 throttled."""
    given_back: int = 0
    """Nodes that were set DOWN by us."""
    down: int = 0
    """Nodes that were ever DOWN, by whoever."""
    running_s: float = 0.0
    """When the first job ran."""
    asked_s: dict[JobId, float] = field(default_factory=dict)
    """When the last instance of each job was accepted."""


class _Watch:
    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    def tick_done(self, snapshot: Snapshot, plan: Plan, duration_s: float) -> None:
        return

    def tick_failed(self, error: Exception, duration_s: float) -> None:
        raise error

    def action_applied(self, action: Action, outcome: str) -> None:
        if isinstance(action, SetNodesDown):
            self._outcome.given_back += len(action.nodes)

    def launch_done(self, launch: Launch, result: LaunchResult, duration_s: float) -> None:
        self._outcome.calls += 1
        self._outcome.instances += len(result.instances)
        self._outcome.throttled += sum(error.kind is FailureKind.THROTTLED for error in result.errors)
        self._outcome.last_accepted_s = asyncio.get_running_loop().time()
        self._outcome.asked_s |= dict.fromkeys(launch.request.jobs, self._outcome.last_accepted_s)


@contextmanager
def _quiet() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    try:
        yield
    finally:
        structlog.reset_defaults()


def run_big_job(size: int, nodes: int, resume_timeout_s: float) -> Outcome:
    """One job of `size` nodes in a compute resource of `nodes`, until it runs."""
    with _quiet(), asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
        return runner.run(_story(BigCluster(nodes, resume_timeout_s), [(0.0, size)]))


def run_jobs(nodes: int, arrivals: Sequence[tuple[float, int]]) -> Outcome:
    """Jobs that are submitted at these times (s) with these sizes, the first at 0, until the first one runs."""
    with _quiet(), asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
        return runner.run(_story(BigCluster(nodes, 9000.0), arrivals))


async def _story(cluster: BigCluster, arrivals: Sequence[tuple[float, int]]) -> Outcome:
    outcome, clock = Outcome(), VirtualClock()
    ledger = Ledger(WorldStore(cluster))  # type: ignore[arg-type]
    await ledger.begin("benchmark")
    buckets = Buckets(EC2_DEFAULTS, clock)
    fleet = GovernedFleet(WorldFleet(cluster), buckets, clock, page_size=500)  # type: ignore[arg-type]
    buckets.on_throttle = lambda _: setattr(outcome, "throttled", outcome.throttled + 1)
    loop = Loop(fleet, WorldScheduler(cluster), ledger, clock, _Watch(outcome), fleet)  # type: ignore[arg-type]
    due = sorted(arrivals)
    job = cluster.slurm.submit(KEY.queue, due.pop(0)[1], 1e9)
    cluster.slurm.advance(START)
    cluster.slurm.advance(START)
    task = asyncio.create_task(loop.run(lambda: cluster.policy, lambda: PACE), name="loop")
    async with asyncio.timeout(3 * len(cluster.slurm.nodes) + 3600):
        while cluster.slurm.jobs[job].state != "RUNNING":
            await asyncio.sleep(LOOK_S)
            while due and due[0][0] <= clock.monotonic():
                cluster.slurm.submit(KEY.queue, due.pop(0)[1], 1e9)
                loop.inbox.wake()
            cluster.pass_to(clock.now())
            if task.done():
                await task
    outcome.running_s = clock.monotonic()
    outcome.down = len(cluster.ever_down)
    loop.stop()
    await task
    return outcome
