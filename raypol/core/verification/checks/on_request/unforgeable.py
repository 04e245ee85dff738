"""Check `unforgeable`: no other choice of points could have made the sampled steps, in exact arithmetic.

Baluta et al. 2023 (CCS, "Unforgeability in Stochastic Gradient Descent"). Per-sample gradients of a recorded W_t are rounded to
fixed precision. Two choices of points whose gradients have the same sum also agree modulo 2, so where the least significant bits
of all gradients, as columns of a matrix over GF(2), have full rank, no two choices of these points do: the batch is unique.

Differences from the paper:

1. Candidates are the step's own batch, with its recorded augmentation, and then points of the dataset without, up to `samples`.
2. Norm layers use their recorded statistics: under batch statistics a step is no sum over its points.
3. Forward and backward passes are in the trainer's floating point; only the gradients are rounded.

What it establishes: a prover who publishes W_{t+1} as exactly this sum cannot later name another batch of these points. That is
about exact arithmetic, single steps and frozen statistics; it says nothing about steps that come close, which is all that a slack
asks for, nor that the recorded batch is the one that was used. On digits (resnet8) every sampled step of honest proofs had full
rank, also with all 1,438 points as candidates. Where a model is so sure of points that their gradients round to zero, any of them
may be added: up to 23 of 256 candidates of `null` and III-loss (T' = 100), and perhaps of an honest proof that trains for longer.
Cost: 0.10 of replaying all intervals (T = 1000, CPU), 0.62 with all points of digits; it does not grow with T.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from raypol.core.arithmetic.precision import arithmetic, base_precision
from raypol.core.augment import normalise, to_unit
from raypol.core.distances import Distances
from raypol.core.errors import InputError, first_line
from raypol.core.proof import ProofSource
from raypol.core.training.trainer import Trainer
from raypol.core.verification.replay import gather
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verdict import Check, check_problems
from raypol.core.verification.verifier import Evidence
from raypol.core.verification.wishes import Wish, evenly

STEPS: Final = 4
"""That begin at a recorded W_t, evenly over the proof, at most."""
BITS: Final = 24
"""After the point: of float32, finer ones are zeros in large gradients."""
SAMPLES: Final = 256
"""Candidates per step, at most."""
_ROWS: Final = 1 << 16
"""Entries of a gradient that are looked at: of fewer rows the rank is no larger, so full rank is full rank of all."""
_CHUNK_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class Rank:
    """One step."""

    step: int
    samples: int
    rank: int


def measure_ranks(
    source: ProofSource, trainer: Trainer, positions: range, *, steps: int, bits: int, samples: int
) -> tuple[Rank, ...]:
    """Rank of the first step of intervals that lie evenly in the proof."""
    dataset, found = trainer.dataset, []
    chosen = evenly(steps, source.recipe.num_intervals)
    for position in (position for position in positions if position - 1 in chosen):
        start = source.recipe.interval_at(position - 1).start
        batch = source.batches(start, start + 1)[0].indices
        others = torch.from_numpy(np.setdiff1d(np.arange(len(dataset)), batch)[: max(samples - len(batch), 0)])
        others = others.to(trainer.device)
        pixels, labels = gather(source, dataset, batch, dtype=trainer.dtype)
        plain = normalise(to_unit(dataset.pixels[others], trainer.dtype), source.recipe.transform)
        inputs = torch.cat([trainer.inputs(pixels, start), plain])[:samples]
        trainer.load(source.checkpoint(position - 1))
        columns = least_bits(trainer, inputs, torch.cat([labels, dataset.labels[others]])[:samples], bits=bits)
        found.append(Rank(start, len(columns), rank(columns)))
    return tuple(found)


def least_bits(trainer: Trainer, inputs: Tensor, labels: Tensor, *, bits: int) -> list[int]:
    """The least significant bits of each sample's gradient, in units of 2^-bits, packed into one number per sample.

    Raises:
        InputError: torch.func cannot differentiate the model for each sample.
    """
    weights = {name: p.detach() for name, p in trainer.parameters.items() if p.requires_grad}
    size = sum(weight.numel() for weight in weights.values())
    at_once, every, found = max(_CHUNK_BYTES // (4 * size), 1), -(-size // _ROWS), list[int]()

    def loss(parameters: dict[str, Tensor], one: Tensor, label: Tensor) -> Tensor:
        logits = torch.func.functional_call(trainer.model, parameters, (one[None],))
        return F.cross_entropy(logits.to(trainer.dtype), label[None])

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
    with trainer.evaluating(), arithmetic(base_precision(trainer.precision), trainer.device):
        for some, of in zip(torch.split(inputs, at_once), torch.split(labels, at_once), strict=True):
            try:
                gradients = torch.cat([one.flatten(1) for one in each(weights, some, of).values()], dim=1)
            except RuntimeError as err:
                what = f"model {trainer.recipe.model} has no gradients per sample, which check unforgeable needs"
                raise InputError(f"{what}: {first_line(err)}") from err
            odd = (gradients[:, ::every].double() * 2.0**bits).round().remainder(2.0).bool()
            found += [int.from_bytes(row.tobytes(), "little") for row in np.packbits(odd.cpu().numpy(), axis=1)]
    return found


def rank(columns: list[int]) -> int:
    """Over GF(2), by elimination: each kept column has a leading bit that no other one has."""
    kept: dict[int, int] = {}
    for column in columns:
        while column and (leading := column.bit_length()) in kept:
            column ^= kept[leading]
        if column:
            kept[leading] = column
    return len(kept)


def check_unforgeable(
    evidence: Evidence,
    _: Thresholds,
    __: Distances | None,
    *,
    steps: int = STEPS,
    bits: int = BITS,
    samples: int = SAMPLES,
) -> Check:
    """Check that the gradients of every sampled step are independent modulo 2."""
    wish = Wish.of(measure_ranks, steps=steps, bits=bits, samples=samples)
    found: tuple[Any, ...] | None = evidence.survey.findings(wish)
    if not found:
        return Check(name="unforgeable", passed=False, detail="no step's gradients were looked at")
    problems = [
        f"step {one.step}: the gradients of {one.samples} samples have rank {one.rank} over GF(2): another choice of them makes "
        "the same step"
        for one in found
        if one.rank < one.samples
    ]
    good = f"{len(found)} steps could not be made by other choices of up to {max(one.samples for one in found)} samples"
    return check_problems("unforgeable", problems, good)


CHECKS: Final = {"unforgeable": check_unforgeable}
GATHER: Final = {"unforgeable": measure_ranks}
