"""`Clustermgtd.Infrastructure`: what `clustermgtctl render cloudformation` makes, beyond ParallelCluster's keys."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from clustermgtd.settings.section import Section, SubnetIdText


class NewDatabase(Section):
    """A MariaDB in RDS for Slurm's accounting, with a password that nobody has to know."""

    instance_class: Annotated[str, Field(pattern=r"^db\.[a-z0-9]+\.[a-z0-9]+$")] = "db.t4g.medium"
    """RDS instance class."""
    engine_version: Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$")] = "10.11.19"
    """MariaDB's release, one that RDS offers (`aws rds describe-db-engine-versions --engine mariadb`)."""
    storage: Annotated[int, Field(ge=20, le=16_384)] = 20
    """GiB of gp3, encrypted."""
    storage_max: Annotated[int, Field(ge=22, le=16_384)] = 200
    """GiB up to which RDS enlarges it by itself."""
    subnet_ids: Annotated[tuple[SubnetIdText, ...], Field(min_length=2)]
    """Subnets in at least two zones, as RDS wants it."""
    is_multi_zone: Annotated[bool, Field(alias="MultiZone")] = False
    """A second instance in another zone takes over when the first one fails."""
    backup_days: Annotated[int, Field(ge=0, le=35)] = 7
    """Days that backups are kept; 0 is none."""
    deletion_policy: Literal["Delete", "Retain", "Snapshot"] = "Snapshot"
    """What becomes of it with the cluster."""


class Infrastructure(Section):
    """What the template makes beside the network."""

    head_node_recovery: Literal["alarm", "none"] = "alarm"
    """`alarm`: EC2 moves the head node to another host when the one below it fails; address, volumes and the cluster's
    state stay. `none`: nothing does."""
    database: NewDatabase | None = None
