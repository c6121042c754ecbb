"""What a change needs, by its key's rule and by what it changes for Slurm and for running nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from clustermgtd.model.hostlist import fold
from clustermgtd.model.ids import NodeName
from clustermgtd.settings.cluster import Nodes, Settings
from clustermgtd.settings.config_diff import Difference
from clustermgtd.settings.scheduling import ComputeResource, SlurmQueue
from clustermgtd.settings.slurm_conf import node_hardware
from clustermgtd.settings.update_policy import Need, Rule, rule_of

RELOAD = "`systemctl reload clustermgtd`"
RENDER = "render slurm.conf anew, `scontrol reconfigure`"
RESIZE = "render slurm.conf anew, `scontrol reconfigure` (before Slurm 23.11: restart slurmctld instead)"
"""Before 23.11 slurmctld ends when it is reconfigured with other nodes (docs/reference/slurm-facts.md)."""
_QUEUES = "Scheduling.SlurmQueues"
_RESOURCES = "Scheduling.SlurmQueues[].ComputeResources"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one difference needs."""

    need: Need
    reason: str
    """One sentence."""
    action: str
    """What an operator does, in order."""


MEANINGS: Final[Mapping[Rule, Verdict]] = {
    Rule.RELOAD: Verdict(Need.LIVE, "The daemon takes it over while it runs.", RELOAD),
    Rule.RESTART: Verdict(
        Need.LIVE,
        "The daemon reads it once, at its start; neither nodes nor jobs notice a restart.",
        "`systemctl restart clustermgtd`",
    ),
    Rule.SLURM: Verdict(Need.LIVE, "It is in slurm.conf, and slurmctld reads it anew.", f"{RENDER}, {RELOAD}"),
    Rule.SLURM_RESTART: Verdict(
        Need.LIVE,
        "It is in slurm.conf, and the daemon reads it once, at its start.",
        f"{RENDER}, `systemctl restart clustermgtd`",
    ),
    Rule.LAUNCHES: Verdict(
        Need.LIVE, "It counts for instances launched from now on; running ones stay as they are.", RELOAD
    ),
    Rule.NODES: Verdict(
        Need.DRAIN,
        "Nodes have it from their launch on: those that run are replaced as QueueUpdateStrategy says.",
        "as QueueUpdateStrategy says",
    ),
    Rule.TYPES: Verdict(
        Need.FLEET_STOP,
        "It may change what slurm.conf says of the nodes, and nodes that run are otherwise. Where Slurm sees no "
        "difference: like `nodes` if a type is removed, else like `launches`.",
        "the queue is stopped, see `clustermgtctl diff-config`",
    ),
    Rule.MARKET: Verdict(
        Need.LIVE,
        "As `launches`; to and from a capacity block as `nodes`.",
        RELOAD,
    ),
    Rule.SIZE: Verdict(
        Need.DRAIN,
        "New nodes can be used at once; nodes that leave slurm.conf have to be empty before, or their jobs end.",
        "more nodes: live; fewer: drain those that leave",
    ),
    Rule.MACHINES: Verdict(
        Need.DRAIN,
        "All machines are configured with it at boot: compute nodes that run are replaced as QueueUpdateStrategy says.",
        "run the plays of the head node and the login nodes, then as QueueUpdateStrategy says",
    ),
    Rule.HEAD: Verdict(
        Need.LIVE, "It is configured on the head node; nodes and jobs do not notice.", "run the head node's play"
    ),
    Rule.LOGIN: Verdict(
        Need.DRAIN,
        "Login nodes have it from their launch on: those that run have to be replaced, compute nodes do not.",
        "tell the users, update the stack, replace the login nodes",
    ),
    Rule.STACK: Verdict(
        Need.LIVE, "It is changed in AWS; nodes and jobs do not notice.", "update the stack, or change it in AWS"
    ),
    Rule.VOLUME: Verdict(
        Need.NOT_POSSIBLE, "A volume grows while it is used, and never shrinks.", "more: update the stack"
    ),
    Rule.MEMORY: Verdict(
        Need.FLEET_STOP,
        "Running jobs were given no memory of their own to count.",
        "stop the cluster, render slurm.conf anew, restart slurmctld, start the cluster",
    ),
    Rule.MUNGE: Verdict(
        Need.FLEET_STOP,
        "Machines with different keys do not understand each other.",
        "stop the cluster, run the plays of the head node and the login nodes, start the cluster",
    ),
    Rule.TABLE: Verdict(
        Need.FLEET_STOP,
        "What runs is recorded in the old table.",
        "stop the cluster, `systemctl restart clustermgtd`, start the cluster",
    ),
    Rule.FIXED: Verdict(
        Need.NOT_POSSIBLE,
        "It is decided when the machine, the file system or the cluster is made.",
        "make another one beside it",
    ),
    Rule.IDENTITY: Verdict(Need.NOT_POSSIBLE, "It is what makes this cluster this one.", "make another cluster"),
    Rule.NAME: Verdict(Need.LIVE, "Another name is another entry: one goes, one comes.", "see the entry"),
    Rule.NONE: Verdict(Need.LIVE, "Nothing that runs depends on it.", "nothing"),
}
"""What each rule means as such. For `SIZE`, `TYPES`, `MARKET`, `VOLUME` and everything that nodes are launched with,
`verdict` looks at the change itself."""


