"""What a proof by verifiable computation claims, and the public values that a verifier recomputes of it."""

from dataclasses import dataclass
from typing import Final

from raypol.core.datasets.dataset import Dataset
from raypol.core.datasets.order import DataOrder
from raypol.core.errors import InputError, check_whole, in_short
from raypol.core.hashing import check_sha256
from raypol.core.seeds import check_seed, check_share
from raypol.core.verifiable.digests import hash_batch
from raypol.core.verifiable.integer_model import (
    Integers,
    ModelShape,
    initial_integers,
    integer_inputs,
    integer_step,
    one_hot,
)

MAX_PROVED_STEPS: Final = 10_000
_MAX_NAME: Final = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class ProvedRun:
    """The training whose every step is proved."""

    dataset: str
    dataset_sha256: str
    shape: ModelShape
    steps: int
    """T."""
    seed: int
    """Of W_0 and of the data order."""
    shares: tuple[str, ...] = ()
    """The prover's own seed and the verifier's share, which `seed` binds; () = the prover chose the seed alone."""

    def __post_init__(self) -> None:
        check_whole("steps (T)", self.steps, 1, MAX_PROVED_STEPS)
        check_seed(self.seed)
        if not 0 < len(self.dataset) <= _MAX_NAME:
            raise InputError(f"expected a dataset's name of 1 to {_MAX_NAME} letters, got {in_short(self.dataset)}")
        check_sha256(self.dataset_sha256, "dataset_sha256")
        if self.shares:
            own = self.shares[0]
            if len(self.shares) != 2 or not (own.isascii() and own.isdecimal() and len(own) <= len(str(2**63))):
                raise InputError(
                    f"expected shares as the prover's seed and the verifier's share, got {in_short(self.shares)}"
                )
            check_share(self.shares[1])


class IntegerData:
    """A dataset's training points as the circuit has them, in the order of a run."""

    def __init__(self, run: ProvedRun, dataset: Dataset) -> None:
        self.inputs = integer_inputs(dataset.pixels)
        """(N, F)."""
        self._targets = one_hot(dataset.labels, dataset.num_classes)
        self._order = DataOrder(len(dataset), run.shape.batch_size, run.seed)

    def batch(self, step: int) -> tuple[Integers, Integers]:
        """(B, F) inputs and (B, C) targets of a step."""
        indices = self._order(step)
        return self.inputs[indices], self._targets[indices]

    def batch_hash(self, step: int) -> int:
        """Public value of a step's batch."""
        return hash_batch(*self.batch(step))


def linear_shape(dataset: Dataset, *, batch_size: int, lr_shift: int) -> ModelShape:
    """The shape of the linear model on a dataset.

    Raises:
        InputError: no circuit has these sizes.
    """
    channels, height, width = dataset.image_shape
    return ModelShape(
        features=channels * height * width, classes=dataset.num_classes, batch_size=batch_size, lr_shift=lr_shift
    )


def train_integers(run: ProvedRun, data: IntegerData, first: Integers | None = None) -> list[Integers]:
    """W_0, ..., W_T of training on the batches of `data`; W_0 is that of the seed unless it is given."""
    states = [initial_integers(run.shape, run.seed) if first is None else first]
    for step in range(run.steps):
        states.append(integer_step(states[-1], *data.batch(step), run.shape))
    return states
