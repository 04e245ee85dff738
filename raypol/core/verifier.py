"""The verifier V gathers evidence: surveys every recorded checkpoint, replays intervals (Jia et al. 2021, Algorithm 2).

What the evidence means is decided in `policies`. Gathering is split so that it can be sharded: `survey` reads positions of
the proof, `replay_interval` re-trains one interval; `examine` does all of it in this process.

Nothing in a proof is trusted: names, shapes and dtypes are compared with the declared model before anything is loaded,
indices with the dataset before anything is looked up.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raypol.core import hashing
from raypol.core.augment import to_unit
from raypol.core.data import Dataset
from raypol.core.distances import METRICS, Distances, parameter_distances
from raypol.core.errors import InputError, reject_choice
from raypol.core.initial_laws import Constant, initial_laws, ks_p_value
from raypol.core.precision import DTYPES, PRECISIONS, Precision
from raypol.core.proof import BatchRecord, Checkpoint, Interval, Points, ProofSource, Recipe
from raypol.core.scoring import largest
from raypol.core.seeds import derive_seed, generator
from raypol.core.training import Trainer, UpdateError, mean_loss, state_template, steps_at_once

# A forged proof can be wrong in a million places; a verdict needs a few of them.
_MAX_PROBLEMS: Final = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Conditions:
    """Under which conditions intervals are replayed. Proof and spoof are judged under the same ones."""

    augmentation: Literal["recorded", "fresh"] = "fresh"
    """`recorded` repeats the prover's crops and flips (honest error 0 on the same machine); `fresh` draws new ones."""
    precision: Precision | Literal["recorded"] = "recorded"
    """Of the replay: recorded = as the proof says; float64 has almost no rounding noise and costs several times more."""
    seed: int = 1
    """The verifier's own seed, for fresh augmentation and random choice of intervals."""

    def __post_init__(self) -> None:
        if self.augmentation not in ("recorded", "fresh"):
            raise InputError(f"unknown augmentation {self.augmentation!r}; possible: fresh, recorded")
        if self.precision not in ("recorded", *PRECISIONS):
            raise InputError(f"unknown precision {self.precision!r}; possible: recorded, {', '.join(PRECISIONS)}")

    def precision_for(self, recorded: Precision) -> Precision:
        """What a proof with this precision is replayed in."""
        return recorded if self.precision == "recorded" else self.precision


@dataclass(frozen=True, kw_only=True, slots=True)
class InitialTest:
    """One tensor of W_0 against its law: a p-value for a random law, a largest deviation for a constant."""

    tensor: str
    p_value: float | None = None
    deviation: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """What reading checkpoints and batch records found, without training a step."""

    structure: tuple[str, ...] = ()
    """Names, shapes, dtypes, step numbers that are not the declared ones."""
    indices: tuple[str, ...] = ()
    """Indices and own points outside what is legal."""
    finite: tuple[str, ...] = ()
    """Tensors with NaN or infinite entries."""
    hashes: tuple[str, ...] = ()
    """Records whose digest is not what the data give."""
    checkpoint_digests: tuple[bytes, ...] = ()
    step_digests: tuple[bytes, ...] = ()
    """Recomputed, in order."""
    movements: tuple[Distances, ...] = ()
    """d(W_{t-k}, W_t) per interval."""
    accuracies: tuple[float, ...] = ()
    """Test accuracy of each recorded model."""
    initial: tuple[InitialTest, ...] = ()
    state_at_start: tuple[str, ...] = ()
    """Entries of the optimizer state recorded at step 0; an honest prover has none."""

    def __add__(self, later: "Survey") -> "Survey":
        return Survey(**{name: getattr(self, name) + getattr(later, name) for name in self.__slots__})


