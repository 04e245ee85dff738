"""The demo's table and a verdict's, as rich renderables."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from raypol.core.distances import METRICS
from raypol.core.verification.verdict import Verdict
from raypol.report.terminal import plain
from raypol.store.results.rows import TrialRow

Cell = Callable[[TrialRow], str | Text]
Column = tuple[str, Cell]
_READABLE: Final = 34
"""Characters of a column of words below which it is rather given a table of its own."""

_LEGEND: Final = (
    "verified: intervals replayed. error: normalised reproduction error, largest over intervals (eps_repr / d_ref). "
    "removed share: (null - attack) / (null - jump) in l2; - where ordinary batches err no more than no update at all. "
    "step equiv.: device time per claimed step in honest steps. "
    "success: accepted, all four errors below the proof's, less time and storage than the proof."
)


def arms_table(rows: Sequence[TrialRow], *, width: int) -> RenderableType:
    """A row per arm; `jump` is added per (T', k): it is a number, not a spoof.

    All columns in one table if the width takes them, else in as few tables as it takes, each with the arm's name.
    """
    identity: list[Column] = [
        ("arm", lambda r: r.arm),
        ("T'", lambda r: str(r.steps)),
        ("k", lambda r: str(r.interval)),
    ]
    groups: list[list[Column]] = [
        [
            ("verified", lambda r: f"{r.intervals_verified}/{r.num_intervals}" if r.num_intervals else ""),
            *((f"error\n{m}", _error(m)) for m in METRICS),
            ("removed\nshare", lambda r: _number(r.removed_share_l2, ".2f")),
        ],
        [
            ("device\ns", lambda r: _number(r.device_s, ".2f")),
            ("/ proof's\ntime", lambda r: _number(r.ratio_time, ".2f")),
            ("step\nequiv.", lambda r: _number(r.step_equivalents, ".1f")),
            ("size\nMB", lambda r: _number(None if r.size_bytes is None else r.size_bytes / 1e6, ".2f")),
            ("/ proof's\nsize", lambda r: _number(r.ratio_size, ".2f")),
        ],
        [
            ("published\nverdict", lambda r: _verdict(r.accepted_published, r.rejected_by_published)),
            ("strict\nverdict", lambda r: _verdict(r.accepted_strict, r.rejected_by)),
        ],
        [
            ("success\npubl./strict", _success),
            ("bound by", _bound),
        ],
    ]
    rows = list(_with_jump(rows))
    tables, columns = [], list(identity)
    for group in groups:
        if len(columns) > len(identity) and _width(rows, columns + group) > width:
            tables.append(_table(rows, columns))
            columns = list(identity)
        columns += group
    tables.append(_table(rows, columns))
    return Group(*(part for table in tables for part in (table, "")), _LEGEND)


def verdict_table(verdict: Verdict) -> Table:
    """Each check with its numbers."""
    table = Table(title=f"policy {verdict.policy}", title_justify="left", box=None, pad_edge=False)
    for column in ("check", "outcome", "what was seen"):
        table.add_column(column)
    for check in verdict.checks:
        outcome = Text("passed", "green") if check.passed else Text("FAILED", "red bold")
        table.add_row(plain(check.name), outcome, plain(check.detail))
    return table


def shown_conditions(bound_by: str) -> str:
    """The conditions that bind, for a person."""
    parts = bound_by.split(",")
    errors = [part for part in parts if part.startswith("error_")]
    if len(errors) == len(METRICS):
        parts = [part for part in parts if part not in errors] + ["all errors"]
    return ", ".join(part.replace("rejected:", "rejected by ") for part in parts)


def _width(rows: Iterable[TrialRow], columns: list[Column]) -> int:
    """Characters that the table takes; words may be wrapped, but not into slivers."""
    table, console = _table(rows, columns), Console(width=10_000)
    for column in table.columns:
        if not column.no_wrap:
            column.max_width = _READABLE
    return int(Measurement.get(console, console.options, table).maximum)


def _table(rows: Iterable[TrialRow], columns: list[Column]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    words = {"published\nverdict", "strict\nverdict", "bound by"}
    left = {"arm", "success\npubl./strict", *words}
    for name, _ in columns:
        table.add_column(name, justify="left" if name in left else "right", no_wrap=name not in words, vertical="top")
    previous = None
    for row in rows:
        if previous is not None and (row.steps, row.interval) != previous:
            table.add_row()
        previous = (row.steps, row.interval)
        cells = (cell(row) for _, cell in columns)
        table.add_row(*(plain(shown) if isinstance(shown, str) else shown for shown in cells))
    return table


def _with_jump(rows: Sequence[TrialRow]) -> Iterable[TrialRow]:
    """The rows with one for `jump` before the first spoof of each (T', k)."""
    shown = set()
    for row in rows:
        if not row.is_honest and row.is_ok and (row.steps, row.interval) not in shown:
            shown.add((row.steps, row.interval))
            yield TrialRow(
                sweep_id=row.sweep_id, trial_id="", proof_id="", arm="jump (no update)", attack="jump", dataset=row.dataset,
                model=row.model, steps=row.steps, interval=row.interval, batch_size=row.batch_size, seed=row.seed, device="",
                device_name="", status="ok", error_l1=row.jump_l1, error_l2=row.jump_l2, error_linf=row.jump_linf,
                error_cos=row.jump_cos,
            )  # fmt: skip
        yield row


def _error(metric: str) -> Cell:
    return lambda row: _number(getattr(row, f"error_{metric}"), ".2g")


def _number(value: float | None, form: str) -> str:
    if value is None or math.isnan(value):
        return "-"
    return format(value, form)


def _verdict(accepted: bool | None, rejected_by: str | None) -> Text:
    if accepted is None:
        return Text("-")
    if accepted:
        return Text("accepted", "green")
    return Text("rejected: " + (rejected_by or "").replace(",", ", "), "red")


def _success(row: TrialRow) -> Text:
    if not row.is_ok:
        return Text(row.status, "red bold")
    if row.success is None or row.success_strict is None:
        return Text("-")
    text = Text("yes" if row.success else "no", "green" if row.success else "red")
    return text + Text(" / ") + Text("yes" if row.success_strict else "no", "green" if row.success_strict else "red")


def _bound(row: TrialRow) -> str:
    if not row.is_ok:
        return row.message.splitlines()[0] if row.message else ""
    if row.bound_by is None:
        return "-"
    if row.success:
        return f"closest: {row.bound_by}"
    return shown_conditions(row.bound_by)
