"""Reading a proof without re-training: structure, initial state, hashes, accuracies."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from raypol.core import hashing
from raypol.core.arithmetic.precision import WEIGHT_DTYPES, cast, is_inexact
from raypol.core.datasets.dataset import Dataset
from raypol.core.distances import UNDEFINED, Distances, parameter_distances
from raypol.core.errors import InputError
from raypol.core.hashing import tensor_digest
from raypol.core.models.constructed import given_digests
from raypol.core.models.independence import Dependence, dependences, moments_statistic
from raypol.core.models.initial_laws import Constant, Given, Law, initial_laws, ks_p_value, num_impossible
from raypol.core.proof import Checkpoint, Interval, Points, ProofSource, Recipe
from raypol.core.training.prover import data_order, initial_checkpoint
from raypol.core.training.trainer import Trainer, state_template
from raypol.core.verification.admissible import rule_problems
from raypol.core.verification.epoch_use import EpochUse, epoch_use
from raypol.core.verification.wishes import Wish
from raypol.core.verification.witness import Reading, Witness

# A forged proof can be wrong in a million places; a verdict needs a few of them.
_MAX_PROBLEMS: Final = 20
_MAX_NAME: Final = 80


@dataclass(frozen=True, kw_only=True, slots=True)
class InitialTest:
    """One tensor of W_0 against its law: a p-value for a random law, a largest deviation for a constant, neither if given."""

    tensor: str
    p_value: float | None = None
    deviation: float | None = None
    moments: float | None = None
    """Statistic of Neyman's smooth test for a random law, see `moments_statistic`."""
    problem: str = ""
    """Empty, or how a given tensor differs from what the recipe declares, or from what the verifier's own model gives."""
    num_entries: int = 0
    """Of a parameter; 0 for a buffer."""
    given: bool = False
    """True if its entries are the model's constructor's and not drawn."""
    impossible: int = 0
    """Entries that its random law does not give."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """Findings from checkpoints and batch records, without training a step."""

    rule: tuple[str, ...] = ()
    """What of the declared optimizer, schedule and transform is not admissible."""
    structure: tuple[str, ...] = ()
    """Names, shapes, dtypes, step numbers that are not the declared ones."""
    indices: tuple[str, ...] = ()
    """Illegal indices and own points."""
    finite: tuple[str, ...] = ()
    """Tensors with NaN or infinite entries."""
    hashes: tuple[str, ...] = ()
    """Records whose digest is not that of the data."""
    checkpoint_digests: tuple[bytes, ...] = ()
    step_digests: tuple[bytes, ...] = ()
    """Recomputed, in order."""
    movements: tuple[Distances, ...] = ()
    """d(W_{t-k}, W_t) per interval."""
    accuracies: tuple[float, ...] = ()
    """Test accuracy of each recorded model; NaN where it was not measured."""
    initial: tuple[InitialTest, ...] = ()
    dependences: tuple[Dependence, ...] = ()
    """Statistics of W_0 that independent draws leave near their expectation."""
    state_at_start: tuple[str, ...] = ()
    """Entries of the optimizer state recorded at step 0; an honest prover has none."""
    drawn_from_seed: tuple[bool, ...] = ()
    """Whether W_0 is the one that the recipe's seed gives, bit for bit; empty where it could not be compared."""
    steps_out_of_order: tuple[int, ...] = ()
    """Per interval, the steps whose indices are not those that the recipe's seed gives."""
    used: tuple[EpochUse, ...] = ()
    """What each epoch used of the dataset, in parts."""
    granted: tuple[tuple[Wish, tuple[Any, ...]], ...] = ()
    """What was gathered for checks that asked for more, in parts."""
    readings: tuple[Reading, ...] = field(default=(), repr=False, compare=False)
    """What was read again for that, and of the checkpoint before each part."""

    def __add__(self, later: "Survey") -> "Survey":
        joined = {name: getattr(self, name) + getattr(later, name) for name in self.__slots__}
        if self.used and later.used and self.used[-1].epoch == later.used[0].epoch:
            joined["used"] = (*self.used[:-1], self.used[-1] + later.used[0], *later.used[1:])
        return Survey(**joined)

    def findings(self, wish: Wish) -> tuple[Any, ...] | None:
        """What was gathered for a check; None if nothing was."""
        parts = [found for granted, found in self.granted if granted == wish]
        return tuple(one for part in parts for one in part) if parts else None

    @property
    def epochs(self) -> dict[int, EpochUse]:
        """What each epoch used of the dataset, by epoch."""
        merged: dict[int, EpochUse] = {}
        for use in self.used:
            merged[use.epoch] = merged[use.epoch] + use if use.epoch in merged else use
        return merged


