"""Numbers of a proof by stage of training, as calibrated checks compare them: training is cut into equal parts of T."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from raypol.core.verification.replay import IntervalReplay
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
