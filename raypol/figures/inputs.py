"""Reading what figures are drawn from: rows, the intervals that are shown, success ranges, images."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import torch

from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.load import half_of, load_dataset
from raypol.core.datasets.places import data_home
from raypol.core.errors import InputError, first_line
from raypol.core.imports import is_import_path
from raypol.figures.image_pairs import ImagePairs, pick_pairs
from raypol.figures.over_training.data import needed
from raypol.figures.series import by_variant, settings_of
from raypol.figures.style.arms import in_order
from raypol.store.location import Location, leads_out
from raypol.store.results.files import read_rows, row_files
from raypol.store.results.interval_rows import IntervalRow
from raypol.store.results.range_rows import RangeRow
from raypol.store.results.rows import TrialRow
from raypol.store.results.verdict_rows import VerdictRow
from raypol.store.results_folder import ResultsFolder

_MOST_PAIRS: Final = 8
"""Spoofs whose images are shown."""
_DOWNLOADED: Final = ("cifar10", "cifar100")
"""Datasets that would be downloaded if they were asked for without a folder."""
_UNREADABLE: Final = (InputError, OSError, pa.ArrowException)


@dataclass(frozen=True, kw_only=True, slots=True)
class Material:
    """Rows, intervals, ranges and images that figures are drawn from."""

    rows: Sequence[TrialRow] = ()
    intervals: Sequence[IntervalRow | Mapping[str, Any]] = ()
    """Of some of the rows at least; a mapping needs the columns that a figure shows."""
    pairs: Sequence[ImagePairs] = ()
    ranges: Sequence[RangeRow] = ()
    verdicts: Sequence[VerdictRow] = ()
    notes: Sequence[str] = ()
    """A line on each thing that could not be read."""


def read_material(
    results: Location, sweep_id: str | None = None, *, data_dir: str | Path | None = None, own_code: bool = False
) -> Material:
    """Read what figures need from a results folder. Nothing is downloaded.

    Only the intervals that figures show are read: those of the honest proofs and of the spoofs of one T'.

    Args:
        results: the folder.
        sweep_id: of one sweep; None = of all in it.
        data_dir: where the datasets of the images lie; None = their usual places.
        own_code: load datasets that are named by import path, which runs their code: for rows of your own making.

    Raises:
        InputError: the trials cannot be read.
    """
    notes: list[str] = []
    try:
        rows = read_rows(ResultsFolder(results).trials, TrialRow, sweep_id or "", notes=notes)
    except _UNREADABLE as err:
        raise InputError(f"cannot read the trials in {results}: {first_line(err)}") from err
    found = material_of(results, rows, sweep_id, data_dir=data_dir, own_code=own_code)
    return replace(found, notes=[*notes, *found.notes])


def material_of(
    results: Location,
    rows: Sequence[TrialRow],
    sweep_id: str | None = None,
    *,
    data_dir: str | Path | None = None,
    own_code: bool = False,
) -> Material:
    """Read what figures need for some rows of a results folder; arguments as of `read_material`."""
    notes: list[str] = []
    intervals: list[IntervalRow] = []
    ranges: list[RangeRow] = []
    verdicts: list[VerdictRow] = []
    with _noted(notes, "intervals"):
        folder = ResultsFolder(results).intervals
        there = {info.base_name for info in row_files(folder)[0]}
        names = [name for name in (f"{trial_id}.parquet" for trial_id in needed(rows)) if name in there]
        intervals = read_rows(folder, IntervalRow, "", names=names, notes=notes)
    with _noted(notes, "success ranges"):
        ranges = read_rows(ResultsFolder(results).ranges, RangeRow, sweep_id or "", notes=notes)
    with _noted(notes, "verdicts"):
        verdicts = read_rows(ResultsFolder(results).verdicts, VerdictRow, sweep_id or "", notes=notes)
    pairs: list[ImagePairs] = []
    datasets: dict[str, Dataset | None] = {}
    for name, row in _crafted(rows):
        if not row.num_points:
            # An attack that found nothing better than the points as they are.
            none, labels = torch.zeros((0, 1, 1, 1)), torch.zeros(0, dtype=torch.int64)
            pairs.append(ImagePairs(arm=name, steps=row.steps, originals=none, crafted=none, labels=labels))
            continue
        if row.dataset not in datasets:
            datasets[row.dataset] = _load(row.dataset, data_dir, notes, own_code=own_code)
        dataset = datasets[row.dataset]
        if dataset is not None and len(pairs) < _MOST_PAIRS:
            with _noted(notes, f"images of {name} at T' = {row.steps:,}"):
                proof = ResultsFolder(results).proof(row.proof_id)
                if leads_out(proof, results):
                    raise InputError(f"{proof} leads out of the results folder")
                pair = pick_pairs(row, proof, dataset)
                pairs += [replace(pair, arm=name)] if pair is not None else []
    return Material(rows=rows, intervals=intervals, pairs=pairs, ranges=ranges, verdicts=verdicts, notes=notes)


@contextmanager
def _noted(notes: list[str], what: str) -> Iterator[None]:
    """Note in a line that something cannot be read."""
    try:
        yield
    except _UNREADABLE as err:
        notes.append(f"{what}: {first_line(err)}")


def _crafted(rows: Sequence[TrialRow]) -> list[tuple[str, TrialRow]]:
    """The longest spoof of each curve, by name; where there are several datasets, names say which."""
    chosen = []
    for setting in settings_of(rows):
        series = by_variant([row for row in setting.spoofs if row.num_points or row.crafting]).series
        longest = {arm: max(series[arm], key=lambda row: (bool(row.num_points), row.steps)) for arm in in_order(series)}
        chosen += [(setting.name, arm, row) for arm, row in longest.items()]
    several = len({name for name, _, _ in chosen}) > 1
    return [(f"{arm}, {name}" if several else arm, row) for name, arm, row in chosen]


def _load(name: str, data_dir: str | Path | None, notes: list[str], *, own_code: bool) -> Dataset | None:
    whole = half_of(name)[0]
    if is_import_path(whole) and not own_code:
        notes.append(f"images of {name}: a dataset of your own is not loaded here, that would run its code")
        return None
    # Where it would be downloaded to: naming the folder keeps it from being downloaded.
    folder = data_home() if data_dir is None and whole in _DOWNLOADED else data_dir
    try:
        return load_dataset(name, folder)
    except _UNREADABLE as err:
        notes.append(f"images of {name}: {first_line(err)}")
        return None
