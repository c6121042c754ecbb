"""The instance store, and what the agent says about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from clustermgtd.node.instance_store import instance_store_complaint
from tests.unit.node.test_agent import Machine


@pytest.fixture
def disks(tmp_path: Path) -> Path:
    """Two disks under the names that udev gives them, each under two names, one with a partition."""
    folder = tmp_path / "by-id"
    folder.mkdir()
    for number in (1, 2):
        (tmp_path / f"nvme{number}n1").touch()
        for suffix in ("", "_1"):
            name = f"nvme-Amazon_EC2_NVMe_Instance_Storage_AWS{number}{suffix}"
            (folder / name).symlink_to(tmp_path / f"nvme{number}n1")
    (folder / "nvme-Amazon_EC2_NVMe_Instance_Storage_AWS1-part1").symlink_to(tmp_path / "nvme1n1p1")
    (folder / "nvme-Amazon_Elastic_Block_Store_vol1").symlink_to(tmp_path / "nvme0n1")
    return folder


def test_disks_that_nobody_mounted_are_counted_once_each(disks: Path, tmp_path: Path) -> None:
    folder = str(tmp_path / "scratch")
    assert instance_store_complaint(folder, disks) == f"2 instance store disks, and nothing is mounted at {folder}"


def test_a_mounted_store_is_no_trouble(disks: Path) -> None:
    assert instance_store_complaint("/proc", disks) == ""


def test_an_instance_without_a_store_is_no_trouble(tmp_path: Path) -> None:
    assert instance_store_complaint(str(tmp_path), tmp_path / "by-id") == ""


def test_nobody_looks_where_no_folder_is_given(disks: Path) -> None:
    assert instance_store_complaint("", disks) == ""


def test_a_store_that_is_not_mounted_is_said_and_the_node_boots(capsys: pytest.CaptureFixture[str]) -> None:
    machine = Machine(store_complaint=lambda folder: f"nothing at {folder}")
    assert machine.agent(ephemeral_dir="/fast").run() == 0
    assert "nothing at /fast" in capsys.readouterr().err
