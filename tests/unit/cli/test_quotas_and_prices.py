"""clustermgtctl quotas and prices without AWS, as typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clustermgtd.cli.main import main

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
EXAMPLE = str(EXAMPLES / "minimal.yaml")
PARALLELCLUSTER = str(EXAMPLES / "parallelcluster.yaml")


@pytest.fixture(autouse=True)
def no_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks AWS all the same fails at once."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")


def said(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Standard output of a subcommand that succeeds."""
    assert main(argv) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def said_json(capsys: pytest.CaptureFixture[str], *argv: str) -> Any:
    return json.loads(said(capsys, *argv, "--output", "json"))


def test_quotas_offline_say_what_the_cluster_would_need(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "quotas", PARALLELCLUSTER, "--offline").splitlines()
    assert [line.split() for line in lines] == [
        ["CLASS", "MARKET", "QUOTA", "IN-USE", "NEEDED", "NOTE"],
        ["g-vt", "on-demand", "-", "-", "384"],
        ["p", "on-demand", "-", "-", "384"],
        ["standard", "on-demand", "-", "-", "740"],
        ["standard", "spot", "-", "-", "1,600"],
    ]


def test_quotas_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert said_json(capsys, "quotas", EXAMPLE, "--offline") == {
        "cluster": "cluster",
        "quotas": [{"class": "standard", "market": "on-demand", "quota": None, "in_use": None, "needed": 40}],
    }


def test_prices_are_shown_by_tier(capsys: pytest.CaptureFixture[str]) -> None:
    first, *_ = said_json(capsys, "prices", str(EXAMPLES / "capacity-tiers.yaml"), "--offline")["compute_resources"]
    markets = [(offering["tier"], offering["market"]) for offering in first["offerings"]]
    assert markets[:2] == [(0, "on-demand"), (1, "spot")]
    assert [tier for tier, _ in markets] == [0, 1, 1, 1, 2, 3, 3]


def test_prices_offline_come_from_the_built_in_list(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "prices", EXAMPLE, "--offline")
    assert "q1     c5           10     0  c5.xlarge  subnet-0123456789abcdef0  on-demand     0.1700     -  ~" in text
    assert "q1 c5: 10 nodes, $1.70 per hour\n" in text
    assert "cluster: $1.70 per hour if every node ran\n" in text
    assert text.endswith("~ price of us-east-1: other Regions differ\n")


def test_a_spot_price_that_is_not_known_counts_as_on_demand(capsys: pytest.CaptureFixture[str]) -> None:
    answer = said_json(capsys, "prices", PARALLELCLUSTER, "--offline")
    (spot,) = (entry for entry in answer["compute_resources"] if entry["queue"] == "spot")
    assert (spot["cheapest"], spot["dearest"], spot["nodes"]) == (0.34, 0.384, 200)
    assert {offering["spot"] for offering in spot["offerings"]} == {None}
    assert answer["nodes_of_unknown_price"] == 0
    assert answer["hourly_max"] - answer["hourly_min"] == pytest.approx(200 * (0.384 - 0.34))


def test_nodes_of_unknown_price_are_counted_apart(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "prices", str(EXAMPLES / "clustermgtd.yaml"), "--offline")
    assert "test new: 4 nodes, price -\n" in text
    assert "cluster: $17.00 per hour if every node ran, without 4 nodes of unknown price\n" in text


@pytest.mark.parametrize("subcommand", ["quotas", "prices"])
def test_what_cannot_be_read_is_said_and_the_rest_is_shown(subcommand: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([subcommand, EXAMPLE]) == 1
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0].isupper()
    assert "cannot be read: " in captured.err


@pytest.mark.parametrize("subcommand", ["quotas", "prices"])
def test_a_file_that_is_not_accepted_is_exit_status_1(
    subcommand: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text("Region: nowhere\n")
    assert main([subcommand, str(file), "--offline"]) == 1
    assert "Region" in capsys.readouterr().err


@pytest.mark.parametrize("subcommand", ["quotas", "prices"])
def test_help_shows_examples_and_exit_statuses(subcommand: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([subcommand, "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert "examples:" in text and "exit status:" in text and "--offline" in text


def quotas_file(tmp_path: Path, vcpus: float | None) -> str:
    path = tmp_path / "quotas.json"
    entry = {"class": "standard", "market": "on-demand", "quota": vcpus, "in_use": 0, "needed": 0}
    path.write_text(json.dumps({"cluster": "c", "quotas": [entry]}))
    return str(path)


def test_check_config_warns_of_a_quota_that_is_too_small(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config", EXAMPLE, "--quotas", quotas_file(tmp_path, 32.0)]) == 0
    captured = capsys.readouterr()
    assert captured.err == (
        f"{EXAMPLE}: warning: if every node ran, 40 vCPUs of class standard would be needed on-demand; "
        "the account's quota is 32\n"
    )
    assert "accepted" in captured.out


@pytest.mark.parametrize("vcpus", [40.0, None])
def test_check_config_is_silent_about_a_quota_that_suffices_or_is_not_known(
    vcpus: float | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "check-config", EXAMPLE, "--quotas", quotas_file(tmp_path, vcpus))


def test_check_config_asks_aws_only_when_told_to(capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "check-config", EXAMPLE)
    assert main(["check-config", EXAMPLE, "--online"]) == 0
    assert "warning: quotas cannot be read: " in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "[]", '{"quotas": [{}]}', '{"quotas": [{"class": "z", "market": "spot"}]}'])
def test_a_quotas_file_that_is_something_else_is_refused(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "quotas.json"
    path.write_text(content)
    assert main(["check-config", EXAMPLE, "--quotas", str(path)]) == 1
    assert "not the output of `clustermgtctl quotas --output json`" in capsys.readouterr().err
