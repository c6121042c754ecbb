"""`clustermgtctl secret`: the value of a secret that cluster.yaml names, for the cookbooks."""

from __future__ import annotations

import argparse
import base64
import binascii
import json
import sys
from pathlib import Path

from clustermgtd.cli.command import Exit, Help, Subparsers, add_parser
from clustermgtd.cli.output_file import replace

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 20
ATTEMPTS = 5

_HELP = Help(
    name="secret",
    summary="read a secret that cluster.yaml names by its ARN",
    description="""\
Read a secret of Secrets Manager, or a parameter of SSM, and write its value to standard output, or into a file
that only its owner may read. The Region is the ARN's. A file that holds the value already is left alone.""",
    examples="""\
examples:
  clustermgtctl secret arn:aws:secretsmanager:eu-central-1:123456789012:secret:db-Ab1Cd2 --key password
  clustermgtctl secret arn:aws:secretsmanager:eu-central-1:123456789012:secret:munge-Ab1Cd2 \\
      --base64 --bytes 32-1024 --output-file /etc/munge/munge.key

exit status: 0, 1 if the secret cannot be read or is not of this form, 2 for a wrong command line""",
)


class SecretError(ValueError):
    """The secret cannot be read or used; the message names it and says what to do, and never holds its value."""


def register(subparsers: Subparsers) -> None:
    parser = add_parser(subparsers, _HELP)
    parser.add_argument("arn", metavar="ARN", help="of the secret or parameter")
    parser.add_argument(
        "--key", metavar="NAME", default="", help="if the secret is a JSON object, its value under this name"
    )
    parser.add_argument("--base64", action="store_true", help="decode the value")
    parser.add_argument("--bytes", metavar="MIN-MAX", type=_range, help="refuse a value of another length")
    parser.add_argument("--output-file", metavar="PATH", type=Path, help="default: standard output")
    parser.set_defaults(run=_run)


def _range(text: str) -> range:
    first, dash, last = text.partition("-")
    if not (dash and first.isdecimal() and last.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a range, such as 32-1024")
    return range(int(first), int(last) + 1)


def _run(arguments: argparse.Namespace) -> int:
    try:
        value = value_of(read(arguments.arn), arguments.key, decode=arguments.base64)
        check_length(value, arguments.bytes)
        if arguments.output_file is None:
            sys.stdout.buffer.write(value)
        elif _replace(arguments.output_file, value):
            print("changed")
    except (SecretError, OSError) as error:
        print(f"{arguments.arn}: {error}", file=sys.stderr)
        return Exit.FAILED
    return Exit.OK


def read(arn: str) -> bytes:
    """The secret's whole value.

    Raises:
        SecretError: the ARN is of nothing that can be read, or AWS does not give it.
    """
    # imported here: they take longer than most subcommands run
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    parts = arn.split(":", 5)
    if len(parts) < 6 or parts[2] not in ("secretsmanager", "ssm"):
        raise SecretError("is not the ARN of a Secrets Manager secret or of an SSM parameter")
    service, region, resource = parts[2], parts[3], parts[5]
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_S, read_timeout=READ_TIMEOUT_S, retries={"total_max_attempts": ATTEMPTS}
    )
    try:
        client = boto3.client(service, region_name=region, config=config)
        if service == "ssm":
            name = resource.removeprefix("parameter")
            answer = client.get_parameter(Name=name, WithDecryption=True)
            return str(answer["Parameter"]["Value"]).encode()
        answer = client.get_secret_value(SecretId=arn)
    except (BotoCoreError, ClientError) as error:
        action = "ssm:GetParameter" if service == "ssm" else "secretsmanager:GetSecretValue"
        raise SecretError(f"cannot be read: {error} (needed: {action} on it, and kms:Decrypt on its key)") from error
    text = answer.get("SecretString")
    return bytes(answer["SecretBinary"]) if text is None else str(text).encode()


def value_of(secret: bytes, key: str, *, decode: bool) -> bytes:
    """What is meant of a secret: RDS keeps user and password as one JSON object, others the bare password.

    Raises:
        SecretError: it has no such key, or is not base64.
    """
    if key:
        try:
            document = json.loads(secret)
        except ValueError:
            document = None
        if isinstance(document, dict):
            if key not in document:
                raise SecretError(
                    f"is a JSON object without {key!r}; it has: {', '.join(sorted(document)) or 'nothing'}"
                )
            secret = str(document[key]).encode()
    if not decode:
        return secret
    try:
        return base64.b64decode(b"".join(secret.split()), validate=True)
    except binascii.Error as error:
        raise SecretError("is not base64: store the output of `base64 FILE`") from error


def check_length(value: bytes, allowed: range | None) -> None:
    """None allows any.

    Raises:
        SecretError: it is shorter or longer.
    """
    if allowed is not None and len(value) not in allowed:
        bounds = f"{allowed.start} to {allowed.stop - 1}"
        raise SecretError(f"has {len(value)} bytes, and must have {bounds}: put another value into it")


def _replace(path: Path, value: bytes) -> bool:
    """Whether the file was written, with mode 0400."""
    if path.exists() and path.read_bytes() == value:
        return False
    replace(path, value, 0o400)
    return True
