"""The lab's cluster.yaml and scenario: a site's own files, moved into the lab's folder, ports and imagined Region."""

from __future__ import annotations

import getpass
import importlib.resources
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from clustermgtd.errors import ConfigurationError
from clustermgtd.lab.ec2.scenario import Scenario, SubnetSpec, load_scenario
from clustermgtd.lab.folder import LabFolder


@dataclass(frozen=True, slots=True)
class Chosen:
    """What `lab up` was given; None takes the lab's own."""

    config: Path | None = None
    scenario: Path | None = None


def localise(text: str, folder: LabFolder, metrics_port: int, queue_url: str | None = None) -> dict[str, Any]:
    """The raw cluster.yaml with the daemon's sockets, folders, ports and queue inside the lab; all else unchanged.

    Raises:
        ConfigurationError: it is not a YAML mapping. What is in it is judged by `clustermgtd.settings`.
    """
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"cluster.yaml: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigurationError("cluster.yaml: not a mapping")
    ours = dict(raw.get("Clustermgtd") or {})
    local: dict[str, dict[str, Any]] = {
        "Hooks": {
            "SocketPath": str(folder.path / "hooks.sock"),
            "SpoolDir": str(folder.path / "spool"),
            "AllowedUsers": sorted({getpass.getuser(), "root"}),
        },
        "Metrics": {"Enabled": True, "Address": "127.0.0.1", "Port": metrics_port},
        "Slurm": {"ConfFile": str(folder.slurm_conf)},
        "Events": {"QueueUrl": queue_url},
        "Health": {"ConsoleDir": str(folder.path / "consoles")},
    }
    for section, values in local.items():
        ours[section] = {**(ours.get(section) or {}), **values}
    return {**raw, "Clustermgtd": ours}


def cluster_text(chosen: Chosen) -> str:
    """The chosen cluster.yaml, or the lab's own.

    Raises:
        ConfigurationError: it cannot be read.
    """
    return _text(chosen.config, "cluster.yaml")


def scenario_for(chosen: Chosen, region: str, subnets: Iterable[str]) -> Scenario:
    """The chosen scenario in the cluster's Region, with every subnet that the cluster names.

    Subnets that the scenario lacks are added, spread over its zones.

    Raises:
        ConfigurationError: the scenario cannot be read or is wrong.
    """
    scenario = load_scenario(_text(chosen.scenario, "scenario.yaml"))
    known = {name: _moved(spec, scenario.region, region) for name, spec in scenario.subnets.items()}
    zones = itertools.cycle(sorted({spec.zone for spec in known.values()}) or [f"{region}a"])
    missing = sorted(set(subnets) - known.keys())
    added: Mapping[str, SubnetSpec] = {
        name: SubnetSpec(next(zones), f"10.{100 + number}.0.0/16") for number, name in enumerate(missing)
    }
    pools = {(kind, _in_region(zone, scenario.region, region), m): n for (kind, zone, m), n in scenario.pools.items()}
    return replace(scenario, region=region, subnets={**known, **added}, pools=pools)


def _moved(spec: SubnetSpec, source: str, region: str) -> SubnetSpec:
    return replace(spec, zone=_in_region(spec.zone, source, region))


def _in_region(zone: str, source: str, region: str) -> str:
    return region + zone.removeprefix(source) if zone.startswith(source) else zone


def _text(path: Path | None, ours: str) -> str:
    try:
        if path is None:
            return importlib.resources.files("clustermgtd.lab").joinpath(ours).read_text(encoding="utf-8")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from error
