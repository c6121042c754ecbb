"""The node, partition and power-saving part of slurm.conf.

It is to be included by a slurm.conf that says the rest (SlurmctldHost, authentication, accounting, logs). Everything
written here is accepted by Slurm 22.05 and later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clustermgtd.model.hostlist import fold
from clustermgtd.model.ids import NodeName
from clustermgtd.settings.cluster import NEVER, Nodes, Settings
from clustermgtd.settings.custom_slurm import LINE_KEYS
from clustermgtd.settings.instance_types import InstanceTypeInfo
from clustermgtd.settings.scheduling import ComputeResource, SlurmQueue
from clustermgtd.settings.section import CustomValue

NEVER_SUSPEND_S = 315_360_000
"""Ten years. SuspendTime=INFINITE would switch power saving off as a whole, launches included."""
USABLE_MEMORY = 0.95
"""Share of an instance type's memory that jobs may ask for: the kernel and the hypervisor keep the rest."""
_MERGED = ("CommunicationParameters", "DebugFlags", "PrivateData", "SchedulerParameters")
"""Lists of options: a site's options are added to ours, and replace ours of the same name."""
_NO_CHOICE = (23, 11)
"""The release from which slurmctld always takes addresses from registrations and never caches them: it complains of
`cloud_reg_addrs` and `NoAddrCache` as defunct."""

PROGRAM_DIR = Path("/usr/libexec/clustermgtd")
"""Where the hooks' executables are installed unless the site says otherwise."""
PROGRAMS: Mapping[str, str] = {
    "resume": "ResumeProgram",
    "suspend": "SuspendProgram",
    "resume_fail": "ResumeFailProgram",
    "start_gate": "PrologSlurmctld",
}
"""What slurmctld starts: the program's name and its parameter in slurm.conf."""


@dataclass(frozen=True, slots=True)
class SlurmSite:
    """What differs between head nodes."""

    programs: Mapping[str, Path]
    """Absolute paths by name: those of `PROGRAMS`, as `resume_suspend.programs.write_programs` returns them."""
    node_address: str | None = None
    """One address for all nodes, for a cluster on one machine; None: nodes have their own."""
    node_port_base: int | None = None
    """First of as many TCP ports as there are nodes; None: all slurmds use SlurmdPort."""
    extra_lines: tuple[str, ...] = ()
    """Written at the end as they are."""
    release: tuple[int, int] = (22, 5)
    """Of the Slurm that reads it: what that release has made its only behaviour is left out. The default suits all
    releases; later ones then write a line about it into their log."""

    def __post_init__(self) -> None:
        for name in PROGRAMS:
            if not self.programs[name].is_absolute():
                raise ValueError(f"slurmctld needs an absolute path: {self.programs[name]}")


def render(settings: Settings, site: SlurmSite) -> str:
    """The text; the same settings and site give the same text to the letter."""
    lines = ["# Written by clustermgtd from cluster.yaml. Changes made here are lost.", ""]
    lines += [f"{key}={value}" for key, value in _globals(settings, site).items()]
    lines += ["", *_node_lines(settings, site), "", *_partition_lines(settings), *_custom_lines(settings)]
    lines += site.extra_lines
    return "\n".join(lines) + "\n"


