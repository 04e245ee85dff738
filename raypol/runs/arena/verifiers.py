"""The verifiers of the arena: every published check as a policy of its own, and raypol's, from the weakest to the strictest."""

from dataclasses import replace
from typing import Final

from raypol.core.verification.policies import Policy, Use, exact, published, strict, strict_trend
from raypol.core.verification.thresholds import RELATIVE

ALWAYS: Final = (published, strict)
"""Judge every trial of every sweep."""


def _strict_and(name: str, *checks: str) -> Policy:
    return replace(strict, name=name, checks=(*strict.checks, *(Use(check=check) for check in checks)))


JIA: Final = replace(published, name="top_q", selection="top_q", query_budget=1)
"""The published verifier, Q = 1 (Jia et al. 2021, arXiv:2103.05633)."""
RANDOM: Final = replace(strict, name="random", selection="random", query_budget=1)
"""`strict` on one interval per epoch, drawn by a nonce that is secret until the root is fixed (Fang et al. 2023)."""
DYNAMIC: Final = replace(strict, name="dynamic", thresholds=replace(RELATIVE, kind="dynamic"))
"""`strict` with a slack that falls to a tenth over training (Zhang et al. 2022, section V)."""
NEAR_COPY: Final = _strict_and("near_copy", "near_copy")
"""`strict`, and no own point may be a near copy of the dataset's (Zhang et al. 2022, section IV)."""
OWN_POINTS: Final = _strict_and("own_points", "own_points", "fresh_order")
"""`strict`, and all points are the public dataset's, each as often as in shuffled epochs."""
MEMORISATION: Final = replace(
    strict,
    name="memorisation",
    checks=(*strict.checks, Use(check="memorisation", parameters={"least": 2.0, "intervals": 50})),
)
"""`strict`, and 50 early intervals improve most on their own points, by two standard errors (Choi et al. 2023,
arXiv:2307.00682, section 4.2)."""
BOUND_SEED: Final = _strict_and("bound_seed", "bound_seed")
"""`strict`, and W_0 and data order follow from a seed that neither party chose alone (Choi et al. 2023, section 4.3)."""
DIRECTED: Final = _strict_and("directed", "declared_rate", "direction", "initial_independence")
"""`strict`, and replays go where the claim goes, at rates that can, from an independent W_0."""
EXACT_BITS: Final = _strict_and("exact_bits", "exact")
"""`strict`, and replays under the recorded augmentation give every recorded bit."""
REFEREED: Final = Policy(
    name="refereed",
    checks=tuple(Use(check=check) for check in ("declared_seed", "own_points", "exact")),
    selection="all",
)
"""What survives a dispute with an honest challenger (`raypol dispute`): from the W_0 of the declared seed, on its batches, in
every bit. Whoever makes a proof that it rejects loses; the referee's own work is one step, the challenger's a whole training."""

STATIC: Final = (
    JIA,
    RANDOM,
    strict_trend,
    DYNAMIC,
    NEAR_COPY,
    OWN_POINTS,
    MEMORISATION,
    BOUND_SEED,
    DIRECTED,
    EXACT_BITS,
    REFEREED,
    exact,
)
"""Policies that need no honest runs; `calibrated` and `bound` are made of some (`Design.calibrate_on`)."""

_NEEDS: Final = {
    "bound_seed": "to ask the verifier for a share of the seed before training",
    "commitment": "to commit to a seed before asking",
    "declared_seed": "to draw W_0 and batches from a seed",
    "exact": "to record on the machine class and the number of threads that the verifier repeats it on",
    "own_points": "to train on the public dataset alone",
    "fresh_order": "to shuffle each epoch",
    "envelope": "to train by the rule that the verifier calibrated on",
}


def needs_of(policy: Policy) -> list[str]:
    """What a policy asks of an honest prover beyond the proof itself."""
    return [need for check, need in _NEEDS.items() if check in {use.check for use in policy.checks}]
