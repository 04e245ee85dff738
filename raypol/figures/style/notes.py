"""Footnotes that several figures have."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from raypol.figures.series import Setting
from raypol.store.results.rows import TrialRow

SPREAD: Final = "Several rows: their median, band from the smallest to the largest."
UNITS: Final = "Errors are divided by d_ref, the distance of two honest runs."


def joined(words: Iterable[str]) -> str:
    """Words with an `and` before the last."""
    *first, last = [*words] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def list_briefly(names: Iterable[str], *, most: int = 6, separator: str = "; ") -> str:
    """Names, each once, the first few of many."""
    distinct = list(dict.fromkeys(names))
    rest = len(distinct) - most
    return separator.join([*distinct[:most], *([f"and {rest} more"] if rest > 0 else [])])


def note_names(text: str, names: Iterable[str]) -> list[str]:
    """A footnote "text: names.", none without names."""
    listed = list_briefly(names)
    return [f"{text}: {listed}."] if listed else []


def row_name(row: TrialRow, arm: str = "") -> str:
    """A row in a footnote, by its arm's name or a name that says more."""
    symbol = "T" if row.is_honest else "T'"
    return f"{arm or row.arm} at {symbol} = {row.steps:,}"


def note_not_measured(rows: Sequence[TrialRow]) -> list[str]:
    """Footnotes on simulated and on estimated rows."""
    return [
        *note_names("Simulated, not measured on that device", (row_name(row) for row in rows if row.simulated)),
        *note_names("Estimated, from a sample of the intervals", (row_name(row) for row in rows if row.estimated)),
    ]


def note_left_out(rows: Sequence[TrialRow]) -> list[str]:
    """A footnote on the rows that failed or were stopped early."""
    left_out = [row for row in rows if not row.is_ok]
    counts = ", ".join(f"{count} {status}" for status, count in sorted(Counter(r.status for r in left_out).items()))
    return note_names(f"Left out, {len(left_out)} of {len(rows)} rows ({counts})", map(row_name, left_out))


def note_merged(names: Iterable[str]) -> list[str]:
    """A footnote on rows that have no curves of their own."""
    found = ", ".join(sorted(set(names)))
    return [f"Put together, too many to tell apart: rows that differ in {found}."] if found else []


def note_proofs(settings: Sequence[Setting]) -> list[str]:
    """A footnote on settings whose spoofs stand beside proofs of several T: points are then of more than T'."""
    mixed = [setting for setting in settings if len({row.steps for row in setting.honest}) > 1]
    if not mixed:
        return []
    where = f" in {' / '.join(setting.name for setting in mixed[:3])}" if len(settings) > 1 else ""
    lengths = sorted({row.steps for setting in mixed for row in setting.honest})
    listed = list_briefly((f"{steps:,}" for steps in lengths), separator=" / ")
    if any(len({row.sweep_id for row in setting.rows}) > 1 for setting in mixed):
        return [
            f"Rows of several sweeps with different proofs (T = {listed}) are put together{where}: filter one sweep."
        ]
    return [f"Rows with different proofs (T = {listed}) are put together{where}."]


def note_no_proof(settings: Sequence[Setting]) -> list[str]:
    """A footnote on settings without an honest proof to compare with."""
    without = [setting.name for setting in settings if not setting.honest]
    where = f" of {list_briefly(without)}" if len(settings) > 1 else ""
    return [f"Missing: an honest row with status ok{where}; there is no line to compare with."] if without else []
