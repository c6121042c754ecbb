"""On-demand prices that need no internet: US dollars per instance-hour, Linux, shared tenancy, us-east-1.

Within a family the price grows with the vCPUs, so most families are one number; accelerated, HPC and burstable types
are listed. Source kind: the published price list, as of August 2026 (HPC types: of the Regions that have them). They
are approximate: AWS changes prices, other Regions have their own, and some bare-metal sizes cost up to a tenth more
than their vCPUs say.
`adapters.aws.prices` replaces them by what the Price List API says.
"""

from __future__ import annotations

from collections.abc import Callable

from clustermgtd.model.ids import InstanceType

LIST_REGION = "us-east-1"
"""The Region whose prices these are."""

_PER_V_CPU = {
    "c5": 0.0425, "c5d": 0.048, "c5n": 0.054, "c5a": 0.0385, "c5ad": 0.043,
    "c6i": 0.0425, "c6id": 0.0504, "c6in": 0.0567, "c6a": 0.03825, "c6g": 0.034, "c6gd": 0.0384, "c6gn": 0.0432,
    "c7i": 0.044625, "c7i-flex": 0.0423945, "c7a": 0.05132, "c7g": 0.03625, "c7gd": 0.04535, "c7gn": 0.0624,
    "c8i": 0.046855, "c8i-flex": 0.044515, "c8a": 0.053886, "c8g": 0.03988, "c8gd": 0.04898, "c8gn": 0.05925,
    "c8gb": 0.05925, "c8id": 0.05544,
    "m5": 0.048, "m5d": 0.0565, "m5n": 0.0595, "m5dn": 0.068, "m5a": 0.043, "m5ad": 0.0515,
    "m6i": 0.048, "m6id": 0.059325, "m6in": 0.069615, "m6idn": 0.079555, "m6a": 0.0432, "m6g": 0.0385, "m6gd": 0.0452,
    "m7i": 0.0504, "m7i-flex": 0.04788, "m7a": 0.05796, "m7g": 0.0408, "m7gd": 0.0534,
    "m8i": 0.05292, "m8i-flex": 0.050275, "m8a": 0.06086, "m8g": 0.04488, "m8gn": 0.07275, "m8gb": 0.07275,
    "m8id": 0.06526, "m8gd": 0.05766,
    "r5": 0.063, "r5d": 0.072, "r5n": 0.0745, "r5dn": 0.0835, "r5a": 0.0565, "r5ad": 0.0655, "r5b": 0.0745,
    "r6i": 0.063, "r6id": 0.0756, "r6in": 0.087165, "r6idn": 0.097705, "r6a": 0.0567, "r6g": 0.0504, "r6gd": 0.0576,
    "r7i": 0.06615, "r7iz": 0.093, "r7a": 0.076075, "r7g": 0.05355, "r7gd": 0.06805,
    "r8i": 0.069458, "r8i-flex": 0.065985, "r8a": 0.07988, "r8g": 0.05891, "r8gn": 0.09109, "r8gb": 0.09109,
    "r8id": 0.08316, "r8gd": 0.07349,
    "x2idn": 0.1042, "x2iedn": 0.2084, "x2iezn": 0.2085, "x2gd": 0.0835, "x8g": 0.0977,
    "z1d": 0.093, "i3en": 0.113, "i4i": 0.0858, "i4g": 0.07722, "i7ie": 0.12995,
}  # fmt: skip
"""A family's price of one vCPU for an hour."""

_LISTED = {
    "t2.nano": 0.0058, "t2.micro": 0.0116, "t2.small": 0.023, "t2.medium": 0.0464, "t2.large": 0.0928,
    "t2.xlarge": 0.1856, "t2.2xlarge": 0.3712,
    "t3.nano": 0.0052, "t3.micro": 0.0104, "t3.small": 0.0208, "t3.medium": 0.0416, "t3.large": 0.0832,
    "t3.xlarge": 0.1664, "t3.2xlarge": 0.3328,
    "t3a.nano": 0.0047, "t3a.micro": 0.0094, "t3a.small": 0.0188, "t3a.medium": 0.0376, "t3a.large": 0.0752,
    "t3a.xlarge": 0.1504, "t3a.2xlarge": 0.3008,
    "t4g.nano": 0.0042, "t4g.micro": 0.0084, "t4g.small": 0.0168, "t4g.medium": 0.0336, "t4g.large": 0.0672,
    "t4g.xlarge": 0.1344, "t4g.2xlarge": 0.2688,
    "hpc6a.48xlarge": 2.88, "hpc6id.32xlarge": 5.70,
    "hpc7a.12xlarge": 7.20, "hpc7a.24xlarge": 7.20, "hpc7a.48xlarge": 7.20, "hpc7a.96xlarge": 7.20,
    "hpc7g.4xlarge": 1.6832, "hpc7g.8xlarge": 1.6832, "hpc7g.16xlarge": 1.6832, "hpc8a.96xlarge": 7.92,
    "p3.2xlarge": 3.06, "p3.8xlarge": 12.24, "p3.16xlarge": 24.48, "p3dn.24xlarge": 31.212,
    "p4d.24xlarge": 21.957642, "p4de.24xlarge": 27.44705, "p5.4xlarge": 6.88, "p5.48xlarge": 55.04,
    "p5en.48xlarge": 63.296, "p6-b200.48xlarge": 113.9328,
    "g4dn.xlarge": 0.526, "g4dn.2xlarge": 0.752, "g4dn.4xlarge": 1.204, "g4dn.8xlarge": 2.176,
    "g4dn.12xlarge": 3.912, "g4dn.16xlarge": 4.352, "g4dn.metal": 7.824,
    "g5.xlarge": 1.006, "g5.2xlarge": 1.212, "g5.4xlarge": 1.624, "g5.8xlarge": 2.448, "g5.12xlarge": 5.672,
    "g5.16xlarge": 4.096, "g5.24xlarge": 8.144, "g5.48xlarge": 16.288,
    "g5g.xlarge": 0.42, "g5g.2xlarge": 0.556, "g5g.4xlarge": 0.828, "g5g.8xlarge": 1.372, "g5g.16xlarge": 2.744,
    "g5g.metal": 2.744,
    "g6.xlarge": 0.8048, "g6.2xlarge": 0.9776, "g6.4xlarge": 1.3232, "g6.8xlarge": 2.0144, "g6.12xlarge": 4.6016,
    "g6.16xlarge": 3.3968, "g6.24xlarge": 6.6752, "g6.48xlarge": 13.3504,
    "g6e.xlarge": 1.861, "g6e.2xlarge": 2.24208, "g6e.4xlarge": 3.00424, "g6e.8xlarge": 4.52856,
    "g6e.12xlarge": 10.49264, "g6e.16xlarge": 7.57719, "g6e.24xlarge": 15.06559, "g6e.48xlarge": 30.13118,
}  # fmt: skip
"""Types whose price does not follow from their vCPUs."""


class ListPrices:
    """The table for one Region. `v_cpus_of` gives a type's vCPUs, 0 if they are not known."""

    def __init__(self, region: str, v_cpus_of: Callable[[InstanceType], int]) -> None:
        self.is_local = region == LIST_REGION
        self._v_cpus_of = v_cpus_of

    def price(self, instance_type: InstanceType) -> float | None:
        """US dollars per hour; None for a type that the table does not know."""
        listed = _LISTED.get(instance_type)
        if listed is not None:
            return listed
        rate = _PER_V_CPU.get(instance_type.partition(".")[0])
        v_cpus = self._v_cpus_of(instance_type)
        return round(rate * v_cpus, 6) if rate and v_cpus else None