def _globals(settings: Settings, site: SlurmSite) -> Mapping[str, str]:
    """Settings of the whole cluster, with the site's own worked in."""
    own = settings.clustermgtd.slurm
    slurm = settings.scheduling.slurm_settings
    gpus = any(_info(settings, resource).gpu_count for _, resource, _ in _resources(settings))
    ours = {
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_CPU_Memory" if slurm.enable_memory_based_scheduling else "CR_CPU",
        **({"GresTypes": "gpu"} if gpus else {}),
        **_licenses(settings),
        **{PROGRAMS[name]: str(site.programs[name]) for name in PROGRAMS if name != "start_gate"},
        **({PROGRAMS["start_gate"]: str(site.programs["start_gate"])} if own.start_gate.enabled else {}),
        # 0 is without limit: the daemon paces launches by EC2's own limits, and sees each job whole
        "ResumeRate": "0",
        "SuspendRate": "0",
        "ResumeTimeout": str(settings.resume_timeout_s),
        "SuspendTimeout": str(settings.suspend_timeout_s),
        "SuspendTime": _suspend_time(settings.suspend_time_s),
        **_suspend_exceptions(settings),
        "SlurmctldParameters": ",".join(_controller_parameters(own.cloud_reg_addrs and site.release < _NO_CHOICE)),
        "SchedulerParameters": ",".join(_SCHEDULER_PARAMETERS),
        # compute nodes do not know each other's addresses: slurmctld reaches every slurmd itself
        "TreeWidth": "65533",
        **({"CommunicationParameters": "NoAddrCache"} if site.release < _NO_CHOICE else {}),
        "PrivateData": "cloud",
        "ReturnToService": "2",
        # these outlast an instance that is slow, and a slurmctld with thousands of nodes to talk to
        "SlurmdTimeout": "180",
        "BatchStartTimeout": "180",
        "MessageTimeout": "60",
    }
    for entry in slurm.custom_slurm_settings:
        if not _is_line(entry):
            _work_in(ours, entry)
    return ours


_SCHEDULER_PARAMETERS = (
    # a failing start gate must not leave the job held
    "nohold_on_prolog_fail",
    # 3 s by default: time that a batch job would wait before the scheduler looks at it for the first time
    "batch_sched_delay=0",
    # microseconds; 2 s by default. Half a second starts jobs soon after nodes are free and still bounds a scheduler
    # under load to two quick passes (of default_queue_depth jobs) a second; 0 would run one on every submission
    "sched_min_interval=500000",
)


def _controller_parameters(takes_addresses_from_registration: bool) -> Iterator[str]:
    yield "idle_on_node_suspend"
    # compute nodes and login nodes get their slurm.conf from slurmctld
    yield "enable_configless"
    if takes_addresses_from_registration:
        yield "cloud_reg_addrs"
    # look for nodes to resume or suspend every second; the default's ten are what users wait for
    yield "power_save_interval=1"
    yield "power_save_min_interval=0"
    # an instance shows less memory than its type promises; nodes below this share of RealMemory are refused
    yield "node_reg_mem_percent=75"


def _licenses(settings: Settings) -> dict[str, str]:
    counts = settings.clustermgtd.licenses
    return {"Licenses": ",".join(f"{name}:{count}" for name, count in sorted(counts.items()))} if counts else {}


def _suspend_time(seconds: int) -> str:
    return str(NEVER_SUSPEND_S if seconds == NEVER else seconds)


def _suspend_exceptions(settings: Settings) -> dict[str, str]:
    static = [name for nodes in settings.nodes for name in nodes.static]
    return {"SuspendExcNodes": fold(static)} if static else {}


def _node_lines(settings: Settings, site: SlurmSite) -> Iterator[str]:
    port = site.node_port_base
    for queue, resource, nodes in _resources(settings):
        for names, kind, weight in (
            (nodes.static, "static", resource.static_node_priority),
            (nodes.dynamic, "dynamic", resource.dynamic_node_priority),
        ):
            if not names:
                continue
            keys = _node_keys(settings, (queue, resource), names, kind, weight)
            if site.node_address is not None:
                keys["NodeAddr"] = site.node_address
            if port is not None:
                keys["Port"] = str(port) if len(names) == 1 else f"[{port}-{port + len(names) - 1}]"
                port += len(names)
            yield _line(keys)


def _node_keys(
    settings: Settings, pair: tuple[SlurmQueue, ComputeResource], names: tuple[NodeName, ...], kind: str, weight: int
) -> dict[str, str]:
    """One line of equal nodes, which may be of any type of any capacity tier."""
    resource, types = pair[1], settings.instance_types_of(*pair)
    hardware = node_hardware(settings, *pair)
    features = [kind, *types, resource.name, *(["gpu"] if "Gres" in hardware else [])]
    return {
        "NodeName": fold(names),
        **hardware,
        "State": "CLOUD",
        "Weight": str(weight),
        "Features": ",".join(dict.fromkeys(features)),
    }


