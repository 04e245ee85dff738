"""The honest side of every trial: the proof and d_ref, made once, cached by content, shared by all trials."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

import torch

from raypol.cluster.jobs import DataSource, ProveJob, final_checkpoint, run_prove
from raypol.cluster.runners import Runner
from raypol.core.augment import Transform
from raypol.core.data import Dataset
from raypol.core.distances import Distances, parameter_distances
from raypol.core.errors import InputError
from raypol.core.precision import Precision, plain
from raypol.core.proof import OptimizerConfig, Recipe, ScheduleConfig
from raypol.core.training import Trainer
from raypol.runs.environment import environment_of
from raypol.runs.locking import only_maker
from raypol.store.location import Location
from raypol.store.proof_format import Manifest
from raypol.store.proofs import ParquetProof, read_manifest

_POLL_S: Final = 0.5
_PIECE: Final = 256
"""Images whose pixels are counted at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Honest training."""

    dataset: str = "digits"
    """digits, fashion_mnist, fashion_mnist_32x32x3, cifar10, cifar100, cifar10_format, cifar100_format, imagenet_subset
    (imagenet_subset@classes=20), or an own one by import path (my_pkg.data:load); half of one: digits/D1, digits/D2."""
    data_dir: str | None = None
    """Folder of the dataset's files; None = its usual place, where CIFAR is downloaded to. Not needed for digits."""
    model: str = "resnet8"
    """resnet8 (19,074 parameters), resnet20 (CIFAR ResNet-20), resnet18, resnet50 (torchvision's), resnet18_small,
    resnet50_small (their stem for small images), or an own one by import path (my_pkg.models:make_net)."""
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
    momentum: float = 0.9
    """SGD's momentum; ignored by other optimizers."""
    weight_decay: float = 1e-4
    """Weight decay."""
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
    """Of the arithmetic: float32, tf32 or bf16 (GPUs with tensor cores; weights stay float32), float64."""
    seed: int = 0
    """Of initial weights, data order, augmentation."""

    def recipe(self, dataset: Dataset, *, device: str, threads: int) -> Recipe:
        """The full declaration A of this training on a device."""
        options: dict[str, bool | int | float | str] = {"lr": self.lr, "weight_decay": self.weight_decay}
        if self.optimizer == "SGD":
            options["momentum"] = self.momentum
        schedule = ScheduleConfig()
        if self.lr_drops:
            if any(not 0.0 < drop < 1.0 for drop in self.lr_drops):
                raise InputError(f"expected lr_drops as shares of training in (0, 1), got {self.lr_drops}")
            milestones = [int(drop * self.steps) for drop in self.lr_drops]
            schedule = ScheduleConfig(name="MultiStepLR", options={"milestones": milestones, "gamma": self.lr_factor})
        mean, std = _channel_statistics(dataset)
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
            seed=self.seed,
            precision=self.precision,
            device=device,
            threads=threads,
        )
        check_recipe(recipe, dataset)
        return recipe

    @property
    def data(self) -> DataSource:
        """Where the dataset comes from."""
        return DataSource(name=self.dataset, folder=self.data_dir)


def check_recipe(recipe: Recipe, dataset: Dataset) -> None:
    """Raise the InputError that training would meet, before anything is started."""
    if recipe.batch_size > len(dataset):
        raise InputError(
            f"expected batch_size in 1..{len(dataset)} (the size of {dataset.name}), got {recipe.batch_size}"
        )
    # Model, optimizer and laws exist; this process need not have the device.
    Trainer(replace(recipe, steps=recipe.interval), dataset, precision=plain(recipe.precision))


@dataclass(frozen=True, kw_only=True, slots=True)
class HonestProof:
    """A proof in the results folder."""

    folder: Location
    manifest: Manifest
    reused: bool = field(default=False)
    """True if it was there already; its times are from then."""

    @property
    def proof_id(self) -> str:
        """Name of its folder."""
        return self.folder.name


def proof_id_of(kind: str, content: Mapping[str, object]) -> str:
    """A short name that tells what it is and a digest of everything that decides its bytes."""
    text = json.dumps(content, sort_keys=True, default=str)
    return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def honest_proofs(
    runner: Runner,
    results: Location,
    recipes: Sequence[Recipe],
    data: DataSource,
    *,
    on_progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> list[HonestProof]:
    """The proofs of these recipes: read if they are there, made in parallel if not.

    Two runs in one folder do not make the same proof twice: the second waits for the first (local folders).
    """
    environment = environment_of(runner, "prover")
    ids = [
        proof_id_of("proof", {"recipe": recipe.canonical().decode(), "environment": sorted(environment.items())})
        for recipe in recipes
    ]
    wanted = dict(zip(ids, recipes, strict=True))  # each once
    with only_maker(results, wanted):
        # Before anybody lists it: pyarrow takes a folder that appears while it looks for an error.
        (results / ".staging").make_folder()
        making: dict[str, Future[Manifest]] = {}
        for proof_id, recipe in wanted.items():
            if (results / "proofs" / proof_id / "manifest.json").exists():
                continue
            job = ProveJob(
                results=results.address,
                proof_id=proof_id,
                recipe=recipe,
                data=data,
                device=runner.device("prover"),
                environment=environment,
            )
            making[proof_id] = runner.submit("prover", run_prove, job)
        found = {}
        for proof_id in wanted:
            folder, future = results / "proofs" / proof_id, making.get(proof_id)
            while future is not None and not future.done():
                with suppress(OSError):  # storage that is away for a moment shows no progress, and that is all
                    on_progress(*_written(results, wanted))
                wait([future], timeout=_POLL_S)
            if future is not None and future.exception() is not None:
                continue
            manifest = future.result() if future is not None else read_manifest(folder)
            found[proof_id] = HonestProof(folder=folder, manifest=manifest, reused=future is None)
        for future in making.values():  # only now: the other proofs are finished, and will be found
            future.result()
        return [found[proof_id] for proof_id in ids]


def _written(results: Location, wanted: Mapping[str, Recipe]) -> tuple[int, int]:
    """(steps recorded so far, steps in all), seen in the store: a worker anywhere shows its progress this way."""
    done = 0
    for proof_id, recipe in wanted.items():
        if (results / "proofs" / proof_id / "manifest.json").exists():
            done += recipe.steps
            continue
        done += min(intervals_written(results, proof_id) * recipe.interval, recipe.steps)
    return done, sum(recipe.steps for recipe in wanted.values())


def intervals_written(results: Location, proof_id: str) -> int:
    """How many intervals of a proof in the making have both their ends in the store."""
    names = [name for name, _ in (results / ".staging").files() if name.startswith(f"{proof_id}-")]
    return max(sum("/weights/step=" in name and name.endswith(".parquet") for name in names) - 1, 0)


def reference_distance(first: Location, second: Location) -> Distances:
    """d_ref: the distance between the final weights of two honest runs that differ only in seed.

    Raises:
        InputError: the two differ in more, or in nothing.
    """
    a, b = ParquetProof(first), ParquetProof(second)
    same = replace(a.recipe, seed=0, interval=1) == replace(b.recipe, seed=0, interval=1)
    if not same or a.recipe.seed == b.recipe.seed:
        raise InputError(f"d_ref needs two honest proofs that differ only in seed; {first} and {second} do not")
    ends = [final_checkpoint(source).parameters for source in (a, b)]
    try:
        return parameter_distances(*ends)
    except ValueError as err:
        raise InputError(f"the final weights of {first} and {second} do not compare: {err}") from err


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
