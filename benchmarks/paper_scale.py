"""`python -m benchmarks.paper_scale [--device cuda] [--repeats 5] [--only proving store]`: full-size models, in ratios.

Both sides of a ratio are run in turn. Parts: `proving` against the classic pipeline of training scripts (a process each),
`bare` against a loop that records nothing, `hashing`, `memory` (of processes of their own), `store` against safetensors,
`float64` as a condition of replay. All but `store` take a CPU's time by one thread, or say how many.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

import torch

from benchmarks.loops import Spent, bare_loop, classic_pipeline, proving, torch_threads
from benchmarks.peak_memory import memory_ratios
from benchmarks.ratios import HEADING, Ratio, at_least, at_most
from benchmarks.store_speed import store_ratios
from raypol.core import hashing
from raypol.core.allocator import keep_freed_memory
from raypol.core.arithmetic.machine import device_name
from raypol.core.arithmetic.precision import Precision
from raypol.core.augment import Transform
from raypol.core.clock import synchronise
from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.load import load_dataset
from raypol.core.datasets.order import DataOrder
from raypol.core.distances import parameter_distances
from raypol.core.errors import InputError
from raypol.core.proof import Checkpoint, OptimizerConfig, Recipe
from raypol.core.training.prover import data_order, initial_checkpoint
from raypol.core.training.trainer import Trainer

BATCH: Final = 128
COLOUR: Final = "fashion_mnist_32x32x3"
GREY: Final = "fashion_mnist"
_REPLAYED: Final = (1, 5, 10)
"""Steps after which two replays are compared: rounding grows with each."""
_SHAPES: Final = {COLOUR: (50_000, 3, 32, 32), GREY: (60_000, 1, 28, 28)}


@dataclass(frozen=True, slots=True)
class Case:
    """A comparison of pipelines."""

    name: str
    model: str
    dataset: str
    steps: int
    """Steps of each run: enough for a second or two."""
    bar: float | None
    threads: int = 1


CASES: Final = (
    Case("resnet20, 32x32x3", "resnet20", COLOUR, 20, 1.3),
    Case("resnet20, 32x32x3", "resnet20", COLOUR, 20, 1.3, threads=2),
    Case("resnet8, 28x28", "resnet8", GREY, 50, None),
    Case("two convolutions, 28x28", "benchmarks.loops:two_convolutions", GREY, 150, 4.0),
)


def main() -> None:
    """Run the parts and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paper_scale", description=__doc__)
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument(
        "--repeats", type=int, default=5, help="pairs per ratio; the store takes at most 3 (default: 5)"
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to run (default: all)")
    arguments = parser.parse_args()
    if arguments.repeats < 1:
        parser.error("expected at least 1 repeat")
    torch.set_num_threads(1)
    keep_freed_memory()  # as raypol's own processes do
    print(f"{device_name(arguments.device)}, torch {torch.__version__}, 1 thread unless said; batch {BATCH}")
    print(f"images: {', '.join(f'{name}: {_origin(name)}' for name in _SHAPES)}; load {os.getloadavg()[0]:.1f}")
    print(HEADING)
    for part in arguments.only:
        for ratio in PARTS[part](torch.device(arguments.device), arguments.repeats):
            print(ratio if isinstance(ratio, str) else ratio.line(), flush=True)


def proving_ratios(device: torch.device, repeats: int) -> Iterator[Ratio]:
    """Steps per second against the classic pipeline, k = 10."""
    for case in CASES:
        if device.type == "cuda" and case.threads > 1:
            continue
        with tempfile.TemporaryDirectory() as place, _process() as of_scripts, _process(keep_freed_memory) as own:
            sides = (("classic", of_scripts), ("proving", own), ("bare", of_scripts))

            def turn(steps: int) -> list[Spent]:
                return [
                    process.submit(run_side, side, case, steps, place, device).result()  # noqa: B023 - in this turn
                    for side, process in sides  # noqa: B023
                ]

            turn(10)
            rounds = [turn(case.steps) for _ in range(repeats)]
        name = f"{case.name}{', 2 threads' if case.threads == 2 else ''}"
        wall = [classic.wall_s / own.wall_s for classic, own, _ in rounds]
        if case.bar is None:
            yield Ratio(f"{name}: proving / classic, steps per second", wall)
        else:
            yield Ratio(f"{name}: proving / classic, steps per second", wall, f">= {case.bar}", at_least(case.bar))
        if case.threads > 1:  # which wait for each other in a loop: that is CPU time too
            continue
        yield Ratio("  the same, by CPU time", [classic.cpu_s / own.cpu_s for classic, own, _ in rounds])
        free = [classic.cpu_s / bare.cpu_s for classic, _, bare in rounds]
        yield Ratio("  a channels_last loop that does nothing else / classic, by CPU time", free)


def run_side(side: str, case: Case, steps: int, folder: str, device: torch.device) -> Spent:
    """Run one side of a comparison of pipelines in this process."""
    dataset = images(case.dataset)
    recipe = recipe_for(dataset, case.model, steps=steps, interval=10)
    with torch_threads(case.threads):
        match side:
            case "classic":
                return classic_pipeline(recipe, dataset, Path(folder), device)
            case "proving":
                return proving(recipe, dataset, Path(folder), device)
            case _:
                return bare_loop(recipe, dataset, device)


def _process(begin: Callable[[], object] | None = None) -> ProcessPoolExecutor:
    """Run one side in a process of its own, started as usual: scripts by Python, workers by raypol."""
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=begin)


