"""Attacks II and III by their effect: each search lowers its objective, and the spoof errs less than the null control."""

from collections.abc import Callable

import pytest

from tests.core.attacks.conftest import CASES
from tests.scenes import Forged


@pytest.mark.parametrize("case", CASES)
def test_each_search_lowers_its_objective(case: str, forged: Callable[[str], Forged]) -> None:
    made = forged(case)
    assert len(made.stats) == (60 if case.startswith("II,") else 6), "per step in attack II, per interval in III"
    for stats in made.stats:
        assert stats.accepted
        if CASES[case].objective == "loss":
            assert stats.loss_after < stats.loss_before
        else:
            assert stats.grad_norm2_after < stats.grad_norm2_before


@pytest.mark.parametrize("case", CASES)
def test_the_reproduction_error_is_lower_than_without_a_perturbation(
    case: str, forged: Callable[[str], Forged], null: Forged
) -> None:
    made = forged(case)
    # 7 to 14 % lower, over three seeds and the instruction sets of one machine; half of the least is asked for.
    assert made.mean_error_l2 < 0.965 * null.mean_error_l2
    assert all(ours.error.l2 < theirs.error.l2 for ours, theirs in zip(made.replays, null.replays, strict=True))
