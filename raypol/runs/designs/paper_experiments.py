"""Shared parts of the experiments of Zhang et al. 2022 (arXiv:2108.09454, section VI): trainings, choices of the spoof, axes.

Two sizes. `paper`: the published numbers, on GPUs. `smoke`: digits and resnet8, T = 300, k = 10, about a minute on two cores.

Slack: at `paper` size the published static delta (l1 1000, l2 10, linf 0.1, cos 0.01), so that verdicts are those of the
published verifier. It is one delta for models of 0.3 to 23 million parameters; the honest proof is judged by it like any
spoof, and every distance is in the intervals table to be judged by another. At `smoke` size `RELATIVE`, in units of d_ref:
the static delta lets everything pass on a network as small as resnet8.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Final

from ray import tune

from raypol.core.attacks import find_attack
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.spoofing.trajectory import TrajectoryConfig
from raypol.core.training.train_config import TrainConfig
from raypol.core.verification.thresholds import Thresholds
from raypol.runs.designs.design import Design, Sweep

CIFAR10: Final = TrainConfig(
    dataset="cifar10",
    model="resnet20",
    steps=78_125,  # 200 epochs of 50,000 points at 128
    interval=100,
    batch_size=128,
    lr=0.1,
    momentum=0.9,
    weight_decay=1e-4,
    lr_drops=(100 / 200, 150 / 200),  # epochs
    lr_factor=0.1,
    crop_padding=4,
    horizontal_flip=True,
)
"""ResNet-20 on CIFAR-10."""

CIFAR100: Final = replace(
    CIFAR10,
    dataset="cifar100",
    model="resnet50",
    weight_decay=5e-4,
    lr_drops=(60 / 200, 120 / 200, 160 / 200),
    lr_factor=0.2,
    rotation_degrees=15.0,
)
"""ResNet-50 on CIFAR-100."""

IMAGENET: Final = replace(CIFAR10, dataset="imagenet_subset", model="resnet18", steps=20_300)
"""ResNet-18 on ten classes of ImageNet at 128x128; optimizer and schedule, which are not published, as for CIFAR-10."""

HALF_OF_CIFAR10: Final = replace(CIFAR10, dataset="cifar10/D1", steps=39_062)
"""The same 200 epochs on the prover's half, 25,000 points."""

DIGITS: Final = TrainConfig(dataset="digits", model="resnet8", steps=300, interval=10)
"""The stand-in of every smoke size."""

PUBLISHED_SLACK: Final = Thresholds()
"""Static delta: l1 1000, l2 10, linf 0.1, cos 0.01."""

PUBLISHED_SPOOF: Final = SpoofConfig(
    steps=3000,
    interval=100,
    trajectory=TrajectoryConfig(path="linear", initial="published"),
    declares="published",
    carry="restart",
)
"""As the published attacks: SGD at a constant lr of 0.01 declared, its state dropped at every checkpoint, constants of W_0 left
at W_T's. T' = 3,000 lies in all three published success ranges."""

SMALL_SPOOF: Final = replace(PUBLISHED_SPOOF, steps=40, interval=10)
"""The same choices at smoke size."""

SMALL_III: Final = find_attack("iii", retries=1)
"""Attack III as published but for the tolerance of its search: 0.1 ends it before its first step on images as small as digits,
and the points stay as they are."""

SEEDS: Final = {"seed": tune.grid_search([0, 1, 2])}
"""Of proof and spoof."""

ON_GPUS: Final = {role: tune.grid_search(["gpu"]) for role in ("prover", "spoofer", "verifier")}
"""Any GPU for every party; the command line names others."""


def against_steps(
    name: str, *, question: str, train: TrainConfig, attack: str, steps: Mapping[str, Any], halves: bool = False
) -> Sweep:
    """Figures 2 to 9: one attack over T'; error, time and size beside the honest proof.

    Args:
        name: of the experiment.
        question: what it asks.
        train: the honest training at `paper` size.
        attack: a published preset; the arm bears its number. At `smoke` size it draws fresh batches once.
        steps: the values of T' at `paper` size, as `tune.grid_search`.
        halves: the prover has D1 of the dataset, as `train` says, and the adversary D2.
    """
    arm = attack.removeprefix("zhang2022_").partition("_")[0].upper()
    own, spoof, small = DIGITS, PUBLISHED_SPOOF, SMALL_SPOOF
    if halves:
        own = replace(DIGITS, dataset="digits/D1")
        spoof = replace(spoof, dataset=f"{train.dataset.removesuffix('/D1')}/D2")
        small = replace(small, dataset="digits/D2")
    return Sweep(
        name=name,
        question=question,
        paper=Design(
            train=train,
            arms={arm: attack},
            space={"steps": steps, **SEEDS, **ON_GPUS},
            spoof=spoof,
            thresholds=PUBLISHED_SLACK,
        ),
        smoke=Design(
            train=own,
            arms={arm: SMALL_III if attack == "zhang2022_iii" else find_attack(attack, retries=1)},
            space={"steps": tune.grid_search([20, 40, 80])},
            spoof=small,
        ),
    )


def setting(train: TrainConfig, attack: object | None = None) -> dict[str, Any]:
    """A training, and an attack's hyperparameters, as one value of an axis; seed and folder of the data stay free."""
    kept = [f.name for f in fields(train) if f.name not in ("seed", "interval", "data_dir")]
    chosen = {f"train.{name}": getattr(train, name) for name in kept} | {"interval": train.interval}
    if attack is not None:
        chosen |= {f"attack.{f.name}": getattr(attack, f.name) for f in fields(attack)}  # type: ignore[arg-type]
    # As JSON would carry it: a search that is resumed proposes what it has read.
    return {axis: list(value) if isinstance(value, tuple) else value for axis, value in chosen.items()}


PAPER_DATASETS: Final = (
    setting(CIFAR10),
    setting(CIFAR100),
    setting(IMAGENET, find_attack("zhang2022_iii_imagenet")),
)
"""The three datasets with their models, and attack III's limits for each."""
