"""Replaying: intervals are re-trained under stated conditions, which gives the reproduction error."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raypol.core.arithmetic.machine import machine_class
from raypol.core.arithmetic.precision import PRECISIONS, Precision, is_inexact
from raypol.core.augment import to_unit
from raypol.core.datasets.dataset import Dataset
from raypol.core.distances import UNDEFINED, Distances, nan_as_largest, parameter_distances
from raypol.core.errors import reject_choice
from raypol.core.hashing import byte_tensor
from raypol.core.proof import BatchRecord, Checkpoint, Interval, ProofSource
from raypol.core.scoring import largest
from raypol.core.seeds import check_seed, derive_seed
from raypol.core.training.optimizers import UpdateError
from raypol.core.training.trainer import Trainer, mean_loss, steps_at_once
from raypol.core.verification.witness import Reading, Witness

Augmentation = Literal["recorded", "fresh"]
ReplayPrecision = Precision | Literal["recorded"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Conditions:
    """Conditions of a replay; proof and spoof are judged under the same."""

    augmentation: Augmentation = "fresh"
    """`recorded` repeats the prover's crops and flips (honest error 0 on the same machine); `fresh` draws new ones."""
    precision: ReplayPrecision = "recorded"
    """Of the replay: recorded = as the proof says; float64 has almost no rounding noise and costs several times more."""
    seed: int = 1
    """The verifier's own seed, for fresh augmentation and random choice of intervals."""

    def __post_init__(self) -> None:
        if self.augmentation not in ("recorded", "fresh"):
            reject_choice("augmentation", self.augmentation, ("recorded", "fresh"))
        if self.precision not in ("recorded", *PRECISIONS):
            reject_choice("precision", self.precision, ("recorded", *PRECISIONS))
        check_seed(self.seed)

    def precision_for(self, recorded: Precision) -> Precision:
        """The precision of the replay of a proof recorded in this one."""
        return recorded if self.precision == "recorded" else self.precision


@dataclass(frozen=True, kw_only=True, slots=True)
class IntervalReplay:
    """Result of re-training one interval."""

    interval: Interval
    error: Distances
    """eps_repr: d(W_t recorded, W'_t replayed)."""
    state_problem: str
    """Empty, or why the recorded optimizer state cannot follow from the interval."""
    state_error: Distances
    """Distance between where the recorded and the replayed state would carry W_t over k steps; see `Trainer.drift`."""
    buffer_error: Distances
    """Of all floating-point buffers as one vector, in their own units."""
    buffer_problem: str = ""
    """Empty, or a buffer that the replay leaves as it was and the claim does not."""
    statistics_error: float = 0.0
    """Largest over the buffers that the replay moves: l2 distance of claimed and replayed over the replayed norm."""
    update: float = 0.0
    """d(W_{t-k} recorded, W'_t replayed) in l2: how far the replay moved the weights."""
    direction: float = 1.0
    """Cosine of the replayed move W'_t - W_{t-k} and the claimed one W_t - W_{t-k}; 1 where neither moves, 0 where one does."""
    loss: float
    """Mean over the steps; NaN or infinite if any step's was."""
    control: Distances | None = None
    """eps_repr with the same batches unperturbed, under the ordinary hyperparameters (the `null` reference)."""
    recorded_error: Distances | None = None
    """eps_repr with the prover's crops and flips repeated, where a policy asks for it (`Policy.needs_exact`)."""
    is_exact: bool | None = None
    """True if that replay gives every recorded bit of weights, buffers and optimizer state; None = not asked."""
    machine: str = ""
    """Class of the machine that compared the bits (`machine_class`); empty = not asked."""
    reading: Reading = field(default_factory=Reading, repr=False, compare=False)
    """The ends of the interval and its batches, as they were read for this replay."""


