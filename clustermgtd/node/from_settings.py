"""cluster.yaml as the arguments of a queue's node agents."""

from __future__ import annotations

from collections.abc import Mapping

from clustermgtd.model.template import TemplateKey, TemplateSpec
from clustermgtd.node.arguments import AgentArguments
from clustermgtd.node.user_data import user_data
from clustermgtd.settings import Settings
from clustermgtd.settings.policy import template_specs


def launch_specs(settings: Settings, head_node: str) -> Mapping[TemplateKey, TemplateSpec]:
    """What each launch template must hold, the agents' user data included.

    Raises:
        SettingsError: compute resources without an AMI.
    """
    return template_specs(settings, lambda key: user_data(agent_arguments(settings, key.queue, head_node)))


def agent_arguments(settings: Settings, queue: str, head_node: str) -> AgentArguments:
    """What the agents of a queue are told; `head_node` is where slurmctld is unless the site says otherwise."""
    own = settings.clustermgtd
    agent, switch = own.node_agent, own.node_agent.dead_man_switch
    return AgentArguments(
        table=own.table_name,
        region=settings.region or "",
        conf_server=agent.conf_server or head_node,
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
