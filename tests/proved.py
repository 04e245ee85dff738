"""A run that is small enough to be proved in tests, and what adversaries make of its proof."""

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
import torch

from raypol.core.datasets.dataset import Dataset
from raypol.core.seeds import bound_seed, commitment_to
from raypol.core.verifiable.circuit import circuit_inputs
from raypol.core.verifiable.claim import IntegerData, ProvedRun, linear_shape, train_integers
from raypol.core.verifiable.digests import hash_weights
from raypol.core.verifiable.integer_model import LINEAR_INTEGER, Integers
from raypol.core.verifiable.judging import ProvedEvidence, StepClaim
from raypol.runs.verifiable.groth16 import open_groth16

needs_groth16 = pytest.mark.skipif(
    importlib.util.find_spec("groth16py") is None, reason='needs groth16py: pip install "groth16py>=0.2"'
)
SMALL: Final = "tests.proved:small"
SHARE: Final = "00112233445566778899aabbccddeeff"
STEPS: Final = 10
MEMORY: Final = 4 * 10**9
KEY: Final = "ab" * 32
"""Digest of a key that nobody made."""


def small() -> Dataset:
    """16 images of 2x2 grey pixels, two classes that differ in brightness."""
    labels = torch.arange(20) % 2
    pixels = torch.randint(0, 120, (20, 1, 2, 2), generator=torch.Generator().manual_seed(3))
    pixels = (pixels + 120 * labels[:, None, None, None]).to(torch.uint8)
    return Dataset(
        name=SMALL,
        pixels=pixels[:16],
        labels=labels[:16],
        test_pixels=pixels[16:],
        test_labels=labels[16:],
        num_classes=2,
    )


def small_run(*, share: str = SHARE, seed: int = 5, steps: int = STEPS) -> ProvedRun:
    """T steps of batch 1."""
    dataset = small()
    shares = (str(seed), share)
    return ProvedRun(
        dataset=dataset.name,
        dataset_sha256=dataset.sha256,
        shape=linear_shape(dataset, batch_size=1, lr_shift=4),
        steps=steps,
        seed=bound_seed(dataset.sha256, LINEAR_INTEGER, shares),
        shares=shares,
    )


def small_commitment(seed: int = 5) -> str:
    """What the prover sends before he gets the share."""
    return commitment_to(small().sha256, LINEAR_INTEGER, str(seed))


Prover = Callable[[tuple[int, int, int], dict[str, list[int]]], bytes]
"""Makes a proof of public values from the signals of a witness."""


def evidence_of(
    run: ProvedRun, prove: Prover, *, data: IntegerData | None = None, first: Integers | None = None
) -> ProvedEvidence:
    """Evidence of training on these batches from these first weights, claimed to be the run."""
    data = data or IntegerData(run, small())
    states = train_integers(run, data, first)
    hashes = [hash_weights(weights) for weights in states]
    proofs = []
    for step in range(run.steps):
        public = (hashes[step], data.batch_hash(step), hashes[step + 1])
        proofs.append(prove(public, circuit_inputs(states[step], states[step + 1], *data.batch(step))))
    return ProvedEvidence(run=run, weight_hashes=tuple(hashes), proofs=tuple(proofs), final=states[-1], key_sha256=KEY)


class TrueStatements:
    """Proves nothing and knows what is true: the proof of a step is its place in a list of true public values.

    The adversary's statements are true of his own batches and weights, as those of a real proof are.
    """

    def __init__(self) -> None:
        self._known: list[tuple[int, int, int]] = []

    def prove(self, public: tuple[int, int, int], _signals: dict[str, list[int]]) -> bytes:
        self._known.append(public)
        return (len(self._known) - 1).to_bytes(256, "big")

    def verify(self, claims: Sequence[StepClaim]) -> list[bool]:
        return [self._known[int.from_bytes(proof)] == public for proof, public in claims]


Tamper = Callable[[ProvedEvidence, Prover], ProvedEvidence]


def _off_by_one(evidence: ProvedEvidence, _: Prover) -> ProvedEvidence:
    final = evidence.final.copy()
    final[1, 0] += 1
    return replace(evidence, final=final)


def _off_by_one_hashed(evidence: ProvedEvidence, prove: Prover) -> ProvedEvidence:
    off = _off_by_one(evidence, prove)
    return replace(off, weight_hashes=(*off.weight_hashes[:-1], hash_weights(off.final)))


