"""Variables of the roles that make Slurm: `munge`."""

from __future__ import annotations

from clustermgtd.settings.cookbook.machine import Machine, MachineKind


def variables(machine: Machine) -> dict[str, object]:
    """Munge everywhere; the rest follows the machine's kind."""
    return _munge(machine)


def _munge(machine: Machine) -> dict[str, object]:
    slurm = machine.settings.scheduling.slurm_settings
    return {
        "munge_key_secret_arn": slurm.munge_key_secret_arn or "",
        "munge_makes_key": machine.kind is MachineKind.HEAD and slurm.munge_key_secret_arn is None,
    }
