"""Numbers of a proof by stage of training, as calibrated checks compare them: training is cut into equal parts of T."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from raypol.core.verification.replay import IntervalReplay
from raypol.core.verification.verdict import Check
from raypol.core.verification.verifier import Evidence

_T = TypeVar("_T")

STAGES: Final = 8
"""Of the largest values: the usual drops of the learning rate, after 1/2 and 3/4, lie between two stages."""
WIDE_STAGES: Final = 4
"""Of medians, which want more intervals each."""


def stage_of(step: int, steps: int, stages: int) -> int:
    """The stage, 0..stages-1, of an interval that begins at this step."""
    return min(step * stages // steps, stages - 1)


def by_stage(evidence: Evidence, stages: int, of: Callable[[IntervalReplay], _T]) -> list[list[_T]]:
    """What `of` gives of every replayed interval, in one list per stage."""
    found: list[list[_T]] = [[] for _ in range(stages)]
    for replay in evidence.replays:
        found[stage_of(replay.interval.start, evidence.recipe.steps, stages)].append(of(replay))
    return found


def stages_of(honest: Sequence[Evidence], most: int) -> int:
    """The number of stages that every one of these proofs has intervals in, at most `most`."""
    return max(min(most, *(len(evidence.replays) for evidence in honest)), 1)


def check_floors(name: str, what: str, found: Sequence[float | None], least: Sequence[float], *, unseen: str) -> Check:
    """A check that passes if a number of every stage is at least its floor; None where the stage has none.

    Args:
        name: of the check.
        what: the number in words.
        found: one per stage.
        least: the floors.
        unseen: the detail if no stage has a number, which fails.
    """
    margins = [value - low for value, low in zip(found, least, strict=True) if value is not None]
    if not margins:
        return Check(name=name, passed=False, detail=unseen)
    told = ", ".join("-" if value is None else f"{value:.2f}" for value in found)
    wanted = ", ".join(f"{low:.2f}" for low in least)
    detail = f"{what} by stage {told}; expected >= {wanted}"
    passed = all(value is None or value >= low for value, low in zip(found, least, strict=True))
    return Check(name=name, passed=passed, detail=detail, numbers={"margin": min(margins)})
