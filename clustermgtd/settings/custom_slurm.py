"""CustomSlurmSettings: which keys a site may set, and which ones are written for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from clustermgtd.settings.document import Location
from clustermgtd.settings.section import CustomValue, Finding

_START_GATE = "name your program in Clustermgtd.Slurm.StartGate.Prolog, the start gate runs it"
_TIMES = "set Scheduling.SlurmSettings.ScaledownIdletime or Clustermgtd.ScaledownIdletimeSeconds"
_RESUME = "set DevSettings.Timeouts.ComputeNodeBootstrapTimeout or Clustermgtd.ResumeTimeoutSeconds"

GLOBAL_OWNED: Mapping[str, str] = {
    "AccountingStorageHost": "set Scheduling.SlurmSettings.Database or ExternalSlurmdbd",
    "AccountingStoragePort": "set Scheduling.SlurmSettings.Database or ExternalSlurmdbd",
    "AccountingStorageType": "set Scheduling.SlurmSettings.Database or ExternalSlurmdbd",
    "AccountingStorageUser": "set Scheduling.SlurmSettings.Database",
    "ClusterName": "set Clustermgtd.ClusterName",
    "ControlMachine": "",
    "Epilog": "",
    "GresTypes": "it follows from the instance types",
    "JobAcctGatherType": "",
    "LaunchParameters": "",
    "Prolog": "",
    "PrologSlurmctld": _START_GATE,
    "ReconfigFlags": "",
    "ResumeFailProgram": "",
    "ResumeProgram": "",
    "ResumeRate": "",
    "ResumeTimeout": _RESUME,
    "SelectType": "",
    "SlurmctldHost": "",
    "SlurmctldLogFile": "",
    "SlurmctldParameters": "",
    "SlurmdLogFile": "",
    "SlurmUser": "",
    "SuspendExcNodes": "static nodes are MinCount of a compute resource",
    "SuspendProgram": "",
    "SuspendRate": "",
    "SuspendTime": _TIMES,
    "SuspendTimeout": "set Clustermgtd.SuspendTimeoutSeconds",
    "TaskPlugin": "",
    "TreeWidth": "",
}
"""slurm.conf keys that this project or its slurm.conf owns: key -> where to set the same thing."""

QUEUE_OWNED: Mapping[str, str] = {
    "Default": "the first queue is the default",
    "Nodes": "",
    "OverSubscribe": "set JobExclusiveAllocation",
    "PartitionName": "",
    "ResumeTimeout": _RESUME,
    "Shared": "set JobExclusiveAllocation",
    "State": "",
    "SuspendTime": _TIMES,
    "SuspendTimeout": "set Clustermgtd.SuspendTimeoutSeconds",
}

COMPUTE_RESOURCE_OWNED: Mapping[str, str] = {
    "CPUs": "it follows from the instance type",
    "Features": "",
    "Feature": "",
    "Gres": "it follows from the instance type; see Clustermgtd.InstanceTypes",
    "NodeAddr": "",
    "NodeHostname": "",
    "NodeName": "",
    "Port": "",
    "Procs": "it follows from the instance type",
    "State": "",
    "Weight": "set StaticNodePriority and DynamicNodePriority",
}

LINE_KEYS = ("NodeName", "PartitionName", "NodeSet", "DownNodes", "FrontendName")
"""Keys that begin a line of their own: a site may describe nodes and partitions that are not ours."""


def denied(settings: Mapping[str, CustomValue], owned: Mapping[str, str], location: Location) -> Iterator[Finding]:
    """Findings for keys that are not the site's to set; Slurm's keys have no case."""
    spelling = {key.lower(): key for key in owned}
    for key, value in settings.items():
        name = spelling.get(key.lower())
        if name is not None:
            yield Finding((*location, key), f"{name} is written by clustermgtd and cannot be set here", owned[name])
        elif not _is_word(key):
            yield Finding((*location, key), "is not a slurm.conf key")
        if isinstance(value, str) and any(character in value for character in "\n\r\0#"):
            yield Finding((*location, key), "must be one line without `#`, which begins a comment in slurm.conf")


def global_findings(entries: Iterable[Mapping[str, CustomValue]], location: Location) -> Iterator[Finding]:
    """Findings for `SlurmSettings.CustomSlurmSettings`: bulk keys, and lines for nodes that are not ours."""
    for index, entry in enumerate(entries):
        first = next(iter(entry), "")
        if first.lower() not in {key.lower() for key in LINE_KEYS}:
            yield from denied(entry, GLOBAL_OWNED, (*location, index))
            continue
        yield from denied(entry, {}, (*location, index))
        for key, value in entry.items():
            if key.lower() == "nodename" and ("-st-" in str(value) or "-dy-" in str(value)):
                message = "names with -st- or -dy- are kept for nodes of SlurmQueues"
                yield Finding((*location, index, key), message, "rename the node, or describe it as a SlurmQueue")


def _is_word(key: str) -> bool:
    return key.isascii() and key.replace("_", "").isalnum()
