"""The configuration of an honest training, and the recipe that follows from it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Final, Literal

import torch

from raypol.core.arithmetic.precision import WEIGHT_DTYPES, Precision, rehearsed_precision
from raypol.core.augment import Transform
from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.source import DataSource
from raypol.core.errors import InputError, check_whole, reject_choice
from raypol.core.models import build_model
from raypol.core.models.constructed import checked_laws, given_digests
from raypol.core.models.rehearsal import takes_channels_last
from raypol.core.proof import MAX_BATCH, MAX_STEPS, OptimizerConfig, Recipe, ScheduleConfig
from raypol.core.seeds import MAX_SEED, bound_seed, check_seed, check_share
from raypol.core.training.optimizers import declared_options, takes
from raypol.core.training.trainer import Trainer, rehearsal_of

_PIECE: Final = 256
"""Images whose pixels are counted at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Honest training."""

    dataset: str = "digits"
    """digits, fashion_mnist, fashion_mnist_32x32x3, cifar10, cifar100, cifar10_format, cifar100_format, imagenet_subset
    (imagenet_subset@classes=20), or your own by import path (my_pkg.data:load); half of one: digits/D1, digits/D2."""
    data_dir: str | None = None
    """Folder of the dataset's files; None = its usual place, where CIFAR is downloaded to. Not needed for digits."""
    model: str = "resnet8"
    """resnet8 (19,074 parameters), resnet20 (CIFAR ResNet-20), resnet18, resnet50 (torchvision's), resnet18_small,
    resnet50_small (their stem for small images), simple_conv (two convolutions, 5,994 parameters on 28x28), or your own by import
    path (my_pkg.models:make_net)."""
    steps: int = 1000
    """T, number of updates."""
    interval: int = 10
    """k, steps between recorded weights."""
    batch_size: int = 64
    """Points per update."""
    optimizer: str = "SGD"
    """Class in torch.optim."""
    lr: float = 0.05
    """Initial learning rate."""
    momentum: float | None = None
    """Momentum; None = 0.9 for SGD, the class's own default for other optimizers that have one."""
    weight_decay: float | None = None
    """Weight decay; None = 1e-4 for optimizers that have one."""
    lr_drops: tuple[float, ...] = (0.5, 0.75)
    """Where in training, as a share of T, the learning rate falls; () = constant."""
    lr_factor: float = 0.1
    """What the learning rate is multiplied with at each drop."""
    crop_padding: int = 1
    """Augmentation: zero padding in pixels before a random crop; 0 = none."""
    horizontal_flip: bool = False
    """Augmentation: random mirror image."""
    rotation_degrees: float = 0.0
    """Augmentation: random rotation by up to this angle, in degrees; 0 = none."""
    precision: Precision = "float32"
    """Of the arithmetic: float32, tf32 or bf16 (GPUs with tensor cores; weights stay float32), float64, or
    reproducible (the same bits on any machine, at several times the time)."""
    memory_format: Literal["auto", "contiguous", "channels_last"] = "auto"
    """Of images and convolutions; it changes speed and rounding. auto: channels_last where the model can make a step so."""
    seed: int = 0
    """Of initial weights, data order, augmentation; in 0..2^63-1, like every seed."""
    share: str = ""
    """A random number that the verifier gave for this training, 16 to 128 hex digits: W_0 and data order then follow from it and
    the seed together, so that neither party chose them alone (check bound_seed); empty = from the seed alone."""

    def __post_init__(self) -> None:
        check_whole("steps (T)", self.steps, 1, MAX_STEPS)
        check_whole("interval (k)", self.interval, 1, MAX_STEPS)
        check_whole("batch_size", self.batch_size, 1, MAX_BATCH)
        check_seed(self.seed)
        if self.share:
            check_share(self.share)
        if self.memory_format not in ("auto", "contiguous", "channels_last"):
            reject_choice("memory_format", self.memory_format, ("auto", "contiguous", "channels_last"))

    @property
    def is_augmented(self) -> bool:
        """True if it draws crops, flips or angles."""
        return Transform(
            crop_padding=self.crop_padding, horizontal_flip=self.horizontal_flip, rotation_degrees=self.rotation_degrees
        ).is_random

    def recipe(self, dataset: Dataset, *, device: str, threads: int) -> Recipe:
        """The full declaration A of this training on a device."""
        given = {"momentum": self.momentum, "weight_decay": self.weight_decay}
        options = declared_options(self.optimizer, self.lr, given, self._unless_given())
        schedule = ScheduleConfig()
        if self.lr_drops:
            if any(not 0.0 < drop < 1.0 for drop in self.lr_drops):
                raise InputError(f"expected lr_drops as shares of training in (0, 1), got {self.lr_drops}")
            milestones = [int(drop * self.steps) for drop in self.lr_drops]
            schedule = ScheduleConfig(name="MultiStepLR", options={"milestones": milestones, "gamma": self.lr_factor})
        shares = (str(self.seed), self.share) if self.share else ()
        mean, std = _channel_statistics(dataset)
        model = build_model(self.model, in_channels=dataset.image_shape[0], num_classes=dataset.num_classes)
        recipe = Recipe(
            dataset=dataset.name,
            dataset_sha256=dataset.sha256,
            model=self.model,
            steps=self.steps,
            interval=self.interval,
            batch_size=self.batch_size,
            optimizer=OptimizerConfig(name=self.optimizer, options=options),
            schedule=schedule,
            transform=Transform(
                crop_padding=self.crop_padding,
                horizontal_flip=self.horizontal_flip,
                rotation_degrees=self.rotation_degrees,
                mean=mean,
                std=std,
            ),
            seed=bound_seed(dataset.sha256, self.model, shares) if shares else self.seed,
            shares=shares,
            precision=self.precision,
            channels_last=self.memory_format == "channels_last",
            device=device,
            threads=threads,
            given=given_digests(checked_laws(model, self.model), WEIGHT_DTYPES[self.precision]),
        )
        if self.memory_format == "auto":
            asked = rehearsal_of(recipe, dataset, recipe.precision)
            recipe = replace(recipe, channels_last=takes_channels_last(asked))
        check_recipe(recipe, dataset)
        return recipe

    def _unless_given(self) -> dict[str, float | None]:
        own = self.optimizer != "SGD" and takes(self.optimizer, "momentum")
        return {"momentum": None if own else 0.9, "weight_decay": 1e-4}

    def stated(self) -> dict[str, object]:
        """Every field by name, options that were not given as they are taken: the words by which trials and sweeps are named.

        They are those of the first results folders, where an option that the optimizer lacks had its default and neither a
        memory format nor a share was named.
        """
        shown = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.memory_format == "auto":
            del shown["memory_format"]
        if not self.share:
            del shown["share"]
        return shown | {name: value for name, value in self._unless_given().items() if shown[name] is None}

    def __repr__(self) -> str:
        return f"TrainConfig({', '.join(f'{name}={value!r}' for name, value in self.stated().items())})"

    def reference(self) -> "TrainConfig":
        """The training of the next seed, 0 after the largest, recorded at its ends alone: d_ref is the distance of both ends."""
        return replace(self, seed=(self.seed + 1) % (MAX_SEED + 1), interval=self.steps)

    @property
    def data(self) -> DataSource:
        """Where the dataset comes from."""
        return DataSource(name=self.dataset, folder=self.data_dir)


