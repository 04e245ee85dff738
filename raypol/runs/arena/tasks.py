"""What the arena is fought on: three trainings, each a sweep of its own at the sizes that it can be run at."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal

from ray import tune

from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.training.train_config import TrainConfig
from raypol.core.verification.replay import Conditions
from raypol.core.verification.stages import STAGES
from raypol.core.verification.thresholds import Thresholds
from raypol.runs.arena.contenders import Lengths, contenders
from raypol.runs.arena.verifiers import STATIC
from raypol.runs.designs.design import Design, Sweep
from raypol.runs.trials.verify import Examination

TaskName = Literal["digits", "simple_conv", "resnet20"]
ARENA_QUESTION: Final = "Which attack, adapted to which verifier, passes it, and at which cost?"


PROVERS_SHARE: Final = "9f3c52d81be07a64" * 2
"""The verifier's share of the honest trainings' seeds."""


def arena_design(
    train: TrainConfig,
    at: Lengths,
    *,
    seeds: Sequence[int],
    calibrate_on: int,
    budget: int,
    more_honest: Sequence[int] = (),
) -> Design:
    """The arena on a training.

    Args:
        train: the honest one.
        at: lengths of the spoofs.
        seeds: of proofs and spoofs.
        calibrate_on: honest runs of other seeds that policies are made of; 0 = none are.
        budget: forgeries that each arm's search may try.
        more_honest: seeds of further proofs that policies judge.
    """
    first = max(1_000, max(seeds) + 2)  # beside every other seed, and the references'
    return Design(
        train=train,
        arms=contenders(at),
        space={"seed": tune.grid_search(list(seeds))},
        spoof=SpoofConfig(interval=train.interval),
        examination=Examination(conditions=Conditions(), accuracy_stages=STAGES, unperturbed=False),
        policies=STATIC,
        samples=budget,
        more_honest=tuple(more_honest),
        calibrate_on=tuple(range(first, first + calibrate_on)),
    )


def _design(
    train: TrainConfig,
    at: Lengths,
    *,
    seeds: int,
    honest: int,
    calibrate_on: int,
    budget: int,
    first: int = 0,
    without: Sequence[str] = (),
    tried_once: Sequence[str] = (),
) -> Design:
    """The arena with the verifier's share of the seed, without some arms and policies, from the seed `first` on."""
    made = arena_design(
        replace(train, share=PROVERS_SHARE, seed=first),
        at,
        seeds=range(first, first + seeds),
        calibrate_on=calibrate_on,
        budget=budget,
        more_honest=range(first + seeds, first + honest),
    )
    arms = {name: arm for name, arm in made.arms.items() if name not in without}
    arms |= {name: replace(arm, budget=1) for name, arm in arms.items() if name in tried_once}
    return replace(made, arms=arms, policies=tuple(policy for policy in made.policies if policy.name not in without))


_DIGITS: Final = TrainConfig(dataset="digits", model="resnet8", steps=1000, interval=10)
_DIGITS_AT: Final = Lengths(
    declared=200, low=50, high=1000, step=10, searching=80, searching_high=200, whole=1000, epochs=990
)
_SIMPLE: Final = TrainConfig(dataset="fashion_mnist", model="simple_conv", steps=20_000, interval=100, crop_padding=2)
_SIMPLE_AT: Final = Lengths(
    declared=500, low=200, high=1_500, step=100, searching=200, searching_high=400, whole=1_500, epochs=1_500
)
_SIMPLE_SLACK: Final = Thresholds(kind="relative", l1=0.5, l2=0.6, linf=0.5, cos=0.9)
"""About 1.6 times the largest honest error of seeds 0 to 2, which the standing results do not judge: 100 steps under fresh crops
err as much as they move."""
_SIMPLE_FIRST: Final = 10
"""Their first seed."""
_DEAR: Final = ("I-tail", "II", "III-gradient", "III-loss", "III-invisible", "subtract", "add")
"""Arms of which they try one forgery: minutes each."""
_RESNET: Final = TrainConfig(
    dataset="fashion_mnist_32x32x3",
    model="resnet20",
    steps=2_000,
    interval=20,
    batch_size=32,
    crop_padding=4,
    horizontal_flip=True,
)
_RESNET_AT: Final = Lengths(
    declared=100, low=60, high=200, step=20, searching=40, searching_high=60, whole=200, epochs=200
)
_TOO_LONG: Final = ("I", "forge_batch")
"""Arms that standing results on fashion_mnist leave out: second-order search of every step, and a forgery as long as T."""
_TOO_DEAR: Final = ("near_copy",)
"""Policies that they leave out: each own point is held against 60,000."""

_SMALL: Final = _design(
    replace(_DIGITS, steps=200),
    Lengths(declared=60, low=30, high=200, step=10, searching=20, searching_high=40, whole=200, epochs=200),
    seeds=2,
    honest=4,
    calibrate_on=3,
    budget=3,
)
"""What runs on a laptop in minutes."""

TASKS: Final[Mapping[TaskName, Sweep]] = {
    "digits": Sweep(
        name="arena",
        question=ARENA_QUESTION,
        smoke=_SMALL,
        standard=_design(_DIGITS, _DIGITS_AT, seeds=5, honest=20, calibrate_on=10, budget=6),
        paper=_design(_DIGITS, _DIGITS_AT, seeds=5, honest=20, calibrate_on=20, budget=50),
    ),
    "simple_conv": Sweep(
        name="arena_simple_conv",
        question=ARENA_QUESTION,
        smoke=_SMALL,
        standard=replace(
            _design(
                _SIMPLE,
                _SIMPLE_AT,
                seeds=3,
                honest=3,
                calibrate_on=4,
                budget=4,
                first=_SIMPLE_FIRST,
                without=(*_TOO_LONG, *_TOO_DEAR),
                tried_once=_DEAR,
            ),
            thresholds=_SIMPLE_SLACK,
        ),
        paper=replace(
            _design(
                _SIMPLE,
                replace(_SIMPLE_AT, high=20_000, whole=20_000),
                seeds=3,
                honest=20,
                calibrate_on=20,
                budget=50,
                first=_SIMPLE_FIRST,
            ),
            thresholds=_SIMPLE_SLACK,
        ),
    ),
    "resnet20": Sweep(
        name="arena_resnet20",
        question=ARENA_QUESTION,
        smoke=_SMALL,
        standard=_design(
            _RESNET,
            _RESNET_AT,
            seeds=1,
            honest=1,
            calibrate_on=0,
            budget=1,
            without=(*_TOO_LONG, *_TOO_DEAR),
        ),
        paper=_design(
            _RESNET, replace(_RESNET_AT, high=2_000, whole=2_000), seeds=5, honest=20, calibrate_on=20, budget=50
        ),
    ),
}
"""By name: many attacks on a small network; the papers' regime of T' far below T; a network of the papers."""
