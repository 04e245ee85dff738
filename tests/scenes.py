"""What the tests of attacks and of the store share: a stolen model, nets by import path, forging from end to end."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import torch
from torch import Tensor, nn

from raypol.core.attacks import method_of
from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.load import load_dataset
from raypol.core.distances import METRICS, Distances
from raypol.core.models.initial_laws import Law, Uniform
from raypol.core.proof import Checkpoint, Interval, MemoryProof, OptimizerConfig, Recipe
from raypol.core.protocol import prove, spoof
from raypol.core.spoofing.method import AttackMethod, make_scene, spoof_recipe
from raypol.core.spoofing.scene import Crafted, CraftedBatch, Scene
from raypol.core.spoofing.seal import craft_interval, seal_spoof
from raypol.core.spoofing.search import CraftStats
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.verification.policies import published, strict
from raypol.core.verification.replay import Conditions, IntervalReplay
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verifier import Evidence, examine

RECORDED: Final = Conditions(augmentation="recorded")
ANY_INTERVAL: Final = ("usual", "interval")
"""What published attacks are granted, and a k of A's own."""
SHORT: Final = SpoofConfig(steps=7, interval=3, batch_size=16, grants=ANY_INTERVAL)
"""Intervals of 3, 3 and 1 steps: a shorter last one."""


def claiming(**choices: Any) -> SpoofConfig:  # noqa: ANN401 - any field of SpoofConfig
    """An adversary's choices, any k among them."""
    return SpoofConfig(grants=ANY_INTERVAL, **choices)


# --- nets and data by import path ----------------------------------------------------------------------------------


