"""Which machine of a cluster variables are for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from clustermgtd.settings.cluster import Settings
from clustermgtd.settings.common import Networking
from clustermgtd.settings.nodes import LoginPool
from clustermgtd.settings.scheduling import SlurmQueue


class MachineKind(StrEnum):
    """A play of site.yml."""

    HEAD = "head"
    COMPUTE = "compute"
    LOGIN = "login"


class UnknownGroupError(ValueError):
    """There is no such queue or pool."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Machines that are alike: the head node, a queue's compute nodes, a pool's login nodes."""

    settings: Settings
    kind: MachineKind
    group: str = ""
    """The queue of compute nodes, the pool of login nodes; empty for the head node.

    Raises:
        UnknownGroupError: cluster.yaml has none of that name.
    """

    def __post_init__(self) -> None:
        known = [""]
        if self.kind is MachineKind.COMPUTE:
            known = [queue.name for queue in self.settings.scheduling.slurm_queues]
        elif self.kind is MachineKind.LOGIN:
            known = [pool.name for pool in _pools(self.settings)]
        if self.group not in known:
            kind = "queue" if self.kind is MachineKind.COMPUTE else "login pool"
            raise UnknownGroupError(f"no {kind} is named {self.group!r}; there are: {', '.join(known) or 'none'}")

    @property
    def queue(self) -> SlurmQueue:
        """The queue of compute nodes."""
        return next(queue for queue in self.settings.scheduling.slurm_queues if queue.name == self.group)

    @property
    def pool(self) -> LoginPool:
        """The pool of login nodes."""
        return next(pool for pool in _pools(self.settings) if pool.name == self.group)

    @property
    def networking(self) -> Networking:
        """Its place in the network."""
        match self.kind:
            case MachineKind.HEAD:
                return self.settings.head_node.networking
            case MachineKind.COMPUTE:
                return self.queue.networking
            case MachineKind.LOGIN:
                return self.pool.networking


def _pools(settings: Settings) -> tuple[LoginPool, ...]:
    return () if settings.login_nodes is None else settings.login_nodes.pools
