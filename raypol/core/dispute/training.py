"""The declared training, one step at a time: what the referee computes, and what an honest party answers from its proof."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from raypol.core import hashing
from raypol.core.arithmetic.precision import WEIGHT_DTYPES
from raypol.core.datasets.dataset import Dataset
from raypol.core.dispute.merkle import MerkleTree, Opening
from raypol.core.dispute.moves import CHECKPOINTS, Claim, Delivered, Pledge, pledge_of, steps_of_interval
from raypol.core.errors import InputError, first_names, in_short
from raypol.core.progress import Progress, no_progress
from raypol.core.proof import Checkpoint, Interval, ProofSource, Recipe
from raypol.core.training.optimizers import UpdateError
from raypol.core.training.prover import data_order, initial_checkpoint
from raypol.core.training.snapshots import checkpoint_of
from raypol.core.training.trainer import Trainer, state_template

_Kind = tuple[torch.Size, torch.dtype]


class StateLayout:
    """Names, shapes and dtypes of a state, as the declared model and optimizer dictate them.

    Entries of the optimizer's state may be missing (a parameter without a gradient has none); there are no others.
    """

    def __init__(self, trainer: Trainer) -> None:
        declared = WEIGHT_DTYPES[trainer.recipe.precision]
        buffers = {n: (b.shape, declared if b.is_floating_point() else b.dtype) for n, b in trainer.buffers.items()}
        self._always: dict[str, _Kind] = {
            **{f"parameter/{name}": (p.shape, declared) for name, p in trainer.parameters.items()},
            **{f"buffer/{name}": kind for name, kind in buffers.items()},
        }
        self._optional = {f"optimizer/{name}": kind for name, kind in state_template(trainer).items()}
        self._tables = {f"buffer/{name}": table.cpu() for name, table in trainer.tables.items()}

    def kinds(self, entries: Iterable[str]) -> dict[str, _Kind]:
        """Shape and dtype of every tensor of a state with these entries of the optimizer, in the order of its bytes.

        Raises:
            InputError: an entry that the optimizer does not have, or one named twice.
        """
        named = [f"optimizer/{entry}" for entry in entries]
        if len(set(named)) != len(named):
            raise InputError("an entry of the optimizer's state is named twice")
        if unknown := next((name for name in named if name not in self._optional), None):
            raise InputError(f"the declared optimizer has no entry {in_short(unknown)}")
        kinds = self._always | {name: self._optional[name] for name in named}
        return {name: kinds[name] for name in sorted(kinds)}

    def num_bytes(self, entries: Iterable[str]) -> int:
        """Size of a state with these entries as raw bytes."""
        return sum(math.prod(shape) * dtype.itemsize for shape, dtype in self.kinds(entries).values())

    def problem(self, state: Checkpoint) -> str:
        """Why a state is none of this layout; empty if it is one."""
        tensors = state.tensors()
        if missing := sorted(self._always.keys() - tensors.keys()):
            return f"no {first_names(map(in_short, missing))}"
        for name, tensor in tensors.items():
            expected = self._always.get(name) or self._optional.get(name)
            if expected is None:
                return f"the declared training has no {in_short(name)}"
            if (tensor.shape, tensor.dtype) != expected:
                shape, dtype = expected
                got = f"{tensor.dtype} {tuple(tensor.shape)}"
                return f"{in_short(name)}: expected {dtype} {tuple(shape)}, got {got}"
        # Values of an index table steer lookups: another one could read anywhere.
        changed = [name for name, table in self._tables.items() if not torch.equal(tensors[name], table)]
        return f"{in_short(changed[0])} is not the declared model's" if changed else ""

    def unpack(self, step: int, entries: Iterable[str], raw: bytes) -> Checkpoint:
        """The state from its raw bytes, `num_bytes(entries)` of them.

        Raises:
            InputError: another number of bytes, or entries that are none.
        """
        kinds = self.kinds(entries)
        expected = sum(math.prod(shape) * dtype.itemsize for shape, dtype in kinds.values())
        if len(raw) != expected:
            raise InputError(f"expected a state of {expected} bytes, got {len(raw)}")
        tensors, at = {}, 0
        for name, (shape, dtype) in kinds.items():
            size = math.prod(shape) * dtype.itemsize
            tensors[name] = _tensor_of(raw[at : at + size], shape, dtype)
            at += size
        return checkpoint_of(step, tensors)


def state_pieces(state: Checkpoint) -> Iterator[memoryview]:
    """Raw bytes of a state, tensor by tensor, sorted by qualified name."""
    return (hashing.raw_bytes(tensor) for _, tensor in sorted(state.tensors().items()))


def state_digest(state: Checkpoint) -> bytes:
    """Digest of a whole state: weights, buffers and optimizer state, and the step."""
    return hashing.checkpoint_digest(state.step, state.tensor_digests())


class DeclaredTraining:
    """The training that a recipe declares: its W_0, its batches, its update. Nothing of it comes from a party."""

    def __init__(self, recipe: Recipe, dataset: Dataset, device: torch.device | str = "cpu") -> None:
        """Prepare it.

        Raises:
            InputError: the recipe does not fit the dataset, or cannot be computed here.
        """
        if recipe.dataset_sha256 != dataset.sha256:
            raise InputError(f"the recipe names another dataset than the one given ({dataset.name})")
        self.recipe = recipe
        self._order = data_order(recipe, dataset)
        self._trainer = Trainer(recipe, dataset, device)
        self.layout = StateLayout(self._trainer)
        self._initial = initial_checkpoint(recipe, dataset)
        self.step_s = 0.0
        """Seconds that the latest `digest_after` took."""

    def first(self) -> Checkpoint:
        """W_0, drawn from the recipe's seed."""
        return self._initial

    def digest(self, state: Checkpoint) -> bytes:
        """See `state_digest`."""
        return state_digest(state)

    def digest_after(self, state: Checkpoint, step: int) -> bytes | None:
        """Make one step; see `Computation`."""
        began = time.perf_counter()
        try:
            if self.layout.problem(state):
                return None
            return next(state_digest(reached) for reached in self.follow(state, step, step + 1))
        except UpdateError:  # a state that no training has, and both agreed on
            return None
        finally:
            self.step_s = time.perf_counter() - began

    def follow(self, state: Checkpoint, start: int, stop: int) -> Iterator[Checkpoint]:
        """The states after steps start, ..., stop - 1, from the state before them."""
        pixels, labels = self._trainer.dataset.pixels, self._trainer.dataset.labels
        with torch.random.fork_rng():
            self._trainer.load(state)
            for step in range(start, stop):
                where = torch.from_numpy(self._order(step)).to(self._trainer.device)
                self._trainer.step(step, pixels[where], labels[where])
                yield self._trainer.snapshot(step + 1)


