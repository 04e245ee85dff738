"""What proposes the points of a sweep that is searched: Optuna, error against cost (see `tuning.objectives`); a success range."""

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ray.tune.search import Searcher

from raypol.core.errors import InputError
from raypol.runs.success_range.search import FAILED, Outcome
from raypol.runs.sweeps.success_ranges import Ranges

_DRAWS: Final = 200
"""Proposals in a row that are all known, after which a search has seen what there is."""


def optuna_search(space: Mapping[str, Any], known: Sequence[Mapping[str, Any]], *, seed: int) -> Any:  # noqa: ANN401
    """A multi-objective TPE search.

    Args:
        space: axis -> Tune's distribution.
        known: points of an earlier run, proposed first: those that are finished are found at once, and the search goes on
            knowing them.
        seed: of the sampler.

    Raises:
        InputError: Optuna is not installed.
    """
    try:
        import optuna
    except ImportError as err:
        raise InputError("--search optuna needs Optuna: pip install -e '.[search]' in the checkout") from err
    from ray.tune.search.optuna import OptunaSearch

    class DistinctSearch(OptunaSearch):  # type: ignore[misc]  # Ray is untyped
        """Proposes no point twice: with listed values a sampler often would, and a trial is run once anyway."""

        def __init__(self, **options: Any) -> None:  # noqa: ANN401 - OptunaSearch's
            super().__init__(**options)
            self._proposed: set[str] = set()

        def suggest(self, trial_id: str) -> Any:  # noqa: ANN401 - Ray is untyped
            """The next point; the search ends when nothing new comes any more."""
            for _ in range(_DRAWS):
                point = super().suggest(trial_id)
                text = json.dumps(point, sort_keys=True, default=str)
                if text not in self._proposed:
                    self._proposed.add(text)
                    return point
            return Searcher.FINISHED

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # A value may be a mapping (see `Design.space`); the study is never stored, the points are in the results folder.
    warnings.filterwarnings("ignore", message="Choices for a categorical distribution")
    return DistinctSearch(
        metric=["error", "cost"],
        mode=["min", "min"],
        seed=seed + len(known),  # else a resumed search would draw again what it drew first
        points_to_evaluate=[
            {f"point/{axis}": value for axis, value in point.items() if axis in space} for point in known
        ],
    )


class RangeSearcher(Searcher):  # type: ignore[misc]  # Ray is untyped
    """The searches as Ray Tune asks for them: a point, None while what is running must be known first, or FINISHED."""

    def __init__(self, ranges: Ranges) -> None:
        super().__init__()
        self._ranges = ranges
        self._running: dict[str, str] = {}
        """Tune's name of a trial -> ours."""

    def suggest(self, trial_id: str) -> Any:  # noqa: ANN401 - Ray's own
        """The next point."""
        running = set(self._running.values())
        proposals = self._ranges.proposals()
        for own_id, point in proposals.items():
            if own_id not in running:
                self._running[trial_id] = own_id
                return {"point": dict(point)}
        return None if running else Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """A trial has its row, or was lost too often; one that was only taken off the list says nothing."""
        own_id = self._running.pop(trial_id, None)
        policy = self._ranges.policy
        if own_id is None:
            return
        if error:
            self._ranges.record(own_id, Outcome(success=False, bound_by=FAILED))
        elif result and f"success_{policy}" in result:
            won, bound_by = result[f"success_{policy}"], result[f"bound_by_{policy}"]
            self._ranges.record(own_id, Outcome(success=bool(won), bound_by=bound_by))

    def save(self, checkpoint_path: str) -> None:
        """Nothing: we resume from rows."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as above."""
