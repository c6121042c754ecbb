"""Variables of the roles that make Slurm."""

from __future__ import annotations

from pathlib import Path

from clustermgtd.settings import Settings, loads
from clustermgtd.settings.cookbook import Machine, MachineKind
from clustermgtd.settings.cookbook.slurm import variables

MINIMAL = (Path(__file__).parents[3] / "docs" / "examples" / "minimal.yaml").read_text()
SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:one-Ab1Cd2"


def cluster(slurm_settings: str = "{}", own: str = "{}") -> Settings:
    text = MINIMAL.replace("  SlurmQueues:\n", f"  SlurmSettings: {slurm_settings}\n  SlurmQueues:\n")
    return loads(f"{text}Clustermgtd: {own}\n")


def head(slurm_settings: str = "{}", own: str = "{}") -> dict[str, object]:
    return variables(Machine(cluster(slurm_settings, own), MachineKind.HEAD))


def compute(slurm_settings: str = "{}", own: str = "{}") -> dict[str, object]:
    return variables(Machine(cluster(slurm_settings, own), MachineKind.COMPUTE, "q1"))


def test_only_the_head_node_makes_a_munge_key() -> None:
    assert head()["munge_makes_key"] is True
    assert compute()["munge_makes_key"] is False


def test_no_key_is_made_where_a_secret_holds_it() -> None:
    settings = f"{{MungeKeySecretArn: '{SECRET}'}}"
    assert (head(settings)["munge_key_secret_arn"], head(settings)["munge_makes_key"]) == (SECRET, False)
    assert compute(settings)["munge_key_secret_arn"] == SECRET
