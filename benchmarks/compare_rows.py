"""Compare the rows of two results folders column by column: `python -m benchmarks.compare_rows BEFORE AFTER`.

A change that must not change numbers is shown by it: run the same command before and after, compare. Trials are paired by what
was asked of them; the newest sweep of each folder is taken unless named. Exits with 1 if a value differs that no clock decides.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import duckdb
import tyro
from rich.console import Console
from rich.table import Table

from raypol.store.quoting import sql_rows

KEY: Final = (
    "dataset",
    "model",
    "arm",
    "attack",
    "steps",
    "interval",
    "batch_size",
    "seed",
    "device",
    "verifier_device",
)
"""Columns that pair the trials of two runs."""
NAMES: Final = frozenset(
    {"sweep_id", "trial_id", "proof_id", "proof_reference", "started_at", "commit", "node", "verifier_node"}
)
"""Columns that name a run, its time or its place."""
CLOCK: Final = frozenset(
    {
        "device_s",
        "wall_s",
        "verify_s",
        "ratio_time",
        "ratio_working",
        "step_equivalents",
        "success",
        "success_strict",
        "bound_by",
    }
)
"""Columns that a clock decides, or may decide."""
MANIFEST: Final = frozenset({"size_bytes", "size_overhead_bytes", "ratio_size"})
"""Columns with the size of the manifest, which holds measured times in as many digits as they have."""
MANIFEST_BYTES: Final = 64
RENAMED: Final[Mapping[str, str]] = {
    "replay": "augmentation={replay_augmentation} precision={replay_precision} device={replay_device} threads={replay_threads}",
    "thresholds": "{threshold_kind} l1={threshold_l1:g} l2={threshold_l2:g} linf={threshold_linf:g} cos={threshold_cos:g}",
}
"""Column of an older version -> the same text from columns of this one."""


@dataclass(frozen=True, kw_only=True)
class CompareRows:
    """Two results folders."""

    before: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="BEFORE")]
    """Local results folder."""
    after: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="AFTER")]
    """Local results folder."""
    sweep_before: str = ""
    """sweep_id in BEFORE; empty = the newest."""
    sweep_after: str = ""
    """sweep_id in AFTER; empty = the newest."""


Row = Mapping[str, Any]


def read(folder: str, sweep_id: str) -> dict[tuple[Any, ...], Row]:
    """Rows of one sweep by what was asked; files of several versions are united by column name."""
    database = duckdb.connect()
    database.execute(f"CREATE VIEW trials AS FROM {sql_rows(folder, by_name=True)}")
    chosen = sweep_id or database.sql("SELECT max_by(sweep_id, started_at) FROM trials").fetchall()[0][0]
    found = database.execute("SELECT * FROM trials WHERE sweep_id = $1", [chosen])
    names = [column[0] for column in found.description or ()]
    rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    paired: dict[tuple[Any, ...], Row] = {tuple(row[name] for name in KEY): row for row in rows}
    if len(paired) != len(rows):
        sys.exit(f"{folder}: {len(rows)} rows of {chosen} have {len(paired)} different {', '.join(KEY)}")
    return paired


def differing(before: Row, after: Row) -> dict[str, tuple[Any, Any]]:
    """Columns whose values differ, with both values; a column that one of them lacks is not compared, unless it was renamed."""
    found = {}
    for name in before:
        if name in NAMES or (name not in after and name not in RENAMED):
            continue
        values = before[name], after[name] if name in after else RENAMED[name].format_map(after)
        if name == "thresholds" and name not in after and after["threshold_late"] is not None:
            values = before[name], f"{values[1]} late={after['threshold_late']:g}"
        if not same(name, *values, manifest_bytes=_bytes_apart(name, before)):
            found[name] = values
    return found


def same(name: str, before: Any, after: Any, *, manifest_bytes: float) -> bool:  # noqa: ANN401 - any cell
    """True if two cells are equal; NaN equals NaN, a size may be off by the digits of times."""
    if isinstance(before, float) and isinstance(after, float) and math.isnan(before) and math.isnan(after):
        return True
    if name in MANIFEST and before is not None and after is not None:
        return bool(abs(before - after) <= manifest_bytes)
    return bool(before == after)


def _bytes_apart(name: str, row: Row) -> float:
    """How far two values of a size may be apart, in the column's own unit."""
    if name != "ratio_size":
        return MANIFEST_BYTES
    return (
        2 * MANIFEST_BYTES * row["ratio_size"] / row["size_bytes"]
        if row.get("size_bytes") and row["ratio_size"]
        else 0.0
    )


def report(before: Sequence[Row], after: Sequence[Row]) -> tuple[Table, set[str]]:
    """Table of differing columns, and those that no clock decides."""
    table = Table("column", "rows that differ", "before", "after", "", box=None, pad_edge=False)
    apart: dict[str, list[tuple[Any, Any]]] = {}
    for one, other in zip(before, after, strict=True):
        for name, values in differing(one, other).items():
            apart.setdefault(name, []).append(values)
    for name, pairs in sorted(apart.items()):
        why = "a clock decides" if name in CLOCK else "DIFFERS"
        table.add_row(name, f"{len(pairs)} of {len(before)}", str(pairs[0][0])[:40], str(pairs[0][1])[:40], why)
    return table, set(apart) - CLOCK


def main() -> None:
    """Entry point."""
    asked = tyro.cli(CompareRows, description=__doc__)
    before, after = read(asked.before, asked.sweep_before), read(asked.after, asked.sweep_after)
    out = Console(highlight=False, markup=False)
    for word, missing in (("AFTER", before.keys() - after.keys()), ("BEFORE", after.keys() - before.keys())):
        for key in sorted(missing, key=str):
            out.print(f"not in {word}: " + ", ".join(f"{n}={v}" for n, v in zip(KEY, key, strict=True)))
    keys = [key for key in before if key in after]
    table, wrong = report([before[key] for key in keys], [after[key] for key in keys])
    one, other = (set(next(iter(rows.values()))) for rows in (before, after))
    out.print(table)
    out.print(
        f"\nonly in BEFORE: {', '.join(sorted(one - other)) or '-'}\nonly in AFTER: {', '.join(sorted(other - one)) or '-'}"
    )
    compared = len((one & other) - NAMES) + len(set(RENAMED) & one - other)
    out.print(f"{len(keys)} rows, {compared} columns compared; {len(wrong)} differ that no clock decides")
    sys.exit(bool(wrong) or before.keys() != after.keys())


if __name__ == "__main__":
    main()