def survey(
    source: ProofSource,
    trainer: Trainer,
    start: int,
    stop: int,
    *,
    accuracy: Callable[[int], bool] | bool = True,
    wanted: Iterable[Wish] = (),
) -> Survey:
    """Survey the checkpoints at positions start, ..., stop - 1 and the steps that lead to each.

    Args:
        source: the proof.
        trainer: built from the proof's recipe.
        start: first position, 0 for W_0.
        stop: one past the last.
        accuracy: also measure each model's test accuracy, or that of the positions for which this is true.
        wanted: gather this, too.
    """
    if source.recipe.batch_size > len(
        trainer.dataset
    ):  # points may repeat, so a small file could mean any number of them
        what = f"a batch of {source.recipe.batch_size} points, the dataset has {len(trainer.dataset)}"
        return Survey(structure=(what,)) if start == 0 else Survey()
    expected = source.recipe.checkpoint_steps()
    found = list(source.checkpoint_steps)
    if found != expected:
        at = next((i for i, pair in enumerate(zip(found, expected, strict=False)) if pair[0] != pair[1]), None)
        what = f"{len(found)} checkpoints" if at is None else f"step {found[at]} at position {at}"
        should = f"{len(expected)} checkpoints" if at is None else f"step {expected[at]}"
        return Survey(structure=(f"checkpoint order: expected {should}, got {what}",)) if start == 0 else Survey()
    result = Survey()
    if start == 0:
        result += Survey(rule=tuple(rule_problems(source.recipe, trainer.lrs, trainer.dataset.image_shape)))
    template = state_template(trainer)
    previous: Checkpoint | None = None
    again = Witness(source, trainer.dataset)
    if start > 0:
        before = again.checkpoint(start - 1)
        previous = None if _structure_problems(before, trainer, template) else before
    led_to = start == 0 or previous is not None
    for position in range(start, stop):
        checkpoint = source.checkpoint(position)
        asked = accuracy(position) if callable(accuracy) else accuracy
        found_here, sound = _survey_checkpoint(checkpoint, expected[position], trainer, template, accuracy=asked)
        result += found_here
        if position > 0:
            moved = UNDEFINED
            if previous is not None and sound:
                moved = parameter_distances(previous.parameters, checkpoint.parameters)
            result += Survey(movements=(moved,))
            result += _survey_batches(source, trainer.dataset, source.recipe.interval_at(position - 1))
        previous = checkpoint if sound else None
    if led_to and not result.structure and not result.indices:
        result += Survey(granted=tuple((wish, wish(again, trainer, range(start, stop))) for wish in wanted))
        result += Survey(readings=(again.reading(),))
    return _shortened(result)


def survey_interval(source: ProofSource, trainer: Trainer, interval: Interval, *, accuracy: bool = True) -> Survey:
    """Read one interval: its start, its end and the steps between; accuracy of the end, and of W_0."""
    template = state_template(trainer)
    ends = [source.checkpoint(interval.index), source.checkpoint(interval.index + 1)]
    steps = (interval.start, interval.stop)
    found = Survey()
    for end, step in zip(ends, steps, strict=True):
        asked = accuracy and (step == 0 or step == interval.stop)
        found += _survey_checkpoint(end, step, trainer, template, accuracy=asked)[0]
    if not found.structure:
        found += Survey(movements=(parameter_distances(ends[0].parameters, ends[1].parameters),))
        found += _survey_batches(source, trainer.dataset, interval)
    else:
        found += Survey(movements=(UNDEFINED,))
    return _shortened(found)


def _survey_checkpoint(
    checkpoint: Checkpoint,
    expected_step: int,
    trainer: Trainer,
    template: Mapping[str, tuple[torch.Size, torch.dtype]],
    *,
    accuracy: bool,
) -> tuple[Survey, bool]:
    """What one checkpoint shows, and whether its tensors are the declared model's."""
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
        if is_inexact(tensor) and name.removeprefix("buffer/") not in trainer.tables and not tensor.isfinite().all()
    ]
    structure = _structure_problems(checkpoint, trainer, template)
    sound = not structure
    if checkpoint.step != expected_step:
        structure.append(f"expected step {expected_step}, the checkpoint says {checkpoint.step}")
    first = expected_step == 0 and not structure
    fresh = trainer.fresh_model() if first else None
    laws = initial_laws(fresh) if fresh is not None else {}
    found = Survey(
        structure=tuple(structure),
        finite=tuple(finite),
        hashes=tuple(hashes),
        checkpoint_digests=(hashing.checkpoint_digest(checkpoint.step, digests),),
        accuracies=(trainer.accuracy(checkpoint) if accuracy and not structure else math.nan,),
        initial=tuple(_initial_tests(checkpoint, trainer.recipe, fresh, laws)) if fresh is not None else (),
        dependences=tuple(
            dependences(checkpoint.parameters, {n: law for n, law in laws.items() if n not in trainer.recipe.given})
        ),
        state_at_start=tuple(sorted(checkpoint.optimizer_state)) if expected_step == 0 else (),
        drawn_from_seed=(_is_drawn(digests, trainer),) if first else (),
    )
    return found, sound


