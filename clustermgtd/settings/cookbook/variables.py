"""All sections' variables together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from clustermgtd.settings.cookbook import common, custom_actions, dcv, directory, monitoring, slurm, storage
from clustermgtd.settings.cookbook.machine import Machine

SECTIONS: Final[tuple[Callable[[Machine], dict[str, object]], ...]] = (
    common.variables,
    custom_actions.variables,
    dcv.variables,
    directory.variables,
    monitoring.variables,
    slurm.variables,
    storage.variables,
)
"""One function for each part of the cookbooks; no two give the same variable."""


def variables(machine: Machine) -> dict[str, object]:
    """Variables of the roles that `site.yml` applies to the machine, by name in alphabetical order.

    Each belongs to a role, whose `meta/argument_specs.yml` declares it, and is what YAML can say. Secrets are named by
    their ARN and never read.
    """
    merged: dict[str, object] = {}
    for section in SECTIONS:
        own = section(machine)
        assert not merged.keys() & own.keys(), merged.keys() & own.keys()
        merged |= own
    return dict(sorted(merged.items()))
