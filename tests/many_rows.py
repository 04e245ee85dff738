"""A results folder with as many trials as wanted, as large sweeps leave it: five sweeps, every arm, real spreads, some errors."""

import math
import random
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from raypol.core.distances import METRICS
from raypol.store.results.columns import schema_of
from raypol.store.results.files import MANY_ROWS, ONE_ROW
from raypol.store.results.interval_rows import IntervalRow
from raypol.store.results.rows import TrialRow
from tests.rows import made_intervals, made_row

_ARMS: Final = {
    "null": "null",
    "infinitesimal": "infinitesimal",
    "forged_momentum": "forged_momentum",
    "I-tail": "i_tail",
    "II": "zhang2022_ii",
    "III-gradient": "iii",
    "III-loss": "iii",
    "III-invisible": "iii",
}
_TASKS: Final = (
    ("digits", "resnet8"),
    ("fashion_mnist", "resnet20"),
    ("cifar10", "resnet20"),
    ("cifar100", "resnet50"),
)
_DEVICES: Final = (("cpu", "Intel(R) Xeon(R) Processor", False), ("T4", "Tesla T4", True), ("P40", "Tesla P40", True))
_CHUNK: Final = 1000


def varied_row(number: int) -> TrialRow:
    """One trial of many: the same number gives the same row."""
    dice = random.Random(number)
    arm = dice.choice(list(_ARMS))
    dataset, model = _TASKS[number % len(_TASKS)]
    device, device_name, simulated = dice.choices(_DEVICES, (6, 2, 1))[0]
    steps = dice.choice([round(20 * 1.35**i) for i in range(24)])
    estimated = steps > 5000 and number % 3 == 0
    status = dice.choices(("ok", "error", "stopped"), (96, 2, 2))[0]
    base = replace(
        made_row(number, sweep_id=f"sweep-{'abcde'[number % 5]}"),
        trial_id=f"trial-{number:012x}", arm=arm, attack=_ARMS[arm], dataset=dataset, model=model, steps=steps,
        interval=dice.choice((10, 20, 50, 100)), batch_size=128, seed=number % 7, device=device, device_name=device_name,
        simulated=simulated, status=status, trajectory="linear", initial="strict", declares="honest_schedule",
        alpha=dice.choice((0.001, 0.003, 0.01, 0.03)) if arm.startswith("III") else None,
        linf_limit=dice.choice((8 / 255, 16 / 255)) if arm == "III-invisible" else None,
        noise=dice.choice((0.0, 0.001)), estimated=estimated, error_l1=None, error_l2=None,
        success=None, retries=None,
        message="RuntimeError: out of memory" if status == "error" else "",
        replay_augmentation="fresh", replay_precision="float32", replay_device="cpu", replay_threads=1,
        threshold_kind="relative", threshold_l1=0.1, threshold_l2=0.1, threshold_linf=0.15, threshold_cos=0.02,
        versions='{"python": "3.11.7", "raypol": "0.1.0", "torch": "2.14.1"}',
    )  # fmt: skip
    return base if status == "error" else _measured(base, dice)


def _measured(row: TrialRow, dice: random.Random) -> TrialRow:
    level = {"null": 0.1, "infinitesimal": 0.05, "forged_momentum": 1e-6}.get(row.arm, 0.04)
    error = {m: level * math.sqrt(400 / row.steps) * dice.lognormvariate(0, 0.4) for m in METRICS}
    by_metric: dict[str, Any] = {}
    for metric, value in error.items():
        by_metric |= {
            f"error_{metric}": value,
            f"mean_error_{metric}": 0.8 * value,
            f"ratio_error_{metric}": value / 0.08,
        }
    seconds, size = row.steps * dice.lognormvariate(-4, 0.2), int(row.steps / row.interval * 180_000)
    published, cheap = max(error.values()) < 0.15, row.steps < 4000
    strict, small = published and row.arm != "forged_momentum", error["l2"] < 0.08
    return replace(
        row, **by_metric, device_s=seconds, wall_s=1.2 * seconds, size_bytes=size,
        ratio_time=seconds / 70, ratio_size=size / 60e6, accepted_published=published, accepted_strict=strict,
        rejected_by="" if strict else "optimizer_state" if published else "replay",
        rejected_by_published="" if published else "replay",
        success=published and cheap and small, success_strict=strict and cheap and small,
        bound_by="" if cheap else "time,size", accuracy_final=0.95, num_intervals=max(row.steps // row.interval, 1),
        intervals_verified=max(row.steps // row.interval, 1), step_equivalents=9.0, gradient_evals=row.steps * 10,
    )  # fmt: skip


def write_many(folder: Path, number: int, *, first: int = 0, intervals_of: int = 200) -> None:
    """Trials `first` to `number` - 1, a file each, and the intervals of those below `intervals_of`."""
    for chunk in _chunks(first, number):
        rows = [varied_row(i) for i in chunk]
        table = pa.Table.from_pylist([asdict(row) for row in rows], schema=schema_of(TrialRow))
        (folder / "trials").mkdir(parents=True, exist_ok=True)
        for i, row in enumerate(rows):
            pq.write_table(table.slice(i, 1), folder / "trials" / f"{row.trial_id}.parquet", **ONE_ROW)
    (folder / "intervals").mkdir(parents=True, exist_ok=True)
    for row in map(varied_row, range(first, min(number, intervals_of))):
        plain = [asdict(interval) for interval in made_intervals(row, min(row.num_intervals, 40))]
        table = pa.Table.from_pylist(plain, schema=schema_of(IntervalRow))
        pq.write_table(table, folder / "intervals" / f"{row.trial_id}.parquet", **MANY_ROWS)


def _chunks(first: int, end: int) -> Iterator[range]:
    for start in range(first, end, _CHUNK):
        yield range(start, min(start + _CHUNK, end))
