"""The folder of a circuit's keys: circuit.circom, proving.key, verifying_key.json, and keys.json, which says of which circuit.

On this machine alone: groth16py reads and writes paths. Who holds the folder from its making on can forge (toxic waste).
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from raypol.core.errors import InputError, in_short
from raypol.core.verifiable.circuit import circuit_sha256, key_digest
from raypol.core.verifiable.integer_model import ModelShape
from raypol.store.json_files import problem_of, read_json, strict_form
from raypol.store.location import atomic_output, open_location
from raypol.store.verifiable.proof_folder import VERIFYING_KEY, read_verifying_key

KEYS_FILE: Final = "keys.json"
_FORMAT: Final = "raypol-vc-keys"
_VERSION: Final = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class KeysRecord:
    """What keys.json says, beside the format."""

    features: int
    classes: int
    batch_size: int
    lr_shift: int
    circuit_sha256: str
    key_sha256: str
    """Of circuit and verifying key, see `key_digest`."""
    constraints: int
    groth16py: str
    """Version."""
    cpu_s: float
    peak_bytes: int
    unsafe: str
    """Why these keys prove nothing to anyone but their maker."""


_RECORD: Final = strict_form(KeysRecord)


def proving_key(folder: Path) -> Path:
    """Path of the proving key."""
    return folder / "proving.key"


def circuit_file(folder: Path) -> Path:
    """Path of the circuit's text."""
    return folder / "circuit.circom"


def write_keys_record(folder: Path, record: KeysRecord) -> None:
    """Write keys.json, last of all."""
    with atomic_output(open_location(folder / KEYS_FILE)) as stream:
        stream.write((json.dumps({"format": _FORMAT, "version": _VERSION, **asdict(record)}, indent=1) + "\n").encode())


def read_own_key(folder: Path, shape: ModelShape) -> tuple[str, str]:
    """Text and `key_digest` of the verifying key in a folder of keys.

    Raises:
        InputError: no keys there, of another circuit, or a verifying key that is not the one which was made with them.
    """
    record = read_keys_record(folder, shape)
    text = read_verifying_key(open_location(folder))
    digest = key_digest(shape, text.encode())
    if digest != record.key_sha256:
        raise InputError(
            f"{folder}: {VERIFYING_KEY} is not the key that {KEYS_FILE} names: {digest[:16]}..., not "
            f"{in_short(record.key_sha256[:16])}"
        )
    return text, digest


def read_keys_record(folder: Path, shape: ModelShape) -> KeysRecord:
    """Read keys.json and check that the keys are those of the circuit of a shape.

    Raises:
        InputError: no keys there, or of another circuit.
    """
    place = open_location(folder / KEYS_FILE)
    try:
        record = _RECORD.validate_python(read_json(place, _FORMAT, _VERSION))
    except ValidationError as err:
        raise InputError(f"{place}: not a record of keys: {problem_of(err)}") from err
    if record.circuit_sha256 != circuit_sha256(shape):
        raise InputError(
            f"{folder}: keys of another circuit ({record.features} features, {record.classes} classes, batch "
            f"{record.batch_size}, learning rate 2^-{record.lr_shift}), this run has {shape.features}, {shape.classes}, "
            f"{shape.batch_size}, 2^-{shape.lr_shift}"
        )
    return record
