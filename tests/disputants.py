"""Parties of disputes for tests and benchmarks: honest ones, and every way to lie, over memory and over a folder."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from raypol.core.datasets.dataset import Dataset
from raypol.core.dispute.moves import Answer, Fault, Question, Side, answer_of
from raypol.core.dispute.referee import DisputeVerdict, settle
from raypol.core.dispute.training import DeclaredTraining, ProofParty
from raypol.core.hashing import step_digest
from raypol.core.proof import BatchRecord, Checkpoint, Cost, MemoryProof, ProofSink, Recipe
from raypol.core.training.prover import data_order
from raypol.store.location import Location
from raypol.store.proofs.writer import new_proof

NUDGE: Final = 1e-6
"""What a liar adds to one weight."""


class LyingTraining(DeclaredTraining):
    """The declared training, but for a nudge to one weight after some steps."""

    def __init__(
        self, recipe: Recipe, dataset: Dataset, lies: frozenset[int] = frozenset(), nudge: float = NUDGE
    ) -> None:
        super().__init__(recipe, dataset)
        self._lies, self._nudge = lies, nudge

    def follow(self, state: Checkpoint, start: int, stop: int) -> Iterator[Checkpoint]:
        for step in range(start, stop):
            (state,) = super().follow(state, step, step + 1)
            if step in self._lies:
                name, W = next(iter(state.parameters.items()))
                nudged = W.clone()
                nudged.view(-1)[0] += self._nudge
                state = replace(state, parameters={**state.parameters, name: nudged})
            yield state


def record_lies(training: DeclaredTraining, dataset: Dataset, sink: ProofSink) -> None:
    """The proof of a training that may lie: every k steps, with the declared batches."""
    recipe, order = training.recipe, data_order(training.recipe, dataset)
    ends = set(recipe.checkpoint_steps())
    sink.write_checkpoint(training.first())
    for state in training.follow(training.first(), 0, recipe.steps):
        indices = order(state.step - 1)
        digest = step_digest(state.step - 1, dataset.point_digests[indices])
        sink.write_batches([BatchRecord(state.step - 1, indices, digest)])
        if state.step in ends:
            sink.write_checkpoint(state)


def lying_proof(recipe: Recipe, dataset: Dataset, *lies: int, nudge: float = NUDGE) -> MemoryProof:
    """A proof in memory, nudged after these steps."""
    proof = MemoryProof(recipe, len(dataset))
    record_lies(LyingTraining(recipe, dataset, frozenset(lies), nudge), dataset, proof)
    proof.seal()
    return proof


def lying_party(recipe: Recipe, dataset: Dataset, *lies: int, nudge: float = NUDGE) -> ProofParty:
    """A party that is consistent in its lies, down to the step."""
    training = LyingTraining(recipe, dataset, frozenset(lies), nudge)
    return ProofParty(lying_proof(recipe, dataset, *lies, nudge=nudge), training)


def write_proof(results: Location, name: str, proof: MemoryProof, dataset: Dataset) -> Location:
    """A proof folder of a proof in memory."""
    with new_proof(results, name, proof.recipe, len(dataset)) as writer:
        for checkpoint in proof.checkpoints:
            writer.write_checkpoint(checkpoint)
        writer.write_batches(proof.records)
        writer.finish(Cost(), {})
    return results / "proofs" / name


def asking(parties: Mapping[Side, Any]) -> Callable[[Question], dict[Side, Answer[Any] | Fault]]:
    """Parties in this process; one that raises a Fault of its own has it."""
    return lambda question: {side: answer_of(parties[side], question) for side in question.sides}


def settled(a: Any, b: Any, dataset: Dataset, **options: Any) -> DisputeVerdict:  # noqa: ANN401 - any two parties
    """The verdict on two parties in this process."""
    return settle(asking({"a": a, "b": b}), lambda recipe: DeclaredTraining(recipe, dataset), **options)
