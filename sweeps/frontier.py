"""The fronts: every attack over T' and declarations, and under each policy the least error at each cost.

Calibrated policies are of one training, so they are made beforehand and given by name:
`raypol calibrate --seeds 5 --out calibrated.json`, then `python sweeps/frontier.py --policies calibrated.json`.
"""

from dataclasses import replace
from typing import Any

from ray import tune

from raypol import Design, SpoofConfig, Sweep, TrainConfig, find_attack, run_sweep
from raypol.core.verification.policies import find_policy, strict_trend
from raypol.runs.designs.design import Arm

HONEST_RULE = {"spoof.declares": "honest_schedule"}
NO_MOMENTUM = {"spoof.declares": "no_momentum"}
BOUND = {"trajectory.start": "bound", "spoof.share": "c3d91f60a8b74e25" * 2, "spoof.data_order": "declared"}
"""W_0 and the order of the data are the verifier's."""
AS_TRAINED = {"spoof.augmentation": "honest"}

ARMS: dict[str, Any] = {
    "null": "null",
    "infinitesimal": "infinitesimal",
    "selected": "selected",
    "null, W_0 in the KS ball": Arm("null", {**NO_MOMENTUM, "trajectory.start": "ks_ball"}),
    "null, W_0 and order bound": Arm("null", {**NO_MOMENTUM, **BOUND}),
    "null, statistics exact": Arm("null", {**NO_MOMENTUM, "spoof.buffers": "exact"}),
    # These declare something of their own, or need a rule that trains: one declaration for all.
    "forged_momentum": Arm("forged_momentum", HONEST_RULE),
    "amortized": Arm("amortized", NO_MOMENTUM),
    "connected": Arm("connected", NO_MOMENTUM),
    "steered": Arm("steered", HONEST_RULE),
    "steered, optimal": Arm("steered_optimal", HONEST_RULE),
    "steered, W_0 and order bound": Arm("steered", {**HONEST_RULE, **BOUND, **AS_TRAINED}),
    "glue": Arm("glue", HONEST_RULE),
    "continue": Arm("continue", HONEST_RULE),
    "retrain": Arm("retrain", {**HONEST_RULE, **BOUND, **AS_TRAINED}),
    "blend": Arm("blend", {**HONEST_RULE, **BOUND, **AS_TRAINED}),
}
"""Arms that cost no more than the honest training, or little more."""
SEARCHING: dict[str, Any] = {
    "II": Arm("zhang2022_ii", HONEST_RULE),
    "III-gradient": Arm("iii", HONEST_RULE),
    "III-loss": Arm("iii_loss", HONEST_RULE),
    "III-invisible": Arm("iii_invisible", HONEST_RULE),
    "III-invisible, no momentum": Arm("iii_invisible", NO_MOMENTUM),
}
"""The published searches, at every T'."""
MORE: dict[str, Any] = {
    "I-tail": Arm("i_tail", HONEST_RULE),
    "aligned": Arm("aligned", HONEST_RULE),
    "steered, 4th power": Arm("steered_power", HONEST_RULE),
    "distil": Arm("distil", HONEST_RULE),
    "subtract": Arm("subtract", HONEST_RULE),
    "add": Arm("add", HONEST_RULE),
}
"""At paper size at every T'."""
WHOLE_EPOCHS: dict[str, Any] = {
    "blindfold": Arm(find_attack("blindfold", query_budget=1), {**HONEST_RULE, "spoof.grants": ("usual", "selection")}),
}
"""At T' = T, for an epoch needs more intervals than the verifier replays."""
DIRECTED = replace(find_policy("strict+declared_rate+direction+initial_independence"), name="directed")
POLICIES = (strict_trend, DIRECTED)


def only_at(steps: int, arms: dict[str, Any]) -> dict[str, Any]:
    """The same arms at one T'."""
    return {name: Arm(arm.attack, {**arm.choices, "steps": steps}) for name, arm in arms.items()}


def declared(*kinds: str) -> Any:  # noqa: ANN401 - Ray Tune's
    """The axis of declarations."""
    return tune.grid_search(list(kinds))


SMALL = TrainConfig(dataset="digits", model="resnet8", steps=200, interval=10)

SWEEP = Sweep(
    name="frontier",
    question="Under each policy, what is the least error of an accepted spoof at each cost, and who reaches it?",
    paper=Design(
        train=TrainConfig(dataset="digits", model="resnet8", steps=1000, interval=10),
        arms={**ARMS, **SEARCHING, **MORE, **only_at(1000, WHOLE_EPOCHS)},
        space={
            "steps": tune.grid_search([50, 200, 500, 1000]),
            "spoof.declares": declared("honest_schedule", "no_momentum", "vanishing", "accumulator"),
            "seed": tune.grid_search([0, 1, 2]),
        },
        spoof=SpoofConfig(),
        policies=POLICIES,
    ),
    smoke=Design(
        train=SMALL,
        arms={**ARMS, **only_at(40, SEARCHING | MORE), **only_at(200, WHOLE_EPOCHS)},
        space={
            "steps": tune.grid_search([10, 40, 100, 200]),
            "spoof.declares": declared("honest_schedule", "no_momentum", "accumulator"),
        },
        spoof=SpoofConfig(),
        policies=POLICIES,
    ),
)

if __name__ == "__main__":
    run_sweep(SWEEP)
