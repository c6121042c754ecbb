"""Variables of the roles that make Slurm: `munge`, `slurm`, `slurmdbd`, `slurmctld`, `login_node`."""

from __future__ import annotations

from collections.abc import Iterator

from clustermgtd.model.hostlist import fold
from clustermgtd.settings.cluster import Settings
from clustermgtd.settings.cookbook.machine import Machine, MachineKind
from clustermgtd.settings.slurm_conf import PROGRAM_DIR, PROGRAMS, SlurmSite, render

DATABASE_PORT = 3306


def variables(machine: Machine) -> dict[str, object]:
    """Munge and Slurm's commands everywhere, slurm.conf's text where no slurmctld serves it."""
    rendered = {**_munge(machine), **_slurm(machine)}
    controllers = machine.settings.clustermgtd.node_agent.controllers
    if machine.kind is not MachineKind.COMPUTE:
        rendered |= _conf(machine.settings)
    if machine.kind is MachineKind.HEAD:
        rendered |= _slurmdbd(machine.settings)
        if len(controllers) == 1:  # which of several this one is only the site knows
            rendered["slurm_address"] = controllers[0]
    if machine.kind is MachineKind.LOGIN:
        rendered |= _login_node(machine)
        if controllers:
            rendered["slurm_controllers"] = list(controllers)
    return rendered


def _munge(machine: Machine) -> dict[str, object]:
    slurm = machine.settings.scheduling.slurm_settings
    return {
        "munge_key_secret_arn": slurm.munge_key_secret_arn or "",
        "munge_makes_key": machine.kind is MachineKind.HEAD and slurm.munge_key_secret_arn is None,
    }


def _slurm(machine: Machine) -> dict[str, object]:
    return {"slurm_cluster_name": machine.settings.cluster_name, "slurm_machine_kind": machine.kind.value}


def _conf(settings: Settings) -> dict[str, object]:
    external = settings.scheduling.slurm_settings.external_slurmdbd
    site = SlurmSite({name: PROGRAM_DIR / name for name in PROGRAMS})
    return {
        "slurm_accounting": _accounting(settings),
        **({"slurm_accounting_host": external.host, "slurm_accounting_port": external.port} if external else {}),
        "slurm_nodes_conf": render(settings, site),
        "slurm_gpus": list(_gpus(settings)),
        "slurm_include_url": settings.scheduling.slurm_settings.custom_slurm_settings_include_file or "",
    }


def _accounting(settings: Settings) -> str:
    slurm = settings.scheduling.slurm_settings
    if slurm.external_slurmdbd:
        return "external"
    own = settings.clustermgtd
    is_here = slurm.database or own.accounting.local_database or own.infrastructure.database
    return "head" if is_here else "none"


def _gpus(settings: Settings) -> Iterator[dict[str, object]]:
    resources = [one for queue in settings.scheduling.slurm_queues for one in queue.compute_resources]
    for resource, nodes in zip(resources, settings.nodes, strict=True):
        info = settings.instance_type(resource.instance_types[0])
        if info.gpu_count:
            yield {
                "nodes": fold([*nodes.static, *nodes.dynamic]),
                "type": info.gpu_name,
                "count": info.gpu_count,
            }


def _slurmdbd(settings: Settings) -> dict[str, object]:
    if settings.clustermgtd.accounting.local_database:
        return {"slurmdbd_database": "local"}
    database = settings.scheduling.slurm_settings.database
    if database is None:
        # an image is made before the stack that makes the database, and has what it takes to use it
        return {"slurmdbd_database": "remote" if settings.clustermgtd.infrastructure.database else "none"}
    host, _, port = database.uri.partition(":")
    return {
        "slurmdbd_database": "remote",
        "slurmdbd_database_host": host,
        "slurmdbd_database_port": int(port or DATABASE_PORT),
        "slurmdbd_database_user": database.user_name,
        "slurmdbd_database_name": database.database_name or settings.cluster_name.replace("-", "_"),
        "slurmdbd_password_secret_arn": database.password_secret_arn,
    }


def _login_node(machine: Machine) -> dict[str, object]:
    return {
        "login_node_cluster_name": machine.settings.cluster_name,
        "login_node_grace_minutes": machine.pool.gracetime_period,
    }
