"""Keys that a running daemon cannot take over."""

from __future__ import annotations

from collections.abc import Mapping

from clustermgtd.errors import ConfigurationError
from clustermgtd.settings.cluster import Settings


def refuse_restart_only(old: Settings, new: Settings) -> None:
    """Some keys are read once.

    Raises:
        ConfigurationError: naming those that differ.
    """
    before, after = old.clustermgtd, new.clustermgtd
    pairs: Mapping[str, tuple[object, object]] = {
        "Region": (old.region, new.region),
        "Clustermgtd.ClusterName": (old.cluster_name, new.cluster_name),
        "Clustermgtd.Table": (before.table_name, after.table_name),
        "Clustermgtd.Events": (before.events, after.events),
        "Clustermgtd.Hooks": (before.hooks, after.hooks),
        "Clustermgtd.Metrics": (before.metrics, after.metrics),
        "Clustermgtd.Offerings.SubnetRefreshSeconds": (
            before.offerings.subnet_refresh_seconds,
            after.offerings.subnet_refresh_seconds,
        ),
        "Clustermgtd.CapacityBlocks.RefreshSeconds": (
            before.capacity_blocks.refresh_seconds,
            after.capacity_blocks.refresh_seconds,
        ),
        "Clustermgtd.Prices": (before.prices, after.prices),
        "Clustermgtd.Quotas": (before.quotas, after.quotas),
        "Clustermgtd.Slurm": (before.slurm, after.slurm),
        "Clustermgtd.Log": (before.log, after.log),
    }
    changed = [name for name, (was, will) in pairs.items() if was != will]
    if changed:
        raise ConfigurationError(f"{', '.join(changed)} cannot change while the daemon runs: restart it")
