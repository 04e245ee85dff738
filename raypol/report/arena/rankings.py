"""Rankings of the arena: verifiers by their cheapest forgery, attacks by what they break."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from raypol.report.arena.board import (
    FORGERIES,
    MatrixLine,
    PolicyColumn,
    TaskBoard,
    cost_of,
    is_judged,
    is_unfinished,
    status_of,
)
from raypol.store.results.cell_rows import CellRow, Mode

K = TypeVar("K", bound=Hashable)
VERIFIERS_RULE: Final = (
    "By the cost of the cheapest accepted forgery, of W_T or of weights that nobody trained, a control's too: a policy that none "
    "breaks within the budget stands first, then the dearest. = marks ties. A policy that accepts no honest proof, or can judge "
    "none of this training, has no place."
)
ATTACKS_RULE: Final = (
    "Arms that claim W_T or no training, by the number of policies broken, then by mean rank: under each policy the arms are "
    "ranked by the cost of their accepted forgery, and those without one share the last places. Policies that accept no honest "
    "proof do not count."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifierRank:
    """A policy's place."""

    policy: PolicyColumn
    place: int | None
    """From 1; None = it accepts no honest proof, or can judge none of this training."""
    is_tied: bool
    cheapest: CellRow | None
    """The cheapest accepted forgery; None = not broken within the budget."""
    by: Sequence[str]
    """Arms of that cost."""
    cheapest_attack: CellRow | None
    """The same without controls."""
    broken_by: int
    """Attacks, without controls."""
    attacks: int
    """Attacks that it judged."""
    controls_passed: Sequence[str]
    """Controls that it accepts."""
    controls: int
    """Controls that it judged."""
    honest: CellRow | None
    untrained: CellRow | None
    """The cell of a claim without any training."""
    others: int
    """Arms that claim another model, or other data, and are accepted."""
    others_of: int
    budget: int
    """Largest budget of an arm's search against it."""
    unfinished: int
    """Searches against it that have some of their budget left."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AttackRank:
    """An arm's place among forgeries of the stolen model."""

    line: MatrixLine
    place: int
    is_tied: bool
    policies: Sequence[str]
    """Those that it breaks."""
    judged: int
    """Policies that judged it."""
    cheapest: CellRow | None
    mean_rank: float


def rank_verifiers(task: TaskBoard, mode: Mode = "adaptive") -> list[VerifierRank]:
    """Policies by how dear their cheapest forgery is; see VERIFIERS_RULE."""
    found = [_verifier(task, number, mode) for number in range(len(task.policies))]
    keys = {number: -cost_of(one.cheapest) if one.cheapest else -math.inf for number, one in enumerate(found)}
    places = _places({number: key for number, key in keys.items() if _has_place(found[number])})
    order = sorted(keys, key=lambda number: (number not in places, keys[number]))
    return [replace(found[n], place=places[n][0], is_tied=places[n][1]) if n in places else found[n] for n in order]


def rank_attacks(task: TaskBoard, mode: Mode = "adaptive") -> list[AttackRank]:
    """Arms that claim the stolen model, by what they break; see ATTACKS_RULE."""
    ranks: dict[str, list[float]] = {}
    broken: dict[str, list[tuple[PolicyColumn, CellRow]]] = {}
    for number, policy in enumerate(task.policies):
        column = [(line, place.shown(mode)) for line, place in task.column(number)]
        if not _is_usable(next((cell for line, cell in column if line.group == "honest"), None)):
            continue
        forged = {line.arm: cell for line, cell in column if cell is not None and _is_judged_forgery(line, cell)}
        costs = {arm: cost_of(cell) if cell.is_broken else math.inf for arm, cell in forged.items()}
        for arm, cost in costs.items():
            cheaper, equal = sum(other < cost for other in costs.values()), sum(o == cost for o in costs.values())
            ranks.setdefault(arm, []).append(cheaper + (equal + 1) / 2)
            broken.setdefault(arm, []).extend([(policy, forged[arm])] if forged[arm].is_broken else [])
    means = {arm: sum(own) / len(own) for arm, own in ranks.items()}
    keys = {line.arm: (-len(broken[line.arm]), means[line.arm]) for line in task.lines if line.arm in ranks}
    places = _places(keys)
    lines = {line.arm: line for line in task.lines}
    return [
        AttackRank(
            line=lines[arm],
            place=places[arm][0],
            is_tied=places[arm][1],
            policies=[policy.label for policy, _ in broken[arm]],
            judged=len(ranks[arm]),
            cheapest=min((cell for _, cell in broken[arm]), key=cost_of, default=None),
            mean_rank=means[arm],
        )
        for arm in sorted(keys, key=keys.__getitem__)
    ]


def place_text(place: int | None, *, is_tied: bool) -> str:
    """A place as it is shown."""
    return "–" if place is None else f"{place}{'=' if is_tied else ''}"


def _has_place(one: VerifierRank) -> bool:
    return not one.policy.uncarried and _is_usable(one.honest)


def _is_usable(honest: CellRow | None) -> bool:
    """False only if honest proofs were judged and none was accepted."""
    return honest is None or not honest.tried or honest.accepted > 0


def _is_judged_forgery(line: MatrixLine, cell: CellRow) -> bool:
    """True for a forgery of the stolen model, a control's too, that the policy judged."""
    return line.group != "honest" and cell.claims in FORGERIES and is_judged(cell)


def _verifier(task: TaskBoard, number: int, mode: Mode) -> VerifierRank:
    cells = [(line, cell) for line, place in task.column(number) if (cell := place.shown(mode)) is not None]
    forged = [(line, cell) for line, cell in cells if _is_judged_forgery(line, cell)]
    broken = [(line, cell) for line, cell in forged if status_of(cell) == "broken"]
    cheapest = min((cell for _, cell in broken), key=cost_of, default=None)
    by_attacks = [cell for line, cell in broken if line.group != "controls"]
    others = [cell for _, cell in cells if cell.claims not in FORGERIES and is_judged(cell)]
    return VerifierRank(
        policy=task.policies[number],
        place=None,
        is_tied=False,
        cheapest=cheapest,
        by=[line.arm for line, cell in broken if cheapest and cost_of(cell) == cost_of(cheapest)],
        cheapest_attack=min(by_attacks, key=cost_of, default=None),
        broken_by=len(by_attacks),
        attacks=sum(line.group != "controls" for line, _ in forged),
        controls_passed=[line.arm for line, _ in broken if line.group == "controls"],
        controls=sum(line.group == "controls" for line, _ in forged),
        honest=next((cell for line, cell in cells if line.group == "honest"), None),
        untrained=next((cell for _, cell in cells if cell.claims == "nothing"), None),
        others=sum(cell.is_broken for cell in others),
        others_of=len(others),
        unfinished=sum(is_unfinished(cell) for _, cell in forged),
        budget=max((cell.budget for _, cell in forged), default=0),
    )


def _places(keys: Mapping[K, Any]) -> dict[K, tuple[int, bool]]:
    """Square from 1 by ascending key, equal keys sharing the first, and whether it is shared."""
    values = list(keys.values())
    return {one: (1 + sum(other < key for other in values), values.count(key) > 1) for one, key in keys.items()}
