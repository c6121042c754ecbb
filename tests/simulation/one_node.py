"""One node, one instance at a time, and the decisions: a situation is played until nothing happens any more.

Slurm reacts flag by flag as release 22.05.8 was seen to (docs/reference/slurm-facts.md), with one exception for the
worse: an idle node is never done COMPLETING on a machine that does not answer. Operators do nothing, no new jobs come.
"""

from __future__ import annotations

from dataclasses import replace

from clustermgtd.decide.cells import INSTANCE, NODE, NOW, Cell, policy, snapshot
from clustermgtd.decide.outcome import attempted, with_result
from clustermgtd.decide.plan import decide
from clustermgtd.model.action import (
    Action,
    PowerDownNodes,
    PowerUpNodes,
    RecordLaunch,
    RecordOfferings,
    RecordSafeguards,
    ReleaseNodes,
    RestoreDrains,
    ReturnNodesToService,
    SetNodesDown,
    StartLaunch,
    TerminateInstances,
)
from clustermgtd.model.claim import BACKED, ClaimState, Launch, LaunchedInstance, LaunchResult, NodeClaim
from clustermgtd.model.ids import InstanceId
from clustermgtd.model.instance import Instance, InstanceState
from clustermgtd.model.node import Node, NodeBase, NodeFlag
from clustermgtd.model.snapshot import Plan

F = NodeFlag
RESUME_TIMEOUT_S = 300.0
SUSPEND_TIMEOUT_S = 60.0
SUSPEND_TIME_S = 600.0
SLURMD_TIMEOUT_S = 180.0
EC2_STEP_S = 30.0
PAUSES_S = (1.0, 1.0, 5.0, 30.0, 60.0, 130.0, 200.0)
LONG_S = 700.0
"""Longer than every timer of the world and of the policy."""
_NEXT = {
    InstanceState.PENDING: InstanceState.RUNNING,
    InstanceState.STOPPING: InstanceState.STOPPED,
    InstanceState.SHUTTING_DOWN: InstanceState.TERMINATED,
}
_JOB = (NodeBase.ALLOCATED, NodeBase.MIXED)


