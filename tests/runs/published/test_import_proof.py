"""Folders of the published prover become proofs that hold; what contradicts is refused; what is asserted is said."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from raypol.core.augment import Transform
from raypol.core.datasets.load import load_dataset
from raypol.core.errors import InputError
from raypol.core.verification.policies import published, strict
from raypol.core.verification.replay import Conditions
from raypol.core.verification.thresholds import Thresholds
from raypol.core.verification.verifier import examine
from raypol.runs.published.import_options import Claims
from raypol.runs.published.import_proof import Imported, import_published
from raypol.store.proofs.reader import ParquetProof, read_manifest
from tests import published_code
from tests.published_code import prove, sgd
from tests.scenes import TINY, zero

DATA = load_dataset(TINY)
SMOOTH = "tests.scenes:smooth_net"
CLAIMS = Claims(dataset=TINY, model=SMOOTH, transform="identity")


def adam(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(net.parameters(), lr=0.01)


def plain_sgd(net: nn.Module) -> torch.optim.Optimizer:
    return sgd(net, momentum=0.0)


def nesterov(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.8, nesterov=True, foreach=True)


def bring(folder: Path, claims: Claims = CLAIMS) -> Imported:
    return import_published(folder, str(folder.parent / "results"), claims)


@pytest.mark.parametrize(
    ("model", "optimizer", "name", "milestones"),
    [
        (SMOOTH, sgd, "SGD", (2, 5)),
        (SMOOTH, sgd, "SGD", (4, 4)),
        (SMOOTH, sgd, "SGD", None),
        (SMOOTH, plain_sgd, "SGD", (1,)),
        (SMOOTH, nesterov, "SGD", (5,)),
        (SMOOTH, adam, "Adam", None),
        ("tests.scenes:half_frozen_net", sgd, "SGD", (2, 5)),
        ("tests.scenes:reordering_net", sgd, "SGD", (2, 5)),
        ("tests.toys:scaled_mlp", adam, "Adam", (2, 5)),
        ("resnet8", sgd, "SGD", (2, 5)),
    ],
)
def test_a_genuine_folder_replays_exactly(
    tmp_path: Path,
    model: str,
    optimizer: Callable[[nn.Module], torch.optim.Optimizer],
    name: str,
    milestones: tuple[int, ...] | None,
) -> None:
    kept = prove(tmp_path / "proof", DATA, model=model, optimizer=optimizer, milestones=milestones)
    found = bring(tmp_path / "proof", replace(CLAIMS, model=model, optimizer=name))
    source = ParquetProof(found.folder)
    recipe = source.recipe
    assert (recipe.steps, recipe.interval, recipe.batch_size) == (7, 3, 8)
    assert source.checkpoint_steps == (0, 3, 6, 7)
    for position, net in enumerate(kept):
        checkpoint = source.checkpoint(position)
        tensors = {**checkpoint.parameters, **checkpoint.buffers}
        assert tensors.keys() == net.keys()
        assert all(torch.equal(tensors[key], net[key]) for key in net)
    rows = np.load(tmp_path / "proof" / "indices.npy")
    assert np.array_equal([record.indices for record in source.batches(0, 7)], rows)
    for precision in ("float32", "float64"):
        evidence = examine(source, DATA, Conditions(augmentation="fresh", precision=precision))
        assert not evidence.survey.structure + evidence.survey.indices + evidence.survey.hashes
        assert evidence.computed_root == source.root
        for replay in evidence.replays:
            assert not replay.state_problem
            if precision == "float32":
                assert zero(replay.error), replay
                assert zero(replay.state_error), replay
                assert zero(replay.buffer_error), replay


def test_both_policies_judge_an_imported_proof(tmp_path: Path) -> None:
    # torch's own initial law of this model's layers; a seed for which no tensor is an unlucky draw
    prove(tmp_path / "proof", DATA, model=SMOOTH, seed=1)
    evidence = examine(ParquetProof(bring(tmp_path / "proof").folder), DATA, Conditions())
    assert published(evidence, Thresholds(), None).is_valid
    assert strict(evidence, Thresholds(), None).is_valid


def test_what_is_recorded_and_what_is_asserted_is_told_apart(tmp_path: Path) -> None:
    prove(tmp_path / "proof", DATA, model=SMOOTH)
    found = bring(tmp_path / "proof", replace(CLAIMS, lr=0.05, momentum=0.9, milestones=(5, 2), gamma=0.1))
    recipe = found.manifest.recipe
    assert dict(recipe.optimizer.options) == {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4}
    assert recipe.schedule.options == {"milestones": [2, 5], "gamma": 0.1}
    assert not recipe.channels_last
    assert found.manifest.asserted == ("dataset", "model", "loss", "transform", "seed", "optimizer.name")
    assert read_manifest(found.folder).asserted == found.manifest.asserted
    assert found.has_hash
    assert not found.several_gpus


def test_the_same_folder_twice_is_one_proof(tmp_path: Path) -> None:
    prove(tmp_path / "proof", DATA, model=SMOOTH)
    (tmp_path / "proof" / "hash.txt").unlink()
    first, second = bring(tmp_path / "proof"), bring(tmp_path / "proof")
    assert first.folder == second.folder
    assert not second.has_hash
    assert [path.name for path in (tmp_path / "results" / "proofs").iterdir()] == [first.folder.name]
    assert not [*(tmp_path / "results" / ".staging").iterdir()]
    other = bring(tmp_path / "proof", replace(CLAIMS, transform="mnist"))
    assert other.folder != first.folder


def test_a_model_trained_on_several_gpus_loses_its_prefix(tmp_path: Path) -> None:
    prove(tmp_path / "one", DATA, model=SMOOTH)
    prove(tmp_path / "many", DATA, model=SMOOTH, prefix="module.")
    one, many = bring(tmp_path / "one"), bring(tmp_path / "many")
    assert many.several_gpus
    assert one.manifest.root == many.manifest.root


def test_progress_counts_checkpoints(tmp_path: Path) -> None:
    prove(tmp_path / "proof", DATA, model=SMOOTH)
    told: list[tuple[int, int]] = []
    import_published(
        tmp_path / "proof", str(tmp_path / "r"), CLAIMS, on_progress=lambda _what, done, of, *_: told.append((done, of))
    )
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


# --- the transform -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"transform": "identity"}, Transform()),
        ({"transform": "mnist"}, Transform(mean=(0.5,), std=(0.5,))),
        ({"crop_padding": 0}, Transform()),
        ({"crop_padding": 2, "horizontal_flip": True}, Transform(crop_padding=2, horizontal_flip=True)),
        (
            {"transform": "cifar10", "crop_padding": 0},
            Transform(horizontal_flip=True, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        ),
        (
            {"mean": (0.1,), "std": (0.2,), "rotation_degrees": 15},
            Transform(rotation_degrees=15, mean=(0.1,), std=(0.2,)),
        ),
    ],
)
def test_flags_say_the_transform(flags: dict[str, Any], expected: Transform) -> None:
    assert Claims(dataset=TINY, model=SMOOTH, **flags).declared_transform() == expected


def test_a_transform_is_asked_for(tmp_path: Path) -> None:
    prove(tmp_path / "proof", DATA, model=SMOOTH)
    with pytest.raises(InputError, match="does not record how pixels became inputs; give --transform"):
        bring(tmp_path / "proof", replace(CLAIMS, transform=None))
    with pytest.raises(InputError, match="expected a transform for 1 channels"):
        bring(tmp_path / "proof", replace(CLAIMS, transform="cifar10"))
    assert not (tmp_path / "results").exists()


# --- contradictions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"lr": 0.1}, "--lr 0.1 contradicts .*model_step_0, which records lr 0.05"),
        ({"momentum": 0.5}, "--momentum 0.5 contradicts .* records momentum 0.9"),
        ({"weight_decay": 0.0}, "--weight-decay 0.0 contradicts .* records weight_decay 0.0001"),
        ({"milestones": (2,), "gamma": 0.1}, r"--milestones \(2,\) contradicts .* records milestones \(2, 5\)"),
        ({"gamma": 0.2}, "--gamma 0.2 contradicts .* records gamma 0.1"),
        ({"optimizer": "Adam"}, "has dampening, momentum, nesterov, torch.optim.Adam has not; give --optimizer SGD"),
        ({"interval": 2}, "model_step_2 is missing"),
        ({"interval": 0}, r"expected an interval \(k\) >= 1"),
        ({"optimizer": "Sgd"}, "unknown optimizer 'Sgd'"),
        ({"model": "resnet8"}, "has no tensor 'conv1.weight' .*is resnet8 its model"),
        ({"model": "resnet9"}, "unknown model 'resnet9'"),
        ({"dataset": "digitz"}, "unknown dataset 'digitz'"),
        ({"dataset": "digits"}, "'5.weight' is torch.float32"),
        ({"dataset": f"{TINY}/D1"}, r"has index \d+, expected 0..23"),
    ],
)
def test_flags_that_contradict_the_folder_are_refused(tmp_path: Path, flags: dict[str, Any], said: str) -> None:
    prove(tmp_path / "proof", DATA, model=SMOOTH)
    with pytest.raises(InputError, match=said) as caught:
        bring(tmp_path / "proof", replace(CLAIMS, **flags))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "results").exists()


Change = Callable[[dict[str, Any]], object]


def edit(folder: Path, step: int, change: Change) -> None:
    path = folder / f"model_step_{step}"
    state = torch.load(path)
    change(state)
    torch.save(state, path)


def group(**options: object) -> Change:
    return lambda state: state["optimizer"]["param_groups"][0].update(options)


@pytest.mark.parametrize(
    ("step", "change", "said"),
    [
        (3, group(lr=0.0), "model_step_3 says lr 0.0, the declared schedule gives 0.005 at step 3"),
        (7, group(lr=0.05), "model_step_7 says lr 0.05, the declared schedule gives 0.0005"),
        (3, group(momentum=0.0), "model_step_3 says momentum 0.0, .*model_step_0 says 0.9"),
        (3, group(dampening=0.5), "model_step_3 says dampening 0.5"),
        (3, group(extra=1), "model_step_3 says extra 1"),
        (0, group(extra=1), "its optimizer has extra, torch.optim.SGD has not"),
        (0, group(dampening=(1, 2)), r"optimizer option dampening is \(1, 2\); a proof declares numbers only"),
        (0, group(initial_lr=0.1), "contradicts itself: its scheduler starts at lr 0.05, its optimizer at 0.1"),
        (0, group(initial_lr="x"), "expected an option lr, a finite number >= 0, got .x."),
        (6, lambda s: s["scheduler"].update(last_epoch=5), "model_step_6: its scheduler stands at step 5"),
        (6, lambda s: s["scheduler"].update(gamma=0.2), "record different schedules"),
        (6, lambda s: s["scheduler"]["milestones"].update({6: 1}), "record different schedules"),
        (6, lambda s: s.pop("scheduler"), "do not record the same parts"),
        (6, lambda s: s.pop("optimizer"), "do not record the same parts"),
        (6, lambda s: s["optimizer"]["state"][0].update(exp_avg=torch.ones(1)), "keeps no '0.weight/exp_avg'"),
    ],
)
def test_a_folder_that_contradicts_itself_is_refused(tmp_path: Path, step: int, change: Change, said: str) -> None:
    prove(tmp_path / "proof", DATA, model=SMOOTH)
    edit(tmp_path / "proof", step, change)
    with pytest.raises(InputError, match=said) as caught:
        bring(tmp_path / "proof")
    assert "\n" not in str(caught.value)
    left = [path for path in (tmp_path / "results").rglob("*") if path.is_file()]
    assert not left


def test_a_folder_with_weights_alone_is_imported_on_the_users_word(tmp_path: Path) -> None:
    """As Zhang et al. 2022 would leave it, had they recorded indices: no optimizer, momentum lost at every checkpoint."""
    prove(tmp_path / "proof", DATA, model=SMOOTH, milestones=None)
    for step in (0, 3, 6, 7):
        edit(tmp_path / "proof", step, lambda state: state.pop("optimizer"))
    incomplete: list[dict[str, Any]] = [{}, {"lr": 0.05}, {"lr": 0.05, "momentum": 0.9}]
    for flags in incomplete:
        with pytest.raises(InputError, match=r"records no optimizer; give --.*weight-decay"):
            bring(tmp_path / "proof", replace(CLAIMS, **flags))
    found = bring(tmp_path / "proof", replace(CLAIMS, lr=0.05, momentum=0.9, weight_decay=1e-4))
    assert {"optimizer.lr", "optimizer.momentum", "optimizer.weight_decay", "schedule"} <= set(found.manifest.asserted)
    evidence = examine(ParquetProof(found.folder), DATA, Conditions())
    assert published(evidence, Thresholds(), None).rejected_by in ("", "initial_state")
    assert "optimizer_state" in strict(evidence, Thresholds(), None).rejected_by
    first, second, _ = evidence.replays
    assert zero(first.error)
    assert not zero(second.error)


def test_a_schedule_that_no_file_records_can_be_asserted(tmp_path: Path) -> None:
    prove(tmp_path / "proof", DATA, model=SMOOTH)
    for step in (0, 3, 6, 7):
        edit(tmp_path / "proof", step, lambda state: state.pop("scheduler"))
    with pytest.raises(InputError, match="give --milestones and --gamma if it fell"):
        bring(tmp_path / "proof")
    with pytest.raises(InputError, match="expected --milestones and --gamma together"):
        bring(tmp_path / "proof", replace(CLAIMS, milestones=(2, 5)))
    found = bring(tmp_path / "proof", replace(CLAIMS, milestones=(2, 5), gamma=0.1))
    assert "schedule" in found.manifest.asserted
    assert all(zero(replay.error) for replay in examine(ParquetProof(found.folder), DATA, Conditions()).replays)


def test_step_counters_of_older_torch_are_numbers(tmp_path: Path) -> None:
    prove(tmp_path / "proof", DATA, model=SMOOTH, optimizer=adam, milestones=None)

    def as_numbers(state: dict[str, Any]) -> None:
        for entries in state["optimizer"]["state"].values():
            entries["step"] = int(entries["step"])

    new = bring(tmp_path / "proof", replace(CLAIMS, optimizer="Adam"))
    for step in (0, 3, 6, 7):
        edit(tmp_path / "proof", step, as_numbers)
    old = bring(tmp_path / "proof", replace(CLAIMS, optimizer="Adam"))
    assert old.manifest.root == new.manifest.root


def test_a_forged_state_at_the_first_step_reaches_the_verifier(tmp_path: Path) -> None:
    prove(tmp_path / "proof", DATA, model=SMOOTH)
    later: Mapping[int, Any] = torch.load(tmp_path / "proof" / "model_step_3")["optimizer"]["state"]
    edit(tmp_path / "proof", 0, lambda state: state["optimizer"].update(state=later))
    evidence = examine(ParquetProof(bring(tmp_path / "proof").folder), DATA, Conditions())
    assert len(evidence.survey.state_at_start) == len(later)
    assert "optimizer_state" in strict(evidence, Thresholds(), None).rejected_by


def test_weights_that_are_not_finite_reach_the_verifier(tmp_path: Path) -> None:
    prove(tmp_path / "proof", DATA, model=SMOOTH)
    edit(tmp_path / "proof", 6, lambda state: state["net"]["0.weight"].fill_(float("nan")))
    evidence = examine(ParquetProof(bring(tmp_path / "proof").folder), DATA, Conditions())
    assert "finite" in published(evidence, Thresholds(), None).rejected_by


def test_an_older_manifest_asserts_nothing(tmp_path: Path) -> None:
    prove(tmp_path / "proof", DATA, model=SMOOTH)
    found = bring(tmp_path / "proof")
    path = Path(found.folder.path) / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["asserted"]
    path.write_text(json.dumps(manifest))
    assert read_manifest(found.folder).asserted == ()


def test_the_published_verifier_reproduces_what_its_prover_wrote(tmp_path: Path) -> None:
    """The tests' own reading of that code agrees with itself."""
    prove(tmp_path / "proof", DATA, model=SMOOTH)
    assert published_code.verify(tmp_path / "proof", DATA, model=SMOOTH, interval=3) == [0.0, 0.0, 0.0]
