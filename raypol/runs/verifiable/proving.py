"""Keys of a circuit, and a run with a proof per step. What would not fit the memory is refused before anything is started."""

import hashlib
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from time import process_time

from raypol.core.datasets.dataset import Dataset
from raypol.core.errors import InputError
from raypol.core.progress import Progress
from raypol.core.verifiable.circuit import (
    circuit_inputs,
    circuit_sha256,
    circuit_text,
    key_digest,
    memory_bytes,
    num_constraints,
)
from raypol.core.verifiable.claim import IntegerData, ProvedRun, train_integers
from raypol.core.verifiable.digests import hash_weights
from raypol.core.verifiable.integer_model import ModelShape
from raypol.core.verifiable.judging import ProvedEvidence
from raypol.runs.verifiable.groth16 import UNSAFE, open_groth16
from raypol.store.location import Location, reason_of
from raypol.store.verifiable.keys import (
    KeysRecord,
    circuit_file,
    proving_key,
    read_own_key,
    write_keys_record,
)
from raypol.store.verifiable.proof_folder import VERIFYING_KEY, write_proved


@dataclass(frozen=True, slots=True)
class ProvedCost:
    """What a run took."""

    training_s: float
    """CPU seconds of all steps, without proofs."""
    proving_s: tuple[float, ...]
    """CPU seconds of each proof, its witness included."""
    peak_bytes: int
    """Of groth16py's process."""


def check_memory(shape: ModelShape, limit: float) -> None:
    """Raise the InputError for a circuit that will not fit.

    Args:
        shape: of the circuit.
        limit: bytes.
    """
    count = num_constraints(shape)
    needed = memory_bytes(count)
    if needed > limit:
        raise InputError(
            f"a step of {shape.features} x {shape.classes} weights at batch {shape.batch_size} has {count:,} constraints, which "
            f"take about {needed / 1e9:.2g} GB to set up; --max-memory allows {limit / 1e9:.2g} GB: take a smaller batch, or "
            "allow more"
        )


def make_keys(folder: Path, shape: ModelShape, *, limit: float, threads: int = 1) -> KeysRecord:
    """Compile the circuit and make its keys in a folder, whole or not at all; single-party, see `UNSAFE`.

    Raises:
        InputError: too much memory, groth16py is missing, or the folder holds something.
    """
    check_memory(shape, limit)
    if folder.exists():
        raise InputError(f"{folder} is there already; keys are made into a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open_groth16(int(limit), threads=threads) as groth16, tempfile.TemporaryDirectory(dir=folder.parent) as place:
        staging = Path(place) / "keys"
        staging.mkdir()
        circuit_file(staging).write_text(circuit_text(shape))
        count, version, work = groth16.set_up(circuit_file(staging), proving_key(staging), staging / VERIFYING_KEY)
        if count != num_constraints(shape):
            raise InputError(
                f"groth16py {version} compiles the circuit to {count:,} constraints, which were counted as "
                f"{num_constraints(shape):,}: memory and costs would not be as said; use a version from 0.2"
            )
        record = KeysRecord(
            features=shape.features,
            classes=shape.classes,
            batch_size=shape.batch_size,
            lr_shift=shape.lr_shift,
            circuit_sha256=circuit_sha256(shape),
            key_sha256=key_digest(shape, (staging / VERIFYING_KEY).read_bytes()),
            constraints=count,
            groth16py=version,
            cpu_s=work.cpu_s,
            peak_bytes=work.peak_bytes,
            unsafe=UNSAFE,
        )
        write_keys_record(staging, record)
        try:
            staging.rename(folder)
        except OSError as err:  # somebody else's are there by now
            raise InputError(f"{folder}: {reason_of(err)}; keys are made into a new folder") from err
    return record


def prove_run(
    run: ProvedRun,
    dataset: Dataset,
    keys: Path,
    target: Location,
    *,
    limit: float,
    on_progress: Progress,
    threads: int = 1,
) -> ProvedCost:
    """Train, prove every step, and write the proof folder.

    Raises:
        InputError: a weight leaves its range, the keys are of another circuit, or too much memory.
    """
    verifying_key, key_sha256 = read_own_key(keys, run.shape)
    check_memory(run.shape, limit)
    data = IntegerData(run, dataset)
    began = process_time()
    states = train_integers(run, data)
    training_s = process_time() - began
    hashes = [hash_weights(weights) for weights in states]
    proofs, seconds, peak = [], [], 0
    with open_groth16(int(limit), threads=threads) as groth16:
        on_progress("loading the proving key", 0, run.steps)
        groth16.load(proving_key(keys))
        for step in range(run.steps):
            on_progress("proving steps", step, run.steps)
            inputs, targets = data.batch(step)
            signals = circuit_inputs(states[step], states[step + 1], inputs, targets)
            proof, work = groth16.prove(signals)
            public = (hashes[step], data.batch_hash(step), hashes[step + 1])
            if not groth16.verify(verifying_key, [(proof, public)]).valid[0]:
                raise InputError(f"the proving key in {keys} does not belong to its verifying key: make both again")
            proofs.append(proof)
            seconds.append(work.cpu_s)
            peak = work.peak_bytes
        on_progress("proving steps", run.steps, run.steps)
    evidence = ProvedEvidence(
        run=run,
        weight_hashes=tuple(hashes),
        proofs=tuple(proofs),
        final=states[-1],
        key_sha256=key_sha256,
    )
    write_proved(target, evidence, verifying_key.encode())
    return ProvedCost(training_s, tuple(seconds), peak)


def proved_id(run: ProvedRun, key_sha256: str) -> str:
    """Name of a proof folder: the same run under the same key has the same one."""
    content = json.dumps([asdict(run), key_sha256], sort_keys=True)
    return f"vc-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def keys_name(shape: ModelShape) -> str:
    """Name of the folder in which the prover makes keys of his own."""
    return f"keys-{shape.features}x{shape.classes}-batch{shape.batch_size}-{circuit_sha256(shape)[:8]}"
