"""The honest prover: trains for T steps and records the proof on the way (Jia et al. 2021, arXiv:2103.05633, Algorithm 1).

Differences from the published code: data order and augmentation come from recorded seeds, hashes cover every pixel and
label, and checkpoints are written by another thread while the next steps are computed.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raypol.core import hashing
from raypol.core.arithmetic.precision import SAME_EVERYWHERE, WEIGHT_DTYPES, cast
from raypol.core.clock import Mark, mark, synchronise
from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.order import DataOrder
from raypol.core.errors import InputError
from raypol.core.models import build_model
from raypol.core.models.constructed import checked_laws, given_digests
from raypol.core.models.initial_laws import draw_initial
from raypol.core.proof import BatchRecord, Checkpoint, Cost, Interval, ProofSink, Recipe
from raypol.core.seeds import check_seed, derive_seed, generator
from raypol.core.training.background_sink import BackgroundSink
from raypol.core.training.snapshots import Pending, SnapshotCopier, ready
from raypol.core.training.trainer import Trainer, steps_at_once


def initial_checkpoint(recipe: Recipe, dataset: Dataset) -> Checkpoint:
    """W_0: weights drawn from the model's laws under the recipe's seed or given, fresh buffers, empty optimizer state.

    Raises:
        InputError: the model does not follow its laws, or gives other values than the recipe declares as given.
    """
    model = build_model(recipe.model, in_channels=dataset.image_shape[0], num_classes=dataset.num_classes)
    laws, dtype = checked_laws(model, recipe.model), WEIGHT_DTYPES[recipe.precision]
    if given_digests(laws, dtype) != recipe.given:
        raise InputError(
            f"{recipe.model} gives other initial values than the recipe declares as given: was it, or what it loads, changed?"
        )
    cast(model, recipe.precision)
    shapes = {name: p.shape for name, p in model.named_parameters()}
    anywhere = recipe.precision in SAME_EVERYWHERE
    drawn = draw_initial(laws, shapes, generator(recipe.seed, "initial weights"), anywhere=anywhere)
    return Checkpoint(
        step=0,
        parameters={name: tensor.to(dtype) for name, tensor in drawn.items()},
        buffers={name: b.detach().clone() for name, b in model.named_buffers()},
        optimizer_state={},
    )


def data_order(recipe: Recipe, dataset: Dataset) -> DataOrder:
    """The recipe's shuffled epochs."""
    return DataOrder(len(dataset), recipe.batch_size, derive_seed(recipe.seed, "data order"))


@dataclass(frozen=True, kw_only=True, slots=True)
class StartingPoint:
    """Where an interrupted run of the same recipe stopped: a checkpoint that the sink has, like all before it."""

    checkpoint: Checkpoint
    cost: Cost
    """Until that checkpoint was written; the steps made meanwhile are included, and are made again."""


