"""Costs and errors of spoofs in units of the honest proof's."""

import math
from collections.abc import Sequence

from raypol.core.distances import METRICS
from raypol.runs.trials.rows import number_of
from raypol.store.results.rows import TrialRow


def costs_of(rows: Sequence[TrialRow]) -> dict[str, tuple[float, float]]:
    """Cost and error by trial, of spoofs that ended well on the prover's own kind of device, which is not simulated.

    Cost: device seconds without waiting for writes, over the honest proof's. Error: the largest of the four ratios.
    """
    honest = {row.proof_id: row for row in rows if row.is_honest and row.is_ok}
    found = {}
    for row in rows:
        proof = honest.get(row.proof_reference or "")
        if row.is_honest or not row.is_ok or proof is None or is_not_comparable(row):
            continue
        whole = _working_s(proof)
        error = largest_error_ratio(row)
        cost = _working_s(row) / whole if whole > 0.0 else math.nan
        if math.isfinite(cost) and math.isfinite(error):
            found[row.trial_id] = (cost, error)
    return found


def largest_error_ratio(row: TrialRow) -> float:
    """The largest of a trial's four reproduction errors, each over the honest proof's; NaN if one of them is missing."""
    return max((number_of(getattr(row, f"ratio_error_{m}")) for m in METRICS), key=lambda v: (math.isnan(v), v))


def is_not_comparable(row: TrialRow) -> bool:
    """True if the seconds of a spoof do not compare with the proof's: another device, or one that was only declared."""
    return row.simulated or (bool(row.prover_device_name) and row.device_name != row.prover_device_name)


def _working_s(row: TrialRow) -> float:
    return number_of(row.device_s) - (row.writing_s or 0.0)
