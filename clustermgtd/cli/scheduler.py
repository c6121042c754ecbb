"""Slurm, as subcommands ask it: by the command line."""

from __future__ import annotations

from clustermgtd.adapters.slurm.command_line import CommandLine, located
from clustermgtd.adapters.slurm.scheduler import SlurmScheduler
from clustermgtd.settings import Settings


def scheduler_of(settings: Settings) -> SlurmScheduler:
    """Where `Clustermgtd.Slurm` says that Slurm's commands and its slurm.conf are."""
    slurm = settings.clustermgtd.slurm
    bin_dir, conf_file = located(slurm.bin_dir, slurm.conf_file)
    return SlurmScheduler(CommandLine(bin_dir, conf_file, deadline_s=slurm.command_deadline_seconds))