@dataclass(frozen=True, kw_only=True, slots=True)
class IntervalReplay:
    """What re-training one interval found."""

    interval: Interval
    error: Distances
    """eps_repr: d(W_t recorded, W'_t replayed)."""
    state_problem: str
    """Empty, or why the recorded optimizer state cannot follow from the interval."""
    state_error: Distances
    """Distance between where the recorded and the replayed state would carry W_t over k steps; see `Trainer.drift`."""
    buffer_error: Distances
    """Of the norm layers' statistics; reported, never judged."""
    loss: float
    """Mean over the steps; NaN or infinite if any step's was."""
    control: Distances | None = None
    """eps_repr with the same batches unperturbed, under the ordinary hyperparameters (the `null` reference)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """Everything that a policy may look at."""

    recipe: Recipe
    survey: Survey
    replays: tuple[IntervalReplay, ...]
    recorded_root: str
    computed_root: str
    expected_root: str | None = None
    """A root that the prover published earlier, if the verifier knows one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Control:
    """How the unperturbed reference is replayed for a spoof."""

    recipe: Recipe
    """The ordinary hyperparameters: differs from the spoof's own where the spoof declares an odd learning rate."""
    keep_state: bool = True
    """False: start from an empty optimizer state, where the recorded one is forged."""


def survey(source: ProofSource, trainer: Trainer, start: int, stop: int, *, accuracy: bool = True) -> Survey:
    """Read checkpoints at positions start, ..., stop - 1 and the steps that lead to each.

    Args:
        source: the proof.
        trainer: built from the proof's recipe.
        start: first position, 0 for W_0.
        stop: one past the last.
        accuracy: also measure each model's test accuracy.
    """
    expected = source.recipe.checkpoint_steps()
    found = list(source.checkpoint_steps)
    if found != expected:
        at = next((i for i, pair in enumerate(zip(found, expected, strict=False)) if pair[0] != pair[1]), None)
        what = f"{len(found)} checkpoints" if at is None else f"step {found[at]} at position {at}"
        wanted = f"{len(expected)} checkpoints" if at is None else f"step {expected[at]}"
        return Survey(structure=(f"checkpoint order: expected {wanted}, got {what}",)) if start == 0 else Survey()
    result = Survey()
    template = state_template(trainer)
    previous: Checkpoint | None = None
    if start > 0:
        before = source.checkpoint(start - 1)
        previous = None if _structure_problems(before, trainer, template) else before
    for position in range(start, stop):
        checkpoint = source.checkpoint(position)
        result += _survey_checkpoint(checkpoint, expected[position], trainer, template, accuracy=accuracy)
        sound = not _structure_problems(checkpoint, trainer, template)
        if position > 0:
            if previous is not None and sound:
                moved = parameter_distances(previous.parameters, checkpoint.parameters)
            else:
                moved = Distances(math.nan, math.nan, math.nan, math.nan)
            result += Survey(movements=(moved,))
            result += _survey_batches(source, trainer.dataset, source.recipe.interval_at(position - 1))
        previous = checkpoint if sound else None
    return _shortened(result)


def survey_interval(source: ProofSource, trainer: Trainer, interval: Interval, *, accuracy: bool = True) -> Survey:
    """Read one interval: its start, its end and the steps between; accuracy of the end, and of W_0."""
    template = state_template(trainer)
    ends = [source.checkpoint(interval.index), source.checkpoint(interval.index + 1)]
    steps = (interval.start, interval.stop)
    found = Survey()
    for end, step in zip(ends, steps, strict=True):
        asked = accuracy and (step == 0 or step == interval.stop)
        found += _survey_checkpoint(end, step, trainer, template, accuracy=asked)
    if not found.structure:
        found += Survey(movements=(parameter_distances(ends[0].parameters, ends[1].parameters),))
        found += _survey_batches(source, trainer.dataset, interval)
    else:
        found += Survey(movements=(Distances(math.nan, math.nan, math.nan, math.nan),))
    return _shortened(found)


