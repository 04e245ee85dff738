"""The Grafana dashboard of dashboards/, as tests read it."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
DASHBOARD: Final = ROOT / "dashboards" / "grafana" / "raypol.json"
PROMETHEUS: Final = ROOT / "dashboards" / "prometheus.yml"

NEEDS_GPU: Final = {
    "GPU utilisation": "Ray exports it where a GPU's driver answers; this machine has none",
    "GPU memory in use": "likewise",
}
"""Panels that stay empty here, and why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """One query of a panel."""

    panel: str
    expression: str
    """As Prometheus gets it: with every variable filled in as Grafana does for All."""


def dashboard() -> dict[str, Any]:
    """As Grafana reads it."""
    read: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return read


def panels() -> list[dict[str, Any]]:
    """Without the rows, which are titles."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def queries() -> list[Query]:
    """Of all panels."""
    return [
        Query(panel=panel["title"], expression=filled(target["expr"]))
        for panel in panels()
        for target in panel["targets"]
    ]


def filled(expression: str) -> str:
    """Variables as for All, rates over a minute."""
    return re.sub(r"\$(session|sweep)\b", ".*", expression).replace("$__rate_interval", "1m")


def metrics_of(expression: str) -> set[str]:
    """Names of the metrics in an expression: the words before a brace."""
    return set(re.findall(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{", expression))
