"""Optuna as a sweep's search: two objectives, error against cost (see `tuning.objectives`)."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from raypol.core.errors import InputError


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
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # A value may be a mapping (see `Design.space`); the study is never stored, the points are in the results folder.
    warnings.filterwarnings("ignore", message="Choices for a categorical distribution")
    return OptunaSearch(
        metric=["error", "cost"],
        mode=["min", "min"],
        seed=seed,
        points_to_evaluate=[
            {f"point/{axis}": value for axis, value in point.items() if axis in space} for point in known
        ],
    )
