"""A proof by verifiable computation as a folder, written whole and read as hostile.

vc.json: claim, hashes, digest of the key. proofs.bin: 256 bytes per step. final_weights.bin: W_T as int32, little-endian.
verifying_key.json: the key that the proofs are of, for a verifier who knows its digest alone.
"""

import json
import uuid
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from pydantic import ValidationError

from raypol.core.errors import InputError, first_line
from raypol.core.hashing import check_sha256
from raypol.core.verifiable.claim import ProvedRun
from raypol.core.verifiable.field import PROOF_BYTES, check_proof_bytes, element_text, parse_element
from raypol.core.verifiable.integer_model import Integers, ModelShape, in_weight_range
from raypol.core.verifiable.judging import ProvedEvidence
from raypol.store.json_files import problem_of, read_json, strict_form
from raypol.store.location import Location, atomic_output, read_bounded

VC_MANIFEST: Final = "vc.json"
VERIFYING_KEY: Final = "verifying_key.json"
MAX_KEY_BYTES: Final = 100_000
_PROOFS: Final = "proofs.bin"
_WEIGHTS: Final = "final_weights.bin"
_FORMAT: Final = "raypol-vc-proof"
_VERSION: Final = 1
_WEIGHT_BYTES: Final = 4
_MAX_WEIGHTS: Final = 1 << 24


@dataclass(frozen=True, kw_only=True, slots=True)
class _Written:
    """The fields of vc.json, as JSON has them."""

    dataset: str
    dataset_sha256: str
    features: int
    classes: int
    batch_size: int
    lr_shift: int
    steps: int
    seed: int
    shares: list[str]
    key_sha256: str
    weight_hashes: list[str]


_WRITTEN: Final = strict_form(_Written)


def write_proved(folder: Location, evidence: ProvedEvidence, verifying_key: bytes) -> None:
    """Write a proof folder, whole or not at all."""
    run, shape = evidence.run, evidence.run.shape
    content: dict[str, Any] = {
        "format": _FORMAT,
        "version": _VERSION,
        "dataset": run.dataset,
        "dataset_sha256": run.dataset_sha256,
        "features": shape.features,
        "classes": shape.classes,
        "batch_size": shape.batch_size,
        "lr_shift": shape.lr_shift,
        "steps": run.steps,
        "seed": run.seed,
        "shares": list(run.shares),
        "key_sha256": evidence.key_sha256,
        "weight_hashes": [element_text(value) for value in evidence.weight_hashes],
    }
    staging = Location(folder.filesystem, f"{folder.path}.{uuid.uuid4().hex}.tmp", f"{folder.uri}.tmp")
    try:
        staging.make_folder()
        parts = {
            _PROOFS: b"".join(evidence.proofs),
            _WEIGHTS: evidence.final.astype("<i4").tobytes(),
            VERIFYING_KEY: verifying_key,
            VC_MANIFEST: (json.dumps(content, indent=1) + "\n").encode(),
        }
        for name, data in parts.items():
            with atomic_output(staging / name) as stream:
                stream.write(data)
        staging.move_to(folder, last=VC_MANIFEST)
    except BaseException:
        staging.remove()
        raise


def read_proved(folder: Location) -> ProvedEvidence:
    """Read a proof folder. What is well-formed but false is left to the verdict.

    Raises:
        InputError: it is none, too large, or not in the one spelling that each value has.
    """
    path = folder / VC_MANIFEST
    if path.size() < 0:
        raise InputError(
            f"{folder}: expected a proof of `raypol prove --policy-target vc`, found no {VC_MANIFEST} in it"
        )
    written = _read_written(path, folder)
    try:
        shape = ModelShape(
            features=written.features,
            classes=written.classes,
            batch_size=written.batch_size,
            lr_shift=written.lr_shift,
        )
        run = ProvedRun(
            dataset=written.dataset,
            dataset_sha256=written.dataset_sha256,
            shape=shape,
            steps=written.steps,
            seed=written.seed,
            shares=tuple(written.shares),
        )
        if len(written.weight_hashes) != run.steps + 1:
            raise InputError(f"{len(written.weight_hashes)} hashes of weights, expected T + 1 = {run.steps + 1}")
        hashes = tuple(parse_element(text, f"hash {number}") for number, text in enumerate(written.weight_hashes))
        if shape.num_weights > _MAX_WEIGHTS:
            raise InputError(f"{shape.num_weights} weights, expected at most {_MAX_WEIGHTS}")
        check_sha256(written.key_sha256, "key_sha256")
    except InputError as err:
        raise InputError(f"{path}: {err}") from err
    return ProvedEvidence(
        run=run,
        weight_hashes=hashes,
        proofs=_read_proofs(folder, run.steps),
        final=_read_weights(folder, shape),
        key_sha256=written.key_sha256,
    )


def read_verifying_key(folder: Location) -> str:
    """Text of a verifying key.

    Raises:
        InputError: no such file, too large, or no text.
    """
    try:
        return read_bounded(folder / VERIFYING_KEY, max_bytes=MAX_KEY_BYTES, folder=folder).decode()
    except UnicodeDecodeError as err:
        raise InputError(f"{folder / VERIFYING_KEY}: not a verifying key: {first_line(err)[:80]}") from err


def _read_written(path: Location, folder: Location) -> _Written:
    try:
        # As JSON again: strict, which a dataclass from Python's types cannot be.
        return _WRITTEN.validate_json(json.dumps(read_json(path, _FORMAT, _VERSION, folder=folder)), strict=True)
    except ValidationError as err:
        raise InputError(f"{path}: not a {_FORMAT} manifest: {problem_of(err)}") from err


def _read_proofs(folder: Location, steps: int) -> tuple[bytes, ...]:
    place, expected = folder / _PROOFS, steps * PROOF_BYTES
    data = _exactly(place, folder, expected)
    proofs = tuple(data[start : start + PROOF_BYTES] for start in range(0, expected, PROOF_BYTES))
    for step, proof in enumerate(proofs):
        check_proof_bytes(proof, f"{place}: the proof of step {step}")
    return proofs


def _read_weights(folder: Location, shape: ModelShape) -> Integers:
    place = folder / _WEIGHTS
    data = _exactly(place, folder, shape.num_weights * _WEIGHT_BYTES)
    weights = np.frombuffer(data, dtype="<i4").astype(np.int64).reshape(shape.features, shape.classes)
    if not in_weight_range(weights):
        raise InputError(f"{place}: a weight outside [-2^19, 2^19), which no step can have")
    return weights


def _exactly(place: Location, folder: Location, expected: int) -> bytes:
    data = read_bounded(place, max_bytes=expected, folder=folder)
    if len(data) != expected:
        raise InputError(f"{place}: {len(data)} bytes, expected {expected} by {VC_MANIFEST}")
    return data