class OneNode:
    """The world of one cell."""

    def __init__(self, cell: Cell) -> None:
        self.policy = policy(cell)
        self.snapshot = snapshot(cell)
        self.node = cell.node
        self.instances: dict[InstanceId, tuple[Instance, float]] = {
            i: (instance, NOW) for i, instance in self.snapshot.instances.items()
        }
        self.launches = dict(self.snapshot.launches)
        self.now = NOW
        self.since = NOW
        """When the node's state changed last."""
        self.launched = 0
        self.has_foreign_slurmd = cell.claim is None or not cell.names_instance
        """Whatever answers on a node that counts on an instance is nobody's of ours."""
        self.registered = {INSTANCE} if cell.node is not None and cell.node.counts_on_instance else set()
        self.trace: list[str] = []

    def settle(self) -> Plan:
        """Play until three long pauses bring nothing; returns the last plan.

        Raises:
            AssertionError: that does not happen.
        """
        quiet = 0
        for turn in range(100):
            plan = self.tick()
            quiet = quiet + 1 if not plan.actions else 0
            before = (self.node, self.launches)
            self.pass_time(PAUSES_S[turn] if turn < len(PAUSES_S) else LONG_S)
            if (self.node, self.launches) != before or turn < len(PAUSES_S):
                quiet = 0
            if quiet == 3:
                return plan
        raise AssertionError(f"no fixed point: {self.trace[-12:]}")

    def tick(self) -> Plan:
        seen = replace(
            self.snapshot,
            now=self.now,
            nodes={} if self.node is None else {NODE: self.node},
            instances={i: instance for i, (instance, _) in self.instances.items()},
            launches=self.launches,
        )
        plan = decide(seen, self.policy)
        self.snapshot = replace(seen, memory=plan.memory, next_launch=plan.next_launch, offerings=plan.offerings)
        for action in plan.actions:
            self.trace.append(f"{self.now - NOW:.0f} {self.node and self.node.state}: {action}"[:300])
            self._apply(action)
        return plan

    # what the daemon does

    def _apply(self, action: Action) -> None:
        match action:
            case RecordLaunch(launch):
                self._store(launch)
            case RecordOfferings() | RecordSafeguards():
                pass
            case StartLaunch(launch):
                self._launch(launch)
            case TerminateInstances(instances):
                for instance in instances:
                    self._end(instance)
            case SetNodesDown(_, reason):
                self._change(NodeBase.DOWN, drop={F.COMPLETING}, reason=f"clustermgtd: {reason}")
                self._power_down()
            case PowerDownNodes():
                self._power_down()
            case PowerUpNodes():
                self._change(add={F.POWER_UP})
            case ReturnNodesToService():
                self._change(NodeBase.IDLE, {F.NOT_RESPONDING}, {F.DRAIN}, reason="")
            case ReleaseNodes():
                self._change(add={F.NOT_RESPONDING}, drop={F.DRAIN}, reason="")
            case RestoreDrains(_, text):
                self._change(add={F.DRAIN}, reason=text)
            case _:
                raise AssertionError(f"not played: {action}")

    def _store(self, launch: Launch) -> None:
        self.launches = {token: other for token, other in self.launches.items() if token != launch.token}
        if launch.is_open:
            self.launches[launch.token] = launch

    def _launch(self, launch: Launch) -> None:
        self.launched += 1
        instance = InstanceId(f"i-new-{self.launched}")
        self.instances[instance] = (Instance(instance, InstanceState.PENDING, launch.token, self.now), self.now)
        reply = LaunchResult((LaunchedInstance(instance, launch.request.offerings[0]),), ())
        self._store(with_result(attempted(launch, self.now), reply, self.now))

    def _end(self, instance: InstanceId) -> None:
        if instance in self.instances and self.instances[instance][0].is_live:
            self._move(instance, InstanceState.SHUTTING_DOWN)

    def _power_down(self) -> None:
        assert self.node is not None
        self._change(add={F.POWER_DOWN}, drop={F.POWERED_DOWN} | ({F.POWERING_UP} if self.node.is_down else set()))

    # what time does

    def pass_time(self, seconds: float) -> None:
        """In steps, so that one thing follows the other; the daemon looks when Slurm did something."""
        step_s = max(1.0, seconds / 20)
        end = self.now + seconds
        before = self.node
        while self.now < end and self.node is before:
            self.now = min(end, self.now + step_s)
            for instance, (fact, since) in list(self.instances.items()):
                if fact.state in _NEXT and self.now - since >= EC2_STEP_S:
                    self._move(instance, _NEXT[fact.state])
            if self.node is not None and self.node.base is not NodeBase.FUTURE:
                self._slurm(self.node, self.now - self.since)

    def _slurm(self, node: Node, age_s: float) -> None:
        """The first thing that is due."""
        flags = node.flags
        is_alive = self._answers(node)
        if node.base is NodeBase.UNKNOWN:
            self._change(NodeBase.IDLE)
        elif F.POWERING_DOWN in flags:
            if age_s >= SUSPEND_TIMEOUT_S:
                self._change(add={F.POWERED_DOWN}, drop={F.POWERING_DOWN, F.INVALID_REG, F.NOT_RESPONDING})
        elif F.POWERING_UP in flags:
            self._power_up(node, age_s)
        elif (
            flags & {F.POWER_DOWN, F.POWER_DRAIN}
            and node.base not in _JOB
            and (node.is_down or F.COMPLETING not in flags)
        ):
            gone = {F.POWER_DOWN, F.POWER_DRAIN, F.POWERED_DOWN, F.POWER_UP, F.DRAIN, F.FAIL, F.NOT_RESPONDING}
            gone |= {F.COMPLETING}
            self._change(NodeBase.IDLE, {F.POWERING_DOWN}, gone)
            self.has_foreign_slurmd = False
        elif F.POWERED_DOWN in flags:
            if not node.is_down and (F.POWER_UP in flags or node.base in _JOB):
                self._change(add={F.POWERING_UP, F.NOT_RESPONDING}, drop={F.POWERED_DOWN, F.POWER_UP}, reason="")
        elif F.REBOOT_ISSUED in flags:
            if age_s >= RESUME_TIMEOUT_S:
                self._change(
                    NodeBase.DOWN, {F.NOT_RESPONDING}, {F.REBOOT_ISSUED}, reason=f"{node.reason} : reboot timed out"
                )
        elif not node.is_down:
            self._up(node, age_s, is_alive=is_alive)

    def _power_up(self, node: Node, age_s: float) -> None:
        backing = next((c.instance for c in self._claims() if c.state in BACKED), None)
        is_booted = backing is not None and self._is_running(backing) and backing not in self.registered
        if is_booted and backing is not None:
            self.registered.add(backing)
            self._change(NodeBase.IDLE if node.is_down else node.base, drop={F.POWERING_UP, F.NOT_RESPONDING})
        elif age_s >= RESUME_TIMEOUT_S:
            self._change(
                NodeBase.DOWN,
                {F.POWERED_DOWN, F.NOT_RESPONDING},
                {F.POWERING_UP, F.POWER_DOWN},
                reason="ResumeTimeout reached",
            )

    def _up(self, node: Node, age_s: float, *, is_alive: bool) -> None:
        is_static = self.policy.nodes[NODE].is_static
        if not is_alive and F.NOT_RESPONDING not in node.flags:
            self._change(add={F.NOT_RESPONDING})
        elif F.NOT_RESPONDING in node.flags:
            if age_s >= SLURMD_TIMEOUT_S and (node.base in _JOB or F.COMPLETING not in node.flags):
                self._change(NodeBase.DOWN, drop={F.COMPLETING}, reason=node.reason or "Not responding")
        elif F.COMPLETING in node.flags:
            self._change(drop={F.COMPLETING})
        elif node.base in _JOB:
            if age_s >= 100.0:
                self._change(NodeBase.IDLE)
        elif F.REBOOT_REQUESTED in node.flags:
            reason = f"{node.reason} : reboot issued"
            self._change(NodeBase.DOWN, {F.REBOOT_ISSUED}, {F.REBOOT_REQUESTED, F.DRAIN}, reason=reason)
        elif not is_static and age_s >= SUSPEND_TIME_S:
            self._change(add={F.POWER_DOWN})

    def _answers(self, node: Node) -> bool:
        """slurmd does, or would if Slurm asked."""
        if not node.counts_on_instance:
            return False
        return self.has_foreign_slurmd or any(self._is_running(i) for i in self.registered)

    def _is_running(self, instance: InstanceId) -> bool:
        return instance in self.instances and self.instances[instance][0].state is InstanceState.RUNNING

    def _claims(self) -> list[NodeClaim]:
        return [claim for launch in self.launches.values() for claim in launch.claims if claim.is_open]

    def _move(self, instance: InstanceId, state: InstanceState) -> None:
        self.instances[instance] = (replace(self.instances[instance][0], state=state), self.now)

    def _change(
        self,
        base: NodeBase | None = None,
        add: set[NodeFlag] = frozenset(),  # type: ignore[assignment]
        drop: set[NodeFlag] = frozenset(),  # type: ignore[assignment]
        *,
        reason: str | None = None,
    ) -> None:
        assert self.node is not None
        flags = (self.node.flags - drop) | add
        text = self.node.reason if reason is None else reason
        self.node = replace(self.node, base=base or self.node.base, flags=flags, reason=text)
        self.since = self.now

    # what must be true in the end

    def loose_ends(self, last: Plan) -> list[str]:
        """What is not as it should be at the fixed point, unless the node is left alone, which is said."""
        live = [i for i, (instance, _) in self.instances.items() if instance.is_live]
        claims = self._claims()
        backed = {claim.instance for claim in claims if claim.state in BACKED and self._is_running(claim.instance)}
        ends = [f"{i} is paid for" for i in live if i not in {c.instance for c in claims if c.holds_instance}]
        ends += [f"{len(live)} instances"] if len(live) > 1 else []
        if NODE in last.left_alone:
            return ends
        assert self.node is not None
        is_at_rest = self.node.base is NodeBase.IDLE and self.node.is_powered_down and self.node.is_responding
        is_usable = self.node.is_up and bool(backed)
        ends += [] if is_at_rest or is_usable else [f"the node is {self.node.state} ({self.node.reason})"]
        ends += [f"the claim is {c.state}" for c in claims if not is_usable or c.state is not ClaimState.READY]
        return ends
