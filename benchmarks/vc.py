"""What a proof by verifiable computation costs: `python -m benchmarks.vc [--measure]`, `make vc` (10 minutes; needs groth16py).

One step of a linear model is proved at six batch sizes and two widths. Proving time, set-up time, size of the proving key and
peak memory are fitted with a + b n log2 n, n the number of constraints; residuals and r^2 are shown, the honest step stands
beside it, and the fit is carried on to networks that nobody will prove here, as an estimate. Times are CPU seconds of groth16py's
process (its witness included) on one thread: wall time of a machine with other work would say little.
"""

import csv
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table
from scipy import stats

from benchmarks.vc_figure import draw_costs
from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.load import load_dataset
from raypol.core.verifiable.circuit import circuit_inputs, memory_bytes, num_constraints
from raypol.core.verifiable.claim import IntegerData, ProvedRun, linear_shape
from raypol.core.verifiable.digests import hash_weights
from raypol.core.verifiable.integer_model import ModelShape, initial_integers, integer_step
from raypol.core.verifiable.networks import network_constraints
from raypol.figures.save import save_figure
from raypol.runs.verifiable.groth16 import open_groth16
from raypol.runs.verifiable.proving import make_keys
from raypol.store.verifiable.keys import proving_key
from raypol.store.verifiable.proof_folder import VERIFYING_KEY

ROWS: Final = Path(__file__).parents[1] / "docs" / "vc" / "constraints.csv"
PICTURE: Final = Path(__file__).parents[1] / "docs" / "images" / "vc"
BATCHES: Final = (1, 2, 4, 8, 16, 32)
MOST_CONSTRAINTS: Final = 1 << 28
_MEMORY: Final = 8 * 10**9
_PROOFS: Final = 3
_HONEST_STEPS: Final = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class CostRow:
    """One circuit's costs."""

    features: int
    classes: int
    batch_size: int
    constraints: int
    setup_cpu_s: float
    setup_peak_bytes: int
    key_bytes: int
    load_cpu_s: float
    """Reading the proving key, once per run."""
    prove_cpu_s: float
    """Median of three steps."""
    prove_peak_bytes: int
    verify_cpu_s: float
    proof_bytes: int
    step_cpu_s: float
    """The honest step in numpy."""


@dataclass(frozen=True, slots=True)
class Fit:
    """y = a + b n log2 n by least squares."""

    a: float
    b: float
    r2: float
    residuals: tuple[float, ...]

    def at(self, n: float) -> float:
        """The fitted value."""
        return self.a + self.b * n * float(np.log2(n))


@dataclass(frozen=True, slots=True)
class Extrapolated:
    """A network's step, by the fits. Not measured."""

    name: str
    constraints: float
    prove_s: float
    memory_bytes: float
    key_bytes: float


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure, or show what was measured."""

    measure: bool = False
    """Measure anew and write the rows; else read them."""
    rows: Path = ROWS
    picture: Path = PICTURE
    """Stem of the PNG."""


def main() -> None:
    """Entry point."""
    asked = tyro.cli(Options, description=__doc__)
    if asked.measure:
        rows = list(measure())
        asked.rows.parent.mkdir(parents=True, exist_ok=True)
        with asked.rows.open("w", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(CostRow)], lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(row) for row in rows)
    rows = read_rows(asked.rows)
    show(rows)
    fitted = {name: fit([r.constraints for r in rows], [getattr(r, name) for r in rows]) for name in FITTED}
    figure = draw_costs(rows, fitted, extrapolations(fitted))
    print(*save_figure(figure, asked.picture, ("png",)))


FITTED: Final = {
    "prove_cpu_s": ("proving a step", "s", 1.0),
    "setup_cpu_s": ("set-up", "s", 1.0),
    "key_bytes": ("proving key", "MB", 1e6),
    "setup_peak_bytes": ("peak memory, set-up", "MB", 1e6),
    "prove_peak_bytes": ("peak memory, proving", "MB", 1e6),
}
"""Column -> name, unit, and how much of the column's unit that is."""


def measure() -> Iterator[CostRow]:
    """Measure every circuit, the smallest first."""
    for dataset in (_pooled(load_dataset("digits")), load_dataset("digits")):
        for batch in BATCHES:
            row = _measured(dataset, batch)
            print(row, flush=True)
            yield row


def _measured(dataset: Dataset, batch: int) -> CostRow:
    shape = linear_shape(dataset, batch_size=batch, lr_shift=4)
    run = ProvedRun(dataset=dataset.name, dataset_sha256=dataset.sha256, shape=shape, steps=_PROOFS, seed=1)
    data = IntegerData(run, dataset)
    with tempfile.TemporaryDirectory() as place:
        keys = Path(place) / "keys"
        record = make_keys(keys, shape, limit=_MEMORY)
        with open_groth16(_MEMORY) as groth16:
            loaded = groth16.load(proving_key(keys))
            weights, seconds, claims = initial_integers(shape, 1), [], []
            for step in range(_PROOFS):
                inputs, targets = data.batch(step)
                new = integer_step(weights, inputs, targets, shape)
                proof, work = groth16.prove(circuit_inputs(weights, new, inputs, targets))
                claims.append((proof, (hash_weights(weights), data.batch_hash(step), hash_weights(new))))
                seconds.append(work.cpu_s)
                weights = new
        with open_groth16(_MEMORY) as groth16:
            judged = groth16.verify((keys / VERIFYING_KEY).read_text(), claims)
        assert all(judged.valid)
        key_bytes = proving_key(keys).stat().st_size
    inputs, targets = data.batch(0)
    weights = initial_integers(shape, 1)
    began = time.process_time()
    for _ in range(_HONEST_STEPS):
        integer_step(weights, inputs, targets, shape)
    honest = (time.process_time() - began) / _HONEST_STEPS
    return CostRow(
        features=shape.features,
        classes=shape.classes,
        batch_size=batch,
        constraints=record.constraints,
        setup_cpu_s=round(record.cpu_s, 3),
        setup_peak_bytes=record.peak_bytes,
        key_bytes=key_bytes,
        load_cpu_s=round(loaded.cpu_s, 3),
        prove_cpu_s=round(statistics.median(seconds), 3),
        prove_peak_bytes=work.peak_bytes,
        verify_cpu_s=round(statistics.median(judged.each_s), 5),
        proof_bytes=len(claims[0][0]),
        step_cpu_s=round(honest, 8),
    )


