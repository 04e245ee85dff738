"""Results as Parquet: one file per trial, one for its intervals; a reader needs a glob and nothing else.

RESULTS/trials/<trial_id>.parquet      one row per trial and arm
RESULTS/intervals/<trial_id>.parquet   one row per verified interval and metric

A file appears as a whole or not at all, and a trial that is run again replaces its own file: no half file, no duplicate row.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_type_hints

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from raypol.store.location import Location, atomic_output
from raypol.store.results_folder import ResultsFolder

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRow:
    """One trial: full configuration, every measurement, the verdict. None = does not apply or was not reached."""

    sweep_id: str
    trial_id: str
    proof_id: str
    arm: str
    attack: str
    dataset: str
    model: str
    steps: int
    interval: int
    batch_size: int
    seed: int
    device: str
    """As asked for: the spoofer's (of the honest row: the prover's)."""
    device_name: str
    """As the driver or the kernel reports it."""
    status: str
    """ok | error | stopped (early: what was looked at first already rules success out)."""
    message: str = ""
    node: str = ""
    """Where the work was done: host/node, several if it moved."""
    dataset_sha256: str = ""
    prover_device: str = ""
    prover_device_name: str = ""
    """Of the honest proof that this row is compared with."""
    verifier_device: str = ""
    verifier_device_name: str = ""
    verifier_node: str = ""
    objective: str | None = None
    crafting: str | None = None
    iterations: int | None = None
    trajectory: str | None = None
    initial: str | None = None
    hyperparameters: str | None = None
    carry: str | None = None
    alpha: float | None = None
    linf_limit: float | None = None
    noise: float | None = None
    noise_decay: float | None = None
    simulated: bool = False
    """True if a GPU named here was only declared and a CPU did its work."""
    estimated: bool = False
    """True if only `intervals_verified` of `num_intervals`, drawn by seed, were crafted and replayed; times and sizes are
    extrapolated."""
    estimate_confidence: float | None = None
    """Of an estimate: with this confidence ..."""
    estimate_beyond: int | None = None
    """... at most so many of its intervals err more than the largest error seen, in any one metric."""
    precision: str = ""
    """Of the arithmetic that the proof declares."""
    replay: str = ""
    thresholds: str = ""
    num_intervals: int = 0
    intervals_verified: int = 0
    accepted_published: bool | None = None
    accepted_strict: bool | None = None
    rejected_by: str | None = None
    rejected_by_published: str | None = None
    error_l1: float | None = None
    error_l2: float | None = None
    error_linf: float | None = None
    error_cos: float | None = None
    mean_error_l1: float | None = None
    mean_error_l2: float | None = None
    mean_error_linf: float | None = None
    mean_error_cos: float | None = None
    jump_l1: float | None = None
    jump_l2: float | None = None
    jump_linf: float | None = None
    jump_cos: float | None = None
    removed_share_l1: float | None = None
    removed_share_l2: float | None = None
    removed_share_linf: float | None = None
    removed_share_cos: float | None = None
    buffer_error_l2: float | None = None
    device_s: float | None = None
    wall_s: float | None = None
    verify_s: float | None = None
    gradient_evals: int | None = None
    step_equivalents: float | None = None
    size_bytes: int | None = None
    size_weights_bytes: int | None = None
    size_optimizer_bytes: int | None = None
    size_indices_bytes: int | None = None
    size_points_bytes: int | None = None
    size_overhead_bytes: int | None = None
    num_points: int | None = None
    accuracy_final: float | None = None
    perturbation_linf: float | None = None
    perturbation_l2: float | None = None
    grad_norm2_before: float | None = None
    grad_norm2_after: float | None = None
    loss_before: float | None = None
    loss_after: float | None = None
    retries: float | None = None
    acceptance_rate: float | None = None
    success: bool | None = None
    success_strict: bool | None = None
    bound_by: str | None = None
    ratio_error_l1: float | None = None
    ratio_error_l2: float | None = None
    ratio_error_linf: float | None = None
    ratio_error_cos: float | None = None
    ratio_time: float | None = None
    ratio_size: float | None = None
    proof_reference: str | None = None
    started_at: str = ""
    versions: str = ""
    commit: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class IntervalRow:
    """One verified interval in one metric."""

    sweep_id: str
    trial_id: str
    proof_id: str
    step_from: int
    step_to: int
    metric: str
    distance: float
    """eps_repr, in units of the weights (cos: none)."""
    normalised: float
    """distance / d_ref."""
    threshold: float
    """delta in the unit of distance."""
    passed: bool
    movement: float
    """d(W_{t-k}, W_t), the `jump`."""
    control: float | None
    """eps_repr of the same interval with unperturbed batches, the `null` reference."""
    removed_share: float | None
    state_distance: float
    """What the optimizer state adds: distance between where the recorded and the replayed state would drift."""
    buffer_distance: float
    """Of the norm layers' statistics; reported apart, not judged."""
    accuracy: float
    """Test accuracy of W_t in [0, 1]."""
    loss: float
    """Mean training loss over the replayed steps."""


