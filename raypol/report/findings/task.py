"""One training with its rows, as the findings look at it, and the words that they share."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote

from raypol.figures.style.notes import joined
from raypol.report.arena.board import FORGERIES, TaskBoard
from raypol.report.arena.rankings import VerifierRank, rank_verifiers
from raypol.report.arena.wording import shortfall
from raypol.runs.arena.standing import ArenaRows
from raypol.store.results.cell_rows import CellRow, Mode
from raypol.store.results.rows import TrialRow


@dataclass(frozen=True)
class Task:
    """One training with its rows."""

    board: TaskBoard
    arenas: Sequence[ArenaRows]
    lacking: Sequence[str]
    """Arms and policies of other trainings that this one does not have."""

    @property
    def name(self) -> str:
        """The training in a few words."""
        return f"{self.board.dataset}, {self.board.model}, T = {self.board.train_steps:,}"

    @cached_property
    def verifiers(self) -> list[VerifierRank]:
        """Policies by their cheapest forgery."""
        return rank_verifiers(self.board)

    @property
    def trials(self) -> list[TrialRow]:
        """Rows of all trials."""
        return [row for arena in self.arenas for row in arena.trials]

    def cell(self, arm: str, policy: str, mode: Mode = "adaptive") -> CellRow | None:
        """One place of the matrix."""
        numbers = [i for i, one in enumerate(self.board.policies) if one.name == policy]
        lines = [line for line in self.board.lines if line.arm == arm]
        return lines[0].places[numbers[0]].shown(mode) if numbers and lines else None

    def link(self, cell: CellRow | None, text: str) -> str:
        """A link to a cell on the page."""
        if cell is None:
            return text
        mode = "&mode=declared" if cell.mode == "declared" and cell.budget == 0 else ""
        return f"[{text}](arena/page.html#task={quote(self.board.slug)}{mode}&arm={quote(cell.arm)}&policy={quote(cell.policy)})"

    def judged(self, arm: str) -> list[CellRow]:
        """Cells of an arm that rest on verdicts."""
        cells = [self.cell(arm, policy.name) for policy in self.board.policies]
        return [cell for cell in cells if cell is not None and cell.tried]

    def accepting(self, arm: str) -> list[CellRow]:
        """Those whose policy accepts it."""
        return [cell for cell in self.judged(arm) if cell.is_broken]

    def column(self, policy: str) -> list[CellRow]:
        """Cells of a policy, honest proofs left out."""
        cells = [self.cell(line.arm, policy) for line in self.board.lines if line.group != "honest"]
        return [cell for cell in cells if cell is not None]

    def passing(self, policy: str) -> list[CellRow]:
        """Forgeries that it accepts."""
        return [cell for cell in self.column(policy) if cell.is_broken and cell.claims in FORGERIES]

    @property
    def examinations(self) -> list[float]:
        """Time to examine each honest proof over that of making it."""
        rows = [row for row in self.trials if row.is_honest]
        return [row.verify_s / row.device_s for row in rows if row.verify_s and row.device_s]


def how_often(cell: CellRow) -> str:
    """In brackets, how far short of always a policy accepts; empty for always."""
    parts = shortfall(cell)
    return f" ({', '.join(parts)})" if parts else ""


def grouped(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Names by what is said of them, in the order of the first of each."""
    found: dict[str, list[str]] = {}
    for said, name in pairs:
        found.setdefault(said, []).append(name)
    yield from found.items()


def codes(names: Sequence[str]) -> str:
    """Names as code, with an `and`."""
    return joined(f"`{name}`" for name in names)


def verb(who: Sequence[object], what: str) -> str:
    """A verb as its subject has it."""
    return f"{what}s" if len(who) == 1 else what
