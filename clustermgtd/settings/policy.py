"""Settings -> the policy that decisions depend on, and what each launch template must hold."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from clustermgtd.model.claim import AllocationStrategy, LaunchTemplate
from clustermgtd.model.ids import CapacityReservationId, InstanceType, SubnetId
from clustermgtd.model.offering import Market, Offering
from clustermgtd.model.policy import (
    BanPolicy,
    BlockPolicy,
    CapacityTier,
    ComputeResourceKey,
    ComputeResourcePolicy,
    PlacedNode,
    Policy,
)
from clustermgtd.model.safeguards import ProtectionPolicy, TerminationPolicy
from clustermgtd.model.template import RootVolume, TemplateKey, TemplateSpec
from clustermgtd.settings.capacity_tiers import ResolvedTier
from clustermgtd.settings.cluster import NEVER, Settings
from clustermgtd.settings.document import Location, path_text
from clustermgtd.settings.network import NEW
from clustermgtd.settings.problem import Problem, SettingsError
from clustermgtd.settings.scheduling import ComputeResource, SlurmQueue

_MARKETS = {"ONDEMAND": Market.ON_DEMAND, "SPOT": Market.SPOT, "CAPACITY_BLOCK": Market.CAPACITY_BLOCK}


def build_policy(settings: Settings, templates: Mapping[TemplateKey, LaunchTemplate]) -> Policy:
    """The whole policy. `templates` must hold one entry for every one of `template_keys`."""
    placed = {
        name: PlacedNode(nodes.key, is_static)
        for nodes in settings.nodes
        for names, is_static in ((nodes.static, True), (nodes.dynamic, False))
        for name in names
    }
    own = settings.clustermgtd
    return Policy(
        compute_resources={
            key: _resource_policy(key, settings.tiers_of(*pair), templates)
            for key, pair in _resources(settings).items()
        },
        nodes=placed,
        scaling=settings.scheduling.scaling_strategy,
        launch_batch_max=own.launch.batch_max,
        terminate_batch_max=own.termination.batch_max,
        missing_grace_s=own.termination.missing_grace_seconds,
        orphan_grace_s=own.termination.orphan_grace_seconds,
        replay_interval_s=own.launch.replay_seconds,
        launch_timeout_s=own.launch.timeout_seconds,
        terminate_retry_s=own.termination.retry_seconds,
        names_resolve=own.slurm.names_resolve,
        bans=BanPolicy(
            steps_s=own.offerings.ban_seconds,
            unsupported_s=own.offerings.unsupported_seconds,
            configuration_s=own.offerings.configuration_seconds,
            forget_s=own.offerings.forget_seconds,
            probe_nodes=own.offerings.probe_nodes,
            holds_nodes=own.offerings.hold_nodes,
        ),
        tier_return_s=own.tier_return_seconds,
        health=own.health.policy,
        idle_after_s=_idle_after_s(settings),
        warm=settings.warm_nodes(),
        blocks=BlockPolicy(_blocks(settings), own.capacity_blocks.drain_minutes * 60.0),
        assigns_addresses=not own.slurm.cloud_reg_addrs,
        interruption_lead_s=own.interruptions.lead_seconds,
        has_interruption_hook=own.node_agent.interruption_hook is not None,
        rebalance=own.interruptions.rebalance,
        maintenance_lead_s=own.interruptions.maintenance_lead_minutes * 60.0,
        maintenance_forget_s=2 * own.events.status_seconds + 60.0,
        protection=ProtectionPolicy(own.protection.failures_max, own.protection.backoff_seconds),
        terminations=TerminationPolicy(own.termination.involuntary_per_minute, own.termination.involuntary_percent),
        job_tags=own.job_tags,
        gangs=own.gangs.policy,
    )


def template_keys(settings: Settings) -> tuple[TemplateKey, ...]:
    """Of every launch template that the daemon needs."""
    return tuple(
        TemplateKey(key, number)
        for key, pair in _resources(settings).items()
        for number in range(len(settings.tiers_of(*pair)))
    )


def _idle_after_s(settings: Settings) -> dict[ComputeResourceKey, float]:
    """Idle times that Slurm does not see to by itself."""
    return {
        key: float(idle_s)
        for key, (queue, resource) in _resources(settings).items()
        if (idle_s := settings.idle_time_of(queue, resource)) not in (NEVER, settings.slurm_suspend_time_of(queue))
    }


def _blocks(settings: Settings) -> dict[ComputeResourceKey, CapacityReservationId]:
    """The capacity block of each compute resource that has its instances from one and from nowhere else."""
    blocks: dict[ComputeResourceKey, CapacityReservationId] = {}
    for key, pair in _resources(settings).items():
        first, *others = settings.tiers_of(*pair)
        is_bound = not others and _MARKETS[first.capacity_type] is Market.CAPACITY_BLOCK
        if is_bound and first.reservation is not None:
            blocks[key] = CapacityReservationId(first.reservation.id)
    return blocks


def template_specs(
    settings: Settings, user_data: Callable[[ComputeResourceKey], str] | str
) -> Mapping[TemplateKey, TemplateSpec]:
    """What each tier's launch template must hold. `user_data` is plain text, or makes it per resource.

    Raises:
        SettingsError: compute resources without an AMI; this project does not choose one for a site. Or in subnets that
            are yet to be made.
    """
    queues = settings.scheduling.slurm_queues
    images = {queue.name: queue.image.custom_ami or settings.image.custom_ami for queue in queues}
    problems = [_no_image(index, queue.name) for index, queue in enumerate(queues) if images[queue.name] is None]
    problems += [_not_made(queue.name, name) for queue in queues for name in _unmade_subnets(settings, queue)]
    if problems:
        raise SettingsError(problems)
    specs: dict[TemplateKey, TemplateSpec] = {}
    for key, pair in _resources(settings).items():
        common = _spec(
            settings,
            key,
            pair,
            image_id=images[key.queue] or "",
            user_data=user_data if isinstance(user_data, str) else user_data(key),
        )
        for number, tier in enumerate(settings.tiers_of(*pair)):
            specs[TemplateKey(key, number)] = _in_tier(common, number, tier)
    return specs


def _no_image(index: int, queue: str) -> Problem:
    location: Location = ("Scheduling", "SlurmQueues", index, "Image", "CustomAmi")
    message = f"queue {queue} has no image to boot"
    return Problem(path_text(location), message, suggestion="or set Image.CustomAmi for all nodes")


def _unmade_subnets(settings: Settings, queue: SlurmQueue) -> list[str]:
    subnets = (
        subnet
        for resource in queue.compute_resources
        for tier in settings.tiers_of(queue, resource)
        for subnet in tier.subnet_ids
    )
    return [*dict.fromkeys(subnet for subnet in subnets if subnet.startswith(NEW))]


def _not_made(queue: str, subnet: str) -> Problem:
    message = f"subnet {subnet} of queue {queue} is yet to be made"
    hint = "deploy what `clustermgtctl render cloudformation` writes, and use the copy that the head node gets"
    return Problem("Clustermgtd.Network", message, suggestion=hint)


def _resources(settings: Settings) -> dict[ComputeResourceKey, tuple[SlurmQueue, ComputeResource]]:
    pairs = [(queue, resource) for queue in settings.scheduling.slurm_queues for resource in queue.compute_resources]
    return {nodes.key: pair for nodes, pair in zip(settings.nodes, pairs, strict=True)}


def _resource_policy(
    key: ComputeResourceKey, tiers: Sequence[ResolvedTier], templates: Mapping[TemplateKey, LaunchTemplate]
) -> ComputeResourcePolicy:
    made = tuple(_tier(tier, templates[TemplateKey(key, number)]) for number, tier in enumerate(tiers))
    requests = [replace(tier, max_wait_s=0.0) for tier in made]
    return ComputeResourcePolicy(key, made, hashlib.sha256(repr(requests).encode()).hexdigest()[:16])


def _tier(tier: ResolvedTier, launch_template: LaunchTemplate) -> CapacityTier:
    market = _MARKETS[tier.capacity_type]
    return CapacityTier(
        launch_template,
        offerings=tuple(
            Offering(InstanceType(name), SubnetId(subnet), market)
            for name in tier.instance_types
            for subnet in tier.subnet_ids
        ),
        market=market,
        strategy=tier.allocation_strategy or AllocationStrategy.LOWEST_PRICE,
        max_price=tier.spot_price,
        pool=_pool(tier),
        max_wait_s=tier.max_wait_s,
    )


def _pool(tier: ResolvedTier) -> str:
    """What the tier's instances are launched into, if that is not everybody's capacity."""
    reserved, group = tier.reservation, tier.placement_group
    parts = (reserved.id or reserved.group_arn if reserved else "", group.name if group else "")
    return " ".join(part for part in parts if part)


def _spec(
    settings: Settings,
    key: ComputeResourceKey,
    pair: tuple[SlurmQueue, ComputeResource],
    *,
    image_id: str,
    user_data: str,
) -> TemplateSpec:
    """What is common to a compute resource's tiers."""
    queue, resource = pair
    volume = queue.compute_settings.local_storage.root_volume
    networking = queue.networking
    return TemplateSpec(
        key=key,
        image_id=image_id,
        security_groups=(*networking.security_groups, *networking.additional_security_groups),
        instance_profile=queue.iam.instance_profile or "",
        key_name=settings.head_node.ssh.key_name or "",
        user_data=user_data,
        root_volume=RootVolume(
            size_gib=volume.size,
            encrypted=volume.encrypted,
            volume_type=volume.volume_type,
            iops=volume.iops,
            throughput_mib_s=volume.throughput,
        ),
        assign_public_ip=networking.assign_public_ip,
        detailed_monitoring=settings.monitoring.detailed_monitoring,
        efa=resource.efa.enabled,
        multithreading=not resource.disable_simultaneous_multithreading,
        tags=tuple(sorted(settings.instance_tags(queue, resource).items())),
    )


def _in_tier(spec: TemplateSpec, number: int, tier: ResolvedTier) -> TemplateSpec:
    return replace(
        spec,
        tier=number,
        instance_types=tuple(InstanceType(name) for name in tier.instance_types),
        market=_MARKETS[tier.capacity_type],
        placement_group=tier.placement_group,
        reservation=tier.reservation,
    )
