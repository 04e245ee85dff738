"""What an arena shows, on a terminal: a sentence per finding, and the matrix of costs."""

from collections.abc import Sequence
from typing import Final

from raypol.figures.style.axes import short_number
from raypol.report.arena.board import TaskBoard, board_of
from raypol.report.arena.rankings import VerifierRank, rank_verifiers
from raypol.report.arena.wording import rejected_text, summary_words
from raypol.report.conclusions import Conclusions, failures, limits, progress_sentence
from raypol.report.tables import Table, TableColumn, words
from raypol.runs.arena.recheck import Comparison
from raypol.store.results.cell_rows import CellRow
from raypol.store.results.rows import HONEST, TrialRow

_ROUNDED: Final = 1e-3
"""Relative difference of two errors that is not shown."""
_NOTE: Final = (
    "Cost of the cheapest accepted spoof in units of the honest proof's generation time, after a search of {budget} forgeries "
    "per attack; + if the policy accepts it at a second seed too. A dash: not accepted within the budget, which does not say "
    "that it cannot be. Honest proofs: accepted of judged. Arms in () claim another model than W_T, or other data."
)


def conclude_arena(
    cells: Sequence[CellRow], rows: Sequence[TrialRow], *, planned: int, resumed: int, stopped: str = ""
) -> Conclusions:
    """Who breaks what, at which cost, and which honest proofs are rejected.

    Args:
        cells: of one sweep.
        rows: of its trials, honest ones too.
        planned: number of trials there are to be.
        resumed: number of trials that an earlier run had finished.
        stopped: why the sweep ended before all were run; empty if it did not.
    """
    trials = [row for row in rows if not row.is_honest]
    board = board_of(cells)
    ranked = [(task, rank_verifiers(task)) for task in board.tasks]
    summary = [progress_sentence(trials, planned=planned, resumed=resumed)]
    summary += [
        sentence for _, verifiers in ranked for sentence in (summary_words(verifiers), _false_rejections(verifiers))
    ]
    remarks = [f"The sweep ended early: {stopped}."] if stopped else []
    return Conclusions(
        summary=summary,
        remarks=remarks + limits(rows) + failures(trials),
        tables=[matrix_table(task) for task, _ in ranked],
    )


def _false_rejections(verifiers: Sequence[VerifierRank]) -> str:
    honest = [(one.policy.label, one.honest) for one in verifiers if one.honest is not None]
    rejecting = [f"{name} {rejected_text(cell)}" for name, cell in honest if cell.accepted < cell.tried]
    if not honest:
        return "No honest proof was judged."
    if rejecting:
        return f"Honest proofs rejected: {', '.join(rejecting)}."
    return f"No policy rejects any of {max(cell.tried for _, cell in honest)} honest proofs."


def matrix_table(task: TaskBoard) -> Table:
    """A line per arm, a column per policy."""
    lines = []
    for line in task.lines:
        name = line.arm if line.group in ("honest", "controls", "W_T") else f"({line.arm})"
        lines.append([name, *(_cell_text(place.shown("adaptive")) for place in line.places)])
    budget = max((cell.budget for cell in task.shown("adaptive")), default=0)
    columns = [*words("arm"), *(TableColumn(policy.label.replace("_", "\n")) for policy in task.policies)]
    return Table(title=task.title, columns=columns, lines=lines, note=_NOTE.format(budget=budget))


def _cell_text(cell: CellRow | None) -> str:
    if cell is None:
        return ""
    if not cell.tried:
        return "failed" if cell.failed else "?"
    if cell.arm == HONEST:
        return f"{cell.accepted}/{cell.tried}"
    if not cell.is_broken:
        return "-"
    again = "+" if cell.seeds > 1 and cell.seeds_accepted == cell.seeds else ""
    return f"{short_number(cell.cost, 2) if cell.cost is not None else '?'}{again}"


def recheck_table(found: Sequence[Comparison]) -> Table:
    """A line per trial that was run again and came out otherwise, or a line that none did."""
    lines = [
        [
            one.then.arm,
            f"{one.then.steps:,}",
            str(one.then.seed),
            ", ".join(one.differing) or "-",
            short_number(one.then.error_l2 or 0.0, 3),
            short_number(one.now.error_l2 or 0.0, 3),
        ]
        for one in found
        if one.differing or one.error_change > _ROUNDED
    ]
    columns = [*words("arm"), TableColumn("T'"), TableColumn("seed"), *words("policies that differ")]
    columns += [TableColumn("error l2\nthen", "d_ref"), TableColumn("error l2\nnow", "d_ref")]
    same = f"{len(found) - len(lines)} of {len(found)} trials have the same verdicts and errors (within 0.1 %), and are left out."
    return Table(title="Run again", columns=columns, lines=lines, note=same)
