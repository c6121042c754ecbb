"""cluster.yaml -> frozen, validated values. Fails early, with every problem's path and line.

settings = load("/etc/clustermgtd/cluster.yaml")
settings.scheduling.slurm_queues[0].name
"""

from clustermgtd.settings.cluster import Settings
from clustermgtd.settings.loading import load, loads
from clustermgtd.settings.problem import Problem, SettingsError
from clustermgtd.settings.schema import json_schema

__all__ = ["Problem", "Settings", "SettingsError", "json_schema", "load", "loads"]