def replay_interval(
    source: ProofSource,
    trainer: Trainer,
    interval: Interval,
    conditions: Conditions,
    *,
    control: Trainer | None = None,
    control_keeps_state: bool = True,
    exact: bool = False,
) -> IntervalReplay:
    """Re-train one interval from its recorded start and compare with its recorded end.

    Args:
        source: a proof whose survey found no structural problem.
        trainer: built from the proof's recipe, in the precision of the conditions.
        interval: which one.
        conditions: see `Conditions`.
        control: a trainer with the ordinary hyperparameters; if given, the interval is also replayed unperturbed.
        control_keeps_state: False starts the control from an empty optimizer state.
        exact: also compare every bit under recorded augmentation; another replay, where the conditions draw it anew.
    """
    source = Witness(source, trainer.dataset)
    start, claimed = source.checkpoint(interval.index), source.checkpoint(interval.index + 1)
    records = source.batches(interval.start, interval.stop)
    try:
        replayed, loss = _retrain(source, trainer, start, records, conditions, perturbed=True)
        state_problem, state_error = _compare_states(trainer, claimed, replayed, interval)
    except UpdateError as err:  # a forged state: nothing follows from it
        return IntervalReplay(
            interval=interval,
            error=UNDEFINED,
            state_problem=str(err),
            state_error=UNDEFINED,
            buffer_error=UNDEFINED,
            statistics_error=math.nan,
            update=math.nan,
            direction=math.nan,
            loss=math.nan,
            reading=source.reading(),
        )
    reference = None
    if control is not None:
        begin = start if control_keeps_state else replace(start, optimizer_state={})
        unperturbed, _ = _retrain(source, control, begin, records, conditions, perturbed=False)
        reference = parameter_distances(claimed.parameters, unperturbed.parameters)
    buffer_problem, statistics_error = _compare_buffers(start, claimed, replayed)
    update, direction = _compare_moves(start, claimed, replayed)
    recorded_error, is_exact = None, None
    if exact:
        as_recorded = replayed
        if conditions.augmentation == "fresh" and trainer.recipe.transform.is_random:
            repeated = replace(conditions, augmentation="recorded")
            as_recorded, _ = _retrain(source, trainer, start, records, repeated, perturbed=True)
        recorded_error = parameter_distances(claimed.parameters, as_recorded.parameters)
        is_exact = _same_bits(claimed, as_recorded)
    return IntervalReplay(
        interval=interval,
        error=parameter_distances(claimed.parameters, replayed.parameters),
        state_problem=state_problem,
        state_error=state_error,
        buffer_error=parameter_distances(_moving(trainer, claimed.buffers), _moving(trainer, replayed.buffers)),
        buffer_problem=buffer_problem,
        statistics_error=statistics_error,
        update=update,
        direction=direction,
        loss=loss,
        control=reference,
        recorded_error=recorded_error,
        is_exact=is_exact,
        machine=machine_class(trainer.device) if exact else "",
        reading=source.reading(),
    )


