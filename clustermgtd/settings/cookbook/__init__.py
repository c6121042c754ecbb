"""cluster.yaml -> the variables of the cookbooks' roles: nothing is written twice by a user."""

from clustermgtd.settings.cookbook.machine import Machine, MachineKind, UnknownGroupError
from clustermgtd.settings.cookbook.variables import variables

__all__ = ["Machine", "MachineKind", "UnknownGroupError", "variables"]
