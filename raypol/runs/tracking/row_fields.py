"""A row of the results in MLflow's terms: params are what was asked, metrics every number, tags what one filters by."""

import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from raypol.store.results.rows import IntervalRow, TrialRow

if TYPE_CHECKING:
    from mlflow.entities import Metric

PARAMS: Final = (
    "attack", "arm", "steps", "interval", "objective", "crafting", "alpha", "linf_limit", "iterations", "trajectory", "noise",
    "noise_decay", "initial", "hyperparameters", "carry", "precision", "dataset", "model", "batch_size", "seed", "device",
    "device_name", "replay", "thresholds",
)  # fmt: skip
"""Columns of a trial that are what was asked; the rest of its numbers are metrics."""
_TAGS: Final = ("trial_id", "proof_id", "status", "rejected_by", "bound_by", "commit")
_FLAGS: Final = ("success", "success_strict", "simulated", "estimated")
_FIRST: Final = ("error_l2", "ratio_error_l2", "ratio_time", "ratio_size", "success")
"""Metrics in the order in which they are logged, which is that of the UI's pages."""
LONGEST_TAG: Final = 5000


def row_digest(row: TrialRow) -> str:
    """Of what the row holds: the same before it is written to Parquet and after it is read back.

    Columns at their default do not count, so that the row of an older version keeps its digest.
    """
    told: dict[str, str | float] = {}
    for column in fields(row):
        value = getattr(row, column.name)
        if isinstance(value, str):
            told[column.name] = plain(value)
        elif value is not None and not math.isnan(value):
            told[column.name] = float(value)
        if column.name in told and value == column.default:
            del told[column.name]
    return digest_of(told)


def trial_params(row: TrialRow) -> dict[str, str]:
    """What was asked."""
    asked = {key: plain(str(getattr(row, key))) for key in PARAMS if getattr(row, key) not in (None, "")}
    return asked | {"kind": "proof" if row.arm == "honest" else "spoof"}


def trial_metrics(row: TrialRow, intervals: Sequence[IntervalRow], *, timestamp: int) -> "list[Metric]":
    """Every finite number of the row, and one point per interval over the steps."""
    from mlflow.entities import Metric

    columns = asdict(row)
    numbers = {key: columns[key] for key in (*_FIRST, *columns) if key not in PARAMS}
    points = [(key, value, 0) for key, value in numbers.items() if _is_number(value)]
    points += [(f"eps_repr_{i.metric}", i.normalised, i.step_to) for i in intervals]
    points += [("accuracy", value, step) for step, value in {i.step_to: i.accuracy for i in intervals}.items()]
    return [Metric(key, float(value), timestamp, step) for key, value, step in points if math.isfinite(value)]


def trial_tags(row: TrialRow) -> dict[str, str]:
    """What one filters by."""
    tags = {key: plain(str(getattr(row, key)))[:LONGEST_TAG] for key in _TAGS}
    tags |= {key: str(bool(getattr(row, key))).lower() for key in _FLAGS}
    return tags | {"raypol.trial_id": row.trial_id, "mlflow.source.git.commit": row.commit}


def trial_times(row: TrialRow) -> tuple[int, int]:
    """Start and end of the work in ms since the epoch, so that the UI shows its duration and not that of logging."""
    start = time.time()
    with suppress(ValueError):
        start = datetime.fromisoformat(row.started_at).timestamp()
    took = sum(value for value in (row.wall_s, row.verify_s) if value is not None and math.isfinite(value))
    return int(start * 1000), int((start + took) * 1000)


def digest_of(content: Mapping[str, Any] | Sequence[str]) -> str:
    """SHA-256 of its JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def plain(value: str) -> str:
    """As the results have it: a message may quote a file name that is no Unicode."""
    return value.encode("utf-8", "backslashreplace").decode()


def _is_number(value: object) -> bool:
    return isinstance(value, bool | int | float) and math.isfinite(value)
