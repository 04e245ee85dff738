"""Before/after pairs: read from a spoof on disk, each beside the point that it was made from."""

from pathlib import Path

import numpy as np
import pytest
import torch

from raypol import prove
from raypol.core.attacks import find_attack, method_of
from raypol.core.augment import to_unit
from raypol.core.datasets.dataset import Dataset
from raypol.core.errors import InputError
from raypol.core.proof import Cost, MemoryProof
from raypol.core.spoofing.method import make_scene, spoof_recipe
from raypol.core.spoofing.seal import craft_interval, seal_spoof
from raypol.core.spoofing.spoof_config import SpoofConfig
from raypol.figures.image_pairs import ImagePairs, pick_pairs
from raypol.store.location import Location, open_location
from raypol.store.proofs.reader import ParquetProof
from raypol.store.proofs.writer import new_proof
from raypol.store.results.rows import TrialRow
from tests.toys import toy_recipe, two_stripes

SPOOF = SpoofConfig(steps=4, interval=2, grants=("usual", "interval"))
LINF = 8 / 255


@pytest.fixture(scope="module")
def proof(digits: Dataset) -> MemoryProof:
    return prove(toy_recipe(digits), digits)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Location:
    return open_location(tmp_path_factory.mktemp("results"))


def forge(results: Location, proof_id: str, attack: str, proof: MemoryProof, digits: Dataset) -> Location:
    config = find_attack(attack)
    method = method_of(config)
    recipe = spoof_recipe(method, config, SPOOF, proof.recipe)
    scene = make_scene(method, config, SPOOF, recipe, digits, proof.checkpoints[-1])
    crafted = None
    if not method.sequential(config, SPOOF):
        crafted = (craft_interval(method, scene, interval, config) for interval in scene.recipe.intervals())
    with new_proof(results, proof_id, scene.recipe, len(digits)) as writer:
        seal_spoof(method, scene, config, crafted, writer)
        writer.finish(Cost(), {})
    return results / "proofs" / proof_id


@pytest.fixture(scope="module")
def crafted(results: Location, proof: MemoryProof, digits: Dataset) -> Location:
    return forge(results, "crafted", "iii_invisible", proof, digits)


def trial_row(arm: str = "III-invisible", status: str = "ok") -> TrialRow:
    return TrialRow(
        sweep_id="s",
        trial_id="t",
        proof_id="p",
        arm=arm,
        attack="iii",
        dataset="digits",
        model="m",
        steps=SPOOF.steps,
        interval=SPOOF.interval,
        batch_size=16,
        seed=0,
        device="cpu",
        device_name="",
        status=status,
    )


def picked(folder: Location, digits: Dataset, count: int = 6) -> ImagePairs:
    pairs = pick_pairs(trial_row(), folder, digits, count)
    assert pairs is not None
    return pairs


def test_pairs_are_the_points_of_the_file_and_their_sources(crafted: Location, digits: Dataset) -> None:
    pairs = picked(crafted, digits)
    source = ParquetProof(crafted)
    positions = np.array([round(i * (source.num_points - 1) / 5) for i in range(6)])
    points = source.points(positions)
    assert positions[0] == 0
    assert positions[-1] == source.num_points - 1
    assert torch.equal(pairs.crafted, to_unit(points.pixels))
    assert torch.equal(pairs.originals, to_unit(digits.pixels[points.sources]))
    assert torch.equal(pairs.labels, digits.labels[points.sources])
    assert (pairs.arm, pairs.steps) == ("III-invisible", 4)


def test_pairs_differ_and_stay_in_range(crafted: Location, digits: Dataset) -> None:
    pairs = picked(crafted, digits)
    R = pairs.crafted - pairs.originals
    assert R.flatten(1).abs().amax(1).gt(0).all()
    assert float(R.abs().max()) <= LINF + 1e-6
    for images in (pairs.originals, pairs.crafted):
        assert images.dtype == torch.float32
        assert float(images.min()) >= 0.0
        assert float(images.max()) <= 1.0


def test_the_same_pairs_every_time(crafted: Location, digits: Dataset) -> None:
    assert torch.equal(picked(crafted, digits).crafted, picked(crafted, digits).crafted)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_as_many_as_asked_for(crafted: Location, digits: Dataset, count: int) -> None:
    assert len(picked(crafted, digits, count).labels) == count


def test_more_than_there_are_gives_all(crafted: Location, digits: Dataset) -> None:
    every = ParquetProof(crafted).num_points
    assert len(picked(crafted, digits, 10 * every).labels) == every


@pytest.mark.parametrize("attack", ["null", "forged_momentum"])
def test_a_control_has_none(results: Location, proof: MemoryProof, digits: Dataset, attack: str) -> None:
    assert pick_pairs(trial_row(attack), forge(results, attack, attack, proof, digits), digits) is None


@pytest.mark.parametrize("status", ["error", "stopped"])
def test_a_trial_that_did_not_end_well_has_none(tmp_path: Path, digits: Dataset, status: str) -> None:
    assert pick_pairs(trial_row(status=status), open_location(tmp_path / "nothing"), digits) is None


def test_no_count_is_refused(crafted: Location, digits: Dataset) -> None:
    with pytest.raises(InputError, match="count >= 1"):
        pick_pairs(trial_row(), crafted, digits, 0)


def test_a_missing_folder_is_an_input_error(tmp_path: Path, digits: Dataset) -> None:
    with pytest.raises(InputError, match=r"manifest\.json"):
        pick_pairs(trial_row(), open_location(tmp_path), digits)


def test_another_datasets_points_are_refused(crafted: Location) -> None:
    with pytest.raises(InputError, match="shape"):
        pick_pairs(trial_row(), crafted, two_stripes())


def test_sources_outside_the_dataset_are_refused(crafted: Location, digits: Dataset) -> None:
    few = Dataset(
        name="digits",
        pixels=digits.pixels[:2],
        labels=digits.labels[:2],
        test_pixels=digits.test_pixels,
        test_labels=digits.test_labels,
        num_classes=10,
    )
    with pytest.raises(InputError, match=r"sources in 0\.\.1"):
        pick_pairs(trial_row(), crafted, few)
