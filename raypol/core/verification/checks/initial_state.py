"""Check `initial_state`: W_0 follows the laws that the declared model is drawn from, by Kolmogorov-Smirnov tests.

These hardly see single entries, of which each must be one that its law gives. The published verifier leaves that out, and tensors
that start as constants (`initial_laws`).
"""

from functools import partial
from typing import Final

from raypol.core.distances import Distances
from raypol.core.errors import first_names
from raypol.core.models.initial_laws import SIGNIFICANCE
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Check, check_problems
from raypol.core.verification.verifier import Evidence


def check_initial_state(
    evidence: Evidence, _: Thresholds, __: Distances | None, *, strict_constants: bool = True
) -> Check:
    """Check W_0 against its laws; single entries and constants, too, if `strict_constants`."""
    tests = evidence.survey.initial
    if not tests:
        return Check(name="initial_state", passed=False, detail="W_0 could not be tested: its structure is wrong")
    p_values = {test.tensor: test.p_value for test in tests if test.p_value is not None}
    deviations = {test.tensor: test.deviation for test in tests if test.deviation is not None}
    lowest = min(p_values, key=lambda name: p_values[name], default=None)
    problems = [f"{test.tensor}: {test.problem}" for test in tests if test.problem]
    problems += [f"{name}: KS p = {p:.2g} < {SIGNIFICANCE}" for name, p in p_values.items() if not p >= SIGNIFICANCE]
    if strict_constants:
        problems += [
            f"{test.tensor}: its law does not give {test.impossible} of its entries"
            for test in tests
            if test.impossible
        ]
        problems += [f"{name} is off its initial constant by {d:.3g}" for name, d in deviations.items() if not d <= 0.0]
    detail = f"{len(p_values)} tensors follow their laws"
    if lowest is not None:
        detail += f", smallest KS p = {p_values[lowest]:.3f}"
    detail += f"; {len(deviations)} constants " + ("hold" if strict_constants else "not looked at")
    given = [test for test in tests if test.given]
    num_given, num_entries = (sum(test.num_entries for test in some) for some in (given, tests))
    if given:
        names = first_names([test.tensor for test in given])
        detail += f"; W_0 is given, not drawn, in {num_given:,} of {num_entries:,} entries ({names})"
    check = check_problems("initial_state", problems, detail)
    check.numbers["given_entries"] = float(num_given)
    check.numbers["initial_entries"] = float(num_entries)
    check.numbers["min_p"] = p_values[lowest] if lowest is not None else 1.0
    check.numbers["max_constant_deviation"] = max(deviations.values(), default=0.0)
    return check


CHECKS: Final = {
    "initial_state": check_initial_state,
    "initial_laws": partial(check_initial_state, strict_constants=False),
}