def _off_by_one_proved(evidence: ProvedEvidence, prove: Prover) -> ProvedEvidence:
    """The last step's proof is made anew, with the wrong new weights as its witness."""
    off = _off_by_one_hashed(evidence, prove)
    run, data = evidence.run, IntegerData(evidence.run, small())
    before, step = train_integers(run, data)[-2], run.steps - 1
    lie = (off.weight_hashes[-2], data.batch_hash(step), off.weight_hashes[-1])
    signals = circuit_inputs(before, off.final, *data.batch(step))
    return replace(off, proofs=(*off.proofs[:-1], prove(lie, signals)))


def _other_batches(evidence: ProvedEvidence, prove: Prover) -> ProvedEvidence:
    """Every step is proved, on the batches of another order."""
    other = IntegerData(replace(evidence.run, seed=evidence.run.seed ^ 1), small())
    return evidence_of(evidence.run, prove, data=other)


def _other_start(evidence: ProvedEvidence, prove: Prover) -> ProvedEvidence:
    first = train_integers(evidence.run, IntegerData(evidence.run, small()))[0] + 1
    return evidence_of(evidence.run, prove, first=first)


def _other_start_hidden(evidence: ProvedEvidence, prove: Prover) -> ProvedEvidence:
    """The first hash is the honest one all the same."""
    other = _other_start(evidence, prove)
    return replace(other, weight_hashes=(evidence.weight_hashes[0], *other.weight_hashes[1:]))


def _replayed(evidence: ProvedEvidence, _: Prover) -> ProvedEvidence:
    return replace(evidence, proofs=(*evidence.proofs[:3], evidence.proofs[2], *evidence.proofs[4:]))


def _swapped(evidence: ProvedEvidence, _: Prover) -> ProvedEvidence:
    proofs, hashes = list(evidence.proofs), list(evidence.weight_hashes)
    proofs[3], proofs[4] = proofs[4], proofs[3]
    hashes[3], hashes[4] = hashes[4], hashes[3]
    return replace(evidence, proofs=tuple(proofs), weight_hashes=tuple(hashes))


def _truncated(evidence: ProvedEvidence, _: Prover) -> ProvedEvidence:
    """One step less, with the weights of all."""
    run = replace(evidence.run, steps=evidence.run.steps - 1)
    return replace(evidence, run=run, proofs=evidence.proofs[:-1], weight_hashes=evidence.weight_hashes[:-1])


def _one_less(evidence: ProvedEvidence, _: Prover) -> ProvedEvidence:
    return replace(evidence, proofs=evidence.proofs[:-1])


def _other_seed(evidence: ProvedEvidence, _: Prover) -> ProvedEvidence:
    return replace(evidence, run=replace(evidence.run, seed=evidence.run.seed ^ 1))


def _unbound(evidence: ProvedEvidence, _: Prover) -> ProvedEvidence:
    return replace(evidence, run=replace(evidence.run, shares=()))


TAMPERED: Final[dict[str, tuple[Tamper, str]]] = {
    "one weight off by one unit": (_off_by_one, "final_weights"),
    "off by one, with its hash": (_off_by_one_hashed, "step_proofs"),
    "off by one, with its hash and a proof of the lie": (_off_by_one_proved, "step_proofs"),
    "other batches, all proved": (_other_batches, "step_proofs"),
    "another W_0, all proved": (_other_start, "initial_weights"),
    "another W_0 under the honest hash": (_other_start_hidden, "step_proofs"),
    "the proof of another step": (_replayed, "step_proofs"),
    "two steps swapped": (_swapped, "step_proofs"),
    "a step cut off": (_truncated, "final_weights"),
    "a proof missing": (_one_less, "step_proofs"),
    "another seed": (_other_seed, "bound_seed,initial_weights,step_proofs"),
    "a seed without shares": (_unbound, "bound_seed,commitment"),
}
"""Name -> what the adversary does, and the checks that say no."""


@contextmanager
def real_prover(keys: Path) -> Iterator[Prover]:
    """A prover with groth16py, as long as the block."""
    with open_groth16(MEMORY) as groth16:
        groth16.load(keys / "proving.key")
        yield lambda _public, signals: groth16.prove(signals)[0]
