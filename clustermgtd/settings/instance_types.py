"""CPUs, memory and GPUs of EC2 instance types, offline.

Most families follow rules: vCPUs come from the size, memory is a family's GiB per vCPU, threads per core from the
processor. The exceptions are listed. Source: Amazon EC2 instance type specifications. A site can add or correct any
type in `Clustermgtd.InstanceTypes`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

Architecture = Literal["x86_64", "arm64"]


@dataclass(frozen=True, slots=True)
class InstanceTypeInfo:
    """What Slurm has to know about an instance type."""

    name: str
    v_cpus: int
    """Virtual CPUs: hardware threads."""
    threads_per_core: int
    memory_mib: int
    gpu_name: str = ""
    """Slurm's GRES type (`t4`), empty without GPUs."""
    gpu_count: int = 0
    architecture: Architecture = "x86_64"

    @property
    def cores(self) -> int:
        return self.v_cpus // self.threads_per_core

    def is_interchangeable_with(self, other: InstanceTypeInfo) -> bool:
        """Slurm can treat both as the same kind of node (memory may differ: the least counts)."""
        return (
            self.v_cpus == other.v_cpus
            and self.threads_per_core == other.threads_per_core
            and self.architecture == other.architecture
            and (self.gpu_name, self.gpu_count) == (other.gpu_name, other.gpu_count)
        )


