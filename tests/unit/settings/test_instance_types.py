"""Facts about instance types, against Amazon's published specifications."""

from __future__ import annotations

import pytest

from clustermgtd.settings.daemon import Gpus, InstanceTypeFacts
from clustermgtd.settings.instance_types import InstanceTypeInfo, lookup


@pytest.mark.parametrize(
    ("name", "v_cpus", "cores", "gib", "architecture"),
    [
        ("c5.large", 2, 1, 4, "x86_64"),
        ("c5.xlarge", 4, 2, 8, "x86_64"),
        ("c5.9xlarge", 36, 18, 72, "x86_64"),
        ("c5.18xlarge", 72, 36, 144, "x86_64"),
        ("c5.24xlarge", 96, 48, 192, "x86_64"),
        ("c5.metal", 96, 48, 192, "x86_64"),
        ("c5a.16xlarge", 64, 32, 128, "x86_64"),
        ("c5n.18xlarge", 72, 36, 192, "x86_64"),
        ("m5.4xlarge", 16, 8, 64, "x86_64"),
        ("r5dn.8xlarge", 32, 16, 256, "x86_64"),
        ("c6i.32xlarge", 128, 64, 256, "x86_64"),
        ("c6a.48xlarge", 192, 96, 384, "x86_64"),
        ("c6gn.16xlarge", 64, 64, 128, "arm64"),
        ("m6g.medium", 1, 1, 4, "arm64"),
        ("c7g.16xlarge", 64, 64, 128, "arm64"),
        ("c7a.medium", 1, 1, 2, "x86_64"),
        ("m7a.48xlarge", 192, 192, 768, "x86_64"),
        ("r7i.metal-24xl", 96, 48, 768, "x86_64"),
        ("r8g.48xlarge", 192, 192, 1536, "arm64"),
        ("x2idn.16xlarge", 64, 32, 1024, "x86_64"),
        ("x2iedn.32xlarge", 128, 64, 4096, "x86_64"),
        ("z1d.12xlarge", 48, 24, 384, "x86_64"),
        ("t3.micro", 2, 1, 1, "x86_64"),
        ("t4g.nano", 2, 2, 0.5, "arm64"),
        ("hpc6a.48xlarge", 96, 96, 384, "x86_64"),
        ("hpc7a.12xlarge", 24, 24, 768, "x86_64"),
        ("hpc7a.96xlarge", 192, 192, 768, "x86_64"),
        ("hpc7g.4xlarge", 16, 16, 128, "arm64"),
    ],
)
def test_common_types_are_known(name: str, v_cpus: int, cores: int, gib: float, architecture: str) -> None:
    info = lookup(name)
    assert isinstance(info, InstanceTypeInfo), info
    assert (info.v_cpus, info.cores, info.memory_mib, info.architecture) == (v_cpus, cores, gib * 1024, architecture)
    assert info.gpu_count == 0


@pytest.mark.parametrize(
    ("name", "gpu", "count", "v_cpus", "gib"),
    [
        ("g4dn.xlarge", "t4", 1, 4, 16),
        ("g4dn.12xlarge", "t4", 4, 48, 192),
        ("g4dn.metal", "t4", 8, 96, 384),
        ("g5.48xlarge", "a10g", 8, 192, 768),
        ("g6.24xlarge", "l4", 4, 96, 384),
        ("p3.2xlarge", "v100", 1, 8, 61),
        ("p4d.24xlarge", "a100", 8, 96, 1152),
        ("p5.48xlarge", "h100", 8, 192, 2048),
    ],
)
def test_gpus_are_known(name: str, gpu: str, count: int, v_cpus: int, gib: int) -> None:
    info = lookup(name)
    assert isinstance(info, InstanceTypeInfo), info
    assert (info.gpu_name, info.gpu_count) == (gpu, count)
    assert (info.v_cpus, info.memory_mib) == (v_cpus, gib * 1024)


@pytest.mark.parametrize("name", ["c99.large", "c5.medium", "c5.64xlarge", "c5.metal-24x", "c5.xl", "c5.0xlarge", "c5"])
def test_an_unknown_type_is_said_to_be_unknown(name: str) -> None:
    assert lookup(name) == f"the facts of instance type {name} are not known"


def test_what_the_site_says_wins() -> None:
    facts = InstanceTypeFacts.model_validate(
        {"VCpus": 6, "MemoryMiB": 100, "ThreadsPerCore": 1, "Gpus": {"Name": "x", "Count": 2}}
    )
    assert facts.gpus == Gpus.model_validate({"Name": "x", "Count": 2})
    assert lookup("c5.large", {"c5.large": facts}) == InstanceTypeInfo("c5.large", 6, 1, 100, "x", 2)
