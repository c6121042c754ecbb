"""A place for machines, and no AWS that anybody pays for."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from clustermgtd.lab.environment import NOBODYS_CREDENTIALS
from tests.cookbooks.commands import CommandError
from tests.cookbooks.folders import FOLDERS
from tests.cookbooks.machines import Place
from tests.cookbooks.network import network

MISSING = [
    name
    for name in ("debootstrap", "systemd-nspawn", "nft", "ssh", "unshare", "ip")
    if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None
]


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in NOBODYS_CREDENTIALS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def place() -> Iterator[Place]:
    if os.geteuid() != 0:
        pytest.skip("only root can boot containers")
    if MISSING:
        pytest.skip(f"programs are missing: {', '.join(MISSING)}")
    FOLDERS.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=FOLDERS, prefix="machines-"))
    try:
        with network() as mine:
            yield Place(mine, folder)
    except CommandError as error:
        if "iptables" in str(error) or "Operation not permitted" in str(error):
            pytest.skip(f"containers cannot be started here: {error}")
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
