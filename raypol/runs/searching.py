"""Optuna as a sweep's search: two objectives, error against cost (see `tuning.objectives`)."""

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Final

from raypol.core.errors import InputError

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
        raise InputError("--search optuna needs Optuna: pip install 'raypol[search]'") from err
    from ray.tune.search import Searcher
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
