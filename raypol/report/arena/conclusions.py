"""What an arena shows, on a terminal: a sentence per finding, and the matrix of costs."""

from collections.abc import Iterable, Sequence
from typing import Final

from raypol.figures.style.axes import short_number
from raypol.figures.style.notes import list_briefly
from raypol.report.conclusions import Conclusions, failures, limits, progress_sentence
from raypol.report.tables import Table, TableColumn, words
from raypol.runs.arena.recheck import Comparison
from raypol.store.results.cell_rows import CellRow
from raypol.store.results.rows import HONEST, TrialRow

STOLEN: Final = "W_T"
"""What a forgery of the stolen model claims."""
_NOTE: Final = (
    "Cost of the cheapest accepted spoof in units of the honest proof's generation time, after a search of {budget} forgeries "
    "per attack; in brackets at how many of the seeds that point is accepted. A dash: not accepted within the budget, which does "
    "not say that it cannot be. Honest proofs: accepted of judged. Arms in () claim another model than W_T, or other data."
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
    summary = [
        progress_sentence(trials, planned=planned, resumed=resumed),
        *broken_sentences(cells),
        *honest_sentences(cells),
    ]
    remarks = [f"The sweep ended early: {stopped}."] if stopped else []
    return Conclusions(summary=summary, remarks=remarks + limits(rows) + failures(trials), tables=[matrix_table(cells)])


def broken_sentences(cells: Sequence[CellRow]) -> list[str]:
    """Per group of policies alike: how many attacks of W_T they accept, and the cheapest."""
    found: dict[str, list[str]] = {}
    for policy in _policies(cells):
        own = [
            cell for cell in best_cells(cells) if cell.policy == policy and cell.claims == STOLEN and cell.arm != HONEST
        ]
        broken = [cell for cell in own if cell.is_broken and cell.cost is not None]
        if not broken:
            said = f"none of {len(own)} attacks on W_T within the budget"
        else:
            best = min(broken, key=lambda cell: (cell.cost or 0.0, cell.arm))
            said = (
                f"{len(broken)} of {len(own)} attacks on W_T, the cheapest {best.arm} (T' = {best.steps:,}) "
                f"at {short_number(best.cost or 0.0, 2)} of the proof's time"
            )
        found.setdefault(said, []).append(policy)
    return [
        f"{list_briefly(policies, most=20)}: accept{'s' * (len(policies) == 1)} {said}."
        for said, policies in found.items()
    ]


def honest_sentences(cells: Sequence[CellRow]) -> list[str]:
    """Which policies reject honest proofs."""
    rejecting = [
        f"{cell.policy} {cell.tried - cell.accepted} of {cell.tried}"
        for cell in cells
        if cell.arm == HONEST and cell.accepted < cell.tried
    ]
    tried = max((cell.tried for cell in cells if cell.arm == HONEST), default=0)
    if not tried:
        return []
    return [
        f"Honest proofs rejected: {', '.join(rejecting)}."
        if rejecting
        else f"No policy rejects any of {tried} honest proofs."
    ]


def best_cells(cells: Iterable[CellRow]) -> list[CellRow]:
    """One cell per arm and policy: what the search found, or the arm as declared where nothing is searched."""
    found: dict[tuple[str, str, str], CellRow] = {}
    for cell in cells:
        key = (cell.sweep_id, cell.arm, cell.policy)
        if key not in found or cell.mode == "adaptive":
            found[key] = cell
    return list(found.values())


def matrix_table(cells: Sequence[CellRow]) -> Table:
    """A line per arm, a column per policy."""
    best, policies = best_cells(cells), _policies(cells)
    by_arm: dict[str, dict[str, CellRow]] = {}
    for cell in best:
        by_arm.setdefault(cell.arm, {})[cell.policy] = cell
    lines = []
    for arm, own in by_arm.items():
        name = arm if arm == HONEST or next(iter(own.values())).claims == STOLEN else f"({arm})"
        lines.append([name, *(_cell_text(own.get(policy)) for policy in policies)])
    budget = max((cell.budget for cell in cells), default=0)
    columns = [*words("arm"), *(TableColumn(policy.replace("_", "\n")) for policy in policies)]
    return Table(title="Attack against policy", columns=columns, lines=lines, note=_NOTE.format(budget=budget))


def _cell_text(cell: CellRow | None) -> str:
    if cell is None or (cell.tried == 0 and cell.failed):
        return "failed" if cell else ""
    if cell.arm == HONEST:
        return f"{cell.accepted}/{cell.tried}"
    if not cell.is_broken:
        return "-"
    of = f" ({cell.seeds_accepted}/{cell.seeds})" if cell.seeds > 1 else ""
    return f"{short_number(cell.cost, 2) if cell.cost is not None else '?'}{of}"


def _policies(cells: Sequence[CellRow]) -> list[str]:
    return list(dict.fromkeys(cell.policy for cell in cells))


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
        if one.differing or one.error_change > 0.0
    ]
    columns = [*words("arm"), TableColumn("T'"), TableColumn("seed"), *words("policies that differ")]
    columns += [TableColumn("error l2\nthen", "d_ref"), TableColumn("error l2\nnow", "d_ref")]
    same = f"{len(found) - len(lines)} of {len(found)} trials have the same verdicts and errors, and are left out."
    return Table(title="Run again", columns=columns, lines=lines, note=same)
