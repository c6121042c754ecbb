"""The instance store, seen from the node: is it there, and is it mounted where the site wants it?"""

from __future__ import annotations

from pathlib import Path

DISKS = Path("/dev/disk/by-id")
_DISK_NAMES = "nvme-Amazon_EC2_NVMe_Instance_Storage_*"


def instance_store_complaint(mount_dir: str, disks: Path = DISKS) -> str:
    """A sentence if the instance has disks of its own and nothing is mounted at `mount_dir`; empty if all is well."""
    if not mount_dir or Path(mount_dir).is_mount():
        return ""
    count = len({disk.resolve() for disk in disks.glob(_DISK_NAMES) if "-part" not in disk.name})
    return f"{count} instance store disks, and nothing is mounted at {mount_dir}" if count else ""
