"""cluster.yaml as the arguments of a queue's node agents."""

from __future__ import annotations

from clustermgtd.node.arguments import AgentArguments
from clustermgtd.settings import Settings


def agent_arguments(settings: Settings, queue: str, head_node: str) -> AgentArguments:
    """What the agents of a queue are told; `head_node` is where slurmctld is unless the site says otherwise."""
    own = settings.clustermgtd
    return AgentArguments(
        table=own.table_name,
        region=settings.region or "",
        conf_server=own.node_agent.conf_server or head_node,
        give_up_s=own.node_agent.give_up_seconds,
        ephemeral_dir=settings.local_storage_of(queue).ephemeral_volume.mount_dir,
    )
