"""The view that MLflow's pages open with: columns of the run table and charts, kept in a tag of the experiment.

MLflow 3 keeps a shared view in the tag `mlflow.sharedViewState.KEY` and opens it by `?viewStateShareKey=KEY`.
The value is JSON with the fields that the page's "Share" button writes; fields that a version does not know it leaves out.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from raypol.store.escaping import without_secrets
from raypol.store.results.columns import Column, columns_of
from raypol.store.results.rows import TrialRow

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEY: Final = "raypol"
_TAG: Final = f"mlflow.sharedViewState.{KEY}"
_NOTE: Final = "mlflow.note.content"

_TABLE: Final = sorted(
    columns_of(TrialRow, "headline", "runs", "strength"),
    key=lambda column: ("param" not in column.shown, "headline" not in column.shown),
)
"""Columns of the run table: what was asked, success and ratios, then what explains them."""
_ASKED: Final = "asked"
_DETAILS: Final = "details"
_SECTIONS: Final = {
    _ASKED: "Error and cost over T' (steps), k (interval) and strength",
    _DETAILS: "Error against cost, error over training",
}
"""Titles by key: every chart names its section, and MLflow takes 5,000 characters of state in all."""
_MOST_CHARACTERS: Final = 4990
_OF_A_STRENGTH: Final = ("success", "ratio_time", "ratio_error_l2")
"""What the chart of a strength shows; that of all trials has every headline."""


def table_link(experiment_id: str) -> str:
    """Path in the UI of the run table with our columns; without `workflowType` the UI shows its menu of language models."""
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={KEY}&workflowType=machine_learning"


def charts_link(experiment_id: str) -> str:
    """Path in the UI of the charts: parallel coordinates, error against cost, errors over training."""
    return f"{table_link(experiment_id)}&compareRunsMode=CHART"


def table_address(uri: str, experiment_id: str) -> str:
    """Address of the run table: on the server itself, else where `mlflow ui` listens by default."""
    server = without_secrets(uri).rstrip("/") if uri.startswith("http") else "http://127.0.0.1:5000"
    return f"{server}/{table_link(experiment_id)}"


def put_views(client: "MlflowClient", experiment_id: str) -> None:
    """Give the experiment our view, and a description that links it unless it has one. A second call writes nothing."""
    tags = client.get_experiment(experiment_id).tags
    state = json.dumps(view_state(), separators=(",", ":"))
    if tags.get(_TAG) != state:
        client.set_experiment_tag(experiment_id, _TAG, state)
    if not tags.get(_NOTE):  # the user's words stay
        note = f"Runs as a [table]({table_link(experiment_id)}) or as [charts]({charts_link(experiment_id)})."
        client.set_experiment_tag(experiment_id, _NOTE, note)


def view_state() -> dict[str, Any]:
    """State of the page: a chart for each strength as far as MLflow's limit of a tag goes; those that no run has stay hidden."""
    strengths = [column.name for column in columns_of(TrialRow, "strength")]
    while len(json.dumps(state := _state(strengths), separators=(",", ":"))) > _MOST_CHARACTERS:
        strengths.pop()
    return state


def _state(strengths: Sequence[str]) -> dict[str, Any]:
    charts = [
        _parallel("asked"),
        *(_parallel(name, name) for name in strengths),
        _chart("cost", "SCATTER", _DETAILS, xaxis=_metric("ratio_time"), yaxis=_metric("ratio_error_l2")),
        _chart(
            "training", "LINE", _DETAILS, metricKey="eps_repr_l2", selectedMetricKeys=["eps_repr_l2"], xAxisKey="step",
            scaleType="log", xAxisScaleType="linear", lineSmoothness=0, range={}, useGlobalXaxisKey=True,
            useGlobalLineSmoothing=True, yAxisKey="metric", yAxisExpressions=[],
        ),
    ]  # fmt: skip
    columns = [_column_id(column) for column in _TABLE]
    return {
        "selectedColumns": columns,
        "columnOrder": ["attributes.`Run Name`", *columns],
        "columnWidths": {_column_id(column): max(75, 9 * len(column.name)) for column in _TABLE},
        "runsHiddenMode": "SHOW_ALL",
        "hideEmptyCharts": True,
        "compareRunCharts": charts,
        "compareRunSections": [_section(_ASKED, columns=1), _section(_DETAILS, columns=2)],
        "isAccordionReordered": True,
    }


def _parallel(name: str, *strength: str) -> dict[str, Any]:
    """Chart of lines through T', k, a strength, errors and cost; a run that lacks one of them has no line."""
    asked = ["steps", "interval", *strength]
    measured = _OF_A_STRENGTH if strength else tuple(column.name for column in columns_of(TrialRow, "headline"))
    return _chart(name, "PARALLEL", _ASKED, selectedParams=asked, selectedMetrics=list(measured), showAllRuns=True)


def _chart(name: str, kind: str, section: str, **more: object) -> dict[str, Any]:
    base = {"uuid": f"raypol-{name}", "type": kind, "metricSectionId": section, "runsCountToCompare": 100}
    return base | {"deleted": False, "isGenerated": False} | more


def _section(name: str, *, columns: int) -> dict[str, Any]:
    told = {"uuid": name, "name": _SECTIONS[name], "display": True, "columns": columns, "cardHeight": 380}
    return told | {"isReordered": True, "deleted": False, "isGenerated": False}


def _metric(key: str) -> dict[str, str]:
    return {"key": key, "type": "METRIC"}


def _column_id(column: Column) -> str:
    kind = next((kind for kind in ("param", "tag") if kind in column.shown), "metric")
    return f"{kind}s.`{column.name}`"