def gather(
    source: ProofSource,
    dataset: Dataset,
    indices: npt.NDArray[np.int64],
    *,
    perturbed: bool = True,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """Pixels (B, C, H, W) and labels (B,) that the indices mean, on the dataset's device.

    Args:
        source: the proof, for its own points.
        dataset: the public dataset, for indices below its size.
        indices: (B,), legal.
        perturbed: False takes the points that the proof's own were made from.
        dtype: of the pixels where own points are floats, so that the dataset's among them are divided by 255 in it.
    """
    own = np.flatnonzero(indices >= len(dataset))
    device = dataset.pixels.device
    if len(own) == 0:
        where = torch.from_numpy(indices).to(device)
        return dataset.pixels[where], dataset.labels[where]
    points = source.points(indices[own] - len(dataset))
    looked_up = indices.copy()
    looked_up[own] = points.sources.numpy() if not perturbed else 0
    where = torch.from_numpy(looked_up).to(device)
    pixels, labels = dataset.pixels[where], dataset.labels[where]
    if perturbed:
        places = torch.from_numpy(own).to(device)
        if points.pixels.dtype != pixels.dtype:
            pixels = to_unit(pixels, dtype)
        pixels[places] = points.pixels.to(device, pixels.dtype)
        labels[places] = points.labels.to(device)
    return pixels, labels


def _retrain(
    source: ProofSource,
    trainer: Trainer,
    start: Checkpoint,
    records: Sequence[BatchRecord],
    conditions: Conditions,
    *,
    perturbed: bool,
) -> tuple[Checkpoint, float]:
    fresh = derive_seed(conditions.seed, "fresh augmentation") if conditions.augmentation == "fresh" else None
    trainer.load(start)
    indices_nB = np.stack([record.indices for record in records])
    losses: list[Tensor] = []
    with torch.random.fork_rng():
        for part in steps_at_once(len(records), indices_nB.shape[1] * trainer.dataset.pixels[0].numel()):
            own = indices_nB[part.start : part.stop]
            pixels, labels = gather(source, trainer.dataset, own.reshape(-1), perturbed=perturbed, dtype=trainer.dtype)
            losses += trainer.run(
                start.step + part.start,
                pixels.view(*own.shape, *pixels.shape[1:]),
                labels.view(own.shape),
                augmentation_seed=fresh,
            )
    return trainer.snapshot(start.step + len(records)), mean_loss(losses)


def _same_bits(claimed: Checkpoint, replayed: Checkpoint) -> bool:
    pairs = (
        (claimed.parameters, replayed.parameters),
        (claimed.buffers, replayed.buffers),
        (claimed.optimizer_state, replayed.optimizer_state),
    )
    return all(
        recorded.keys() == own.keys()
        and all(
            recorded[name].dtype == own[name].dtype
            and recorded[name].shape == own[name].shape
            and torch.equal(byte_tensor(recorded[name]), byte_tensor(own[name]))
            for name in own
        )
        for recorded, own in pairs
    )


def _compare_states(
    trainer: Trainer, claimed: Checkpoint, replayed: Checkpoint, interval: Interval
) -> tuple[str, Distances]:
    zero = Distances(0.0, 0.0, 0.0, 0.0)
    recorded, own = claimed.optimizer_state, replayed.optimizer_state
    if recorded.keys() == own.keys() and all(torch.equal(recorded[name], own[name]) for name in own):
        return "", zero
    problem = ""
    last = trainer.gradients()  # of the last replayed step
    missing = sorted(own.keys() - recorded.keys())
    emptied = sorted(n for n in own.keys() & recorded.keys() if not recorded[n].any() and own[n].any())
    if missing:
        problem = f"{len(missing)} entries missing at step {claimed.step}, first {missing[0]}"
    elif emptied and len(emptied) == len(own):
        problem = f"all entries are zero at step {claimed.step}, the replayed ones are not"
    # Without a gradient momentum shows most plainly; without one second moments leave no trace. SGD has none: its step is
    # linear in state and gradient, so any gradient cancels in the difference.
    still = {name: torch.zeros_like(gradient) for name, gradient in last.items()}
    apart = []
    for gradients in (still,) if trainer.recipe.optimizer.name == "SGD" else (still, last):
        # Both from the recorded weights, so that only the states differ.
        by_record = trainer.drift(claimed, interval.num_steps, gradients)
        by_replay = trainer.drift(replace(claimed, optimizer_state=own), interval.num_steps, gradients)
        apart.append(parameter_distances(by_record, by_replay))
    return problem, largest(apart)


def _compare_buffers(start: Checkpoint, claimed: Checkpoint, replayed: Checkpoint) -> tuple[str, float]:
    """A buffer that should have stayed as it was, and the largest error of those that should not, relative to their size."""
    problem, largest_error = "", 0.0
    for name, own in replayed.buffers.items():
        recorded = claimed.buffers[name]
        if torch.equal(own, start.buffers[name].to(own.dtype)):
            if not torch.equal(recorded, start.buffers[name]):
                problem = (
                    problem
                    or f"buffer {name!r} changes in steps {start.step}..{claimed.step}, training leaves it as it is"
                )
        elif not is_inexact(own):
            if not torch.equal(recorded, own):
                problem = problem or f"buffer {name!r} at step {claimed.step} is not what training makes of it"
        elif name.endswith("running_var") and bool((recorded < 0).any()):
            problem = problem or f"buffer {name!r} at step {claimed.step} has variances below zero"
        else:
            wide = torch.complex128 if own.is_complex() else torch.float64
            apart, size = (recorded.to(wide) - own.to(wide)).norm(), own.to(wide).norm()
            largest_error = max(largest_error, float(apart / size) if size > 0 else float(apart), key=nan_as_largest)
    return problem, largest_error


def _compare_moves(start: Checkpoint, claimed: Checkpoint, replayed: Checkpoint) -> tuple[float, float]:
    """Length of the replayed move in l2, and its cosine with the claimed one, in float64 over all parameters."""
    squared, claimed_squared, product = 0.0, 0.0, 0.0
    for name, own in replayed.parameters.items():
        begin = start.parameters[name].double()
        move, claim = own.double() - begin, claimed.parameters[name].double() - begin
        squared += float((move * move).sum())
        claimed_squared += float((claim * claim).sum())
        product += float((move * claim).sum())
    lengths = math.sqrt(squared) * math.sqrt(claimed_squared)
    return math.sqrt(squared), product / lengths if lengths else float(squared == claimed_squared)


def _moving(trainer: Trainer, buffers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Norm statistics and their like, a complex number as two."""
    moving = {name: b for name, b in buffers.items() if is_inexact(b) and name not in trainer.tables}
    return {name: torch.view_as_real(b) if b.is_complex() else b for name, b in moving.items()}
