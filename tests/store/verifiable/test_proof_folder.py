"""Folders of proofs by verifiable computation: written, read back, and refused where they come from anyone with anything."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raypol.core.errors import InputError
from raypol.core.verifiable.circuit import circuit_sha256
from raypol.core.verifiable.field import BASE_MODULUS, SCALAR_MODULUS
from raypol.core.verifiable.judging import ProvedEvidence
from raypol.store.location import open_location
from raypol.store.verifiable.keys import KeysRecord, read_keys_record, write_keys_record
from raypol.store.verifiable.proof_folder import MAX_KEY_BYTES, read_proved, read_verifying_key, write_proved
from tests.proved import TrueStatements, evidence_of, small_run


@pytest.fixture
def evidence() -> ProvedEvidence:
    return evidence_of(small_run(steps=3), TrueStatements().prove)


@pytest.fixture
def folder(evidence: ProvedEvidence, tmp_path: Path) -> Path:
    write_proved(open_location(tmp_path / "run"), evidence, b"{}")
    return tmp_path / "run"


def test_it_is_read_as_it_was_written(evidence: ProvedEvidence, folder: Path) -> None:
    again = read_proved(open_location(folder))
    assert np.array_equal(again.final, evidence.final)
    assert replace(again, final=evidence.final) == evidence
    assert read_verifying_key(open_location(folder)) == "{}"
    assert [path.name for path in folder.parent.iterdir()] == ["run"]


HEX = "0" * 64
CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a hash that is the modulus": (
        lambda c: c["weight_hashes"].__setitem__(1, f"{SCALAR_MODULUS:064x}"),
        "not canonical",
    ),
    "a hash plus the modulus": (
        lambda c: c["weight_hashes"].__setitem__(1, f"{int(c['weight_hashes'][1], 16) + SCALAR_MODULUS:064x}"),
        "not canonical",
    ),
    "a hash in capitals": (lambda c: c["weight_hashes"].__setitem__(0, "A" * 64), "lower-case hex"),
    "a short hash": (lambda c: c["weight_hashes"].__setitem__(0, "0"), "lower-case hex"),
    "a hash with a sign": (lambda c: c["weight_hashes"].__setitem__(0, "+" + HEX[1:]), "lower-case hex"),
    "a hash that is a number": (lambda c: c["weight_hashes"].__setitem__(0, 5), "weight_hashes.0"),
    "a hash too few": (lambda c: c["weight_hashes"].pop(), r"expected T \+ 1 = 4"),
    "a step more": (lambda c: c.update(steps=4), r"expected T \+ 1 = 5"),
    "no step": (lambda c: c.update(steps=0, weight_hashes=[HEX]), "steps"),
    "steps without end": (lambda c: c.update(steps=10**30), "steps"),
    "steps that are a truth": (lambda c: c.update(steps=True), "steps"),
    "a batch of 3": (lambda c: c.update(batch_size=3), "power of two"),
    "features without end": (lambda c: c.update(features=1 << 40), "features"),
    "weights beyond all files": (lambda c: c.update(features=1 << 20, classes=1 << 20), "weights, expected at most"),
    "a negative seed": (lambda c: c.update(seed=-1), "seed"),
    "one share": (lambda c: c.update(shares=["5"]), "shares"),
    "a share that is no number": (lambda c: c.update(shares=["５", "00" * 16]), "shares"),
    "a share that is no hex": (lambda c: c.update(shares=["5", "zz" * 16]), "share"),
    "a name without end": (lambda c: c.update(dataset="x" * 1000), "dataset's name"),
    "a digest that is none": (lambda c: c.update(dataset_sha256="../../etc/passwd"), "hex digits"),
    "a key that is none": (lambda c: c.update(key_sha256="x" * 64), "hex digits"),
    "a field more": (lambda c: c.update(more=1), "more"),
    "a field less": (lambda c: c.pop("seed"), "seed"),
    "another format": (lambda c: c.update(format="raypol-proof"), "not a raypol-vc-proof"),
    "another version": (lambda c: c.update(version=2), "version 1"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_manifest_is_refused_in_one_line(name: str, folder: Path) -> None:
    change, told = CHANGES[name]
    manifest = folder / "vc.json"
    content = json.loads(manifest.read_text())
    change(content)
    manifest.write_text(json.dumps(content))
    with pytest.raises(InputError, match=told) as error:
        read_proved(open_location(folder))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 700


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"\xff\xfe", b"[" * 200_000, b'{"a":' * 100_000, b"9" * 5000, b"{" + b" " * 2_000_000 + b"}"]
)
def test_a_manifest_that_is_anything_is_refused_in_one_line(text: bytes, folder: Path) -> None:
    (folder / "vc.json").write_bytes(text)
    with pytest.raises(InputError) as error:
        read_proved(open_location(folder))
    assert "\n" not in str(error.value)


def test_coordinates_that_are_not_canonical_are_refused(evidence: ProvedEvidence, folder: Path) -> None:
    """The point plus the modulus would be the same point in another spelling."""
    raw = b"".join(evidence.proofs)
    for number in (0, 7, 9):
        word = int.from_bytes(raw[32 * number : 32 * number + 32]) + BASE_MODULUS
        (folder / "proofs.bin").write_bytes(raw[: 32 * number] + word.to_bytes(32) + raw[32 * number + 32 :])
        with pytest.raises(InputError, match=f"step {number // 8}: coordinate {number % 8} is not below"):
            read_proved(open_location(folder))


@pytest.mark.parametrize("name", ["proofs.bin", "final_weights.bin"])
@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"\0", lambda _: b""])
def test_files_of_another_size_are_refused(name: str, change: Callable[[bytes], bytes], folder: Path) -> None:
    path = folder / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InputError, match="bytes, expected"):
        read_proved(open_location(folder))
    path.unlink()
    with pytest.raises(InputError, match="no such file"):
        read_proved(open_location(folder))


def test_a_weight_out_of_range_is_refused(evidence: ProvedEvidence, folder: Path) -> None:
    for value in (1 << 19, -(1 << 19) - 1):
        raw = evidence.final.astype("<i4")
        raw[0, 0] = value
        (folder / "final_weights.bin").write_bytes(raw.tobytes())
        with pytest.raises(InputError, match=r"outside \[-2\^19, 2\^19\)"):
            read_proved(open_location(folder))


def test_links_out_of_the_folder_are_refused(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes((folder / "proofs.bin").read_bytes())
    (folder / "proofs.bin").unlink()
    (folder / "proofs.bin").symlink_to(outside)
    with pytest.raises(InputError, match="leads out"):
        read_proved(open_location(folder))


def test_a_large_key_and_one_that_is_no_text_are_refused(folder: Path) -> None:
    for content, told in ((b"x" * (MAX_KEY_BYTES + 1), "bytes, expected at most"), (b"\xff", "not a verifying key")):
        (folder / "verifying_key.json").write_bytes(content)
        with pytest.raises(InputError, match=told):
            read_verifying_key(open_location(folder))


def test_a_record_of_keys_is_that_of_its_circuit(tmp_path: Path) -> None:
    shape = small_run().shape
    record = KeysRecord(
        features=4,
        classes=2,
        batch_size=1,
        lr_shift=4,
        circuit_sha256=circuit_sha256(shape),
        key_sha256=HEX,
        constraints=1597,
        groth16py="0.2.0",
        cpu_s=1.0,
        peak_bytes=1,
        unsafe="yes",
    )
    write_keys_record(tmp_path, record)
    assert read_keys_record(tmp_path, shape) == record
    with pytest.raises(InputError, match="another circuit"):
        read_keys_record(tmp_path, replace(shape, lr_shift=3))
    (tmp_path / "keys.json").write_text("[]")
    with pytest.raises(InputError, match="not a raypol-vc-keys"):
        read_keys_record(tmp_path, shape)
    with pytest.raises(InputError, match="no such file"):
        read_keys_record(tmp_path / "nowhere", shape)


def test_no_file_leads_out_of_the_folder(folder: Path, tmp_path: Path) -> None:
    for name in ("vc.json", "proofs.bin", "final_weights.bin"):
        outside = tmp_path / f"outside-{name}"
        (folder / name).rename(outside)
        (folder / name).symlink_to(outside)
        with pytest.raises(InputError, match=f"{name} leads out of"):
            read_proved(open_location(folder))
        (folder / name).unlink()
        outside.rename(folder / name)


@pytest.mark.parametrize("version", ["true", "1.0", "2", "null", '"1"'])
def test_a_version_has_one_spelling(version: str, folder: Path) -> None:
    text = (folder / "vc.json").read_text()
    other = re.sub(r'"version": 1\b', f'"version": {version}', text)
    assert other != text
    (folder / "vc.json").write_text(other)
    with pytest.raises(InputError, match="of version 1"):
        read_proved(open_location(folder))