def smooth_net(*, in_channels: int, num_classes: int) -> nn.Module:
    """A convolution, batch statistics and tanh: twice differentiable everywhere, as finite differences need."""
    return nn.Sequential(
        nn.Conv2d(in_channels, 3, 3, stride=2),
        nn.BatchNorm2d(3),
        nn.Tanh(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(3, num_classes),
    )


def smooth_dropout_net(*, in_channels: int, num_classes: int) -> nn.Module:
    return nn.Sequential(smooth_net(in_channels=in_channels, num_classes=8), nn.Dropout(0.4), nn.Linear(8, num_classes))


class _Reordering(nn.Module):
    """Reads the pixels in the order of an index table, which is a buffer of integers."""

    order: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("order", torch.arange(15, -1, -1))
        self.norm = nn.BatchNorm1d(16)
        self.head = nn.Linear(16, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        pooled = nn.functional.adaptive_avg_pool2d(x, 4).flatten(1)
        out: Tensor = self.head(self.norm(pooled[:, self.order]))
        return out


def reordering_net(*, in_channels: int, num_classes: int) -> nn.Module:
    assert in_channels == 1
    return _Reordering(num_classes)


class _HalfFrozen(nn.Module):
    """The first layer is frozen: its parameter never gets a gradient."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.frozen = nn.Conv2d(in_channels, 3, 3, bias=False)
        self.frozen.weight.requires_grad = False
        self.head = nn.Linear(3, num_classes)

    def initial_laws(self) -> dict[str, Law]:
        return {"frozen.weight": Uniform(self.frozen.weight[0].numel() ** -0.5)}

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(torch.tanh(self.frozen(x)).mean(dim=(2, 3)))
        return out


def half_frozen_net(*, in_channels: int, num_classes: int) -> nn.Module:
    return _HalfFrozen(in_channels, num_classes)


def tiny() -> Dataset:
    """48 images of 5x5 grey pixels, away from black and white, three classes that differ in brightness."""
    rng = torch.Generator().manual_seed(5)
    labels = torch.arange(60) % 3
    pixels = torch.randint(30, 120, (60, 1, 5, 5), generator=rng) + 50 * labels[:, None, None, None]
    pixels = pixels.to(torch.uint8)
    return Dataset(
        name="tiny",
        pixels=pixels[:48],
        labels=labels[:48],
        test_pixels=pixels[48:],
        test_labels=labels[48:],
        num_classes=3,
    )


TINY: Final = "tests.scenes:tiny"


# --- an own attack by import path ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Invert:
    """Every point becomes its negative, whatever the step: the same source gives the same own point."""

    every: int = 1
    """Only every n-th point of a batch is touched; the rest stay bit for bit."""


def _invert(scene: Scene, interval: Interval, start: Checkpoint, config: Invert) -> Crafted:
    del start
    batches = []
    for t in range(interval.start, interval.stop):
        sources, _, labels = scene.batch(t)
        pixels = scene.dataset.pixels[torch.from_numpy(sources)].clone()
        pixels[:: config.every] = 255 - pixels[:: config.every]
        batches.append(CraftedBatch(sources, labels.cpu(), pixels))
    return Crafted(interval=interval, batches=batches)


INVERT: Final = AttackMethod(config=Invert, craft=_invert, uses=("weights", "own_points"))


# --- proofs --------------------------------------------------------------------------------------------------------


def small_recipe(dataset: Dataset, **changes: Any) -> Recipe:  # noqa: ANN401 - any field of Recipe
    """12 steps of the smooth net in intervals of 4, unless changed."""
    fields: dict[str, Any] = {
        "dataset": dataset.name,
        "dataset_sha256": dataset.sha256,
        "model": "tests.scenes:smooth_net",
        "steps": 12,
        "interval": 4,
        "batch_size": 16,
    }
    return Recipe(**{**fields, **changes})


@cache
def stolen_digits() -> MemoryProof:
    """A real if small case: resnet8 on digits, 160 honest steps to about 95 % test accuracy. Do not change it."""
    dataset = load_dataset("digits")
    return prove(small_recipe(dataset, model="resnet8", steps=160, interval=40, batch_size=32), dataset)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Forged:
    """A spoof, how it was made, and what the verifier found."""

    proof: MemoryProof
    made: tuple[Crafted, ...]
    evidence: Evidence

    @property
    def replays(self) -> tuple[IntervalReplay, ...]:
        """Every interval's replay, in order."""
        return self.evidence.replays

    @property
    def stats(self) -> tuple[CraftStats, ...]:
        """Of every search, in order."""
        return tuple(stats for crafted in self.made for stats in crafted.stats)

    @property
    def mean_error_l2(self) -> float:
        """Mean over the intervals of eps_repr in l2."""
        return sum(replay.error.l2 for replay in self.replays) / len(self.replays)

    @property
    def state_errors(self) -> list[Distances]:
        """Per interval, what the recorded optimizer state is off."""
        return [replay.state_error for replay in self.replays]

    def rejected_by(self, policy: str, thresholds: Thresholds | None = None) -> str:
        """Names of the checks that say no."""
        verdict = {"published": published, "strict": strict}[policy](self.evidence, thresholds or Thresholds(), None)
        return verdict.rejected_by


def forge(
    config: object,
    honest: MemoryProof,
    dataset: Dataset,
    choices: SpoofConfig = SHORT,
    *,
    order: Sequence[int] | None = None,
    scene_per_interval: bool = False,
) -> Forged:
    """Forge a spoof of the honest proof's last model, and examine it.

    Args:
        config: the attack's.
        honest: whose W_T was stolen.
        dataset: the adversary's, and the verifier's.
        choices: the adversary's other choices.
        order: in which the intervals are crafted, if the attack is not a sequential one; None = as they come.
        scene_per_interval: with an order, each interval is crafted in a scene of its own, as another process would.
    """
    made: list[Crafted] = []
    method = method_of(config)
    if order is None or method.sequential(config, choices):
        proof: MemoryProof = spoof(honest, dataset, config, choices, on_interval=made.append)
        return Forged(proof=proof, made=tuple(made), evidence=examine(proof, dataset, RECORDED))
    recipe = spoof_recipe(method, config, choices, honest.recipe, dataset)
    stolen = honest.checkpoints[-1]
    scenes = (make_scene(method, config, choices, recipe, dataset, stolen) for _ in range(1 + recipe.num_intervals))
    scene = next(scenes)
    pieces = {}
    for index in order:
        interval = recipe.interval_at(index)
        pieces[index] = craft_interval(method, next(scenes) if scene_per_interval else scene, interval, config)
    crafted = iter([pieces[index] for index in range(recipe.num_intervals)])
    proof = MemoryProof(recipe, len(dataset))
    seal_spoof(method, scene, config, crafted, proof, on_interval=made.append)
    proof.seal()
    return Forged(proof=proof, made=tuple(made), evidence=examine(proof, dataset, RECORDED))


def sgd(**options: float | bool) -> OptimizerConfig:
    """SGD at rate 0.05, with further options."""
    return OptimizerConfig(name="SGD", options={"lr": 0.05, **options})


def bits(tensor: Tensor) -> tuple[torch.dtype, tuple[int, ...], bytes]:
    """All that makes two tensors the same, NaN payloads and signs of zero included."""
    raw = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return tensor.dtype, tuple(tensor.shape), raw


def all_bits(checkpoint: Checkpoint) -> dict[str, tuple[torch.dtype, tuple[int, ...], bytes]]:
    """`bits` of everything recorded."""
    return {name: bits(tensor) for name, tensor in checkpoint.tensors().items()}


def zero(distances: Distances) -> bool:
    """True if all four distances are exactly 0."""
    return all(distances[metric] == 0.0 for metric in METRICS)