Row = TypeVar("Row", bound="DataclassInstance")

_ARROW: Final[dict[type, pa.DataType]] = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


def schema_of(row_type: type) -> pa.Schema:
    """Arrow schema of a row dataclass."""
    hints = get_type_hints(row_type)

    def arrow(hint: Any) -> pa.DataType:  # noqa: ANN401 - a type hint
        kinds = [t for t in getattr(hint, "__args__", (hint,)) if t is not type(None)]
        return _ARROW[kinds[0]]

    return pa.schema([(f.name, arrow(hints[f.name])) for f in fields(row_type)])


def write_trial(results: Location, trial: TrialRow, intervals: Sequence[IntervalRow]) -> None:
    """Record one trial; the intervals first, so that a trial that is there is complete."""
    write_rows(ResultsFolder(results).intervals, trial.trial_id, IntervalRow, intervals)
    write_rows(ResultsFolder(results).trials, trial.trial_id, TrialRow, [trial])


def read_trials(results: Location, *, sweep_id: str = "") -> list[TrialRow]:
    """The rows of a results folder, or of one sweep in it, by trial_id; columns that an older version lacks are empty."""
    return read_rows(ResultsFolder(results).trials, TrialRow, sweep_id)


def read_trial(results: Location, trial_id: str) -> tuple[TrialRow, list[IntervalRow]] | None:
    """One trial's row and its intervals; None if it has no row."""
    if not (ResultsFolder(results).trials / f"{trial_id}.parquet").exists():
        return None
    (row,) = read_rows(ResultsFolder(results).trials, TrialRow, "", names=[f"{trial_id}.parquet"])
    return row, read_rows(ResultsFolder(results).intervals, IntervalRow, "", names=[f"{trial_id}.parquet"])


def read_rows(folder: Location, row_type: type[Row], sweep_id: str, names: Sequence[str] | None = None) -> list[Row]:
    """The rows of some files of a folder, None = of all; of one sweep, "" = of all."""
    names = [name for name, _ in folder.files() if name.endswith(".parquet")] if names is None else names
    paths = [(folder / name).path for name in sorted(names)]
    if not paths:
        return []
    found = ds.dataset(paths, filesystem=folder.filesystem, format="parquet", schema=schema_of(row_type))
    return to_rows(found.to_table(filter=ds.field("sweep_id") == sweep_id if sweep_id else None), row_type)


def to_rows(table: pa.Table, row_type: type[Row]) -> list[Row]:
    """The rows of a table with the columns of `schema_of(row_type)`."""
    own = {f.name: f for f in fields(row_type)}

    def cell(name: str, value: Any) -> Any:  # noqa: ANN401 - any cell
        if value is not None:
            return value
        if own[name].default is not MISSING:  # the column is younger than the file
            return own[name].default
        return math.nan if own[name].type is float else None  # NaN is written as NULL

    return [row_type(**{name: cell(name, value) for name, value in plain.items()}) for plain in table.to_pylist()]


MANY_ROWS: Final[Mapping[str, Any]] = {"compression": "zstd"}
ONE_ROW: Final[Mapping[str, Any]] = {
    "compression": "none",
    "use_dictionary": False,
    "write_statistics": False,
    "store_schema": False,
}
"""Without what pays for many rows alone, a trial's file is a third as large and read in a quarter of the time."""


def write_rows(folder: Location, name: str, row_type: type, rows: Sequence[Any]) -> None:
    """FOLDER/<name>.parquet with these rows and no others."""
    folder.make_folder()
    plain = [{key: _plain(value) for key, value in asdict(row).items()} for row in rows]
    with atomic_output(folder / f"{name}.parquet") as stream:
        table = pa.Table.from_pylist(plain, schema=schema_of(row_type))
        pq.write_table(table, stream, **(ONE_ROW if len(rows) == 1 else MANY_ROWS))


def _plain(value: Any) -> Any:  # noqa: ANN401 - any cell
    if isinstance(value, str):  # a message may quote a file name that is no Unicode
        return value.encode("utf-8", "backslashreplace").decode()
    # Parquet has no NaN for "undefined" that SQL aggregates would skip; NULL is that.
    return None if isinstance(value, float) and math.isnan(value) else value
