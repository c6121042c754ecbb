"""The account's vCPU quotas: classes of instance types, each with its own limit per market."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from clustermgtd.model.ids import InstanceType
from clustermgtd.model.offering import Market


class QuotaClass(StrEnum):
    """Types that EC2 counts together."""

    STANDARD = "standard"
    """A, C, D, H, I, M, R, T, Z."""
    G_VT = "g-vt"
    P = "p"
    X = "x"
    F = "f"
    HPC = "hpc"
    INF = "inf"
    TRN = "trn"
    DL = "dl"
    HIGH_MEMORY = "high-memory"
    """U."""


_CLASSES: Mapping[str, QuotaClass] = {
    **dict.fromkeys(("a", "c", "d", "h", "i", "im", "is", "m", "r", "t", "z"), QuotaClass.STANDARD),
    **dict.fromkeys(("g", "gr", "vt"), QuotaClass.G_VT),
    "p": QuotaClass.P,
    "x": QuotaClass.X,
    "f": QuotaClass.F,
    "hpc": QuotaClass.HPC,
    "inf": QuotaClass.INF,
    "trn": QuotaClass.TRN,
    "dl": QuotaClass.DL,
    "u": QuotaClass.HIGH_MEMORY,
    "u-": QuotaClass.HIGH_MEMORY,
}
"""By the letters before a type's generation."""
_LETTERS = re.compile(r"[a-z]+-?")


def quota_class(instance_type: InstanceType) -> QuotaClass | None:
    """The class that a type counts in; None if its name is of no family that is known here."""
    letters = _LETTERS.match(instance_type)
    return _CLASSES.get(letters[0]) if letters else None


@dataclass(frozen=True, slots=True, order=True)
class QuotaKey:
    """One quota. Capacity blocks count in none of them."""

    quota_class: QuotaClass
    market: Market


Quotas = Mapping[QuotaKey, float]
"""vCPUs that the account may run at the same time; a quota that is missing is not known."""
VCpus = Mapping[QuotaKey, int]
"""vCPUs that run, or that somebody wants."""