def replay_interval(
    source: ProofSource,
    trainer: Trainer,
    interval: Interval,
    conditions: Conditions,
    *,
    control: Trainer | None = None,
    control_keeps_state: bool = True,
) -> IntervalReplay:
    """Re-train one interval from its recorded start and compare with its recorded end.

    Args:
        source: a proof whose survey found no structural problem.
        trainer: built from the proof's recipe, in the precision of the conditions.
        interval: which one.
        conditions: see `Conditions`.
        control: a trainer with the ordinary hyperparameters; if given, the interval is also replayed unperturbed.
        control_keeps_state: False starts the control from an empty optimizer state.
    """
    start, claimed = source.checkpoint(interval.index), source.checkpoint(interval.index + 1)
    records = source.batches(interval.start, interval.stop)
    try:
        replayed, loss = _retrain(source, trainer, start, records, conditions, perturbed=True)
        state_problem, state_error = _compare_states(trainer, claimed, replayed, interval)
    except UpdateError as err:  # a forged state: what follows from it is nothing
        undefined = Distances(math.nan, math.nan, math.nan, math.nan)
        return IntervalReplay(
            interval=interval,
            error=undefined,
            state_problem=str(err),
            state_error=undefined,
            buffer_error=undefined,
            loss=math.nan,
        )
    reference = None
    if control is not None:
        begin = start if control_keeps_state else replace(start, optimizer_state={})
        unperturbed, _ = _retrain(source, control, begin, records, conditions, perturbed=False)
        reference = parameter_distances(claimed.parameters, unperturbed.parameters)
    return IntervalReplay(
        interval=interval,
        error=parameter_distances(claimed.parameters, replayed.parameters),
        state_problem=state_problem,
        state_error=state_error,
        buffer_error=parameter_distances(_floating(claimed.buffers), _floating(replayed.buffers)),
        loss=loss,
        control=reference,
    )


