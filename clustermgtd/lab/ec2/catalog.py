"""Instance types by the naming rule: what can be told about a type from its name, and a price."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_SIZES = {"nano": 2, "micro": 2, "small": 2, "medium": 2, "large": 2, "xlarge": 4, "metal": 96}
_SMALL_MEMORY_MIB = {"nano": 512, "micro": 1024, "small": 2048, "medium": 4096}
_GIB_PER_VCPU = {"c": 2.0, "m": 4.0, "t": 4.0, "r": 8.0, "x": 16.0, "z": 8.0, "i": 8.0, "d": 8.0, "h": 4.0}
_DOLLARS_PER_VCPU = {"c": 0.0425, "m": 0.048, "t": 0.0416, "r": 0.063, "x": 0.1, "z": 0.093, "i": 0.078, "d": 0.0575}
_GPUS_PER_VCPU = {"p3": 1 / 8, "p4d": 1 / 12, "p5": 1 / 24, "g4dn": 1 / 4, "g5": 1 / 4, "g6": 1 / 4}
_EXACT_VCPUS = {
    "c5.9xlarge": 36,
    "c5.18xlarge": 72,
    "c5n.9xlarge": 36,
    "c5n.18xlarge": 72,
    "c4.8xlarge": 36,
    "d2.8xlarge": 36,
}
_METAL_VCPUS = {
    "a1": 16,
    "c5n": 72,
    "m5zn": 48,
    "z1d": 48,
    "c6a": 192,
    "m6a": 192,
    "r6a": 192,
    "i4i": 128,
} | dict.fromkeys(("c6i", "c6id", "c6in", "m6i", "m6id", "m6idn", "m6in", "r6i", "r6id", "r6idn", "r6in"), 128)
_NAME = re.compile(r"([a-z]+)(\d+)([a-z0-9-]*)\.(\d*)(nano|micro|small|medium|large|xlarge|metal)(?:-(\d+)xl)?")
SPOT_DISCOUNT = 0.4
"""Spot price as a part of the on-demand price, where a scenario says nothing."""


@dataclass(frozen=True, slots=True)
class TypeSpec:
    """What the model knows about an instance type."""

    name: str
    family: str
    vcpus: int
    threads_per_core: int
    memory_mib: int
    gpus: int
    arm: bool
    price: float
    """On-demand, US dollars per hour."""


@lru_cache(maxsize=4096)
def type_spec(name: str) -> TypeSpec | None:
    """The type called `name`, or None if no type can be called that."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    kind, generation, extras, factor, size, metal = match.groups()
    family = f"{kind}{generation}{extras}"
    arm = "g" in extras or kind == "a"
    if metal:
        vcpus = 4 * int(metal)
    elif size == "metal":
        vcpus = _METAL_VCPUS.get(family, 64 if arm else 96)
    elif size == "medium" and kind != "t":
        vcpus = 1
    else:
        vcpus = _EXACT_VCPUS.get(name, _SIZES[size] * (int(factor) if factor else 1)) // (2 if kind == "hpc" else 1)
    threads = 1 if arm or (kind in "cmr" and int(generation) >= 7 and "a" in extras) or kind == "hpc" else 2
    memory = (_SMALL_MEMORY_MIB.get(size) if kind == "t" else None) or int(
        vcpus * _GIB_PER_VCPU.get(kind[0], 4.0) * 1024
    )
    gpus = max(1, round(vcpus * _GPUS_PER_VCPU[family])) if family in _GPUS_PER_VCPU else 0
    price = vcpus * _DOLLARS_PER_VCPU.get(kind[0], 0.06) * (0.85 if arm else 1.0) + gpus * 0.9
    return TypeSpec(name, family, vcpus, threads, memory, gpus, arm, round(price, 6))
