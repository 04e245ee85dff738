"""The contenders of the arena: every attack as it was published or declared, with what it may change to pass a policy.

Each arm is granted what it uses. Its first points are what a reader of the policies would try: a rule without momentum, the
verifier's own W_0 and order, statistics carried exactly, the honest augmentation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ray import tune

from raypol.core.attacks import find_attack
from raypol.runs.designs.design import Arm

_SHARE: Final = "c3d91f60a8b74e25" * 2
"""The verifier's share of a bound seed, which A asked for as any prover does."""
FITTED: Final[Mapping[str, Any]] = {"trajectory.start": "rank_matched"}
BALL: Final[Mapping[str, Any]] = {"trajectory.start": "ks_ball"}
HONEST_START: Final[Mapping[str, Any]] = {"trajectory.start": "honest", "spoof.data_order": "declared"}
_BOUND: Final[Mapping[str, Any]] = {"trajectory.start": "bound", "spoof.share": _SHARE, "spoof.data_order": "declared"}
BOUND_START: Final[Mapping[str, Any]] = {"trajectory.start": "bound", "spoof.share": _SHARE}
"""The same where the attack chooses its batches."""
_STARTS: Final = (FITTED, BALL, HONEST_START, _BOUND)
STARTS_OF_CHOOSERS: Final = (FITTED, BALL, BOUND_START)

RULE: Final = "spoof.declares"
START: Final = "W_0 and order"
BUFFERS: Final = "spoof.buffers"
AUGMENTS: Final = "spoof.augmentation"
_STEPS: Final = "steps"
FREE_RULES: Final = ("honest_schedule", "no_momentum", "vanishing", "accumulator")
TRAINING_RULES: Final = ("honest_schedule", "no_momentum", "published")


@dataclass(frozen=True, kw_only=True, slots=True)
class Lengths:
    """T' of a size of the arena."""

    declared: int
    """Of the arms as declared."""
    low: int
    high: int
    """Of the search."""
    step: int
    """The interval k."""
    searching: int
    """Of arms that cost more than the honest training per step, as declared."""
    searching_high: int
    """Of their search."""
    whole: int
    """T."""
    epochs: int
    """Of `blindfold`, which needs in each epoch, in the last one too, more intervals than the verifier replays."""

    def axis(self, *, searching: bool = False) -> Any:  # noqa: ANN401 - Tune's
        """The axis T', both ends in it."""
        low, high = (min(self.low, self.searching), self.searching_high) if searching else (self.low, self.high)
        end = high + (self.step == 1)  # Tune leaves the end out where numbers are whole
        return tune.qlograndint(low, end, self.step)


def contenders(at: Lengths) -> dict[str, Arm]:
    """Every arm, in the order of tables: controls first.

    Args:
        at: the lengths of the spoofs.
    """
    return {
        **_controls(at),
        **_lines(at),
        **_trained(at),
        **_searches(at),
        **_others(at),
        **_dishonest(at),
    }


def _controls(at: Lengths) -> dict[str, Arm]:
    line = {
        _STEPS: at.axis(),
        RULE: tune.choice(list(FREE_RULES)),
        START: tune.choice(list(_STARTS)),
        BUFFERS: _exactly(),
    }
    bound = {_STEPS: at.high, RULE: "no_momentum", START: _BOUND, BUFFERS: "exact"}
    return {
        "null": Arm(
            "null",
            _declared(at),
            line,
            (
                {_STEPS: at.high, RULE: "no_momentum", START: BALL, BUFFERS: "linear"},
                {_STEPS: at.low, RULE: "no_momentum", START: BALL, BUFFERS: "linear"},
                bound,
            ),
        ),
        "infinitesimal": Arm(
            "infinitesimal",
            _declared(at),
            {**line, RULE: tune.choice(["honest_schedule", "no_momentum"])},
            ({_STEPS: at.high, RULE: "no_momentum", START: BALL, BUFFERS: "linear"}, bound),
        ),
        "untrained": Arm(
            "untrained", {_STEPS: at.declared, START: HONEST_START, RULE: "no_momentum", BUFFERS: "exact"}
        ),
    }


def _lines(at: Lengths) -> dict[str, Arm]:
    free = {_STEPS: at.axis(), RULE: tune.choice(list(FREE_RULES)), BUFFERS: _exactly()}
    chosen = {**free, START: tune.choice(list(STARTS_OF_CHOOSERS))}
    cheap = {_STEPS: at.high, RULE: "no_momentum", BUFFERS: "linear", START: BALL}
    joined = {
        _STEPS: at.axis(),
        RULE: tune.choice(["honest_schedule", "no_momentum"]),
        START: tune.choice(list(_STARTS)),
    }
    selecting = {"spoof.grants": ("usual", "selection")}
    return {
        "forged_momentum": Arm(
            "forged_momentum",
            _declared(at),
            {_STEPS: at.axis(), START: tune.choice(list(_STARTS)), BUFFERS: _exactly()},
            ({_STEPS: at.low, START: HONEST_START, BUFFERS: "exact"},),
        ),
        "selected": Arm("selected", _declared(at), chosen, (cheap, {**cheap, START: BOUND_START, BUFFERS: "exact"})),
        "connected": Arm(
            "connected",
            {**_declared(at), RULE: "no_momentum"},
            {**free, RULE: tune.choice(["no_momentum", "honest_schedule"]), START: tune.choice(list(_STARTS))},
            ({_STEPS: at.high, RULE: "no_momentum", BUFFERS: "exact", START: HONEST_START},),
        ),
        "glue": Arm(
            "glue",
            _declared(at),
            {**joined, "attack.bad_intervals": tune.choice([1, 4]), "attack.joint": tune.choice([0.5, 1.0])},
            (
                {
                    _STEPS: at.high,
                    RULE: "honest_schedule",
                    START: _BOUND,
                    "attack.bad_intervals": 1,
                    "attack.joint": 1.0,
                },
            ),
        ),
        "grind_selection": Arm(
            "grind_selection",
            {_STEPS: at.declared, "spoof.grants": ("usual", "selection", "nonce")},
            {_STEPS: at.axis(), RULE: tune.choice(["honest_schedule", "no_momentum"])},
            ({_STEPS: at.high, RULE: "no_momentum"},),
        ),
        "blindfold": Arm(
            find_attack("blindfold", query_budget=1),
            {**selecting, _STEPS: at.epochs},
            {RULE: tune.choice(["honest_schedule", "no_momentum"]), START: tune.choice([FITTED, HONEST_START])},
        ),
    }