def select_intervals(
    selection: Literal["all", "top_q", "random"],
    query_budget: int,
    *,
    recipe: Recipe,
    dataset_size: int,
    movements: Sequence[Distances],
    seed: int,
) -> list[Interval]:
    """Which intervals to replay (SPEC section 3.4).

    Args:
        selection: `all`; `top_q`: per epoch the Q largest movements, union over metrics (PoL); `random`: Q per epoch.
        query_budget: Q, intervals per epoch.
        recipe: the proof's.
        dataset_size: N, gives the epoch's length.
        movements: d(W_{t-k}, W_t) per interval. NaN counts as largest.
        seed: for `random`; must be drawn after the proof is fixed.
    """
    intervals = recipe.intervals()
    if selection == "all":
        return intervals
    if selection not in ("top_q", "random"):
        reject_choice("selection", selection, ("all", "top_q", "random"))
    if query_budget < 1:
        raise InputError(f"expected a query budget (Q) >= 1 interval per epoch, got {query_budget}")
    steps_per_epoch = max(dataset_size // recipe.batch_size, 1)
    epochs: dict[int, list[Interval]] = {}
    for interval in intervals:
        epochs.setdefault(interval.start // steps_per_epoch, []).append(interval)
    chosen: set[int] = set()
    for epoch, members in epochs.items():
        if selection == "random":
            order = torch.randperm(len(members), generator=generator(seed, "random intervals", epoch))
            chosen.update(members[i].index for i in order[:query_budget].tolist())
            continue
        for metric in METRICS:
            ranked = sorted(members, key=lambda i: _nan_last(movements[i.index][metric]), reverse=True)
            chosen.update(i.index for i in ranked[:query_budget])
    return [interval for interval in intervals if interval.index in chosen]


def examine(
    source: ProofSource,
    dataset: Dataset,
    conditions: Conditions,
    *,
    selection: Literal["all", "top_q", "random"] = "all",
    query_budget: int = 1,
    device: torch.device | str = "cpu",
    expected_root: str | None = None,
) -> Evidence:
    """Survey and replay a whole proof in this process."""
    trainer = Trainer(source.recipe, dataset, device, precision=conditions.precision_for(source.recipe.precision))
    found = survey(source, trainer, 0, len(source.checkpoint_steps))
    replays: list[IntervalReplay] = []
    if is_replayable(found):
        chosen = select_intervals(
            selection,
            query_budget,
            recipe=source.recipe,
            dataset_size=len(dataset),
            movements=found.movements,
            seed=verifier_seed(source.root, conditions),
        )
        replays = [replay_interval(source, trainer, interval, conditions) for interval in chosen]
    return evidence(source, found, replays, expected_root=expected_root)


def is_replayable(found: Survey) -> bool:
    """True if everything that a replay would load or look up is what the declared model and dataset have."""
    return not found.structure and not found.indices


def verifier_seed(root: str, conditions: Conditions) -> int:
    """Seed for choosing intervals: it depends on the root, so it cannot be known before the proof is fixed."""
    return derive_seed(conditions.seed, "verifier", root)


def evidence(
    source: ProofSource, found: Survey, replays: Sequence[IntervalReplay], *, expected_root: str | None = None
) -> Evidence:
    """Put the pieces together and recompute the root."""
    seal = hashing.Seal()
    for digest in found.step_digests:
        seal.add_step(digest)
    for digest in found.checkpoint_digests:
        seal.add_checkpoint_digest(digest)
    return Evidence(
        recipe=source.recipe,
        survey=found,
        replays=tuple(sorted(replays, key=lambda replay: replay.interval.index)),
        recorded_root=source.root,
        computed_root=seal.root(source.recipe.canonical()),
        expected_root=expected_root,
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
        perturbed: False looks up the points that the own ones were made from.
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


def _survey_checkpoint(
    checkpoint: Checkpoint,
    expected_step: int,
    trainer: Trainer,
    template: Mapping[str, tuple[torch.Size, torch.dtype]],
    *,
    accuracy: bool,
) -> Survey:
    digests = checkpoint.tensor_digests()
    claimed = checkpoint.claimed_digests
    hashes = [
        f"step {expected_step}: {name} does not match its recorded SHA-256"
        for name in digests
        if claimed is not None and claimed.get(name) != digests[name]
    ]
    finite = [
        f"step {expected_step}: {name} has NaN or infinite entries"
        for name, tensor in checkpoint.tensors().items()
        if tensor.is_floating_point() and not torch.isfinite(tensor).all()
    ]
    structure = _structure_problems(checkpoint, trainer, template)
    if checkpoint.step != expected_step:
        structure.append(f"expected step {expected_step}, the checkpoint says {checkpoint.step}")
    first = expected_step == 0 and not structure
    return Survey(
        structure=tuple(structure),
        finite=tuple(finite),
        hashes=tuple(hashes),
        checkpoint_digests=(hashing.checkpoint_digest(checkpoint.step, digests),),
        accuracies=(trainer.accuracy(checkpoint) if accuracy and not structure else math.nan,),
        initial=tuple(_initial_tests(checkpoint, trainer)) if first else (),
        state_at_start=tuple(sorted(checkpoint.optimizer_state)) if expected_step == 0 else (),
    )


def _structure_problems(
    checkpoint: Checkpoint, trainer: Trainer, template: Mapping[str, tuple[torch.Size, torch.dtype]]
) -> list[str]:
    """Names, shapes and dtypes against the declared model's. The optimizer's state may lack entries, never have others."""
    problems = []
    declared = DTYPES[trainer.recipe.precision]
    for kind, recorded, expected in (
        ("parameter", checkpoint.parameters, {n: (p.shape, declared) for n, p in trainer.parameters.items()}),
        (
            "buffer",
            checkpoint.buffers,
            {n: (b.shape, declared if b.is_floating_point() else b.dtype) for n, b in trainer.buffers.items()},
        ),
        ("optimizer", checkpoint.optimizer_state, template),
    ):
        missing = expected.keys() - recorded.keys() if kind != "optimizer" else set()
        unknown = recorded.keys() - expected.keys()
        problems += [f"step {checkpoint.step}: {kind} {name!r} is missing" for name in sorted(missing)]
        problems += [f"step {checkpoint.step}: the model has no {kind} {name!r}" for name in sorted(unknown)]
        for name in recorded.keys() & expected.keys():
            shape, dtype = expected[name]
            tensor = recorded[name]
            if tensor.shape != shape or tensor.dtype != dtype:
                problems.append(
                    f"step {checkpoint.step}: {kind} {name!r}: expected {dtype} {tuple(shape)}, "
                    f"got {tensor.dtype} {tuple(tensor.shape)}"
                )
            elif kind == "buffer" and name in trainer.tables and not torch.equal(tensor, trainer.tables[name]):
                problems.append(f"step {checkpoint.step}: {kind} {name!r} is not the declared model's")
    return problems


def _initial_tests(checkpoint: Checkpoint, trainer: Trainer) -> list[InitialTest]:
    tests = []
    for name, law in initial_laws(trainer.model).items():
        values = checkpoint.parameters[name]
        if isinstance(law, Constant):
            tests.append(InitialTest(tensor=name, deviation=_deviation(values, law.value)))
        else:
            tests.append(InitialTest(tensor=name, p_value=ks_p_value(values, law)))
    fresh = trainer.fresh_buffers()
    for name, values in checkpoint.buffers.items():
        difference = (values.double() - fresh[name].double()).abs()
        tests.append(InitialTest(tensor=name, deviation=float(difference.max()) if difference.numel() else 0.0))
    return tests


def _deviation(values: Tensor, constant: float) -> float:
    return float((values.double() - constant).abs().max())


def _survey_batches(source: ProofSource, dataset: Dataset, interval: Interval) -> Survey:
    """Order, legality and hashes of the steps of one interval."""
    structure: list[str] = []
    illegal: list[str] = []
    hashes: list[str] = []
    digests: list[bytes] = []
    records = source.batches(interval.start, interval.stop)
    if len(records) != interval.num_steps:
        structure.append(
            f"steps {interval.start}..{interval.stop - 1}: expected {interval.num_steps} records, got {len(records)}"
        )
    for expected_step, record in zip(range(interval.start, interval.stop), records, strict=False):
        if record.step != expected_step:
            structure.append(f"expected step {expected_step}, the batch record says {record.step}")
        if len(record.indices) != source.recipe.batch_size:
            structure.append(
                f"step {expected_step}: expected {source.recipe.batch_size} indices, got {len(record.indices)}"
            )
        limit = len(dataset) + source.num_points
        if len(record.indices) and not (record.indices.min() >= 0 and record.indices.max() < limit):
            illegal.append(f"step {expected_step}: an index lies outside 0..{limit - 1}")
            continue
        own = record.indices >= len(dataset)
        batch = np.empty((len(record.indices), hashing.DIGEST_BYTES), dtype=np.uint8)
        batch[~own] = dataset.point_digests[record.indices[~own]]
        if own.any():
            points = source.points(record.indices[own] - len(dataset))
            illegal += [f"step {expected_step}: {problem}" for problem in _point_problems(points, dataset)]
            batch[own] = hashing.point_digests(points.pixels, points.labels)
        digest = hashing.step_digest(record.step, batch)
        digests.append(digest)
        if digest != record.sha256:
            hashes.append(f"step {expected_step}: the data do not match the recorded SHA-256")
    return Survey(structure=tuple(structure), indices=tuple(illegal), hashes=tuple(hashes), step_digests=tuple(digests))


def _point_problems(points: Points, dataset: Dataset) -> list[str]:
    problems = []
    if tuple(points.pixels.shape[1:]) != dataset.image_shape:
        problems.append(f"an own point has shape {tuple(points.pixels.shape[1:])}, expected {dataset.image_shape}")
    if points.pixels.dtype not in (torch.uint8, torch.float32) or points.labels.dtype != torch.int64:
        problems.append(
            f"an own point has {points.pixels.dtype} pixels and a {points.labels.dtype} label, "
            "expected uint8 or float32 and int64"
        )
    if points.pixels.is_floating_point():
        if not torch.isfinite(points.pixels).all():
            problems.append("an own point has NaN or infinite pixels")
        elif bool((points.pixels < 0).any()) or bool((points.pixels > 1).any()):
            problems.append("an own point has pixels outside [0, 1]")
    if int(points.labels.min()) < 0 or int(points.labels.max()) >= dataset.num_classes:
        problems.append(f"an own point has a label outside 0..{dataset.num_classes - 1}")
    if int(points.sources.min()) < 0 or int(points.sources.max()) >= len(dataset):
        problems.append("an own point names a source outside the dataset")
    return problems


def _shortened(found: Survey) -> Survey:
    """Keep the first few problems of each kind."""
    kinds = ("structure", "indices", "finite", "hashes")
    return replace(found, **{kind: getattr(found, kind)[:_MAX_PROBLEMS] for kind in kinds})


def _floating(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}


def _nan_last(value: float) -> float:
    return math.inf if math.isnan(value) else value
