"""clustermgtctl quotas and prices over the lab's AWS."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clustermgtd.cli.main import main
from clustermgtd.lab.ec2.scenario import Scenario
from tests.contract.ec2_calls import fleet, make_template, pool

MINIMAL = Path(__file__).parents[2] / "docs" / "examples" / "minimal.yaml"


@pytest.fixture
def spot_cluster(tmp_path: Path) -> str:
    """Ten spot nodes of c5.xlarge in two zones."""
    text = (
        MINIMAL.read_text()
        .replace("eu-central-1", "us-east-1")
        .replace("- Name: q1", "- CapacityType: SPOT\n      Name: q1")
    )
    text = text.replace(
        "          - subnet-0123456789abcdef0\n",
        "          - subnet-0000000000000000a\n          - subnet-0000000000000000b\n",
    )
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    return str(path)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    def point_to(aws: Any) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", aws.endpoint_url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "lab")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "lab")

    return point_to


def test_quotas_show_what_the_account_may_run_and_the_cluster_runs(
    spot_cluster: str, serve: Callable[[Scenario], Any], use: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(Scenario(quotas={"spot": 36})) as aws:
        use(aws)
        ec2 = aws.client("ec2")
        request = fleet(make_template(ec2), pool("c5.xlarge"), count=2, market="spot")
        tags = [{"Key": "clustermgtd:cluster", "Value": "cluster"}]
        ec2.create_fleet(**request, TagSpecifications=[{"ResourceType": "instance", "Tags": tags}])
        ec2.close()
        assert main(["quotas", spot_cluster]) == 0
        row = capsys.readouterr().out.splitlines()[1]
        assert row.split() == ["standard", "spot", "36", "8", "40", "4", "short"]
        assert main(["check-config", spot_cluster, "--online"]) == 0
        assert "warning: if every node ran, 40 vCPUs of class standard would be needed spot" in capsys.readouterr().err


def test_prices_show_the_spot_market_and_what_is_left_out(
    spot_cluster: str, serve: Callable[[Scenario], Any], use: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    pools = {("c5.xlarge", "us-east-1a", "spot"): 0.19, ("c5.xlarge", "us-east-1b", "spot"): 0.06}
    with serve(Scenario(prices=pools)) as aws:
        use(aws)
        # the lab serves no price list: that is said, and the built-in one serves
        assert main(["prices", spot_cluster, "--output", "json"]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("on-demand prices cannot be read: ")
    answer = json.loads(captured.out)
    (resource,) = answer["compute_resources"]
    shown = [(o["subnet"][-1], o["on_demand"], o["spot"], o["is_rejected"]) for o in resource["offerings"]]
    assert shown == [("b", 0.17, 0.06, False), ("a", 0.17, 0.19, True)]
    assert (answer["hourly_min"], answer["hourly_max"]) == (0.6, 0.6)
