"""A spoof on disk, to be copied and damaged."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from raypol import prove
from raypol.core.attacks import find_attack
from raypol.core.proof import Cost, MemoryProof, ProofSource
from raypol.store.location import Location, open_location
from raypol.store.proofs.writer import new_proof
from tests.scenes import SHORT, forge, sgd, small_recipe, tiny

DATA = tiny()


def write(proof: MemoryProof, results: Location, proof_id: str = "p") -> Location:
    """Write a sealed proof; returns its folder."""
    with new_proof(results, proof_id, proof.recipe, len(DATA)) as writer:
        for checkpoint in proof.checkpoints:
            writer.write_checkpoint(checkpoint)
        writer.write_batches(proof.records)
        if proof.num_points:
            assert writer.add_points(proof.all_points()).tolist() == list(range(48, 48 + proof.num_points))
        manifest = writer.finish(Cost(device_s=1.5, wall_s=0.5, gradient_evals=7), {"torch": "2"})
    assert manifest.root == proof.root
    return results / "proofs" / proof_id


@pytest.fixture(scope="session")
def spoof() -> MemoryProof:
    """Seven steps of attack III on the smooth net: own points, momentum, a shorter last interval."""
    stolen = prove(small_recipe(DATA, optimizer=sgd(momentum=0.9)), DATA)
    config = find_attack("iii", crafting="signed", linf_limit=0.05, iterations=2, objective="loss", alpha=0.0)
    return forge(config, stolen, DATA, SHORT).proof


@pytest.fixture(scope="session")
def pristine(spoof: MemoryProof, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The spoof's folder. Do not change it: take `folder`."""
    results = tmp_path_factory.mktemp("pristine")
    write(spoof, open_location(results))
    return results / "proofs" / "p"


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Path:
    """A copy of the spoof's folder, to damage."""
    return Path(shutil.copytree(pristine, tmp_path / "damaged"))


def read_everything(source: ProofSource) -> None:
    """Touch every file of a proof."""
    for position in range(len(source.checkpoint_steps)):
        source.checkpoint(position)
    source.batches(0, source.recipe.steps)
    if source.num_points:
        source.points(np.arange(min(source.num_points, 10_000)))
