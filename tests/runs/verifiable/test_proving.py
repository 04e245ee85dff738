"""Real proofs: the honest run, every forgery of the table, and witnesses that a malicious prover would like to have."""

import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from raypol.core.errors import InputError
from raypol.core.progress import no_progress
from raypol.core.verifiable.circuit import circuit_inputs, circuit_text, key_digest
from raypol.core.verifiable.claim import IntegerData, train_integers
from raypol.core.verifiable.digests import CHAINED, WEIGHTS_TAG, hash_batch, hash_weights
from raypol.core.verifiable.field import SCALAR_MODULUS
from raypol.core.verifiable.integer_model import INPUT_BITS, WEIGHT_BITS, Integers, ModelShape
from raypol.core.verifiable.judging import ProvedEvidence, StepClaim, judge_run
from raypol.core.verifiable.poseidon import poseidon
from raypol.core.verification.verdict import Verdict
from raypol.runs.verifiable.groth16 import open_groth16
from raypol.runs.verifiable.judge_folder import JudgedFolder, judge_proved
from raypol.runs.verifiable.proving import check_memory, make_keys, prove_run
from raypol.store.location import Location, open_location
from raypol.store.verifiable.keys import read_keys_record
from raypol.store.verifiable.proof_folder import read_proved
from tests.proved import (
    MEMORY,
    SHARE,
    TAMPERED,
    Prover,
    TrueStatements,
    evidence_of,
    needs_groth16,
    real_prover,
    small,
    small_commitment,
    small_run,
)

pytestmark = needs_groth16


@pytest.fixture(scope="module")
def prover(vc_keys: Path) -> Iterator[Prover]:
    with real_prover(vc_keys) as prove:
        yield prove


@pytest.fixture(scope="module")
def honest_run(prover: Prover) -> ProvedEvidence:
    return evidence_of(small_run(), prover)


def judged(evidence: ProvedEvidence, keys: Path) -> Verdict:
    text = (keys / "verifying_key.json").read_text()
    used = key_digest(evidence.run.shape, text.encode())
    with open_groth16(MEMORY) as groth16:

        def verify(claims: Sequence[StepClaim]) -> Sequence[bool]:
            return groth16.verify(text, claims).valid

        return judge_run(
            replace(evidence, key_sha256=used),
            small(),
            expected_share=SHARE,
            expected_commitment=small_commitment(),
            expected_key=used,
            used_key=used,
            verify=verify,
        )


def judged_folder(
    folder: Location, evidence: ProvedEvidence, *, keys: Path | None, key_sha256: str | None
) -> JudgedFolder:
    return judge_proved(
        folder,
        evidence,
        small(),
        share=SHARE,
        commitment=small_commitment(),
        keys=keys,
        key_sha256=key_sha256,
        on_progress=no_progress,
    )


def test_the_compiler_counts_what_was_counted_before(vc_keys: Path) -> None:
    assert read_keys_record(vc_keys, small_run().shape).constraints == 1_597  # `make_keys` asserts it for any shape


def test_an_honest_run_of_ten_steps_is_accepted(honest_run: ProvedEvidence, vc_keys: Path) -> None:
    verdict = judged(honest_run, vc_keys)
    assert verdict.is_valid, verdict.rejected_by
    assert {len(proof) for proof in honest_run.proofs} == {256}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_forgery_is_rejected_by_name(name: str, honest_run: ProvedEvidence, prover: Prover, vc_keys: Path) -> None:
    tamper, checks = TAMPERED[name]
    assert judged(tamper(honest_run, prover), vc_keys).rejected_by == checks


def test_a_run_goes_through_its_folder(vc_keys: Path, tmp_path: Path) -> None:
    run, target = small_run(steps=2), open_location(tmp_path / "run")
    cost = prove_run(run, small(), vc_keys, target, limit=MEMORY, on_progress=no_progress)
    assert len(cost.proving_s) == 2
    assert cost.peak_bytes > 1e6
    evidence = read_proved(target)
    assert evidence.run == run
    for keys, digest, rejected in (
        (vc_keys, None, ""),
        (vc_keys, evidence.key_sha256, ""),
        (None, evidence.key_sha256, ""),
        (None, None, "setup,step_proofs"),
        (None, "00" * 32, "setup,step_proofs"),
    ):
        found = judged_folder(target, evidence, keys=keys, key_sha256=digest)
        assert found.verdict.rejected_by == rejected


def test_the_key_of_another_circuit_is_refused(vc_keys: Path, tmp_path: Path) -> None:
    """Its proofs would be of another learning rate."""
    run = small_run(steps=2)
    faster = replace(run, shape=replace(run.shape, lr_shift=3))
    with pytest.raises(InputError, match="another circuit"):
        prove_run(faster, small(), vc_keys, open_location(tmp_path), limit=MEMORY, on_progress=no_progress)
    text = (vc_keys / "verifying_key.json").read_bytes()
    assert key_digest(run.shape, text) != key_digest(faster.shape, text)


