"""Proofs without training, by holes of a verifier that follows whatever is declared: each over a range of parameters."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.zoo.specimens import Bad, write
from raypol.core.datasets.dataset import Dataset
from raypol.core.proof import Checkpoint, MemoryProof
from tests.constructions import growing, negative_rates, swapped_buffers, turned_over


def constructed(stolen: Checkpoint, dataset: Dataset) -> Iterator[Bad]:
    """Growing momentum, negative rates, decay that turns weights over, buffers swapped; of W_T of the MLP toy."""

    def bad(name: str, proof: MemoryProof) -> Bad:
        def make(folder: Path) -> None:
            proof.seal()
            write(proof, dataset, folder)

        return Bad(name, make)

    for momentum, interval, dampening in _momenta():
        steps = max(24, 6 * interval)
        proof = growing(stolen, dataset, momentum=momentum, dampening=dampening, interval=interval, steps=steps)
        yield bad(f"a momentum of {momentum}, dampening {dampening}, k = {interval}", proof)
    for lr in (1e-12, 1e-9, 1e-6, 1e-3, 1e-2, 0.1, 1.0):
        for momentum in (0.9, 1.1):
            proof = growing(stolen, dataset, momentum=momentum, dampening=0.9, interval=2, steps=24, lr=lr)
            yield bad(f"a forged momentum of {momentum} at rate {lr:g}", proof)
    for low in (-1e-12, -1e-9, -1e-6, -1e-4, -1e-3, -0.01, -0.05, -0.1, -0.5, -1.0):
        for momentum in (0.5, 0.9):
            yield bad(
                f"rates down to {low:g} at momentum {momentum}",
                negative_rates(stolen, dataset, low=low, momentum=momentum),
            )
    for shrink, grow in ((0.5, 3.0), (0.9, 2.5), (0.99, 2.1), (0.2, 4.0), (0.9, 1.1), (0.5, 1.5), (0.1, 1.0)):
        for decay in (1e20, 1e6, 20.0):
            proof = turned_over(stolen, dataset, shrink=shrink, grow=grow, decay=decay, steps=16)
            yield bad(f"rate times weight decay from {shrink} to {grow}, decay {decay:g}", proof)
    for values in ((7.0, -3.0), (0.0, 0.0), (1e-3, -1e-3), (1e-30, 1e-30), (1e30, 1.0), (-1.0, -1.0)):
        for steps, interval in ((8, 4), (4, 1), (10, 2), (6, 6)):
            proof = swapped_buffers(dataset, values=values, steps=steps, interval=interval)
            yield bad(f"a projection of {values[0]:g}, then {values[1]:g}, k = {interval}, T = {steps}", proof)


def _momenta() -> Iterator[tuple[float, int, float]]:
    for momentum in (0.9, 0.99, 0.999, 0.9999, 0.99999, 1.0, 1.001, 1.01, 1.05, 1.1, 1.2):
        for interval in (1, 2, 5, 10):
            yield momentum, interval, 0.9 if momentum < 1.0 else 1.0