class GivenGpus(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def count(self) -> int: ...


class GivenFacts(Protocol):
    """What a site says about a type (`Clustermgtd.InstanceTypes`)."""

    @property
    def v_cpus(self) -> int: ...
    @property
    def memory_mib(self) -> int: ...
    @property
    def threads_per_core(self) -> int: ...
    @property
    def gpus(self) -> GivenGpus | None: ...
    @property
    def architecture(self) -> Architecture: ...


def lookup(name: str, known: Mapping[str, GivenFacts] | None = None) -> InstanceTypeInfo | str:
    """Facts about an instance type, `known` first; a sentence if there are none."""
    facts = (known or {}).get(name)
    if facts is not None:
        gpus = facts.gpus
        return InstanceTypeInfo(
            name,
            facts.v_cpus,
            facts.threads_per_core,
            facts.memory_mib,
            gpus.name if gpus else "",
            gpus.count if gpus else 0,
            facts.architecture,
        )
    exact = _EXACT.get(name)
    if exact is not None:
        return exact
    family, _, size = name.partition(".")
    rule = _FAMILIES.get(family)
    v_cpus = _v_cpus(size, rule) if rule else None
    if rule is None or v_cpus is None:
        return f"the facts of instance type {name} are not known"
    return InstanceTypeInfo(
        name, v_cpus, rule.threads, int(v_cpus * rule.gib_per_v_cpu * 1024), architecture=rule.architecture
    )


def v_cpus(name: str, known: Mapping[str, GivenFacts] | None = None) -> int:
    """Virtual CPUs of an instance type, 0 if they are not known."""
    info = lookup(name, known)
    return 0 if isinstance(info, str) else info.v_cpus


@dataclass(frozen=True, slots=True)
class _Family:
    gib_per_v_cpu: float
    threads: int
    architecture: Architecture
    metal: int
    """vCPUs of the bare `metal` size, 0 if there is none; `metal-24xl` says it itself."""
    largest: int
    """vCPUs of the largest size."""


def _families() -> dict[str, _Family]:
    ratio = {"c": 2, "m": 4, "r": 8}
    families: dict[str, _Family] = {}

    def add(names: str, threads: int, largest: int, metal: int = 0) -> None:
        for name in names.split():
            architecture: Architecture = "arm64" if re.search(r"\dg", name) else "x86_64"
            families[name] = _Family(ratio[name[0]], threads, architecture, metal, largest)

    add("c5 c5d m5 m5d r5 r5d r5b m5n m5dn r5n r5dn", 2, 96, 96)
    add("c5a c5ad m5a m5ad r5a r5ad", 2, 96)
    add("c6i c6id c6in m6i m6id m6in m6idn r6i r6id r6in r6idn", 2, 128, 128)
    add("c6a m6a r6a", 2, 192, 192)
    add("c6g c6gd c6gn m6g m6gd r6g r6gd", 1, 64, 64)
    add("c7g c7gd c7gn m7g m7gd r7g r7gd", 1, 64, 64)
    add("c8g c8gd c8gn c8gb m8g m8gd m8gn m8gb r8g r8gd r8gn r8gb", 1, 192, 0)
    add("c7i m7i r7i c7i-flex m7i-flex r7iz", 2, 192, 0)
    add("c8i m8i r8i c8i-flex m8i-flex r8i-flex c8id m8id r8id", 2, 384, 0)
    # 7th and 8th generation AMD: one hardware thread per vCPU
    add("c7a m7a r7a c8a m8a r8a", 1, 192, 0)
    families |= {
        "x2idn": _Family(16, 2, "x86_64", 128, 128),
        "x2iedn": _Family(32, 2, "x86_64", 128, 128),
        "x2iezn": _Family(32, 2, "x86_64", 48, 48),
        "x2gd": _Family(16, 1, "arm64", 64, 64),
        "x8g": _Family(16, 1, "arm64", 0, 192),
        "z1d": _Family(8, 2, "x86_64", 48, 48),
        "i4i": _Family(8, 2, "x86_64", 128, 128),
        "i3en": _Family(8, 2, "x86_64", 96, 96),
        "i4g": _Family(8, 1, "arm64", 0, 64),
        "i7ie": _Family(8, 2, "x86_64", 0, 192),
    }
    return families


_FAMILIES = _families()

_SMALL = {"medium": 1, "large": 2, "xlarge": 4}


def _v_cpus(size: str, rule: _Family) -> int | None:
    """vCPUs of a size; None if the family has no such size."""
    if size in _SMALL:
        if size == "medium" and rule.threads == 2:
            return None
        return _SMALL[size]
    if size == "metal":
        return rule.metal or None
    match = re.fullmatch(r"(?:metal-)?([1-9][0-9]*)xl(?:arge)?", size)
    if match is None or size.startswith("metal-") == size.endswith("arge"):
        return None
    v_cpus = int(match[1]) * 4
    return v_cpus if v_cpus <= rule.largest else None


def _exact() -> dict[str, InstanceTypeInfo]:
    """Types that no rule gives: burstable, HPC and accelerated ones."""
    table: dict[str, InstanceTypeInfo] = {}

    def add(
        name: str, v_cpus: int, gib: float, threads: int = 2, gpu: str = "", architecture: Architecture = "x86_64"
    ) -> None:
        gpu_name, _, count = gpu.partition(":")
        table[name] = InstanceTypeInfo(name, v_cpus, threads, int(gib * 1024), gpu_name, int(count or 0), architecture)

    sizes = (("nano", 2, 0.5), ("micro", 2, 1), ("small", 2, 2), ("medium", 2, 4), ("large", 2, 8), ("xlarge", 4, 16))
    for size, v_cpus, gib in (*sizes, ("2xlarge", 8, 32)):
        add(f"t3.{size}", v_cpus, gib)
        add(f"t3a.{size}", v_cpus, gib)
        add(f"t4g.{size}", v_cpus, gib, 1, architecture="arm64")
    t2 = (("nano", 1, 0.5), ("micro", 1, 1), ("small", 1, 2), ("medium", 2, 4), ("large", 2, 8), ("xlarge", 4, 16))
    for size, v_cpus, gib in (*t2, ("2xlarge", 8, 32)):
        add(f"t2.{size}", v_cpus, gib, 1)

    # the 5th generation's Intel compute sizes are irregular, and the network variants have their own memory
    for suffix in ("", "d"):
        add(f"c5{suffix}.9xlarge", 36, 72)
        add(f"c5{suffix}.18xlarge", 72, 144)
    for size, v_cpus, gib in (
        ("large", 2, 5.25),
        ("xlarge", 4, 10.5),
        ("2xlarge", 8, 21),
        ("4xlarge", 16, 42),
        ("9xlarge", 36, 96),
        ("18xlarge", 72, 192),
        ("metal", 72, 192),
    ):
        add(f"c5n.{size}", v_cpus, gib)

    add("hpc6a.48xlarge", 96, 384, 1)
    add("hpc6id.32xlarge", 64, 1024, 1)
    for v_cpus in (24, 48, 96, 192):
        add(f"hpc7a.{v_cpus // 2 if v_cpus < 192 else 96}xlarge", v_cpus, 768, 1)
    for times, v_cpus in ((4, 16), (8, 32), (16, 64)):
        add(f"hpc7g.{times}xlarge", v_cpus, 128, 1, architecture="arm64")
    add("hpc8a.96xlarge", 192, 768, 1)

    add("p3.2xlarge", 8, 61, gpu="v100:1")
    add("p3.8xlarge", 32, 244, gpu="v100:4")
    add("p3.16xlarge", 64, 488, gpu="v100:8")
    add("p3dn.24xlarge", 96, 768, gpu="v100:8")
    add("p4d.24xlarge", 96, 1152, gpu="a100:8")
    add("p4de.24xlarge", 96, 1152, gpu="a100:8")
    add("p5.4xlarge", 16, 256, gpu="h100:1")
    add("p5.48xlarge", 192, 2048, gpu="h100:8")
    add("p5e.48xlarge", 192, 2048, gpu="h200:8")
    add("p5en.48xlarge", 192, 2048, gpu="h200:8")
    add("p6-b200.48xlarge", 192, 2048, gpu="b200:8")
    gpu_counts = {"xlarge": 1, "2xlarge": 1, "4xlarge": 1, "8xlarge": 1, "16xlarge": 1, "12xlarge": 4}
    for size, count in gpu_counts.items():
        v_cpus = 4 if size == "xlarge" else int(size.removesuffix("xlarge")) * 4
        add(f"g4dn.{size}", v_cpus, v_cpus * 4, gpu=f"t4:{count}")
        for family, gpu in (("g5", "a10g"), ("g6", "l4")):
            add(f"{family}.{size}", v_cpus, v_cpus * 4, gpu=f"{gpu}:{count}")
        add(f"g6e.{size}", v_cpus, v_cpus * 8, gpu=f"l40s:{count}")
    add("g4dn.metal", 96, 384, gpu="t4:8")
    for family, gpu, gib in (("g5", "a10g", 4), ("g6", "l4", 4), ("g6e", "l40s", 8)):
        add(f"{family}.24xlarge", 96, 96 * gib, gpu=f"{gpu}:4")
        add(f"{family}.48xlarge", 192, 192 * gib, gpu=f"{gpu}:8")
    for size, v_cpus in (("xlarge", 4), ("2xlarge", 8), ("4xlarge", 16), ("8xlarge", 32)):
        add(f"g5g.{size}", v_cpus, v_cpus * 2, 1, "t4g:1", "arm64")
    add("g5g.16xlarge", 64, 128, 1, "t4g:2", "arm64")
    add("g5g.metal", 64, 128, 1, "t4g:2", "arm64")
    return table


_EXACT = _exact()
