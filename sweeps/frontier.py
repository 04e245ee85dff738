"""The fronts: every attack over T' and declarations, and under each policy the least error at each cost.

Calibrated policies are of one training and one machine, so they are made beforehand and given by name:
`raypol calibrate --seeds 5 --out calibrated.json`, then `python sweeps/frontier.py --policies calibrated.json`.
"""

from dataclasses import replace
from typing import Any

from ray import tune

from raypol import Design, SpoofConfig, Sweep, TrainConfig, TrajectoryConfig, find_attack, run_sweep
from raypol.core.verification.policies import find_policy, strict_trend
from raypol.runs.sweeps.design import Arm

DIRECTED = find_policy("strict+declared_rate+direction+initial_independence")
NO_MOMENTUM = {"spoof.declares": "no_momentum"}
BOUND = {"trajectory": TrajectoryConfig(start="bound"), "share": "c3d91f60a8b74e25" * 2, "data_order": "declared"}
AS_TRAINED = {"spoof.augmentation": "honest"}
WHOLE_TRACE = {"spoof.augmentation": "honest", "spoof.grants": ("usual", "trace")}

DECLARED = {"spoof.declares": tune.grid_search(["honest_schedule", "no_momentum", "vanishing", "accumulator"])}
"""Arms that declare something of their own, or need a rule that trains, say so and are run once for all of these."""


def bound(**choices: Any) -> dict[str, Any]:
    """Choices of an arm whose W_0 and order of the data are the verifier's."""
    return {f"spoof.{name}": value for name, value in BOUND.items()} | choices


def trained(attack: str, **choices: Any) -> Arm:
    """An arm that really trains, under the honest rule."""
    return Arm(attack, {"spoof.declares": "honest_schedule", **choices})


ARMS: dict[str, Any] = {
    "null": "null",
    "infinitesimal": Arm("infinitesimal", {"spoof.declares": "honest_schedule"}),
    "forged_momentum": Arm("forged_momentum", {"spoof.declares": "honest_schedule"}),
    "II": Arm("zhang2022_ii", {"spoof.declares": "honest_schedule"}),
    "II, no momentum": Arm("zhang2022_ii", NO_MOMENTUM),
    "III-gradient": Arm("iii", {"spoof.declares": "honest_schedule"}),
    "III-loss": Arm("iii_loss", {"spoof.declares": "honest_schedule"}),
    "III-invisible": Arm("iii_invisible", {"spoof.declares": "honest_schedule"}),
    "III-invisible, no momentum": Arm("iii_invisible", NO_MOMENTUM),
    "I-tail": trained("i_tail"),
    "selected": "selected",
    "blindfold": trained("blindfold", **{"spoof.grants": ("usual", "selection")}),
    "null, W_0 in the KS ball": Arm("null", {**NO_MOMENTUM, "trajectory.start": "ks_ball"}),
    "null, W_0 and order bound": Arm("null", bound(**NO_MOMENTUM)),
    "null, statistics exact": Arm("null", {**NO_MOMENTUM, "spoof.buffers": "exact"}),
    "steered": trained("steered"),
    "steered, 4th power": trained("steered_power"),
    "steered, optimal": trained("steered_optimal"),
    "steered, W_0 and order bound": trained("steered", **bound(**AS_TRAINED)),
    "glue": trained("glue"),
    "continue": trained("continue"),
    "retrain": trained("retrain", **bound(**AS_TRAINED)),
}