def check_records(proof: ProofSource, dataset: Dataset) -> None:
    """Check that the batches which a proof records are the declared ones: a dispute is about states, and nobody asks for records.

    Without this, a proof of honest states that names other data than it was made of (attack `forge_batch`) would come off well.

    Raises:
        InputError: own points, or a step with another batch.
    """
    if proof.num_points:
        raise InputError(
            f"{proof.num_points} own points are no matter for a dispute: the declared data order does not give them"
        )
    order = data_order(proof.recipe, dataset)
    for interval in proof.recipe.intervals():
        recorded = {record.step: record.indices for record in proof.batches(interval.start, interval.stop)}
        for step in range(interval.start, interval.stop):
            if step not in recorded or not np.array_equal(recorded[step], order(step)):
                raise InputError(
                    f"the batch recorded for step {step} is not the one of the declared data order: no matter for a dispute"
                )


class ProofParty:
    """An honest party: everything that it says comes from its proof, and from replaying one interval of it."""

    def __init__(
        self,
        proof: ProofSource,
        training: DeclaredTraining,
        *,
        on_progress: Progress = no_progress,
    ) -> None:
        """Read the proof's checkpoints.

        Args:
            proof: the party's.
            training: what the proof's recipe declares.
            on_progress: called as checkpoints are read.

        Raises:
            InputError: a checkpoint has tensors that the model does not have.
        """
        self.repeats: bool | None = None
        """Whether this machine gives the recorded bits, as far as it was tried."""
        self._proof, self._training = proof, training
        self._tree = MerkleTree(CHECKPOINTS, list(self._digests(on_progress)))
        self._interval: Interval | None = None
        self._steps: MerkleTree | None = None

    def claim(self) -> Claim:
        """See Disputant."""
        return Claim(self._proof.recipe, pledge_of(self._tree))

    def checkpoint(self, index: int) -> Opening:
        """See Disputant."""
        return self._tree.open(_within(index, len(self._tree), "checkpoint"))

    def steps(self, interval: int) -> Pledge:
        """See Disputant."""
        found = self._proof.recipe.interval_at(_within(interval, len(self._tree) - 1, "interval"))
        replayed = [state_digest(state) for state in self._training.follow(self._start(found), found.start, found.stop)]
        begin, end = self._tree.open(interval).digest, self._tree.open(interval + 1).digest
        self.repeats = replayed[-1] == end
        # The recorded end stands: where a replay does not lead to it, the last step is the one to dispute.
        self._interval, self._steps = found, MerkleTree(steps_of_interval(interval), [begin, *replayed[:-1], end])
        return pledge_of(self._steps)

    def step(self, index: int) -> Opening:
        """See Disputant."""
        if self._steps is None:
            raise InputError("a step was asked for before its interval")
        return self._steps.open(_within(index, len(self._steps), "step"))

    def state(self, step: int) -> Delivered[Checkpoint]:
        """See Disputant."""
        if self._interval is None or not self._interval.start <= step < self._interval.stop:
            raise InputError(f"the state at step {step} was asked for before its interval")
        state = self._start(self._interval)
        for reached in self._training.follow(state, self._interval.start, step):
            state = reached  # one at a time: the other side chose how many there are
        return Delivered(state, sum(tensor.nbytes for tensor in state.tensors().values()))

    def _start(self, interval: Interval) -> Checkpoint:
        state = self._proof.checkpoint(interval.index)
        if problem := self._training.layout.problem(state):
            raise InputError(f"the proof's checkpoint of step {state.step}: {problem}")
        return state

    def _digests(self, on_progress: Progress) -> Iterator[bytes]:
        total = len(self._proof.checkpoint_steps)
        for position in range(total):
            on_progress("reading checkpoints", position, total)
            yield state_digest(self._proof.checkpoint(position))
        on_progress("reading checkpoints", total, total)


def _within(index: int, count: int, what: str) -> int:
    if not 0 <= index < count:
        raise InputError(f"the referee asks for {what} {index}, expected 0..{count - 1}")
    return index


def _tensor_of(raw: Sequence[int] | bytes, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    if not raw:
        return torch.empty(shape, dtype=dtype)
    flat = torch.frombuffer(bytearray(raw), dtype=torch.uint8 if dtype == torch.bool else dtype)
    return (flat.ne(0) if dtype == torch.bool else flat).view(shape)