def verdict(change: Difference, old: Settings, new: Settings) -> Verdict:
    """What the change needs in the cluster that `old` describes, to become what `new` describes."""
    rule = rule_of(change.pattern)
    match rule:
        case Rule.NODES:
            return _nodes(change, new)
        case Rule.MACHINES:
            return _machines(change, new)
        case Rule.MARKET:
            is_block = "CAPACITY_BLOCK" in (change.old, change.new)
            return _nodes(change, new) if is_block else MEANINGS[Rule.LAUNCHES]
        case Rule.VOLUME:
            return _volume(change)
        case Rule.LOGIN:
            is_new_pool = change.pattern == "LoginNodes.Pools[]" and not change.old
            return MEANINGS[Rule.STACK if is_new_pool else Rule.LOGIN]
        case Rule.SIZE:
            return _size(change, old, new)
        case Rule.TYPES:
            return _types(change, old, new)
        case _:
            return MEANINGS[rule]


def _nodes(change: Difference, new: Settings) -> Verdict:
    return _replaced(change, new, "Nodes have it from their launch on")


def _machines(change: Difference, new: Settings) -> Verdict:
    replaced = _replaced(change, new, "All machines are configured with it at boot")
    plays = "run the plays of the head node and the login nodes"
    return Verdict(replaced.need, replaced.reason, f"{plays}; {replaced.action}")


def _replaced(change: Difference, new: Settings, reason: str) -> Verdict:
    """Nodes that run are left behind by the change; how they go is the site's choice."""
    queue = change.name_after(_QUEUES) or change.name_after("Clustermgtd.Queues")
    whose = f" --queue {queue}" if queue else ""
    strategy = new.scheduling.slurm_settings.queue_update_strategy
    stop, start = f"`clustermgtctl fleet stop{whose}", f"`clustermgtctl fleet start{whose}`"
    match strategy:
        case "DRAIN":
            action = f"{RELOAD}, `clustermgtctl nodes replace{whose or ' --all'}`"
            return Verdict(Need.DRAIN, f"{reason}; those that run leave when their jobs end (DRAIN).", action)
        case "TERMINATE":
            action = f"{RELOAD}, {stop} --wait`, {start}: running jobs are requeued"
            return Verdict(Need.DRAIN, f"{reason}; those that run are ended at once (TERMINATE).", action)
        case _:
            action = f"{stop} --when-idle --wait`, {RELOAD}, {start}"
            hint = "with QueueUpdateStrategy: DRAIN nodes are replaced one by one instead"
            return Verdict(Need.FLEET_STOP, f"{reason}; {hint}.", action)


