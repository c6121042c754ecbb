"""Instances that carry our tags and belong to no claim: seen twice and old enough, they are ended."""

from __future__ import annotations

from collections.abc import Mapping

from clustermgtd.model.claim import Launch
from clustermgtd.model.ids import InstanceId, LaunchToken
from clustermgtd.model.instance import Instance
from clustermgtd.model.policy import Policy
from clustermgtd.model.snapshot import Sighting, Snapshot


def orphans(
    launches: Mapping[LaunchToken, Launch], snapshot: Snapshot, policy: Policy
) -> tuple[list[InstanceId], dict[InstanceId, Sighting]]:
    """Orphans that may be ended now, and the sightings of all of them for the next decision."""
    held = {claim.instance for launch in launches.values() for claim in launch.claims if claim.holds_instance}
    unresolved = {launch.token for launch in launches.values() if launch.is_unresolved} | snapshot.in_flight
    sightings: dict[InstanceId, Sighting] = {}
    due: list[InstanceId] = []
    suspects = [snapshot.instances[id] for id in sorted(snapshot.instances.keys() - held)]
    in_use = _used_by_slurm(snapshot) if suspects else set()
    for instance in suspects:
        if not instance.is_live or instance.token in unresolved:
            continue
        before = snapshot.memory.orphans.get(instance.id, Sighting(snapshot.now, 0))
        sightings[instance.id] = Sighting(before.first_at, before.count + 1)
        if _may_be_ended(instance, sightings[instance.id], snapshot, policy) and not in_use & _names(instance):
            due.append(instance.id)
    return due, sightings


def _may_be_ended(instance: Instance, sighting: Sighting, snapshot: Snapshot, policy: Policy) -> bool:
    called = snapshot.memory.terminate_called_at.get(instance.id, float("-inf"))
    known_since = instance.launched_at or sighting.first_at
    return (
        sighting.count >= 2
        and snapshot.now - known_since >= policy.orphan_grace_s
        and snapshot.now - called >= policy.terminate_retry_s
    )


def _used_by_slurm(snapshot: Snapshot) -> set[str]:
    """Instance ids and addresses behind nodes that are up: never ended as orphans, even if every record was lost."""
    return {
        name
        for node in snapshot.nodes.values()
        if node.is_up or node.is_running_job
        for name in (node.instance_id, node.address)
        if name
    }


def _names(instance: Instance) -> set[str]:
    return {name for name in (instance.id, instance.private_address) if name}
