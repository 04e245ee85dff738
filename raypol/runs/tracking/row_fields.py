"""A row of the results in MLflow's terms, from the descriptions of its columns: params, metrics and tags."""

import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from raypol.store.escaping import without_secrets
from raypol.store.results.columns import columns_of
from raypol.store.results.interval_rows import IntervalRow
from raypol.store.results.legacy import RENAMED
from raypol.store.results.rows import TrialRow

if TYPE_CHECKING:
    from mlflow.entities import Metric

LONGEST_TAG: Final = 5000


def row_digest(row: TrialRow) -> str:
    """Digest of a row's content: the same before it is written to Parquet and after it is read back.

    Columns at their default do not count, conditions and slack count as the texts that older results hold, and columns under
    their first names, so that the row of an older version keeps its digest.
    """
    told: dict[str, str | float] = {}
    first_names = {new: old for old, new in RENAMED.items()}
    for column in columns_of(TrialRow):
        value = getattr(row, column.name)
        if column.group == "verifier" or value is None or value == column.default:
            continue
        if isinstance(value, str):
            told[first_names.get(column.name, column.name)] = plain(value)
        elif not math.isnan(value):
            told[first_names.get(column.name, column.name)] = float(value)
    return digest_of(told | {name: text for name in ("replay", "thresholds") if (text := getattr(row, name))})


def trial_params(row: TrialRow) -> dict[str, str]:
    """Columns that were asked for, and the kind of row."""
    cells = {column.name: getattr(row, column.name) for column in columns_of(TrialRow, "param")}
    asked = {name: plain(str(cell)) for name, cell in cells.items() if cell not in (None, "")}
    return asked | {"kind": "proof" if row.is_honest else "spoof"}


def trial_metrics(row: TrialRow, intervals: Sequence[IntervalRow], *, timestamp: int) -> "list[Metric]":
    """Every finite number of the row that was not asked for, and one point per interval over the steps."""
    from mlflow.entities import Metric

    # The order in which they are logged is that of the UI's pages.
    columns = sorted(columns_of(TrialRow), key=lambda column: "headline" not in column.shown)
    cells = [(column.name, getattr(row, column.name), 0) for column in columns if "param" not in column.shown]
    points = [cell for cell in cells if _is_number(cell[1])]
    points += [(f"eps_repr_{i.metric}", i.normalised, i.step_to) for i in intervals]
    points += [("accuracy", value, step) for step, value in {i.step_to: i.accuracy for i in intervals}.items()]
    return [Metric(key, float(value), timestamp, step) for key, value, step in points if math.isfinite(value)]


def trial_tags(row: TrialRow) -> dict[str, str]:
    """Columns to filter by."""
    tags = {}
    for column in columns_of(TrialRow, "tag"):
        cell = getattr(row, column.name)
        tags[column.name] = str(bool(cell)).lower() if column.kind is bool else plain(str(cell))[:LONGEST_TAG]
    return tags | {"raypol.trial_id": row.trial_id, "mlflow.source.git.commit": row.commit}


def trial_times(row: TrialRow) -> tuple[int, int]:
    """Start and end of the work in ms since the epoch, so that the UI shows its duration and not that of logging."""
    start = time.time()
    with suppress(ValueError):
        start = datetime.fromisoformat(row.started_at).timestamp()
    took = sum(value for value in (row.wall_s, row.verify_s) if value is not None and math.isfinite(value))
    return int(start * 1000), int((start + took) * 1000)


def digest_of(content: Mapping[str, Any] | Sequence[str]) -> str:
    """SHA-256 of the content's JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def plain(value: str) -> str:
    """A text as Parquet holds it: a message may quote a file name that is no Unicode."""
    return without_secrets(value.encode("utf-8", "backslashreplace").decode())


def _is_number(value: object) -> bool:
    return isinstance(value, bool | int | float) and math.isfinite(value)
