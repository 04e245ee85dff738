"""Peak memory of proving and of verifying T and 4T steps, each in a process of its own (it runs this module)."""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch

from benchmarks.ratios import Ratio, at_most
from raypol.core.allocator import keep_freed_memory

STEPS = 500


def memory_ratios(device: torch.device, repeats: int, *, steps: int = STEPS) -> Iterator[Ratio | str]:
    """Peak memory of 4T steps over that of T steps."""
    peaks: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for _ in range(repeats):
        for count in (steps, 4 * steps):
            with tempfile.TemporaryDirectory() as folder:
                for work in ("prove", "verify"):
                    peaks.setdefault((work, count), []).append(_in_own_process(work, count, folder, device))
    for work in ("prove", "verify"):
        short, long = peaks[work, steps], peaks[work, 4 * steps]
        claim = f"memory at most, {work[:-1]}{'ing' if work == 'prove' else 'ying'}: T = {4 * steps} / T = {steps}"
        values = [b[0] / a[0] for a, b in zip(short, long, strict=True)]
        yield Ratio(claim, values, "<= 1.05", at_most(1.05), digits=3)
        grown = [(b[0] - b[1]) / (a[0] - a[1]) for a, b in zip(short, long, strict=True)]
        yield Ratio("  of it, what was added after start-up", grown, digits=3)
        a, b = short[0], long[0]
        yield f"  {a[0]:.1f} and {b[0]:.1f} MB, of them {a[0] - a[1]:.1f} and {b[0] - b[1]:.1f} MB after start-up"


def _in_own_process(work: str, steps: int, folder: str, device: torch.device) -> tuple[float, float]:
    """Peak memory of a process that does nothing else."""
    words = [sys.executable, "-m", "benchmarks.peak_memory", work, str(steps), folder, str(device)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)  # noqa: S603 - this module
    peak, before = json.loads(done.stdout.splitlines()[-1])
    return peak, before


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peak_memory")
    parser.add_argument("work", choices=("prove", "verify"))
    parser.add_argument("steps", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("device")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as raypol's own processes do
    print(json.dumps(measured_work(arguments.work, arguments.steps, arguments.folder, torch.device(arguments.device))))


def measured_work(
    work: Literal["prove", "verify"], steps: int, folder: Path, device: torch.device
) -> tuple[float, float]:
    """(peak MB, MB before the first step): resnet8 on digits, k = 10, proved into the folder or verified from it."""
    from benchmarks.loops import proving
    from raypol.core.datasets.load import load_dataset
    from raypol.core.proof import Recipe
    from raypol.core.verification.replay import Conditions
    from raypol.core.verification.verifier import examine
    from raypol.store.location import open_location
    from raypol.store.proofs.reader import ParquetProof

    dataset = load_dataset("digits").to(device)
    recipe = Recipe(
        dataset="digits", dataset_sha256=dataset.sha256, model="resnet8", steps=steps, interval=10, batch_size=64
    )
    if work == "prove":
        before = peak_mb()
        proving(recipe, dataset, folder, device)
    else:
        source = ParquetProof(open_location(folder / "proofs" / "bench"))
        before = peak_mb()
        evidence = examine(source, dataset, Conditions(), device=device)
        assert len(evidence.replays) == recipe.num_intervals
    return peak_mb(), before


def peak_mb() -> float:
    """Peak memory of this process in MB. getrusage would include the process that started this one."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    _main()