def test_a_verifying_key_that_was_swapped_is_not_the_verifiers(vc_keys: Path, tmp_path: Path) -> None:
    run, keys = small_run(steps=1), tmp_path / "keys"
    shutil.copytree(vc_keys, keys)
    key = keys / "verifying_key.json"
    key.write_text(key.read_text() + " ")
    with pytest.raises(InputError, match=r"verifying_key\.json is not the key that keys\.json names"):
        prove_run(run, small(), keys, open_location(tmp_path / "run"), limit=MEMORY, on_progress=no_progress)
    with pytest.raises(InputError, match=r"verifying_key\.json is not the key"):
        judged_folder(open_location(tmp_path), evidence_of(run, TrueStatements().prove), keys=keys, key_sha256=None)


def test_the_verifiers_key_must_be_the_one_that_he_wrote_down(vc_keys: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not the one of --vc-key-sha256"):
        judged_folder(
            open_location(tmp_path),
            evidence_of(small_run(steps=1), TrueStatements().prove),
            keys=vc_keys,
            key_sha256="00" * 32,
        )


@pytest.mark.parametrize("wait_s", [0.0, 0.5])
@pytest.mark.parametrize("dies", ["import no_such_module", "print('{')"])
def test_a_process_that_died_is_one_line(
    dies: str, wait_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first request, or amid an answer; also where its pipe is broken by the time that it is closed."""
    script = tmp_path / "dies.py"
    script.write_text(f"import sys\n{dies}\nsys.exit(1)\n")
    monkeypatch.setattr("raypol.runs.verifiable.groth16._SCRIPT", script)
    with pytest.raises(InputError, match="ended with code 1"), open_groth16(MEMORY) as groth16:  # noqa: PT012 - closing is meant
        time.sleep(wait_s)
        groth16.verify("{}", [])


# --- witnesses of a malicious prover -------------------------------------------------------------------------------


def _wrapped(w: Integers, new: Integers, x: Integers, y: Integers, shape: ModelShape) -> dict[str, list[int]]:
    """W' = W - G / 2^R in the field: no remainder, and a number that no weight is."""
    signals = circuit_inputs(w, new, x, y)
    gradient = int((x.T @ (x @ w - (16 << 16) * y))[0, 0])
    signals["w_new"][0] = (
        int(w[0, 0]) - gradient * pow(1 << shape.remainder_bits, -1, SCALAR_MODULUS)
    ) % SCALAR_MODULUS
    return signals


def _borrowed_old(w: Integers, _: Integers, x: Integers, y: Integers, shape: ModelShape) -> dict[str, list[int]]:
    """Old weights that pack to the same word: w_0 + 2^20, w_1 - 1; the new ones follow from these."""
    old = w.copy()
    old[0, 0] += 1 << WEIGHT_BITS
    old[0, 1] -= 1
    new = old - ((x.T @ (x @ old - (16 << 16) * y)) >> shape.remainder_bits)
    return circuit_inputs(old, new, x, y)


def _bright_pixel(w: Integers, _: Integers, x: Integers, y: Integers, shape: ModelShape) -> dict[str, list[int]]:
    """A pixel of 2^5 more, whose low bits, which are hashed, are the honest ones."""
    other = x.copy()
    other[0, 0] += 1 << INPUT_BITS
    new = w - ((other.T @ (other @ w - (16 << 16) * y)) >> shape.remainder_bits)
    return circuit_inputs(w, new, other, y)


def _borrowed_labels(w: Integers, _: Integers, x: Integers, y: Integers, shape: ModelShape) -> dict[str, list[int]]:
    """Labels that pack to the same word: y_0 + 2, y_1 - 1."""
    other = y.copy()
    other[0, 0] += 2
    other[0, 1] -= 1
    new = w - ((x.T @ (x @ w - (16 << 16) * other)) >> shape.remainder_bits)
    return circuit_inputs(w, new, x, other)


def _large_remainder(w: Integers, new: Integers, x: Integers, y: Integers, _: ModelShape) -> dict[str, list[int]]:
    """One unit off: the remainder is 2^R more than it may be."""
    off = new.copy()
    off[0, 0] += 1
    return circuit_inputs(w, off, x, y)


_RANGE = f"in_range[i] = Num2Bits({WEIGHT_BITS})"
LIES = {
    "a quotient that wraps around the field": (_wrapped, _RANGE, "in_range[i] = Num2Bits(254)"),
    "old weights out of their range": (_borrowed_old, _RANGE, f"in_range[i] = Num2Bits({WEIGHT_BITS + 1})"),
    "one unit off": (_large_remainder, "= Num2Bits(12)", "= Num2Bits(13)"),
    "labels that are no bits": (_borrowed_labels, "y[i] * (y[i] - 1) === 0;", ""),
    "a pixel out of its range": (_bright_pixel, f"= Num2Bits({INPUT_BITS})", f"= Num2Bits({INPUT_BITS + 1})"),
}
"""Name -> witness, and the words of the circuit that refuse it, with such as would not."""


def _field_hash(signal: list[int]) -> int:
    """As the circuit hashes 8 weights, whatever their range."""
    half = 1 << (WEIGHT_BITS - 1)
    word = sum((value + half) << (WEIGHT_BITS * place) for place, value in enumerate(signal)) % SCALAR_MODULUS
    return poseidon([WEIGHTS_TAG, word, *[0] * (CHAINED - 1)])


def _lie(name: str) -> tuple[dict[str, list[int]], tuple[int, int, int]]:
    """Signals of a false step, and its public values: the honest W and batch, and a W' that does not follow."""
    run = small_run()
    data = IntegerData(run, small())
    (w, new), (x, y) = train_integers(run, data)[:2], data.batch(0)
    assert _field_hash(circuit_inputs(w, new, x, y)["w_new"]) == hash_weights(new)
    signals = LIES[name][0](w, new, x, y, run.shape)
    public = (hash_weights(w), hash_batch(x, y), _field_hash(signals["w_new"]))
    assert public[2] != hash_weights(new)
    return signals, public


@pytest.mark.parametrize("name", LIES)
def test_a_malicious_witness_proves_nothing(name: str, vc_keys: Path) -> None:
    signals, public = _lie(name)
    with open_groth16(MEMORY) as groth16:
        groth16.load(vc_keys / "proving.key")
        proof, _ = groth16.prove(signals)
        assert groth16.verify((vc_keys / "verifying_key.json").read_text(), [(proof, public)]).valid == (False,)


@pytest.mark.parametrize("name", LIES)
def test_without_its_constraint_the_same_witness_would_be_proved(name: str, tmp_path: Path) -> None:
    """The control: the constraint that the test above relies on, and no other one, refuses the lie."""
    _, line, other = LIES[name]
    text = circuit_text(small_run().shape)
    assert text.count(line) == 1
    circuit = tmp_path / "circuit.circom"
    circuit.write_text(text.replace(line, other))
    signals, public = _lie(name)
    with open_groth16(MEMORY) as groth16:
        groth16.set_up(circuit, tmp_path / "pk", tmp_path / "vk")
        groth16.load(tmp_path / "pk")
        proof, _ = groth16.prove(signals)
        assert groth16.verify((tmp_path / "vk").read_text(), [(proof, public)]).valid == (True,)


# --- limits and hostile values -------------------------------------------------------------------------------------


def test_what_exceeds_the_memory_is_refused_before_it_starts(tmp_path: Path) -> None:
    large = ModelShape(features=3072, classes=100, batch_size=64)
    with pytest.raises(InputError, match=r"--max-memory allows 1 GB"):
        check_memory(large, 1e9)
    with pytest.raises(InputError, match="--max-memory"):
        make_keys(tmp_path / "keys", large, limit=1e9)
    assert not list(tmp_path.iterdir())


def test_memory_that_was_not_foreseen_ends_the_process_and_not_this_one(tmp_path: Path) -> None:
    circuit = tmp_path / "circuit.circom"
    circuit.write_text(circuit_text(small_run().shape))
    with open_groth16(150_000_000) as groth16, pytest.raises(InputError, match="--max-memory"):
        groth16.set_up(circuit, tmp_path / "pk", tmp_path / "vk")


def test_a_circuit_that_is_none_is_one_line(tmp_path: Path) -> None:
    circuit = tmp_path / "circuit.circom"
    circuit.write_text("pragma circom 2.0.0;\nthis is no circuit\n")
    with open_groth16(MEMORY) as groth16, pytest.raises(InputError) as told:
        groth16.set_up(circuit, tmp_path / "pk", tmp_path / "vk")
    assert "\n" not in str(told.value)


def test_points_that_are_none_are_no_proof(honest_run: ProvedEvidence, vc_keys: Path) -> None:
    run, hashes = honest_run.run, honest_run.weight_hashes
    public = (hashes[0], IntegerData(run, small()).batch_hash(0), hashes[1])
    good = honest_run.proofs[0]
    turned = [good[:40] + bytes([good[40] ^ 1]) + good[41:], bytes(256), good[64:] + good[:64], b"\x01" * 256]
    text = (vc_keys / "verifying_key.json").read_text()
    with open_groth16(MEMORY) as groth16:
        assert groth16.verify(text, [(proof, public) for proof in [good, *turned]]).valid == (True, *[False] * 4)
        # The other order of the public values is another statement.
        assert groth16.verify(text, [(good, public[::-1])]).valid == (False,)


@pytest.mark.parametrize(
    "text", ["", "{}", "[" * 50_000, json.dumps({"protocol": "groth16", "curve": "bn128", "IC": []})]
)
def test_a_hostile_verifying_key_is_one_line(text: str, honest_run: ProvedEvidence) -> None:
    with open_groth16(MEMORY) as groth16, pytest.raises(InputError) as told:
        groth16.verify(text, [(honest_run.proofs[0], (1, 2, 3))])
    assert "\n" not in str(told.value)


def test_this_process_never_imports_the_library(honest_run: ProvedEvidence) -> None:
    assert honest_run.proofs
    assert "groth16py" not in sys.modules
