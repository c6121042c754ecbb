"""Level A driven by hypothesis, which tells the shortest story that breaks an invariant."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from clustermgtd.model.ids import QueueName
from tests.simulation.invariants import check_after_step
from tests.simulation.world import DAEMON_TROUBLE, TROUBLE, Crash, World


class Cluster(RuleBasedStateMachine):
    """Users, time, trouble and the daemon take turns in any order."""

    world: World

    @initialize(seed=st.integers(0, 50))
    def start(self, seed: int) -> None:
        self.world = World(seed)
        self.world.start_daemon()

    @rule(queue=st.sampled_from(["od", "spot"]), size=st.integers(1, 3), duration=st.sampled_from([1.0, 300.0]))
    def submit(self, queue: str, size: int, duration: float) -> None:
        self.world.slurm.submit(QueueName(queue), size, duration)

    @rule(seconds=st.sampled_from([1.0, 15.0, 120.0]))
    def pass_time(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule(kind=st.sampled_from(DAEMON_TROUBLE + TROUBLE))
    def trouble(self, kind: str) -> None:
        self.world.trouble((kind,))

    @rule()
    def tick(self) -> None:
        assert self.world.daemon is not None
        try:
            self.world.tick(self.world.daemon)
        except Crash:
            self.world.start_daemon()

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "world"):
            check_after_step(self.world)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.heal()


TestCluster = Cluster.TestCase
TestCluster.settings = settings(
    max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
