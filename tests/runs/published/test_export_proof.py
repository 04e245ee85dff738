"""Exported folders: the published verifier reproduces them, nothing is lost on the way back, what is lost is said."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from raypol import prove
from raypol.core.attacks import find_attack
from raypol.core.augment import Transform
from raypol.core.datasets.load import load_dataset
from raypol.core.datasets.source import DataSource
from raypol.core.errors import InputError
from raypol.core.models import build_model
from raypol.core.models.constructed import given_digests
from raypol.core.models.initial_laws import initial_laws
from raypol.core.proof import Cost, MemoryProof, OptimizerConfig, Recipe, ScheduleConfig
from raypol.core.training.optimizers import learning_rates
from raypol.runs.published.export_proof import NOTE_NAME, export_published, expressed_schedule, gaps
from raypol.runs.published.import_options import Claims
from raypol.runs.published.import_proof import import_published
from raypol.runs.published.published_defaults import TRANSFORMS
from raypol.store.location import Location, open_location
from raypol.store.proofs.reader import ParquetProof
from raypol.store.proofs.writer import new_proof
from tests import published_code
from tests.own_models import PARAMETRISED
from tests.scenes import SHORT, TINY, all_bits, forge, sgd, small_recipe

DATA = load_dataset(TINY)
SOURCE = DataSource(name=TINY)
SMOOTH = "tests.scenes:smooth_net"
SCHEDULED = ScheduleConfig(name="MultiStepLR", options={"milestones": [2, 5, 5], "gamma": 0.3})
RECIPE = small_recipe(
    DATA, steps=7, interval=3, optimizer=sgd(momentum=0.9, weight_decay=1e-4), schedule=SCHEDULED, channels_last=False
)


def write(proof: MemoryProof, results: Path) -> Location:
    """The proof's folder."""
    with new_proof(open_location(results), "p", proof.recipe, len(DATA)) as writer:
        for checkpoint in proof.checkpoints:
            writer.write_checkpoint(checkpoint)
        writer.write_batches(proof.records)
        if proof.num_points:
            writer.add_points(proof.all_points())
        writer.finish(Cost(), {})
    return open_location(results / "proofs" / "p")


def made(recipe: Recipe, folder: Path) -> tuple[MemoryProof, Location]:
    proof = prove(recipe, DATA)
    return proof, write(proof, folder / "results")


@pytest.mark.parametrize(
    "schedule",
    [
        ScheduleConfig(),
        SCHEDULED,
        replace(SCHEDULED, base_steps=14),
        ScheduleConfig(name="MultiStepLR", options={"milestones": [3], "gamma": 0.1}),
    ],
    ids=["constant", "scheduled", "stretched", "at a checkpoint"],
)
def test_the_published_verifier_reproduces_an_exported_proof_exactly(tmp_path: Path, schedule: ScheduleConfig) -> None:
    _, folder = made(replace(RECIPE, schedule=schedule), tmp_path)
    export_published(folder, tmp_path / "out", SOURCE)
    assert published_code.verify(tmp_path / "out", DATA, model=SMOOTH, interval=3) == [0.0, 0.0, 0.0]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        ["indices.npy", "hash.txt", NOTE_NAME, *(f"model_step_{step}" for step in (0, 3, 6, 7))]
    )


OWN = ["tuned_head", "buffered", *PARAMETRISED]
ROUND_TRIPS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "scheduled": ({}, {}),
    "channels_last and augmented": (
        {"channels_last": True, "transform": Transform(crop_padding=1, horizontal_flip=True, mean=(0.3,), std=(0.2,))},
        {"transform": None, "crop_padding": 1, "horizontal_flip": True, "mean": (0.3,), "std": (0.2,)},
    ),
    "no momentum": ({"optimizer": sgd()}, {}),
    "adam": ({"optimizer": OptimizerConfig(name="Adam", options={"lr": 0.01})}, {"optimizer": "Adam"}),
    "frozen": ({"model": "tests.scenes:half_frozen_net"}, {"model": "tests.scenes:half_frozen_net"}),
    "tables": ({"model": "tests.scenes:reordering_net"}, {"model": "tests.scenes:reordering_net"}),
    "resnet8": ({"model": "resnet8"}, {"model": "resnet8"}),
    **{name: ({"model": f"tests.own_models:{name}"}, {"model": f"tests.own_models:{name}"}) for name in OWN},
    "one interval": ({"interval": 7}, {}),
    "every step": ({"interval": 1}, {}),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_a_round_trip_keeps_every_bit(tmp_path: Path, name: str) -> None:
    changes, flags = ROUND_TRIPS[name]
    recipe = replace(RECIPE, **changes)
    model = build_model(recipe.model, in_channels=1, num_classes=3)
    recipe = replace(recipe, given=given_digests(initial_laws(model), torch.float32))
    proof, folder = made(recipe, tmp_path)
    export_published(folder, tmp_path / "out", SOURCE, with_hash=False)
    claims = Claims(**{"dataset": TINY, "model": SMOOTH, "transform": "identity", **flags})
    back = import_published(tmp_path / "out", str(tmp_path / "back"), claims)
    source = ParquetProof(back.folder)
    assert source.checkpoint_steps == tuple(proof.checkpoint_steps)
    for position, checkpoint in enumerate(proof.checkpoints):
        read = source.checkpoint(position)
        assert read.tensor_digests() == checkpoint.tensor_digests()
        assert all_bits(read) == all_bits(checkpoint)
    for mine, other in zip(proof.records, source.batches(0, 7), strict=True):
        assert (mine.step, mine.sha256) == (other.step, other.sha256)
        assert np.array_equal(mine.indices, other.indices)
    declared, read_back = proof.recipe, source.recipe
    assert replace(read_back, channels_last=declared.channels_last, optimizer=declared.optimizer) == declared
    assert {
        **declared.optimizer.options,
        **read_back.optimizer.options,
    } == read_back.optimizer.options  # 0 is said, too
    if read_back == declared:  # then not even the root has changed
        assert source.root == proof.root


