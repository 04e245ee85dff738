"""The arena as typed data: per training a matrix of arms and policies, every place with what it means or why it is empty.

A place has an answer of the arm as declared and one of its adaptive search. The adaptive view shows the search's answer, but an
adversary who adapts can also do what was declared: where the search found nothing and the declared arm passed at another seed,
the declared answer stands, or a policy would be called unbroken that was broken.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, get_args

from raypol.store.results.cell_rows import CellRow, Mode
from raypol.store.results.rows import HONEST

Status = Literal[
    "broken", "held", "control", "accepted", "rejected", "unfinished", "honest", "false_rejection", "estimated", "unjudged",
    "absent",
]  # fmt: skip
"""What a place of the matrix means:

broken           the policy accepts a forgery of the stolen model
held             it accepted none within the budget
control          a control is rejected, as it should be
accepted         a claim of another model or of other data passes: no forgery of the stolen model
rejected         such a claim is rejected
unfinished       nothing is accepted so far, and the search has some of its budget left
honest           every honest proof is accepted
false_rejection  some honest proof is rejected
estimated        a sample of intervals was replayed, so no policy judged the whole
unjudged         trials were made and none has a verdict
absent           there is no cell
"""
STATUSES: Final[tuple[Status, ...]] = get_args(Status)
LineGroup = Literal["honest", "controls", "W_T", "another model", "other data"]
"""Parts of the matrix, from the top: honest proofs, controls, and attacks by what they claim."""
LINE_GROUPS: Final[tuple[LineGroup, ...]] = get_args(LineGroup)
FORGERIES: Final = ("W_T", "nothing")
"""Claims whose acceptance breaks a policy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyColumn:
    """A policy as a column of the matrix."""

    name: str
    sha256: str
    label: str
    """Its name, with the beginning of its digest where two policies of a training share the name."""
    uncarried: str = ""
    """Why it can judge no proof of this training; empty if it can."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Square:
    """One arm against one policy."""

    declared: CellRow | None = None
    adaptive: CellRow | None = None

    def shown(self, mode: Mode) -> CellRow | None:
        """The answer in a view, None if there is none."""
        if mode == "declared" or self.adaptive is None:
            return self.declared
        found = self.declared is not None and self.declared.is_broken and not self.adaptive.is_broken
        return self.declared if found else self.adaptive

    def status(self, mode: Mode) -> Status:
        """The meaning of that answer."""
        return status_of(self.shown(mode))


@dataclass(frozen=True, kw_only=True, slots=True)
class MatrixLine:
    """An arm as a line of the matrix."""

    arm: str
    attack: str
    source: str
    group: LineGroup
    is_searched: bool
    """True if an adaptive search has cells of it."""
    places: Sequence[Square]
    """One per policy."""

    def breaks(self, mode: Mode) -> list[CellRow]:
        """Accepted forgeries of the stolen model."""
        return [cell for cell in _cells(self.places, mode) if status_of(cell) == "broken"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskBoard:
    """All that is known about one training."""

    dataset: str
    model: str
    train_steps: int
    interval: int
    batch_size: int
    policies: Sequence[PolicyColumn]
    """From the policy that is broken cheapest to those that are not broken."""
    lines: Sequence[MatrixLine]
    """In groups; in each from the arm that most policies accept."""
    left_out: int = 0
    """Cells of other sweeps that ask the same and answer less."""

    @property
    def slug(self) -> str:
        """Name of the training in links."""
        return f"{self.dataset}-{self.model}-T{self.train_steps}-k{self.interval}-B{self.batch_size}"

    @property
    def title(self) -> str:
        """The training in words."""
        return (
            f"{self.dataset}, {self.model}, T = {self.train_steps}, k = {self.interval}, batch size {self.batch_size}"
        )

    def column(self, number: int) -> list[tuple[MatrixLine, Square]]:
        """Every arm against one policy."""
        return [(line, line.places[number]) for line in self.lines]

    def shown(self, mode: Mode) -> list[CellRow]:
        """All answers of a view."""
        return [cell for line in self.lines for cell in _cells(line.places, mode)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Board:
    """The arena."""

    tasks: Sequence[TaskBoard] = field(default_factory=tuple)

    def lacking(self, task: TaskBoard) -> list[str]:
        """Arms and policies of other trainings that this one does not have."""
        arms = [line.arm for other in self.tasks for line in other.lines]
        policies = [policy.name for other in self.tasks for policy in other.policies]
        has_arms, has_policies = {line.arm for line in task.lines}, {policy.name for policy in task.policies}
        return [
            *(f"attack {arm}" for arm in sorted({*arms} - has_arms)),
            *(f"policy {name}" for name in sorted({*policies} - has_policies)),
        ]

    @property
    def cells(self) -> list[CellRow]:
        """Every cell that is shown in some view."""
        places = [place for task in self.tasks for line in task.lines for place in line.places]
        return [cell for place in places for cell in (place.declared, place.adaptive) if cell is not None]


def board_of(cells: Sequence[CellRow]) -> Board:
    """Arrange cells as trainings, lines and columns.

    Args:
        cells: of any sweeps, in the order in which arms and policies are to stand where results do not order them. Where
            sweeps ask the same, the cheapest accepted forgery is shown, else the answer of most trials.
    """
    by_task: dict[tuple[str, str, int, int, int], list[CellRow]] = {}
    for cell in cells:
        task = (cell.dataset, cell.model, cell.train_steps, cell.interval, cell.batch_size)
        by_task.setdefault(task, []).append(cell)
    return Board(tasks=[_task_board(of) for _, of in sorted(by_task.items())])


def status_of(cell: CellRow | None) -> Status:
    """What an answer means."""
    if cell is None:
        return "absent"
    if not cell.tried:
        return "estimated" if cell.estimated else "unjudged"
    if cell.arm == HONEST:
        return "honest" if cell.accepted == cell.tried else "false_rejection"
    if cell.estimated:
        return "estimated"
    is_forgery = cell.claims in FORGERIES
    if cell.is_broken:
        return "broken" if is_forgery else "accepted"
    if is_unfinished(cell):
        return "unfinished"
    return "rejected" if not is_forgery else "control" if cell.is_control else "held"


def is_unfinished(cell: CellRow) -> bool:
    """True for the answer of a search that has some of its budget left; the declared arm is judged besides the budget."""
    return cell.mode == "adaptive" and not cell.exhausted and cell.tried + cell.failed <= cell.budget


def is_judged(cell: CellRow) -> bool:
    """True if the answer rests on a verdict."""
    return status_of(cell) not in ("estimated", "unjudged")


def cost_of(cell: CellRow) -> float:
    """Cost over the proof's for sorting; what has no cost counts as the cheapest."""
    return cell.cost if cell.cost is not None and math.isfinite(cell.cost) else 0.0