def _pooled(digits: Dataset) -> Dataset:
    """The digits at 4x4 pixels, each the mean of four: the second width."""

    def pooled(pixels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(pixels.float(), 2).round().to(torch.uint8)

    return replace(digits, name="digits 4x4", pixels=pooled(digits.pixels), test_pixels=pooled(digits.test_pixels))


def read_rows(path: Path) -> list[CostRow]:
    """The measured rows, by constraints."""
    with path.open(newline="") as file:
        rows = [
            CostRow(**{f.name: (int if f.type is int else float)(line[f.name]) for f in fields(CostRow)})  # type: ignore[arg-type]
            for line in csv.DictReader(file)
        ]
    return sorted(rows, key=lambda row: row.constraints)


def fit(ns: Sequence[int], values: Sequence[float]) -> Fit:
    """Least squares of a + b n log2 n."""
    x = np.asarray(ns, dtype=float)
    line = stats.linregress(x * np.log2(x), values)
    a, b = float(line.intercept), float(line.slope)
    fitted = a + b * x * np.log2(x)
    return Fit(a, b, float(line.rvalue) ** 2, tuple((np.asarray(values) - fitted).tolist()))


def extrapolations(fitted: dict[str, Fit]) -> list[Extrapolated]:
    """A step of resnet8 on digits and of resnet20 on 32x32x3 images, batch 128, by the fits."""
    found = []
    for model, sizes, batch in (("resnet8", (1, 8, 8), 128), ("resnet20", (3, 32, 32), 128)):
        n = network_constraints(model, sizes, batch)
        memory = memory_bytes(round(n))
        found.append(
            Extrapolated(f"{model}, batch {batch}", n, fitted["prove_cpu_s"].at(n), memory, fitted["key_bytes"].at(n))
        )
    return found


def show(rows: Sequence[CostRow]) -> None:
    """Print the tables."""
    console = Console(width=160, highlight=False)
    table = Table(
        "weights",
        "B",
        "n",
        "set-up s",
        "MB",
        "key MB",
        "load s",
        "prove s",
        "MB",
        "verify ms",
        "proof B",
        "honest step us",
        "x honest",
    )
    for r in rows:
        assert r.constraints == num_constraints(
            ModelShape(features=r.features, classes=r.classes, batch_size=r.batch_size)
        ), "the measured circuit is not the one that is counted now: measure again"
        table.add_row(
            f"{r.features}x{r.classes}",
            str(r.batch_size),
            f"{r.constraints:,}",
            f"{r.setup_cpu_s:.1f}",
            f"{r.setup_peak_bytes / 1e6:.0f}",
            f"{r.key_bytes / 1e6:.1f}",
            f"{r.load_cpu_s:.1f}",
            f"{r.prove_cpu_s:.2f}",
            f"{r.prove_peak_bytes / 1e6:.0f}",
            f"{r.verify_cpu_s * 1e3:.1f}",
            str(r.proof_bytes),
            f"{r.step_cpu_s * 1e6:.0f}",
            f"{r.prove_cpu_s / r.step_cpu_s:,.0f}",
        )
    console.print(table)
    table = Table("a + b n log2 n", "a", "b", "r^2", "largest residual", "residuals by n")
    fitted = {}
    for name, (words, unit, size) in FITTED.items():
        values = [getattr(r, name) for r in rows]
        found = fitted[name] = fit([r.constraints for r in rows], values)
        shares = [residual / value for residual, value in zip(found.residuals, values, strict=True)]
        table.add_row(
            words,
            f"{found.a / size:.3g} {unit}",
            f"{found.b / size:.3g} {unit}",
            f"{found.r2:.4f}",
            f"{max(map(abs, shares)):.0%}",
            " ".join(f"{residual / size:+.2g}" for residual in found.residuals),
        )
    console.print(table)
    table = Table("estimate, not measured", "n, at least", "proving a step", "memory needed", "proving key")
    for one in extrapolations(fitted):
        table.add_row(
            one.name,
            f"{one.constraints:.2g}",
            f"{one.prove_s / 3600:,.1f} h",
            f"{one.memory_bytes / 1e9:,.0f} GB",
            f"{one.key_bytes / 1e9:,.0f} GB",
        )
    console.print(table)
    print(
        f"One proof over BN254 has at most 2^28 = {MOST_CONSTRAINTS:.1e} constraints (roots of unity of its field): "
        "what has more would have to be cut into several proofs."
    )
    print(
        "The forger's cost: a proof needs a true step, so he makes the step and proves it, at the honest prover's cost."
    )


if __name__ == "__main__":
    main()