def test_the_files_are_plain_torch(tmp_path: Path) -> None:
    _, folder = made(RECIPE, tmp_path)
    export_published(folder, tmp_path / "out", SOURCE)
    for step in (0, 3, 6, 7):
        state = torch.load(tmp_path / "out" / f"model_step_{step}", weights_only=True)
        assert [*state] == ["net", "optimizer", "scheduler"]
        assert state["scheduler"]["last_epoch"] == step
        (group,) = state["optimizer"]["param_groups"]
        assert group["lr"] == learning_rates(replace(RECIPE, steps=8))[step]
        assert all(tensor.is_contiguous() for tensor in state["net"].values())
    printed = "".join(str(image[0]) for image in DATA.pixels).encode()
    assert (tmp_path / "out" / "hash.txt").read_text() == hashlib.sha256(printed).hexdigest()


# --- what cannot be said -------------------------------------------------------------------------------------------


def parts(recipe: Recipe, *, false: bool | None = None, points: int = 0, data: str = TINY) -> list[str]:
    found = gaps(recipe, load_dataset(data), points, expressed_schedule(recipe))
    return [gap.part for gap in found if false is None or gap.false == false]


PUBLISHED = Recipe(
    dataset="cifar10",
    dataset_sha256="",
    model="resnet20",
    steps=40,
    interval=10,
    batch_size=8,
    transform=TRANSFORMS["cifar10"],
    schedule=ScheduleConfig(name="MultiStepLR", options={"milestones": [20], "gamma": 0.1}),
    channels_last=False,
)
ALWAYS = ["root and hashes", "names", "k and B", "generation"]


@pytest.mark.parametrize(
    ("changes", "more", "false"),
    [
        ({}, ["augmentation"], []),
        ({"transform": Transform()}, ["transform"], []),
        ({"channels_last": True}, ["augmentation", "channels_last"], []),
        ({"precision": "tf32"}, ["augmentation", "precision"], []),
        ({"precision": "float64"}, ["augmentation", "precision"], ["precision"]),
        ({"optimizer": OptimizerConfig(name="Adam", options={"lr": 0.01})}, ["augmentation", "optimizer"], []),
        ({"model": "resnet8"}, ["augmentation", "model"], []),
        ({"given": {"conv1.weight": "ab" * 32}}, ["augmentation", "given"], []),
        ({"schedule": ScheduleConfig()}, ["augmentation"], []),
        ({"schedule": replace(PUBLISHED.schedule, base_steps=80)}, ["augmentation", "schedule"], []),
        (
            {"schedule": ScheduleConfig(name="CosineAnnealingLR", options={"T_max": 40})},
            ["augmentation", "schedule"],
            ["schedule"],
        ),
        ({"dataset": "digits"}, ["dataset", "augmentation", "optimizer", "schedule"], []),
        (
            {"dataset": "fashion_mnist", "transform": TRANSFORMS["mnist"], "schedule": ScheduleConfig()},
            ["optimizer"],
            [],
        ),
    ],
)
def test_what_the_layout_does_not_say_is_listed(changes: dict[str, Any], more: list[str], false: list[str]) -> None:
    recipe = replace(PUBLISHED, **changes)
    # 3 channels and 2 classes: never the published ResNet-20
    listed = [part for part in parts(recipe, data="tests.toys:two_stripes") if part != "model"]
    assert listed == [*ALWAYS, *(part for part in more if part != "model")]
    assert parts(recipe, false=True, data="tests.toys:two_stripes") == false