def training_of(recipe: Recipe, dataset: Dataset) -> TrainConfig:
    """The honest training that declares a recipe.

    Raises:
        InputError: the recipe has something that no `TrainConfig` says.
    """
    options, transform = recipe.optimizer.options, recipe.transform
    gamma = _number(recipe.schedule.options.get("gamma"))
    prover, share = recipe.shares or ("", "")
    if recipe.shares and not (prover.isascii() and prover.isdecimal()):
        raise InputError(f"no training that can be declared here has this proof's shares: {prover!r} is no seed")
    found = TrainConfig(
        dataset=recipe.dataset,
        model=recipe.model,
        steps=recipe.steps,
        interval=recipe.interval,
        batch_size=recipe.batch_size,
        optimizer=recipe.optimizer.name,
        lr=recipe.optimizer.lr,
        momentum=_number(options.get("momentum")),
        weight_decay=_number(options.get("weight_decay")),
        lr_drops=_drops(recipe),
        lr_factor=0.1 if gamma is None else gamma,
        crop_padding=transform.crop_padding,
        horizontal_flip=transform.horizontal_flip,
        rotation_degrees=transform.rotation_degrees,
        precision=recipe.precision,
        memory_format="channels_last" if recipe.channels_last else "contiguous",
        seed=int(prover) if recipe.shares else recipe.seed,
        share=share,
    )
    again = found.recipe(dataset, device=recipe.device, threads=recipe.threads)
    for part in fields(Recipe):
        if (then := getattr(recipe, part.name)) != (now := getattr(again, part.name)):
            raise InputError(
                f"no training that can be declared here has this proof's {part.name}: {then!r}, not {now!r}"
            )
    return found


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _drops(recipe: Recipe) -> tuple[float, ...]:
    """The shares of training at which the learning rate falls."""
    milestones = recipe.schedule.options.get("milestones", ())
    if not isinstance(milestones, Sequence) or not all(
        isinstance(one, int) and 0 <= one < recipe.steps for one in milestones
    ):
        raise InputError(
            f"no training that can be declared here has this proof's schedule: it falls at {milestones!r}, not in 0..T - 1"
        )
    return tuple(_drop(int(one), recipe.steps) for one in milestones)


def _drop(milestone: int, steps: int) -> float:
    share = milestone / steps
    return share if milestone and int(share * steps) == milestone else (milestone + 0.5) / steps


def check_recipe(recipe: Recipe, dataset: Dataset) -> None:
    """Raise the InputError that training would meet, before anything is started."""
    if recipe.batch_size > len(dataset):
        raise InputError(
            f"expected batch_size in 1..{len(dataset)} (the size of {dataset.name}), got {recipe.batch_size}"
        )
    # Model, optimizer and laws exist; this process need not have the device.
    Trainer(replace(recipe, steps=recipe.interval), dataset, precision=rehearsed_precision(recipe.precision))


def _channel_statistics(dataset: Dataset) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of the training pixels in [0, 1], to four digits.

    From histograms, in integers: exact, and a mapped dataset larger than memory is read once, piece by piece.
    """
    channels = dataset.image_shape[0]
    counts = torch.zeros(channels, 256, dtype=torch.int64)
    for piece in torch.split(dataset.pixels, _PIECE):
        for channel in range(channels):
            counts[channel] += torch.bincount(piece[:, channel].flatten(), minlength=256).cpu()
    mean, std = [], []
    for histogram in counts.tolist():
        n = sum(histogram)
        total = sum(value * count for value, count in enumerate(histogram))
        squares = sum(value * value * count for value, count in enumerate(histogram))
        mean.append(round(total / n / 255.0, 4))
        variance = (n * squares - total * total) / (n * max(n - 1, 1))
        std.append(max(round(math.sqrt(variance) / 255.0, 4), 1e-4))
    return tuple(mean), tuple(std)
