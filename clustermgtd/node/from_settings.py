"""cluster.yaml as the arguments of a queue's node agents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from clustermgtd.model.policy import ComputeResourceKey
from clustermgtd.model.template import TemplateKey, TemplateSpec
from clustermgtd.node.arguments import AgentArguments
from clustermgtd.node.user_data import user_data
from clustermgtd.settings import Settings
from clustermgtd.settings.cookbook import Machine, MachineKind, variables
from clustermgtd.settings.policy import template_specs


def launch_specs(settings: Settings, head_node: str) -> Mapping[TemplateKey, TemplateSpec]:
    """What each launch template must hold, the agents' user data included.

    Raises:
        SettingsError: compute resources without an AMI.
    """

    def of_resource(key: ComputeResourceKey) -> str:
        networking = Machine(settings, MachineKind.COMPUTE, key.queue).networking
        is_bare = settings.clustermgtd.node_agent.configure_at_boot
        others = networking.proxy.environment if is_bare else {}
        return user_data(agent_arguments(settings, key.queue, head_node), others)

    return template_specs(settings, of_resource)


def stored_variables(settings: Settings, head_node: str) -> Mapping[str, str]:
    """What nodes that configure themselves fetch, by digest: the cookbooks' variables of each queue, as JSON."""
    if not settings.clustermgtd.node_agent.configure_at_boot:
        return {}
    texts = (_variables(settings, queue.name, head_node) for queue in settings.scheduling.slurm_queues)
    return {_digest(text): text for text in texts}


def _variables(settings: Settings, queue: str, head_node: str) -> str:
    found = {"shared_storage_head_address": head_node} | variables(Machine(settings, MachineKind.COMPUTE, queue))
    return json.dumps(found, sort_keys=True, separators=(",", ":"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def agent_arguments(settings: Settings, queue: str, head_node: str) -> AgentArguments:
    """What the agents of a queue are told; `head_node` is where slurmctld is unless the site says otherwise."""
    own = settings.clustermgtd
    agent, switch = own.node_agent, own.node_agent.dead_man_switch
    return AgentArguments(
        table=own.table_name,
        region=settings.region or "",
        conf_server=agent.conf_server or head_node,
        variables=_digest(_variables(settings, queue, head_node)) if agent.configure_at_boot else "",
        give_up_s=agent.give_up_seconds,
        ephemeral_dir=settings.local_storage_of(queue).ephemeral_volume.mount_dir,
        interruption_hook=agent.interruption_hook or "",
        interruption_hook_s=agent.interruption_hook_seconds,
        health_check=agent.health_check.program or "",
        health_interval_s=agent.health_check.interval_seconds,
        health_deadline_s=agent.health_check.deadline_seconds,
        dead_man_idle_s=switch.idle_seconds if switch.enabled else 0.0,
        dead_man_job_s=switch.job_seconds,
        dead_man_unreadable_s=switch.unreadable_seconds,
    )
