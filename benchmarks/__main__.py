"""`python -m benchmarks [--device cuda] [--repeats 5] [--quick] [--only forgeries]`: prints a table of ratios with their bounds.

Both sides of a ratio are run in turn (A B A B ...), so that a machine whose speed drifts drifts for both; the median of the
pairwise ratios is what counts. Needs no Ray but for the last line, which is left out where Ray is not installed.
"""

import argparse
import importlib.util
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.forgeries import forgery_ratios
from benchmarks.loops import bare_loop, proving
from benchmarks.ratios import HEADING, Ratio, at_least, at_most
from raypol.cluster.jobs import ReplayJob, run_replay
from raypol.core.allocator import keep_freed_memory
from raypol.core.arithmetic.machine import device_name
from raypol.core.attacks import find_attack, method_of
from raypol.core.augment import Transform
from raypol.core.clock import synchronise
from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.load import load_dataset
from raypol.core.datasets.source import DataSource
from raypol.core.proof import MemoryProof, Recipe, final_checkpoint
from raypol.core.spoofing.method import make_scene, spoof_recipe
from raypol.core.spoofing.seal import craft_interval, seal_spoof
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.core.training.trainer import Trainer
from raypol.core.verification.replay import Conditions, replay_interval
from raypol.store.location import open_location
from raypol.store.proofs.reader import ParquetProof

K = 20
STEPS = 200


def main() -> None:
    """Run the benchmarks and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--repeats", type=int, default=5, help="pairs per ratio, at least 5 (default: 5)")
    parser.add_argument("--quick", action="store_true", help="forgeries of shorter proofs, T = 400 in place of 1000")
    parser.add_argument("--only", choices=("loops", "forgeries"), help="one part of the table")
    arguments = parser.parse_args()
    if arguments.repeats < 5:
        parser.error("expected at least 5 repeats")
    torch.set_num_threads(1)
    keep_freed_memory()  # as raypol's own processes do
    device = torch.device(arguments.device)
    print(f"{device_name(arguments.device)}, torch {torch.__version__}, 1 thread; resnet8 on digits, batch 64, k = {K}")
    print(HEADING)
    if arguments.only != "forgeries":
        for ratio in _ratios(device, arguments.repeats):
            print(ratio.line(), flush=True)
    if arguments.only != "loops":
        for line in forgery_ratios(device, arguments.repeats, quick=arguments.quick):
            print(line if isinstance(line, str) else line.line(), flush=True)


def _ratios(device: torch.device, repeats: int) -> Iterator[Ratio]:
    dataset = load_dataset("digits").to(device)
    recipe = _recipe(dataset)
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder)
        _prove(recipe, dataset, results, device)  # warm-up: kernels chosen, caches filled
        _bare_loop(recipe, dataset, device)
        pairs = [
            (_prove(recipe, dataset, results, device), _bare_loop(recipe, dataset, device)) for _ in range(repeats)
        ]
        claim = "proving with checkpoints and hashes / bare training loop"
        yield Ratio(claim, [a / b for a, b in pairs], "<= 1.10", at_most(1.10))

        pairs = [(_replay(results, dataset, device), _bare_loop(recipe, dataset, device)) for _ in range(repeats)]
        yield Ratio("replay / bare training loop", [a / b for a, b in pairs], "<= 1.10", at_most(1.10))

        spoofs = [
            _spoof(results, dataset, device) / (_bare_loop(recipe, dataset, device) / STEPS) for _ in range(repeats)
        ]
        claim = "III-loss, 10 L-BFGS iterations: honest steps per claimed step"
        yield Ratio(claim, spoofs, "<= 10", at_most(10.0))

        if importlib.util.find_spec("ray") is not None:
            claim = "two actors / one actor: intervals per second"
            yield Ratio(claim, _two_actors(results, repeats), ">= 1.7", at_least(1.7))


def _recipe(dataset: Dataset) -> Recipe:
    transform = Transform(crop_padding=1, mean=(0.3,), std=(0.37,))
    return Recipe(
        dataset="digits", dataset_sha256=dataset.sha256, model="resnet8", steps=STEPS, interval=K, batch_size=64,
        transform=transform,
    )  # fmt: skip


def _bare_loop(recipe: Recipe, dataset: Dataset, device: torch.device) -> float:
    return bare_loop(recipe, dataset, device).wall_s


def _prove(recipe: Recipe, dataset: Dataset, results: Path, device: torch.device) -> float:
    return proving(recipe, dataset, results, device).wall_s


def _replay(results: Path, dataset: Dataset, device: torch.device) -> float:
    """Seconds to read and re-train every interval."""
    source = ParquetProof(open_location(results / "proofs" / "bench"))
    trainer = Trainer(source.recipe, dataset, device)
    synchronise(device)
    started = time.perf_counter()
    for interval in source.recipe.intervals():
        outcome = replay_interval(source, trainer, interval, Conditions(augmentation="recorded"))
        assert device.type != "cpu" or outcome.error.l2 == 0.0
    synchronise(device)
    return time.perf_counter() - started


def _spoof(results: Path, dataset: Dataset, device: torch.device) -> float:
    """Device seconds per claimed step: crafting, carrying the true optimizer state, recording."""
    source = ParquetProof(open_location(results / "proofs" / "bench"))
    attack = find_attack("iii_loss", iterations=10, retries=0)
    spoof = SpoofConfig(steps=2 * K, interval=K)
    method = method_of(attack)
    recipe = spoof_recipe(method, attack, spoof, source.recipe)
    scene = make_scene(method, attack, spoof, recipe, dataset, final_checkpoint(source), device)
    crafted = [craft_interval(method, scene, interval, attack) for interval in recipe.intervals()]
    cost = seal_spoof(method, scene, attack, iter(crafted), MemoryProof(recipe, len(dataset)))
    return sum((made.cost for made in crafted), cost).device_s / recipe.steps


def _two_actors(results: Path, repeats: int) -> list[float]:
    """Intervals per second of two single-thread actors over one, the same replays."""
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # or ray.init leaves a token in the home folder
    import ray

    from raypol.cluster.connection import ray_folder
    from raypol.cluster.placement import parse_device
    from raypol.cluster.ray_runner import RayRunner
    from raypol.cluster.runners import ROLES

    devices = {role: parse_device("cpu") for role in ROLES}
    job = ReplayJob(
        proof=str(results / "proofs" / "bench"),
        data=DataSource(name="digits"),
        device="cpu",
        conditions=Conditions(),
        intervals=tuple(range(STEPS // K)),
    )
    # Room for all three actors.
    ray.init(address="local", num_cpus=3, include_dashboard=False, log_to_driver=False, _temp_dir=ray_folder())
    with RayRunner(devices, max_actors=2) as two, RayRunner(devices, max_actors=1) as one:

        def seconds(runner: RayRunner) -> float:
            started = time.perf_counter()
            for future in [runner.submit("verifier", run_replay, job) for _ in range(8)]:
                future.result()
            return time.perf_counter() - started

        seconds(two), seconds(one)
        ratios = [seconds(one) / seconds(two) for _ in range(repeats)]
    ray.shutdown()
    return ratios


if __name__ == "__main__":
    main()
