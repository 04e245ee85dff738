"""Check `initial_independence`: the entries of W_0 are independent draws, and follow their laws closely.

`initial_state` compares each tensor's values with its law and no more: values that were sorted into the order of W_T's pass it.
In trained networks neighbouring entries of a filter are alike, so a W_0 that was fitted to W_T shows what a draw does not:
correlated neighbours, filters and rows with sums too large (`raypol.core.models.independence`). Neyman's smooth test sees values
that were moved within the band that Kolmogorov and Smirnov's leaves. The null distributions are known, so nothing is calibrated;
an honest W_0 is rejected with probability below `significance`. What it does not establish: W_0 may be fitted to W_T as far as
that keeps these statistics in range, at a larger distance to W_T; where W_0 is bound, `bound_seed` leaves no choice at all.
"""

from typing import Final

from raypol.core.distances import Distances
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Check
from raypol.core.verification.verifier import Evidence

_SIGNIFICANCE: Final = 1e-6
"""Of all statistics together (Bonferroni)."""
_DEGREES: Final = 4


def check_initial_independence(
    evidence: Evidence, _: Thresholds, __: Distances | None, *, significance: float = _SIGNIFICANCE
) -> Check:
    """Check that W_0 has no trace of an order, and that its moments are those of its laws."""
    from scipy import stats

    p_values = {one.name: one.p_value for one in evidence.survey.dependences}
    moments = {test.tensor: test.moments for test in evidence.survey.initial if test.moments is not None}
    p_values |= {f"moments of {name}": float(stats.chi2.sf(value, _DEGREES)) for name, value in moments.items()}
    if moments:
        p_values["moments of all tensors"] = float(stats.chi2.sf(sum(moments.values()), _DEGREES * len(moments)))
    if not evidence.survey.initial:
        return Check(
            name="initial_independence", passed=False, detail="W_0 could not be tested: its structure is wrong"
        )
    if not p_values:
        detail = "no tensor of W_0 is large enough to be tested, or none has a random law"
        return Check(name="initial_independence", passed=True, detail=detail)
    lowest = min(p_values, key=lambda name: p_values[name])
    least = significance / len(p_values)
    detail = f"smallest p of {len(p_values)} statistics {p_values[lowest]:.2g} ({lowest}), expected >= {least:.1g}"
    passed = p_values[lowest] >= least
    return Check(name="initial_independence", passed=passed, detail=detail, numbers={"min_p": p_values[lowest]})


CHECKS: Final = {"initial_independence": check_initial_independence}
