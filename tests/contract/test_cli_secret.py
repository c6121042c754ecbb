"""clustermgtctl secret over the lab's Secrets Manager and SSM."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clustermgtd.cli.main import main

KEY = bytes(range(128))


@pytest.fixture
def secrets(aws_endpoints: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws_endpoints.endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "lab")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "lab")
    client = aws_endpoints.client("secretsmanager")
    yield client
    for one in client.list_secrets()["SecretList"]:
        client.delete_secret(SecretId=one["ARN"], ForceDeleteWithoutRecovery=True)
    client.close()


def arn_of(secrets: Any, value: str) -> str:
    return str(secrets.create_secret(Name="clustermgtd-test", SecretString=value)["ARN"])


def test_a_password_is_the_secret_or_its_key(secrets: Any, capsys: pytest.CaptureFixture[str]) -> None:
    arn = arn_of(secrets, "plain {word}")
    assert main(["secret", arn, "--key", "password"]) == 0
    assert capsys.readouterr().out == "plain {word}"
    secrets.put_secret_value(SecretId=arn, SecretString='{"username": "admin", "password": "of RDS"}')
    assert main(["secret", arn, "--key", "password"]) == 0
    assert capsys.readouterr().out == "of RDS"


def test_a_munge_key_is_written_once(secrets: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arn, path = arn_of(secrets, base64.encodebytes(KEY).decode()), tmp_path / "munge.key"
    command = ["secret", arn, "--base64", "--bytes", "32-1024", "--output-file", str(path)]
    assert main(command) == 0
    assert capsys.readouterr().out == "changed\n"
    assert path.read_bytes() == KEY
    assert path.stat().st_mode & 0o777 == 0o400
    assert main(command) == 0
    assert capsys.readouterr().out == ""


def test_what_is_wrong_is_said_without_the_value(
    secrets: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arn, path = arn_of(secrets, '{"user": "hush"}'), tmp_path / "munge.key"
    missing = arn.replace("clustermgtd-test", "other")
    for command, message in (
        ([arn, "--key", "password"], f"{arn}: is a JSON object without 'password'; it has: user"),
        ([arn, "--base64"], f"{arn}: is not base64"),
        ([arn, "--bytes", "32-1024", "--output-file", str(path)], f"{arn}: has 16 bytes, and must have 32 to 1024"),
        ([missing], "ResourceNotFoundException"),
        (["arn:aws:s3:::bucket/key"], "is not the ARN of a Secrets Manager secret"),
    ):
        assert main(["secret", *command]) == 1
        said = capsys.readouterr()
        assert message in said.err
        assert "hush" not in said.err + said.out
    assert not path.exists()


def test_a_parameter_of_ssm_is_decrypted(secrets: Any, aws_endpoints: Any, capsys: pytest.CaptureFixture[str]) -> None:
    ssm = aws_endpoints.client("ssm")
    ssm.put_parameter(Name="/cluster/password", Value="of SSM", Type="SecureString")
    assert main(["secret", "arn:aws:ssm:us-east-1:123456789012:parameter/cluster/password"]) == 0
    assert capsys.readouterr().out == "of SSM"
    ssm.delete_parameter(Name="/cluster/password")
    ssm.close()