def bare_ratios(device: torch.device, repeats: int) -> Iterator[Ratio]:
    """Time against a loop that records nothing, k = 100."""
    dataset = images(COLOUR)
    recipe = recipe_for(dataset, "resnet20", steps=100, interval=100)
    with tempfile.TemporaryDirectory() as place:
        folder, warm_up = Path(place), replace(recipe, steps=5, interval=5)
        proving(warm_up, dataset, folder, device), bare_loop(warm_up, dataset, device)
        pairs = [(proving(recipe, dataset, folder, device), bare_loop(recipe, dataset, device)) for _ in range(repeats)]
    claim = "resnet20, 32x32x3, k = 100: proving / bare channels_last loop"
    yield Ratio(claim, [own.wall_s / bare.wall_s for own, bare in pairs], "<= 1.05", at_most(1.05), digits=3)
    yield Ratio("  the same, by CPU time", [own.cpu_s / bare.cpu_s for own, bare in pairs], digits=3)


def hashing_seconds(device: torch.device, repeats: int) -> Iterator[Ratio]:
    """Seconds to bind every pixel, label and index."""
    del device  # a processor's work everywhere
    dataset = images(COLOUR)
    pixels, labels = dataset.pixels[:50_000], dataset.labels[:50_000]
    seconds = [bind(pixels, labels) for _ in range(repeats)]
    claim = f"seconds to hash {len(labels)} images of 32x32x3 and an epoch's order"
    yield Ratio(claim, seconds, "<= 1", at_most(1.0))


def bind(pixels: torch.Tensor, labels: torch.Tensor) -> float:
    """Seconds for the digest of every point and of every step of one epoch."""
    order = DataOrder(len(labels), BATCH, seed=0)
    started = time.perf_counter()
    digests = hashing.point_digests(pixels, labels)
    for step, indices in enumerate(order.steps(0, order.steps_per_epoch)):
        hashing.step_digest(step, digests[indices])
    return time.perf_counter() - started


def float64_ratios(device: torch.device, repeats: int) -> Iterator[Ratio | str]:
    """Cost of a replay in float64, and one interval's error from rounding in both precisions."""
    dataset = images(COLOUR)
    recipe = recipe_for(dataset, "resnet20", steps=10, interval=10, lr=0.1)
    precisions: tuple[Precision, ...] = ("float32", "float64")
    spent_s = [[replayed(recipe, dataset, device, precision)[1] for precision in precisions] for _ in range(repeats)]
    times = [fine / coarse for coarse, fine in spent_s]
    yield Ratio("resnet20, k = 10, lr 0.1 from W_0: replay in float64 / in float32", times)
    how = "1 against 2 threads" if device.type == "cpu" else "here against 2 threads of a processor"
    for precision in precisions:
        apart = []
        for steps in _REPLAYED:
            part = replace(recipe, interval=steps)
            here, _ = replayed(part, dataset, device, precision)
            with torch_threads(2):
                elsewhere, _ = replayed(part, dataset, torch.device("cpu"), precision)
            apart.append(parameter_distances(here.parameters, elsewhere.parameters).l2)
        after = ", ".join(f"{steps}: {l2:.1e}" for steps, l2 in zip(_REPLAYED, apart, strict=True))
        yield f"  l2 between two replays in {precision}, {how}, after steps {after}"


def replayed(recipe: Recipe, dataset: Dataset, device: torch.device, precision: Precision) -> tuple[Checkpoint, float]:
    """Weights after the first interval, and the seconds that it takes."""
    trainer = Trainer(recipe, dataset, device, precision=precision)
    trainer.load(initial_checkpoint(recipe, dataset))
    where_nB = torch.from_numpy(data_order(recipe, dataset).block(0, recipe.interval)).to(device)
    synchronise(device)
    started = time.perf_counter()
    trainer.run(0, trainer.dataset.pixels[where_nB], trainer.dataset.labels[where_nB])
    synchronise(device)
    spent_s = time.perf_counter() - started
    return trainer.snapshot(recipe.interval), spent_s


PARTS: Final[dict[str, Callable[[torch.device, int], Iterator[Ratio | str]]]] = {
    "proving": proving_ratios,
    "bare": bare_ratios,
    "hashing": hashing_seconds,
    "memory": memory_ratios,
    "store": store_ratios,
    "float64": float64_ratios,
}


@cache
def images(name: str) -> Dataset:
    """Real images where available, else random ones of their shape, named as such."""
    try:
        return load_dataset(name)
    except InputError:
        return random_images(_SHAPES[name])


def random_images(shape: tuple[int, int, int, int]) -> Dataset:
    """Random points; speed does not depend on their values."""
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=rng)
    labels = torch.randint(0, 10, shape[:1], generator=rng)
    return Dataset(
        name="random", pixels=pixels, labels=labels, test_pixels=pixels[:1], test_labels=labels[:1], num_classes=10
    )


def recipe_for(dataset: Dataset, model: str, *, steps: int, interval: int, lr: float = 0.05) -> Recipe:
    """The published hyperparameters: momentum 0.9, weight decay 1e-4, crops and flips."""
    channels = dataset.image_shape[0]
    return Recipe(
        dataset=dataset.name,
        dataset_sha256=dataset.sha256,
        model=model,
        steps=steps,
        interval=interval,
        batch_size=min(BATCH, len(dataset)),
        optimizer=OptimizerConfig(options={"lr": lr, "momentum": 0.9, "weight_decay": 1e-4}),
        transform=Transform(crop_padding=4, horizontal_flip=True, mean=(0.3,) * channels, std=(0.35,) * channels),
    )


def _origin(name: str) -> str:
    return "random" if images(name).name == "random" else "real"


if __name__ == "__main__":
    main()
