"""The readers as functions of one file's bytes, around the rest of a small honest proof.

A finding is any exception but an InputError of one line, a crash, more than 2 s, or more than 1 GB of memory.
"""

import resource
import shutil
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final, get_args

import numpy as np

from raypol import prove
from raypol.core.attacks import find_attack
from raypol.core.datasets.dataset import Dataset
from raypol.core.dispute.moves import Fault, Move, Question, Side
from raypol.core.dispute.training import DeclaredTraining, ProofParty, StateLayout
from raypol.core.errors import InputError
from raypol.core.models import build_model
from raypol.core.proof import Cost
from raypol.core.training.trainer import Trainer, state_template
from raypol.runs.disputes.arithmetic import Bench
from raypol.runs.disputes.party import serve_party
from raypol.runs.disputes.referee import referee_dispute
from raypol.store.disputes.folder import read_answer
from raypol.store.disputes.messages import StateNote, answer_text, parse_question
from raypol.store.disputes.verdict_file import parse_dispute
from raypol.store.location import open_location
from raypol.store.proofs.format import Manifest
from raypol.store.proofs.reader import ParquetProof, read_manifest
from raypol.store.proofs.writer import new_proof
from raypol.store.published.folder import open_published
from raypol.store.published.state import Declared, parse_state
from raypol.store.published.torch_files import read_torch_file
from raypol.store.results.files import read_file
from raypol.store.results.rows import TrialRow
from raypol.store.verifiable.proof_folder import read_proved, write_proved
from tests import published_code
from tests.disputants import lying_party
from tests.proved import TrueStatements, evidence_of, small_run
from tests.rows import write_rows
from tests.scenes import SHORT, TINY, forge, small_recipe, tiny

MOST_SECONDS: Final = 2.0
MOST_BYTES: Final = 10**9
_MODEL: Final = "tests.scenes:smooth_net"
_PROVED_FILES: Final = ("vc.json", "proofs.bin")
_WEIGHTS: Final = "weights/step=3.parquet"


class Scene:
    """Honest files in a folder, one of which at a time is replaced by any bytes."""

    def __init__(self, folder: Path) -> None:
        self._data = tiny()
        self._proof, self._manifest = _honest_proof(folder, self._data)
        self._published = folder / "published"
        published_code.prove(self._published, self._data, model=_MODEL)
        write_rows(folder / "results", 1)
        self._row = next((folder / "results" / "trials").glob("*.parquet"))
        self._declared = _declared(self._data)
        self._proved = folder / "proved"  # a folder for each file, of which one at a time is replaced
        for name in _PROVED_FILES:
            place = open_location(self._proved / name)
            write_proved(place, evidence_of(small_run(steps=2), TrueStatements().prove), b"{}")
        recipe = small_recipe(self._data, model=_MODEL)
        self._kinds = state_template(Trainer(replace(recipe, steps=recipe.interval), self._data))
        with zipfile.ZipFile(self._published / "model_step_3") as archive:
            self._members = {info.filename.partition("/")[2]: archive.read(info) for info in archive.infolist()}
        self.readers: dict[str, Callable[[bytes], object]] = {
            "manifest": self._read_manifest,
            "batches": lambda data: self._read_part("batches.parquet", data, lambda source: source.batches(0, 7)),
            "points": lambda data: self._read_part("points.parquet", data, _read_points),
            "weights": lambda data: self._read_part(_WEIGHTS, data, lambda source: source.checkpoint(1)),
            "rows": self._read_rows,
            "torch": self._read_checkpoint,
            "pickle": self._read_pickle,
            "npy": self._read_indices,
            "question": lambda data: parse_question(data, "x"),
            "answer": self._read_answer,
            "state": self._read_state,
            "verdict": lambda data: parse_dispute(data, "x"),
            "vc": lambda data: self._read_proved("vc.json", data),
            "vc_proofs": lambda data: self._read_proved("proofs.bin", data),
        }
        self._dispute = _settled_dispute(folder / "dispute", self._data)
        self._layout = StateLayout(Trainer(recipe, self._data))

    def seeds(self, reader: str) -> list[bytes]:
        """Honest files for a reader, as long as it has read no other."""
        if reader == "pickle":
            return [self._members["data.pkl"]]
        proof, published = self._proof, self._published
        files = {
            "manifest": [proof / "manifest.json"],
            "batches": [proof / "batches.parquet"],
            "points": [proof / "points.parquet"],
            "weights": [proof / "weights" / "step=0.parquet", proof / _WEIGHTS],
            "rows": [self._row],
            "torch": [published / "model_step_0", published / "model_step_3"],
            "npy": [published / "indices.npy"],
            "question": sorted(self._dispute.glob("referee/*.json")),
            "answer": sorted(self._dispute.glob("a/*.json")),
            "state": sorted(self._dispute.glob("a/*.state")),
            "verdict": [self._dispute / "verdict.json"],
            "vc": [self._proved / "vc.json" / "vc.json"],
            "vc_proofs": [self._proved / "proofs.bin" / "proofs.bin"],
        }
        return [path.read_bytes() for path in files[reader]]

    def _read_manifest(self, data: bytes) -> None:
        (self._proof / "manifest.json").write_bytes(data)
        read_manifest(open_location(self._proof))

    def _read_part(self, name: str, data: bytes, read: Callable[[ParquetProof], object]) -> None:
        (self._proof / name).write_bytes(data)
        manifest = replace(self._manifest, files={**self._manifest.files, name: len(data)})
        read(ParquetProof(open_location(self._proof), manifest))

    def _read_rows(self, data: bytes) -> None:
        self._row.write_bytes(data)
        read_file(open_location(self._row), TrialRow)  # what is wrong with a file of rows is returned

    def _read_proved(self, name: str, data: bytes) -> None:
        (self._proved / name / name).write_bytes(data)
        read_proved(open_location(self._proved / name))

    def _read_checkpoint(self, data: bytes) -> None:
        path = self._published / "any"
        path.write_bytes(data)
        state = parse_state(str(path), 3, read_torch_file(path, self._declared.budget), self._declared)
        state.checkpoint(self._declared, self._kinds, {})

    def _read_pickle(self, data: bytes) -> None:
        path = self._published / "packed"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in {**self._members, "data.pkl": data}.items():
                archive.writestr(f"archive/{name}", content)
        self._read_checkpoint(path.read_bytes())

    def _read_indices(self, data: bytes) -> None:
        (self._published / "indices.npy").write_bytes(data)
        open_published(self._published, len(self._data)).rows(0, 7)

    def _read_answer(self, data: bytes) -> None:
        """As the answer to every kind of question; what is wrong with it must be a fault of the party's."""
        (self._dispute / "b" / "0001.json").write_bytes(data)
        (self._dispute / "b" / "0001.state").write_bytes(self.seeds("state")[0])
        refused = 0
        for move in get_args(Move):
            received = read_answer(open_location(self._dispute), "b", 1, Question(move, 0), self._layout)
            refused += isinstance(received.answer, Fault)
        if refused == len(get_args(Move)):
            raise InputError("the answer to no question")

    def _read_state(self, data: bytes) -> None:
        place = open_location(self._dispute)
        entries = tuple(sorted(self._kinds))
        (self._dispute / "b" / "0002.json").write_bytes(answer_text("state", StateNote(optimizer=entries)))
        (self._dispute / "b" / "0002.state").write_bytes(data)
        received = read_answer(place, "b", 2, Question("state", 3), self._layout)
        if isinstance(received.answer, Fault):
            raise InputError(received.answer.detail)