def test_own_points_are_refused_or_lost(tmp_path: Path) -> None:
    stolen = prove(replace(RECIPE, schedule=ScheduleConfig()), DATA)
    attack = find_attack("iii", crafting="signed", linf_limit=0.05, iterations=2, objective="loss", alpha=0.0)
    spoof = forge(attack, stolen, DATA, SHORT).proof
    assert spoof.num_points > 0
    folder = write(spoof, tmp_path / "results")
    with pytest.raises(InputError, match=r"cannot express this proof: own points: .*; give --lossy"):
        export_published(folder, tmp_path / "out", SOURCE)
    assert not (tmp_path / "out").exists()
    done = export_published(folder, tmp_path / "out", SOURCE, lossy=True)
    assert [gap.part for gap in done.gaps if gap.false] == ["own points"]
    assert "own points" in (tmp_path / "out" / NOTE_NAME).read_text()
    rows = np.load(tmp_path / "out" / "indices.npy")
    claimed = np.stack([record.indices for record in spoof.records])
    own = claimed >= len(DATA)
    assert np.array_equal(rows[~own], claimed[~own])
    assert np.array_equal(rows[own], spoof.all_points().sources.numpy()[claimed[own] - len(DATA)])
    assert max(published_code.verify(tmp_path / "out", DATA, model=SMOOTH, interval=SHORT.interval)) > 0


def test_a_schedule_of_another_kind_keeps_each_checkpoints_rate(tmp_path: Path) -> None:
    cosine = ScheduleConfig(name="CosineAnnealingLR", options={"T_max": 7})
    _, folder = made(replace(RECIPE, schedule=cosine), tmp_path)
    with pytest.raises(InputError, match="schedule: CosineAnnealingLR is no MultiStepLR"):
        export_published(folder, tmp_path / "out", SOURCE)
    export_published(folder, tmp_path / "out", SOURCE, lossy=True)
    rates = learning_rates(replace(RECIPE, schedule=cosine))
    for step, rate in ((0, rates[0]), (3, rates[3]), (6, rates[6]), (7, rates[6])):
        state = torch.load(tmp_path / "out" / f"model_step_{step}")
        assert "scheduler" not in state
        assert state["optimizer"]["param_groups"][0]["lr"] == rate


@pytest.mark.parametrize("base", [3, 7, 13, 14, 1000])
@pytest.mark.parametrize("milestones", [[1, 2], [5, 5, 6], [7], [0, 900]])
def test_a_stretched_schedule_is_written_plainly_only_if_it_is_the_same(base: int, milestones: list[int]) -> None:
    schedule = ScheduleConfig(name="MultiStepLR", options={"milestones": milestones, "gamma": 0.1}, base_steps=base)
    recipe = replace(RECIPE, schedule=schedule)
    plainly = expressed_schedule(recipe)
    assert plainly is not None
    assert plainly.base_steps == 0
    assert np.array_equal(learning_rates(recipe), learning_rates(replace(recipe, schedule=plainly)))


@pytest.mark.parametrize("milestones", ["25", [-3, 2], [10**9]])
def test_milestones_that_are_no_steps_are_not_written(milestones: Any) -> None:  # noqa: ANN401 - a forger's
    schedule = ScheduleConfig(name="MultiStepLR", options={"milestones": milestones, "gamma": 0.1})
    assert expressed_schedule(replace(RECIPE, schedule=schedule)) is None


def test_options_that_torch_does_not_take_are_bad_input() -> None:
    schedule = ScheduleConfig(name="MultiStepLR", options={"milestone": [2]}, base_steps=9)
    with pytest.raises(InputError, match="schedule MultiStepLR does not take"):
        expressed_schedule(replace(RECIPE, schedule=schedule))


def test_a_proof_whose_hashes_do_not_hold_says_so_on_the_way_out(tmp_path: Path) -> None:
    proof = prove(RECIPE, DATA)
    proof.records[4].indices[3] ^= 1
    done = export_published(write(proof, tmp_path / "results"), tmp_path / "out", SOURCE)
    (gap,) = [gap for gap in done.gaps if gap.part == "already false"]
    assert "step 4: the data do not match" in gap.what


# --- bad input -----------------------------------------------------------------------------------------------------


def test_a_target_that_is_there_is_not_touched(tmp_path: Path) -> None:
    _, folder = made(RECIPE, tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(InputError, match="out exists already"):
        export_published(folder, tmp_path / "out", SOURCE)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_a_proof_of_another_shape_is_not_exported(tmp_path: Path) -> None:
    proof = prove(RECIPE, DATA)
    proof.recipe = replace(RECIPE, model="tests.scenes:half_frozen_net")
    folder = write(proof, tmp_path / "results")
    with pytest.raises(InputError, match="is not a proof that can be exported: step 0") as caught:
        export_published(folder, tmp_path / "out", SOURCE)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_an_index_outside_the_dataset_is_not_exported(tmp_path: Path) -> None:
    proof = prove(RECIPE, DATA)
    proof.records[4].indices[3] = 48
    folder = write(proof, tmp_path / "results")
    with pytest.raises(InputError, match="step 4: an index lies outside"):
        export_published(folder, tmp_path / "out", SOURCE)
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_other_data_are_refused(tmp_path: Path) -> None:
    _, folder = made(RECIPE, tmp_path)
    with pytest.raises(InputError, match="the proof is about dataset"):
        export_published(folder, tmp_path / "out", DataSource(name="digits"))