def _volume(change: Difference) -> Verdict:
    if change.old and change.new and float(change.new) > float(change.old):
        return Verdict(Need.LIVE, "A volume grows while it is used.", "update the stack, then grow its file system")
    return Verdict(Need.NOT_POSSIBLE, MEANINGS[Rule.VOLUME].reason, "make another one and copy what it holds")


def _size(change: Difference, old: Settings, new: Settings) -> Verdict:
    """By the names of the nodes that come and go."""
    queue, resource = change.name_after(_QUEUES), change.name_after(_RESOURCES)
    before, after = (_names(settings, queue, resource) for settings in (old, new))
    leaving = [name for name in before if name not in set(after)]
    if not leaving:
        count = len(after) - len(before)
        return Verdict(Need.LIVE, f"{count} nodes come; those that are there stay as they are.", f"{RESIZE}, {RELOAD}")
    reason = f"{len(leaving)} nodes leave, and a job that runs on one, or names one, would end."
    if not after and resource is None:
        reason = f"{len(leaving)} nodes leave with the partition: jobs that run there, or wait for it, would end."
        first = f"`clustermgtctl fleet stop --queue {queue} --when-idle --wait`, move or cancel jobs that wait for it"
    else:
        update = f'`scontrol update NodeName={fold(leaving)} State=DRAIN Reason="leaves the cluster"`'
        first = f"{update}, wait until `sinfo` shows them without instances (drain~)"
    return Verdict(Need.DRAIN, reason, f"{first}, {RESIZE}, {RELOAD}")


def _names(settings: Settings, queue: str | None, resource: str | None) -> list[NodeName]:
    def is_meant(nodes: Nodes) -> bool:
        return nodes.key.queue == queue and resource in (None, nodes.key.name)

    return [name for nodes in settings.nodes if is_meant(nodes) for name in (*nodes.static, *nodes.dynamic)]


def _types(change: Difference, old: Settings, new: Settings) -> Verdict:
    """By what Slurm is told of the nodes of every compute resource concerned."""
    removed = False
    for name, before, after in _pairs(change, old, new):
        was, will = node_hardware(old, *before), node_hardware(new, *after)
        if was != will:
            changed = [key for key in {**was, **will} if was.get(key) != will.get(key)]
            stop = f"`clustermgtctl fleet stop --queue {before[0].name} --when-idle --wait`"
            return Verdict(
                Need.FLEET_STOP,
                f"slurm.conf says {', '.join(changed)} of {name} otherwise, and nodes that run are not like that.",
                f"{stop}, {RENDER}, {RELOAD}, `clustermgtctl fleet start --queue {before[0].name}`",
            )
        removed |= bool(set(old.instance_types_of(*before)) - set(new.instance_types_of(*after)))
    if removed:
        return _replaced(change, new, "Slurm sees no difference, nodes that run are of a type that is not wanted")
    action = f"{RENDER}, {RELOAD}"
    return Verdict(Need.LIVE, "Slurm sees no difference; it counts for instances launched from now on.", action)


_Pair = tuple[SlurmQueue, ComputeResource]


def _pairs(change: Difference, old: Settings, new: Settings) -> Iterator[tuple[str, _Pair, _Pair]]:
    """The compute resources that a change can be about, as they were and as they will be."""
    queue = change.name_after(_QUEUES) or change.name_after("Clustermgtd.Queues")
    resource = change.name_after(_RESOURCES) or change.name_after("Clustermgtd.Queues.<name>.ComputeResources")
    will = {(q.name, r.name): (q, r) for q in new.scheduling.slurm_queues for r in q.compute_resources}
    for q in old.scheduling.slurm_queues:
        for r in q.compute_resources:
            is_meant = queue in (None, q.name) and resource in (None, r.name)
            if is_meant and (q.name, r.name) in will:
                yield f"{q.name}/{r.name}", (q, r), will[q.name, r.name]