def _is_drawn(digests: Mapping[str, bytes], trainer: Trainer) -> bool:
    """True if W_0, by the digests of its tensors, is the one that the recipe's seed gives, in every bit."""
    try:
        expected = initial_checkpoint(trainer.recipe, trainer.dataset)
    except InputError:  # laws or given values that do not fit: `initial_state` says so
        return False
    return digests == expected.tensor_digests()  # -0 and 0 told apart, as in a dispute


def _structure_problems(
    checkpoint: Checkpoint, trainer: Trainer, template: Mapping[str, tuple[torch.Size, torch.dtype]]
) -> list[str]:
    """Compare names, shapes and dtypes with the declared model's. The optimizer's state may lack entries, never have others."""
    problems = []
    declared = WEIGHT_DTYPES[trainer.recipe.precision]
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


def _initial_tests(
    checkpoint: Checkpoint, recipe: Recipe, model: nn.Module, laws: Mapping[str, Law]
) -> list[InitialTest]:
    tests = []
    own_given = given_digests(laws, WEIGHT_DTYPES[recipe.precision])
    for name in sorted(recipe.given.keys() - laws.keys())[:1]:
        tests.append(
            InitialTest(tensor=name[:_MAX_NAME], problem="the recipe declares it as given, the model has none such")
        )
    for name, law in laws.items():
        values = checkpoint.parameters[name]
        test = InitialTest(tensor=name, num_entries=values.numel())
        if isinstance(law, Given) or name in recipe.given:
            digests = recipe.given.get(name), own_given.get(name), tensor_digest(values).hex()
            tests.append(replace(test, given=True, problem=_given_problem(*digests, model=recipe.model)))
        elif isinstance(law, Constant):
            tests.append(replace(test, deviation=_deviation(values, torch.tensor(law.value))))
        else:
            p_value, moments = ks_p_value(values, law), moments_statistic(values, law)
            impossible = num_impossible(values, law)
            tests.append(replace(test, p_value=p_value, moments=moments, impossible=impossible))
    fresh = dict(cast(model, recipe.precision).named_buffers())
    return [*tests, *(InitialTest(tensor=n, deviation=_deviation(b, fresh[n])) for n, b in checkpoint.buffers.items())]


def _given_problem(declared: str | None, own: str | None, recorded: str, *, model: str) -> str:
    """How W_0 of a tensor that is said to be given is not what it should be; digests in hex."""
    if own is None:
        return f"the recipe declares it as given, the verifier's {model} does not"
    if declared is None:
        return f"the verifier's {model} gives its values, the recipe declares none as given"
    if own != declared:
        return f"the verifier's {model} gives it other values than the recipe declares"
    return "" if recorded == declared else "W_0 does not have the values that the recipe declares as given"


def _deviation(values: Tensor, expected: Tensor) -> float:
    """Largest absolute difference; 0 of nothing."""
    wide = torch.complex128 if values.is_complex() else torch.float64
    if torch.equal(values, expected):  # infinite entries have no difference
        return 0.0
    difference = (values.to(wide) - expected.to(wide)).abs()
    return float(difference.max()) if difference.numel() else 0.0


def _survey_batches(source: ProofSource, dataset: Dataset, interval: Interval) -> Survey:
    """Order, legality and hashes of the steps of one interval."""
    structure: list[str] = []
    illegal: list[str] = []
    hashes: list[str] = []
    digests: list[bytes] = []
    order, out_of_order, used = data_order(source.recipe, dataset), 0, dict[int, EpochUse]()
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
        out_of_order += not np.array_equal(record.indices, order(expected_step))
        use = epoch_use(expected_step // order.steps_per_epoch, record.indices[~own], len(dataset))
        used[use.epoch] = used[use.epoch] + use if use.epoch in used else use
        made = np.empty((0, hashing.DIGEST_BYTES), dtype=np.uint8)
        if own.any():
            points = source.points(record.indices[own] - len(dataset))
            illegal += [f"step {expected_step}: {problem}" for problem in _point_problems(points, dataset)]
            made = hashing.point_digests(points.pixels, points.labels)
        batch = hashing.batch_digests(record.indices, dataset.point_digests, made)
        digest = hashing.step_digest(record.step, batch)
        digests.append(digest)
        if digest != record.sha256:
            hashes.append(f"step {expected_step}: the data do not match the recorded SHA-256")
    return Survey(
        structure=tuple(structure),
        indices=tuple(illegal),
        hashes=tuple(hashes),
        step_digests=tuple(digests),
        steps_out_of_order=(out_of_order,),
        used=tuple(used.values()),
    )


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
    kinds = ("rule", "structure", "indices", "finite", "hashes")
    return replace(found, **{kind: getattr(found, kind)[:_MAX_PROBLEMS] for kind in kinds})
