"""Writes Grafana's dashboards: `python -m clustermgtd.telemetry.dashboards FOLDER`.

Each dashboard has a module. The expressions ask for the daemon's metrics, for node_exporter's and for
the job figures that the role `monitoring` sets up; a test holds each of them against what exists.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from clustermgtd.telemetry.dashboards.cost import COST
from clustermgtd.telemetry.dashboards.daemon import DAEMON
from clustermgtd.telemetry.dashboards.launches import LAUNCHES
from clustermgtd.telemetry.dashboards.machines import MACHINES
from clustermgtd.telemetry.dashboards.nodes import NODES
from clustermgtd.telemetry.dashboards.panel import Dashboard, Panel

DASHBOARDS: Final = (LAUNCHES, NODES, COST, DAEMON, MACHINES)
_DATA_SOURCE = {"type": "prometheus", "uid": "clustermgtd"}
_WIDTH, _HEIGHT, _COLUMNS = 8, 8, 3
"""Of a panel in Grafana's grid, which is 24 wide."""


def files() -> dict[str, str]:
    """JSON text by file name."""
    return {f"{board.name}.json": json.dumps(_board(board), indent=1) + "\n" for board in DASHBOARDS}


def _board(board: Dashboard) -> dict[str, Any]:
    return {
        "uid": f"clustermgtd-{board.name}",
        "title": board.title,
        "tags": ["clustermgtd"],
        "editable": False,
        "schemaVersion": 39,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "1m",
        "links": [{"type": "dashboards", "title": "Dashboards", "tags": ["clustermgtd"], "asDropdown": True}],
        "panels": list(_panels(board)),
    }


def _panels(board: Dashboard) -> Iterator[dict[str, Any]]:
    for index, panel in enumerate(board.panels):
        row, column = divmod(index, _COLUMNS)
        yield {
            "id": index + 1,
            "type": "timeseries",
            "title": panel.title,
            "description": panel.description,
            "datasource": _DATA_SOURCE,
            "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
            "fieldConfig": {"defaults": _look(panel), "overrides": []},
            "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
            "targets": [
                {
                    "refId": chr(ord("A") + number),
                    "datasource": _DATA_SOURCE,
                    "expr": expression,
                    "legendFormat": legend,
                }
                for number, (legend, expression) in enumerate(panel.expressions)
            ],
        }


def _look(panel: Panel) -> dict[str, Any]:
    stacking = {"mode": "normal" if panel.stacked else "none"}
    return {"unit": panel.unit, "min": 0, "custom": {"fillOpacity": 20 if panel.stacked else 0, "stacking": stacking}}


def main(folder: Path) -> None:
    """Write them; files of dashboards that are no more go."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = files()
    for old in folder.glob("*.json"):
        if old.name not in texts:
            old.unlink()
    for name, text in texts.items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
