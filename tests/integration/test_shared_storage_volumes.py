"""The role shared_storage never writes over anything: plain files are the volumes, each case is a host of one play."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.architecture.source_tree import ROOT

COOKBOOKS = ROOT / "cookbooks"
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
MISSING = [name for name in ("blkid", "cmp", "mkfs.ext4", "mkswap") if shutil.which(name, path=PATH) is None]
SIZE = 80 << 20
PLAY = [
    {
        "hosts": "all",
        "gather_facts": False,
        "tasks": [
            {
                "name": "Volumes",
                "ansible.builtin.include_role": {"name": "shared_storage", "tasks_from": "ebs.yml"},
                "loop": "{{ entries }}",
            }
        ],
    }
]

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(MISSING), reason=f"programs are missing: {', '.join(MISSING)}"),
]


def zeros(volume: Path) -> None:
    with volume.open("wb") as file:
        file.truncate(SIZE)


def ext4(volume: Path) -> None:
    zeros(volume)
    subprocess.run(["mkfs.ext4", "-q", volume], env={"PATH": PATH}, check=True)


def damaged_ext4(volume: Path) -> None:
    """Its first superblock is lost, and e2fsck could repair it from another one."""
    ext4(volume)
    write(volume, 0, bytes(4096))


def swap(volume: Path) -> None:
    zeros(volume)
    subprocess.run(["mkswap", volume], env={"PATH": PATH}, check=True, capture_output=True)


def database(volume: Path) -> None:
    """Of a program that uses the whole volume in a way of its own, beginning some way in."""
    zeros(volume)
    write(volume, 32 << 20, b"rows and rows and rows")


def partitions(volume: Path) -> None:
    """A table with one partition."""
    zeros(volume)
    write(volume, 446, struct.pack("<B3sB3sII", 0, b"\0\2\0", 0x83, b"\0\0\0", 2048, 100_000))
    write(volume, 510, b"\x55\xaa")


def member(volume: Path) -> None:
    """Of an array, by a superblock of mdadm's version 1.2."""
    zeros(volume)
    head = struct.pack("<IIII16s32sQIIQII", 0xA92B4EFC, 1, 0, 0, b"u" * 16, b"any:other", 0, 1, 0, 2048, 0, 2)
    block = bytearray(head.ljust(256, b"\0"))
    struct.pack_into("<QQQ", block, 128, 2048, 100_000, 8)
    words = struct.unpack("<64I", block)
    total = sum(words)
    struct.pack_into("<I", block, 216, ((total & 0xFFFFFFFF) + (total >> 32)) & 0xFFFFFFFF)
    write(volume, 4096, bytes(block))


def write(volume: Path, offset: int, what: bytes) -> None:
    with volume.open("r+b") as file:
        file.seek(offset)
        file.write(what)


REFUSED: dict[str, tuple[tuple[Callable[[Path], None], ...], str]] = {
    "damaged": (
        (damaged_ext4,),
        "is neither empty nor a file system and is left as it is. It holds data of an unknown kind",
    ),
    "database": ((database,), "It holds data of an unknown kind"),
    "swap": ((swap,), "It holds swap"),
    "partitions": ((partitions,), "It holds dos"),
    "member": ((member,), "It holds linux_raid_member"),
    "array-partitions": ((partitions, partitions), "are left as they are: vol-0 holds dos, vol-1 holds dos"),
    "array-damaged": ((damaged_ext4, zeros), "vol-0 holds data of an unknown kind, vol-1 holds nothing"),
    "array-ext4": ((ext4, ext4), "vol-0 holds ext4, vol-1 holds ext4"),
    "array-replaced": ((member, zeros), "vol-0 holds linux_raid_member, vol-1 holds nothing"),
    "missing": ((), "volume vol-0 is not attached to this instance after 1 s"),
}


def play(folder: Path, hosts: dict[str, int]) -> tuple[str, dict[str, tuple[int, int]]]:
    """What Ansible said, in one line, and (changed, failed) of each host, which has so many volumes."""
    inventory = {
        "all": {
            "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
            "hosts": {name: host(folder / name, name, count) for name, count in hosts.items()},
        }
    }
    (folder / "inventory.yml").write_text(yaml.safe_dump(inventory))
    (folder / "play.yml").write_text(yaml.safe_dump(PLAY))
    environment = os.environ | {"ANSIBLE_CONFIG": str(COOKBOOKS / "ansible.cfg"), "PATH": PATH}
    done = subprocess.run(
        ["ansible-playbook", "-i", folder / "inventory.yml", folder / "play.yml", "-e", f"@{folder / 'extra.yml'}"],
        cwd=COOKBOOKS,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    recap = re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)\s+unreachable=0\s+failed=(\d+)", done.stdout, re.MULTILINE)
    return " ".join(done.stdout.split()), {name: (int(changed), int(failed)) for name, changed, failed in recap}


def host(folder: Path, name: str, count: int) -> dict[str, object]:
    return {
        "disks": f"{folder}/",
        "shared_storage_attach_timeout_s": 1,
        "entries": [
            {
                "name": name,
                "kind": "Ebs",
                "mount_dir": "/data",
                "raid_level": 0 if count > 1 else -1,
                "volume_ids": [f"vol-{number}" for number in range(max(count, 1))],
            }
        ],
    }


def make(folder: Path, name: str, contents: tuple[Callable[[Path], None], ...]) -> None:
    (folder / name).mkdir()
    for number, content in enumerate(contents):
        content(folder / name / f"vol{number}")


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*/vol*")
    }


def test_what_is_not_empty_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "extra.yml").write_text('shared_storage_disk_prefix: "{{ disks }}"\n')
    for name, (contents, _) in REFUSED.items():
        make(tmp_path, name, contents)
    before = digests(tmp_path)
    said, results = play(tmp_path, {name: len(contents) for name, (contents, _) in REFUSED.items()})
    assert digests(tmp_path) == before
    assert results == dict.fromkeys(REFUSED, (0, 1)), said
    for name, (_, reason) in REFUSED.items():
        assert f"Shared storage {name} (Ebs at /data): " in said
        assert reason in said, said


def test_an_empty_volume_is_formatted_once_and_a_file_system_never(tmp_path: Path) -> None:
    (tmp_path / "extra.yml").write_text('shared_storage_disk_prefix: "{{ disks }}"\n')
    make(tmp_path, "new", (zeros,))
    make(tmp_path, "old", (ext4,))
    old = digests(tmp_path)["old/vol0"]
    assert play(tmp_path, {"new": 1, "old": 1})[1] == {"new": (1, 0), "old": (0, 0)}
    formatted = digests(tmp_path)
    assert formatted["old/vol0"] == old
    assert play(tmp_path, {"new": 1, "old": 1})[1] == {"new": (0, 0), "old": (0, 0)}
    assert digests(tmp_path) == formatted