def node_hardware(settings: Settings, queue: SlurmQueue, resource: ComputeResource) -> dict[str, str]:
    """What slurm.conf promises of each node of a compute resource, with the site's own keys."""
    info = _info(settings, resource)
    one_thread = resource.disable_simultaneous_multithreading
    keys = {
        "CPUs": str(info.cores if one_thread else info.v_cpus),
        "Sockets": "1",
        "CoresPerSocket": str(info.cores),
        "ThreadsPerCore": "1" if one_thread else str(info.threads_per_core),
        "RealMemory": str(_real_memory(settings, resource, settings.instance_types_of(queue, resource))),
    }
    if info.gpu_count:
        keys["Gres"] = f"gpu:{info.gpu_name}:{info.gpu_count}"
    _work_in(keys, resource.custom_slurm_settings)
    return keys


def _real_memory(settings: Settings, resource: ComputeResource, types: Sequence[str]) -> int:
    """MiB that jobs may ask for: what every one of the instance types has."""
    if resource.schedulable_memory is not None:
        return resource.schedulable_memory
    least = min(settings.instance_type(name).memory_mib for name in types)
    return max(1, int(least * USABLE_MEMORY))


def _partition_lines(settings: Settings) -> Iterator[str]:
    names_of: dict[str, list[NodeName]] = {}
    for nodes in settings.nodes:
        names_of.setdefault(nodes.key.queue, []).extend((*nodes.static, *nodes.dynamic))
    for number, queue in enumerate(settings.scheduling.slurm_queues):
        times = settings.times_of(queue.name)
        keys = {
            "PartitionName": queue.name,
            "Nodes": fold(names_of[queue.name]),
            "Default": "YES" if number == 0 else "NO",
            "State": "UP",
            "MaxTime": "INFINITE",
            "SuspendTime": _suspend_time(settings.slurm_suspend_time_of(queue)),
            "ResumeTimeout": str(times.resume_timeout_seconds),
            "SuspendTimeout": str(times.suspend_timeout_seconds),
        }
        if queue.job_exclusive_allocation:
            keys["OverSubscribe"] = "EXCLUSIVE"
        _work_in(keys, queue.custom_slurm_settings)
        yield _line(keys)


def _custom_lines(settings: Settings) -> Iterator[str]:
    """The site's lines for nodes and partitions that are not ours."""
    for entry in settings.scheduling.slurm_settings.custom_slurm_settings:
        if _is_line(entry):
            yield _line({key: _text(value) for key, value in entry.items()})


def _is_line(entry: Mapping[str, CustomValue]) -> bool:
    """The entry is a line of its own, not a group of settings."""
    return next(iter(entry), "").lower() in {key.lower() for key in LINE_KEYS}


def _work_in(ours: dict[str, str], custom: Mapping[str, CustomValue]) -> None:
    """Let a site's settings replace ours; keys have no case in Slurm."""
    spelling = {key.lower(): key for key in ours}
    for key, value in custom.items():
        known = spelling.get(key.lower())
        text = _text(value)
        if known in _MERGED:
            text = _merged(ours[known], text)
        ours[known or key] = text


def _merged(ours: str, theirs: str) -> str:
    """Two option lists as one; of two options with the same name the second wins."""
    options = {option.partition("=")[0].lower(): option for option in (*ours.split(","), *theirs.split(",")) if option}
    return ",".join(options.values())


def _text(value: CustomValue) -> str:
    """As Slurm writes it: YAML reads `YES` as true."""
    if isinstance(value, bool):
        return "YES" if value else "NO"
    return str(value)


def _line(keys: Mapping[str, str]) -> str:
    return " ".join(f"{key}={_quoted(value)}" for key, value in keys.items())


def _quoted(value: str) -> str:
    return f'"{value}"' if " " in value and not value.startswith('"') else value


def _info(settings: Settings, resource: ComputeResource) -> InstanceTypeInfo:
    return settings.instance_type(resource.instance_types[0])


def _resources(settings: Settings) -> Iterator[tuple[SlurmQueue, ComputeResource, Nodes]]:
    pairs = [(queue, resource) for queue in settings.scheduling.slurm_queues for resource in queue.compute_resources]
    for (queue, resource), nodes in zip(pairs, settings.nodes, strict=True):
        yield queue, resource, nodes