def _trained(at: Lengths) -> dict[str, Arm]:
    real = {
        _STEPS: at.axis(),
        RULE: tune.choice(list(TRAINING_RULES)),
        START: tune.choice(list(_STARTS)),
        AUGMENTS: tune.choice(["none", "honest"]),
    }
    first = (
        {_STEPS: at.high, RULE: "honest_schedule", START: FITTED, AUGMENTS: "honest"},
        {_STEPS: at.high, RULE: "honest_schedule", START: _BOUND, AUGMENTS: "honest"},
    )
    return {
        "steered": Arm(
            "steered",
            _declared(at),
            {**real, "attack.schedule": tune.choice(["even", "power"]), "attack.pool": tune.choice([1, 4])},
            tuple({**point, "attack.schedule": "even", "attack.pool": 1} for point in first),
        ),
        "steered, optimal": Arm("steered_optimal", _declared(at), real, first),
        "steered, to the envelope": Arm(
            find_attack("steered_optimal", slack=0.8, lead=10.0), _declared(at), real, first, knows_envelope=True
        ),
        "aligned": Arm(
            "aligned",
            {_STEPS: at.searching, RULE: "honest_schedule"},
            {
                _STEPS: at.axis(searching=True),
                RULE: tune.choice(["honest_schedule", "no_momentum"]),
                START: tune.choice(list(STARTS_OF_CHOOSERS)),
                "attack.batches": tune.choice([20, 80]),
            },
        ),
    }


def _searches(at: Lengths) -> dict[str, Arm]:
    space = {
        _STEPS: at.axis(searching=True),
        RULE: tune.choice(["honest_schedule", "no_momentum", "published"]),
        START: tune.choice(list(_STARTS)),
    }
    lighter = {**space, BUFFERS: _exactly()}
    declared = {_STEPS: at.searching}
    return {
        "I": Arm("zhang2022_i", {_STEPS: at.low}),
        "I-tail": Arm("i_tail", declared, space),
        "II": Arm("zhang2022_ii", declared, space),
        "III-gradient": Arm("iii", declared, lighter),
        "III-loss": Arm("iii_loss", declared, lighter),
        "III-invisible": Arm("iii_invisible", declared, lighter),
        "amortized": Arm(
            "amortized",
            {**_declared(at), RULE: "no_momentum"},
            {
                _STEPS: at.axis(),
                RULE: tune.choice(["no_momentum", "accumulator"]),
                START: tune.choice(list(STARTS_OF_CHOOSERS)),
                "attack.points": tune.choice([64, 256]),
            },
        ),
    }


def _others(at: Lengths) -> dict[str, Arm]:
    trained = {AUGMENTS: "honest"}
    return {
        "retrain": Arm("retrain", {_STEPS: at.whole, START: HONEST_START, **trained}),
        "retrain, bound": Arm("retrain", {_STEPS: at.whole, START: _BOUND, **trained}),
        "distil": Arm(
            "distil",
            _declared(at),
            {_STEPS: at.axis(), START: tune.choice(list(_STARTS))},
            ({_STEPS: at.high, START: _BOUND},),
        ),
        "continue": Arm(
            "continue",
            _declared(at),
            {
                _STEPS: at.axis(),
                AUGMENTS: tune.choice(["none", "honest"]),
                "attack.start_noise": tune.choice([0.0, 0.3, 1.0, 3.0]),
            },
            ({_STEPS: at.low, AUGMENTS: "none", "attack.start_noise": 1.0},),
        ),
        "blend": Arm(
            "blend",
            {_STEPS: at.declared, START: _BOUND, **trained},
            {_STEPS: at.axis(), "attack.blend_cosine": tune.choice([0.2, 0.5, 0.8])},
            ({_STEPS: at.high, "attack.blend_cosine": 0.8},),
        ),
    }


def _dishonest(at: Lengths) -> dict[str, Arm]:
    whole = {_STEPS: at.whole, AUGMENTS: "honest"}
    lying = {"attack.fraction": tune.choice([0.02, 0.1, 0.5])}
    return {
        "forge_batch": Arm(
            find_attack("forge_batch", candidates=20, forged=0.02),
            {**whole, "spoof.grants": ("usual", "trace", "seed")},
            {"attack.candidates": tune.choice([10, 40]), "attack.forged": tune.choice([0.01, 0.1])},
        ),
        "subtract": Arm(
            "subtract", {**whole, START: HONEST_START}, {**lying, START: tune.choice([HONEST_START, _BOUND])}
        ),
        "add": Arm("add", {**whole, START: HONEST_START}, {**lying, START: tune.choice([HONEST_START, _BOUND])}),
    }


def _declared(at: Lengths) -> dict[str, Any]:
    return {_STEPS: at.declared}


def _exactly() -> Any:  # noqa: ANN401 - Tune's
    return tune.choice(["linear", "exact"])