def judge(read: Callable[[bytes], object], data: bytes) -> None:
    """Raise for what is a finding."""
    began, held = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        read(data)
    except InputError as err:
        assert "\n" not in str(err), f"several lines: {err}"  # noqa: PT017 - an InputError is right, too
    seconds = time.perf_counter() - began
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held)
    assert seconds <= MOST_SECONDS, f"{seconds:.1f} s"
    assert grown <= MOST_BYTES, f"{grown / 1e9:.1f} GB"


def _read_points(source: ParquetProof) -> None:
    source.points(np.arange(source.num_points))


def _honest_proof(folder: Path, data: Dataset) -> tuple[Path, Manifest]:
    """A proof with own points."""
    attack = find_attack("iii", crafting="signed", linf_limit=0.05, iterations=2, objective="loss", alpha=0.0)
    spoof = forge(attack, prove(small_recipe(data), data), data, SHORT).proof
    with new_proof(open_location(folder / "results"), "p", spoof.recipe, len(data)) as writer:
        for checkpoint in spoof.checkpoints:
            writer.write_checkpoint(checkpoint)
        writer.write_batches(spoof.records)
        writer.add_points(spoof.all_points())
        manifest = writer.finish(Cost(), {})
    where = folder / "proof"
    shutil.move(folder / "results" / "proofs" / "p", where)
    return where, manifest


def _settled_dispute(folder: Path, data: Dataset) -> Path:
    """The folder of a dispute, as honest participants leave it."""
    recipe, bench = replace(small_recipe(data, model=_MODEL), dataset=TINY), Bench(model=_MODEL, dataset=TINY)
    parties: dict[Side, ProofParty] = {
        "a": ProofParty(prove(recipe, data), DeclaredTraining(recipe, data)),
        "b": lying_party(recipe, data, 6),
    }
    place = open_location(folder)
    with ThreadPoolExecutor(len(parties)) as pool:
        for side, party in parties.items():
            pool.submit(serve_party, party, place, side, patience_s=60.0)
        referee_dispute(place, bench, patience_s=60.0)
    return folder


def _declared(data: Dataset) -> Declared:
    model = build_model(_MODEL, in_channels=data.image_shape[0], num_classes=data.num_classes)
    net = {name: (tensor.shape, tensor.dtype) for name, tensor in model.state_dict().items()}
    buffers = tuple(name for name, _ in model.named_buffers() if name in net)
    return Declared(
        model=_MODEL, net=net, parameters=tuple(name for name, _ in model.named_parameters()), buffers=buffers
    )