def _cells(places: Iterable[Square], mode: Mode) -> list[CellRow]:
    return [cell for place in places if (cell := place.shown(mode)) is not None]


def _task_board(cells: Sequence[CellRow]) -> TaskBoard:
    first = cells[0]
    columns = _columns(cells)
    kept: dict[tuple[str, str, str, Mode], CellRow] = {}
    for cell in cells:
        mode: Mode = "adaptive" if cell.mode == "adaptive" else "declared"
        asked = (cell.arm, cell.policy, cell.policy_sha256, mode)
        kept[asked] = min(kept.get(asked, cell), cell, key=_strength)
    lines = [_line(arm, columns, kept) for arm in dict.fromkeys(cell.arm for cell in cells)]
    order = sorted(range(len(columns)), key=lambda number: _firmness([line.places[number] for line in lines]))
    arranged = [
        replace(line, places=[line.places[number] for number in order])
        for line in sorted(lines, key=lambda line: (LINE_GROUPS.index(line.group), *_reach(line)))
    ]
    return TaskBoard(
        dataset=first.dataset,
        model=first.model,
        train_steps=first.train_steps,
        interval=first.interval,
        batch_size=first.batch_size,
        policies=[columns[number] for number in order],
        lines=arranged,
        left_out=len(cells) - len(kept),
    )


def _columns(cells: Sequence[CellRow]) -> list[PolicyColumn]:
    found = list(dict.fromkeys((cell.policy, cell.policy_sha256) for cell in cells))
    names = [name for name, _ in found]
    return [
        PolicyColumn(name=name, sha256=sha, label=name if names.count(name) == 1 else f"{name} {sha[:8]}")
        for name, sha in found
    ]


def _line(arm: str, columns: Sequence[PolicyColumn], kept: Mapping[tuple[str, str, str, Mode], CellRow]) -> MatrixLine:
    places = [
        Square(
            declared=kept.get((arm, column.name, column.sha256, "declared")),
            adaptive=kept.get((arm, column.name, column.sha256, "adaptive")),
        )
        for column in columns
    ]
    cells = [cell for place in places for cell in (place.declared, place.adaptive) if cell is not None]
    return MatrixLine(
        arm=arm,
        attack=cells[0].attack,
        source=cells[0].source,
        group=_group(cells),
        is_searched=any(place.adaptive is not None for place in places),
        places=places,
    )


def _group(cells: Sequence[CellRow]) -> LineGroup:
    """Where an arm stands: what most of its cells claim."""
    if cells[0].arm == HONEST:
        return "honest"
    if cells[0].is_control:
        return "controls"
    claims = [cell.claims for cell in cells]
    groups: tuple[LineGroup, ...] = ("W_T", "another model", "other data")
    return max(groups, key=claims.count)


def _strength(cell: CellRow) -> tuple[bool, float, int]:
    """Of two answers to one question the smaller is shown. Of honest proofs that of more of them."""
    if cell.arm == HONEST or not cell.is_broken:
        return (True, 0.0, -cell.tried)
    return (False, cost_of(cell), -cell.tried)


def _firmness(places: Sequence[Square]) -> float:
    costs = [cost_of(cell) for cell in _cells(places, "adaptive") if status_of(cell) == "broken"]
    return min(costs, default=math.inf)


def _reach(line: MatrixLine) -> tuple[int, float]:
    accepted = [cell for cell in _cells(line.places, "adaptive") if cell.is_broken]
    return -len(accepted), min(map(cost_of, accepted), default=math.inf)