def record_training(
    recipe: Recipe,
    dataset: Dataset,
    sink: ProofSink,
    *,
    device: torch.device | str = "cpu",
    resume: StartingPoint | None = None,
    on_interval: Callable[[Interval], None] | None = None,
    on_recorded: Callable[[int, Cost], None] = lambda _step, _cost: None,
) -> Cost:
    """Train honestly for T steps; hand W every k steps, and I and H of every step, to the sink.

    Args:
        recipe: the full declaration A.
        dataset: the public dataset.
        sink: where the proof goes; its writes run in another thread, in order.
        device: where to train.
        resume: where to go on; on the same kind of device the proof has the same bits as that of one run.
        on_interval: called after each interval, for progress.
        on_recorded: called in the writing thread once a checkpoint is written, with its step and the cost so far.

    Returns:
        The cost of generating the proof: everything from the first step to the last checkpoint written, over all runs.

    Raises:
        InputError: training diverged (a loss or a weight is NaN or infinite), or the recipe does not fit the dataset.
    """
    check_seed(recipe.seed)  # here and not in the recipe: older proofs with other seeds stay readable
    if recipe.dataset_sha256 != dataset.sha256:
        raise InputError(f"the recipe names another dataset than the one given ({dataset.name})")
    order = data_order(recipe, dataset)
    trainer = Trainer(recipe, dataset, device)
    before, start_state = (resume.cost, resume.checkpoint) if resume else (Cost(), initial_checkpoint(recipe, dataset))
    if _shapes(trainer.parameters, trainer.buffers) != _shapes(start_state.parameters, start_state.buffers):
        raise InputError(f"{recipe.model} is another model than the one whose step {start_state.step} is recorded")
    trainer.load(start_state)
    pixels, labels, digests = trainer.dataset.pixels, trainer.dataset.labels, dataset.point_digests

    intervals, ends = recipe.intervals(), recipe.checkpoint_steps()
    if start_state.step not in ends:
        raise InputError(f"expected to go on from the end of an interval, got step {start_state.step}")
    num_recorded = ends.index(start_state.step)
    for interval in intervals[:num_recorded]:
        sink.write_batches(_records(interval, order.block(interval.start, interval.stop), digests))

    # Steps do not wait for the state that they leave behind: it is copied, checked and written while they go on.
    copier = SnapshotCopier(trainer.device) if trainer.device.type == "cuda" else None
    synchronise(trainer.device)
    started = mark(trainer.device)

    def spent(until: Mark, gradient_evals: int) -> Cost:
        wall_s = until.moment_s - started.moment_s
        return before + Cost(device_s=started.until(until), wall_s=wall_s, gradient_evals=gradient_evals)

    def recorded(step: int, reached: Mark, gradient_evals: int) -> None:
        on_recorded(step, spent(replace(reached, moment_s=time.perf_counter()), gradient_evals))

    with torch.random.fork_rng(), BackgroundSink(sink) as background:
        if resume is None:
            background.write_checkpoint(start_state)
        for interval in intervals[num_recorded:]:
            indices_nB = order.block(interval.start, interval.stop)
            losses: list[Tensor] = []
            for part in steps_at_once(interval.num_steps, pixels[0].numel() * recipe.batch_size):
                where_nB = torch.from_numpy(indices_nB[part.start : part.stop]).to(trainer.device)
                losses += trainer.run(interval.start + part.start, pixels[where_nB], labels[where_nB])
            sound = torch.stack(losses).isfinite().all()
            end = interval.stop
            pending = copier.copy(end, trainer.state()) if copier else ready(trainer.snapshot(end))
            background.write_batches(_records(interval, indices_nB, digests))
            done = partial(recorded, interval.stop, mark(trainer.device), trainer.gradient_evals)
            background.write_pending(partial(_finite, interval, sound, pending), done)
            if on_interval:
                on_interval(interval)
    return replace(
        spent(mark(trainer.device), trainer.gradient_evals), writing_s=before.writing_s + background.waited_s
    )


def _shapes(*groups: Mapping[str, Tensor]) -> list[dict[str, torch.Size]]:
    return [{name: tensor.shape for name, tensor in group.items()} for group in groups]


def _records(
    interval: Interval, indices_nB: npt.NDArray[np.int64], digests: npt.NDArray[np.uint8]
) -> list[BatchRecord]:
    steps = enumerate(indices_nB, start=interval.start)
    return [BatchRecord(step, indices, hashing.step_digest(step, digests[indices])) for step, indices in steps]


def _finite(interval: Interval, losses_are_finite: Tensor, pending: Pending) -> Checkpoint:
    """The checkpoint at the interval's end.

    Raises:
        InputError: a loss of the interval or a weight is NaN or infinite.
    """
    reached = pending()
    if not bool(losses_are_finite) or not all(p.isfinite().all() for p in reached.parameters.values()):
        raise InputError(
            f"training diverged between steps {interval.start} and {interval.stop} (loss or weights are not "
            "finite); expected a learning rate at which the honest run converges"
        )
    return reached
