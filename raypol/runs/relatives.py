"""Running relatives of the attacks (adversarial and unadversarial examples, DLG) on a proof's recorded model."""

from dataclasses import dataclass, replace

from torch import Tensor

from raypol.core.datasets.source import DataSource
from raypol.core.errors import InputError
from raypol.core.progress import Progress, no_progress
from raypol.core.relatives.adversarial import Adversarial, adversarial_example
from raypol.core.relatives.dlg import DLG, Recovered, recover, shared_gradient
from raypol.core.relatives.perturbing import Perturbed
from raypol.core.relatives.points import Split, pick_points
from raypol.core.relatives.unadversarial import Unadversarial, unadversarial_example
from raypol.core.spoofing.objectives import OnEvaluation
from raypol.core.spoofing.trajectory import reject_foreign
from raypol.core.training.trainer import Trainer
from raypol.store.location import open_location
from raypol.store.proofs.reader import ParquetProof


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A recorded model and some points."""

    proof: str
    """`Location.address` of the proof's folder."""
    data: DataSource
    step: int | None
    """Recorded step of the weights; None = the last."""
    indices: tuple[int, ...]
    split: Split
    device: str


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Leak:
    """A point, and its recovery from its gradient."""

    truth: Tensor
    """(C, H, W) in [0, 1]."""
    label: int
    recovered: Recovered


def run_perturbing(job: tuple[Subject, Adversarial | Unadversarial], on_progress: Progress = no_progress) -> Perturbed:
    """Craft an example of each point; progress counts evaluations."""
    subject, config = job
    trainer = recorded_trainer(subject)
    X, y = pick_points(trainer, subject.indices, subject.split)
    on_evaluation = _bounded(on_progress, config.iterations)
    if isinstance(config, Adversarial):
        return adversarial_example(trainer, X, y, config, on_evaluation=on_evaluation)
    return unadversarial_example(trainer, X, y, config, on_evaluation=on_evaluation)


def run_leaking(job: tuple[Subject, DLG], on_progress: Progress = no_progress) -> Leak:
    """Recover the first point from its gradient; progress counts evaluations."""
    subject, config = job
    trainer = recorded_trainer(subject)
    X, y = pick_points(trainer, subject.indices[:1], subject.split)
    gradient = shared_gradient(trainer, X, y, statistics=config.statistics)
    recovered = recover(
        trainer, gradient, config, on_evaluation=_bounded(on_progress, config.restarts * config.iterations)
    )
    return Leak(truth=X[0].cpu(), label=int(y), recovered=recovered)


def _bounded(on_progress: Progress, most: int) -> OnEvaluation:
    """Progress with a limit: L-BFGS checks its own only after a line search, and may exceed it by some evaluations."""
    return lambda count: on_progress("evaluations of the search, at most", min(count, most), most)


def recorded_trainer(subject: Subject) -> Trainer:
    """Load a proof's model at a recorded step, with its own normalisation, without the optimizer's state.

    Raises:
        InputError: not a readable proof, no weights of that step, or those of another model.
    """
    proof = ParquetProof(open_location(subject.proof))
    recorded = list(proof.checkpoint_steps)
    step = (recorded[-1] if recorded else None) if subject.step is None else subject.step
    if step not in recorded:
        few = ", ".join(map(str, recorded[:4])) + (f", ..., {recorded[-1]}" if len(recorded) > 4 else "")
        raise InputError(f"{proof.folder}: expected a recorded step ({few or 'it has none'}), got {step}")
    trainer = Trainer(proof.recipe, subject.data.load(), subject.device)
    checkpoint = proof.checkpoint(recorded.index(step))
    reject_foreign(checkpoint, trainer.model)
    # The model's own index tables: a forged table would send its lookups anywhere.
    trainer.load(replace(checkpoint, buffers={**checkpoint.buffers, **trainer.tables}, optimizer_state={}))
    return trainer
