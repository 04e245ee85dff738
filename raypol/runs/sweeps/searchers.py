"""The searchers that propose trials to Ray Tune: Optuna, for error against cost, and the search of success ranges."""

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from ray.tune.search import Searcher

from raypol.core.seeds import MAX_SEED, seed_of_32_bits
from raypol.runs.designs.axes import Point
from raypol.runs.designs.design import Design
from raypol.runs.designs.points import searchable, trial_at
from raypol.runs.trials.study import Trial

_DRAWS: Final = 200
"""Proposals in a row that are all known, after which a search has seen what there is."""


def optuna_search(design: Design, known: Sequence[Point], *, seed: int) -> Any:  # noqa: ANN401 - Ray is untyped
    """A multi-objective TPE search.

    Args:
        design: with the space to search.
        known: points of an earlier run, proposed first: those that are finished are found at once, and the search goes on
            knowing them.
        seed: of the sampler.
    """
    import optuna
    from ray.tune.search.optuna import OptunaSearch

    class DistinctSearch(OptunaSearch):  # type: ignore[misc]  # Ray is untyped
        """Proposes no point twice: with listed values a sampler often would, and a trial is run once anyway."""

        def __init__(self, **options: Any) -> None:  # noqa: ANN401 - OptunaSearch's
            super().__init__(**options)
            self._proposed: set[str] = set()

        def suggest(self, trial_id: str) -> Any:  # noqa: ANN401 - Ray is untyped
            """The next point with its trial; the search ends when no new point comes."""
            for _ in range(_DRAWS):
                found = super().suggest(trial_id)
                text = json.dumps(found, sort_keys=True, default=str)
                if text not in self._proposed:
                    self._proposed.add(text)
                    return {**found, "trial": trial_at(design, found["point"])} if isinstance(found, dict) else found
            return Searcher.FINISHED

    space = searchable(design)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # A value may be a mapping (see `Design.space`); the study is never stored, the points are in the results folder.
    warnings.filterwarnings("ignore", message="Choices for a categorical distribution")
    return DistinctSearch(
        metric=["error", "cost"],
        mode=["min", "min"],
        seed=seed_of_32_bits(
            (seed + len(known)) % (MAX_SEED + 1)
        ),  # else a resumed search would draw again what it drew first
        points_to_evaluate=[
            {f"point/{axis}": value for axis, value in point.items() if axis in space} for point in known
        ],
    )


class Proposing(Protocol):
    """Searches that propose trials."""

    def proposals(self) -> dict[str, Trial]:
        """Every trial that is worth running now, by id; those that run are among them."""

    def noted(self, trial_id: str) -> dict[str, Any]:
        """What stands beside the trial in Tune's configuration."""

    def take_report(self, trial_id: str, report: Mapping[str, Any] | None) -> None:
        """Take what a proposed trial reported; None for one that was lost too often."""


class ProposingSearcher(Searcher):  # type: ignore[misc]  # Ray is untyped
    """Searches that know themselves what is worth running, as Ray Tune asks for them: a trial, None while a running one must be
    known first, or FINISHED.
    """

    def __init__(self, searches: Proposing) -> None:
        super().__init__()
        self._searches = searches
        self._running: dict[str, str] = {}
        """Tune's name of a trial -> ours."""

    def suggest(self, trial_id: str) -> Any:  # noqa: ANN401 - Ray's own
        """The next trial."""
        running = set(self._running.values())
        for own_id, trial in self._searches.proposals().items():
            if own_id not in running:
                self._running[trial_id] = own_id
                return {"trial": trial, **self._searches.noted(own_id)}
        return None if running else Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """Take the outcome of a trial that has its row or was lost too often; one that never ran has none."""
        own_id = self._running.pop(trial_id, None)
        if own_id is not None and (error or result):
            self._searches.take_report(own_id, None if error else result)

    def save(self, checkpoint_path: str) -> None:
        """Write nothing: we resume from rows."""

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing."""
