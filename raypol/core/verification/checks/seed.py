"""Checks `declared_seed`, `bound_seed`, `commitment`: W_0 and data order come from a seed, which neither party chose alone.

Choi et al. 2023 (arXiv:2307.00682), section 4.3. The seed is a hash of the dataset, the model, the prover's own seed and a random
share that the verifier gave for this training (`--share` of `raypol prove`). What `bound_seed` does not establish: that the
training between them took place; an adversary may ask for a share too, and start from that W_0. What W_T then remembers of it is
the matter of `initial_memory`. Nor that the prover's own seed was fixed before he got the share (`raypol commit`): that is
`commitment`, without which he can try seeds until W_0 or the data order suits him. When it came is for the verifier to know.
"""

from typing import Final

from raypol.core.distances import Distances
from raypol.core.seeds import COMMITMENT_KEPT, commitment_problems, share_problems
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Check, check_problems
from raypol.core.verification.verifier import Evidence


def check_declared_seed(evidence: Evidence, _: Thresholds, __: Distances | None) -> Check:
    """Recompute W_0 and every batch from the seed that the proof declares, whoever chose it.

    Where `exact` holds besides, the proof is what anybody who trains as it declares gets, in every bit.
    """
    good = f"W_0 and all {evidence.recipe.steps} batches follow from the declared seed"
    return check_problems("declared_seed", _draw_problems(evidence), good)


def check_bound_seed(evidence: Evidence, _: Thresholds, __: Distances | None) -> Check:
    """Recompute the seed from both shares, W_0 and every batch from the seed."""
    recipe = evidence.recipe
    problems = share_problems(recipe.seed, recipe.dataset_sha256, recipe.model, recipe.shares, evidence.expected_share)
    good = f"W_0 and all {recipe.steps} batches follow from the seed of both shares"
    return check_problems("bound_seed", problems + _draw_problems(evidence), good)


def check_commitment_kept(evidence: Evidence, _: Thresholds, __: Distances | None) -> Check:
    """Check that the prover's share of the seed is the one that he had committed to."""
    recipe = evidence.recipe
    problems = commitment_problems(recipe.dataset_sha256, recipe.model, recipe.shares, evidence.expected_commitment)
    return check_problems("commitment", problems, COMMITMENT_KEPT)


def _draw_problems(evidence: Evidence) -> list[str]:
    problems, drawn = [], evidence.survey.drawn_from_seed
    if not all(drawn) or not drawn:
        problems.append("W_0 is not the draw of that seed")
    if others := sum(evidence.survey.steps_out_of_order):
        problems.append(f"{others} of {evidence.recipe.steps} steps do not have the batch of that seed")
    return problems


CHECKS: Final = {
    "declared_seed": check_declared_seed,
    "bound_seed": check_bound_seed,
    "commitment": check_commitment_kept,
}
