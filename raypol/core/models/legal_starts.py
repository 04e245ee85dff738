"""W_0 as an adversary chooses it: within the laws that a verifier tests, and as near to the stolen W_T as they allow.

Sorting is the whole trick: values that follow their law keep following it in any order, so A gives them the order of W_T's
entries (Fang et al. 2023, arXiv:2208.03567). The Kolmogorov-Smirnov test leaves a band of its own, which brings W_0 nearer still.
"""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from raypol.core.distances import cosine_of
from raypol.core.models.initial_laws import (
    MAX_DEVIATIONS,
    SIGNIFICANCE,
    Law,
    Normal,
    RandomLaw,
    Uniform,
    draw,
)

_HALVINGS: Final = 16
"""Of the interval that the share of W_T's order is searched in; 2^-16 of it moves a cosine by less than rounding does."""
_SAFETY: Final = 1.02
"""Of the significance level: float32 rounds the values that lie on the band's edge."""
_WITHIN: Final = 1.0 - 1e-6
"""Of the farthest value that a normal law gives to the verifier: float32 rounds it, too."""


def rank_matched(target: Mapping[str, Tensor], laws: Mapping[str, Law], rng: torch.Generator) -> dict[str, Tensor]:
    """The draw closest to W_T in every l_p: fresh draws, sorted, given to the positions in the order of W_T's entries.

    Args:
        target: W_T by name.
        laws: the declared law of each; constant and given tensors are as they say.
        rng: CPU generator.
    """
    found = {}
    for name, law in laws.items():
        goal = target[name].detach().cpu()
        drawn = draw(name, law, goal.shape, rng)
        found[name] = in_order_of(goal, drawn) if isinstance(law, RandomLaw) else drawn
    return found


def closest_legal(target: Mapping[str, Tensor], laws: Mapping[str, Law], rng: torch.Generator) -> dict[str, Tensor]:
    """The values closest to W_T in every l_p whose Kolmogorov-Smirnov test still has p >= 0.01; arguments as `rank_matched`.

    With D the distance at which p = 0.01 for n entries, the i-th smallest entry x_i passes if and only if
        i/n - D <= F(x_i) <= (i - 1)/n + D,
    a band for each entry apart. W_T's sorted entries are clamped into it, which keeps them sorted.
    """
    found = {}
    for name, law in laws.items():
        goal = target[name].detach().cpu()
        if not isinstance(law, RandomLaw) or not goal.numel():
            found[name] = draw(name, law, goal.shape, rng)
            continue
        clamped = goal.flatten().sort().values.double().clamp(*_band(goal.numel(), law))
        found[name] = in_order_of(goal, clamped.float())
    return found


def mixed(
    target: Mapping[str, Tensor], laws: Mapping[str, Law], rng: torch.Generator, *, cosine: float
) -> dict[str, Tensor]:
    """A draw with a given cosine to W_T over all tensors with a random law; other arguments as `rank_matched`.

    The draw's values are given the order of share * (W_T's rank scores) + sqrt(1 - share^2) * (random scores). The closest cosine
    that this reaches is taken: no draw comes closer to W_T than the rank-matched one.
    """
    drawn = {name: draw(name, law, target[name].shape, rng) for name, law in laws.items()}
    random = {name: target[name].detach().cpu() for name, law in laws.items() if isinstance(law, RandomLaw)}
    scores = {name: (_rank_scores(goal), torch.randn(goal.shape, generator=rng)) for name, goal in random.items()}

    def at(share: float) -> dict[str, Tensor]:
        other = (1.0 - share**2) ** 0.5
        return {name: in_order_of(share * own + other * noise, drawn[name]) for name, (own, noise) in scores.items()}

    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if not cosine_of(at(middle), random) >= cosine else (low, middle)
    return drawn | at(high)


def in_order_of(goal: Tensor, values: Tensor) -> Tensor:
    """The values, sorted, at the positions of the goal's entries in their order."""
    placed = torch.empty(goal.numel(), dtype=values.dtype)
    placed[goal.flatten().argsort()] = values.flatten().sort().values
    return placed.reshape(goal.shape)


def _rank_scores(goal: Tensor) -> Tensor:
    """Standard normal scores of the entries' ranks."""
    n = goal.numel()
    quantiles = (torch.arange(n, dtype=torch.float64) + 0.5) / max(n, 1)
    return in_order_of(goal, torch.special.ndtri(quantiles).float())


def _band(n: int, law: RandomLaw) -> tuple[Tensor, Tensor]:
    """Least and largest value of each sorted entry: what the test accepts, within the law's support."""
    from scipy import stats

    distance = float(stats.kstwo.isf(min(SIGNIFICANCE * _SAFETY, 1.0), n))
    i = torch.arange(1, n + 1, dtype=torch.float64)
    return _quantile((i / n - distance).clamp(min=0.0), law), _quantile(((i - 1) / n + distance).clamp(max=1.0), law)


def _quantile(share: Tensor, law: RandomLaw) -> Tensor:
    match law:
        case Normal(std):
            limit = _WITHIN * MAX_DEVIATIONS * std
            scores: Tensor = torch.special.ndtri(share)
            return (scores * std).clamp(-limit, limit)
        case Uniform(bound):
            return (2.0 * share - 1.0) * bound
