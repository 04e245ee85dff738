"""Check `initial_memory`: W_T remembers W_0 as trained weights do.

Training moves the weights of a network by less than their size, so the cosine of W_0 and W_T over the tensors with a random law
lies in a narrow range that the verifier can measure on runs of its own. A W_0 that was drawn without regard to W_T has a cosine
of mean 0 and standard deviation 1/sqrt(entries): where W_0 is bound, a stolen W_T shows. A W_0 that was fitted to W_T lies above
the range. What it does not establish: an adversary may claim W_T plus enough noise along W_0; the detail says how much.
"""

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any, Final

from raypol.core.distances import Distances
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Check
from raypol.core.verification.verifier import Evidence

_MARGIN: Final = 0.02
"""Least distance of the limits from the mean of the honest cosines."""
_ONE_SIDED: Final = 5e-4
"""Share of honest cosines beyond each limit, if they are normal over seeds: a prediction interval of 99.9 %."""


def check_initial_memory(
    evidence: Evidence, _: Thresholds, __: Distances | None, *, least: float, most: float
) -> Check:
    """Check that the cosine of W_0 and W_T lies in the honest range."""
    memory = evidence.memory
    if not memory.num_entries:
        return Check(name="initial_memory", passed=False, detail="no tensor of W_0 has a random law")
    noise = least / math.sqrt(1.0 - least**2) if 0.0 < least < 1.0 else math.inf if least >= 1.0 else 0.0
    detail = (
        f"cosine of W_0 and W_T {memory.cosine:.3f}, expected {least:.3f}..{most:.3f}; an independent W_0 has 0 +- "
        f"{1.0 / math.sqrt(memory.num_entries):.3f}; a stolen W_T with noise of {noise:.2f} times its size along W_0 would pass"
    )
    numbers = {"cosine": memory.cosine, "noise_that_passes": noise}
    return Check(name="initial_memory", passed=least <= memory.cosine <= most, detail=detail, numbers=numbers)


def _calibrate(honest: Sequence[Evidence], _: float) -> dict[str, Any]:
    from scipy import stats

    found = [evidence.memory.cosine for evidence in honest]
    far = float(stats.t.isf(_ONE_SIDED, len(found) - 1)) * stdev(found) * math.sqrt(1.0 + 1.0 / len(found))
    return {"least": fmean(found) - max(_MARGIN, far), "most": fmean(found) + max(_MARGIN, far)}


CHECKS: Final = {"initial_memory": check_initial_memory}
CALIBRATIONS: Final = {"initial_memory": _calibrate}
