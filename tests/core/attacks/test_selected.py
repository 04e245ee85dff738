"""Attack selected: ordinary points that the model has learnt, for a share of a pass over the data."""

from collections import Counter
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pytest
import torch

from raypol import prove
from raypol.core.attacks import find_attack
from raypol.core.attacks.selected import lowest_of_each_class
from raypol.core.datasets.dataset import Dataset
from raypol.core.distances import METRICS
from raypol.core.errors import InputError
from raypol.core.proof import MemoryProof
from raypol.core.training.trainer import Trainer
from tests.scenes import SHORT, Forged, all_bits, claiming, forge, small_recipe, tiny

FREE: Final = claiming(steps=160, interval=10, declares="no_momentum")
PASSES: Final = -(-1437 // 32)


@pytest.fixture(scope="module")
def selected(stolen: MemoryProof, dataset: Dataset) -> Forged:
    return forge(find_attack("selected"), stolen, dataset, FREE)


@pytest.fixture(scope="module")
def free_null(stolen: MemoryProof, dataset: Dataset) -> Forged:
    return forge(find_attack("null"), stolen, dataset, FREE)


def sources_of(made: Forged, index: int) -> list[int]:
    return [int(source) for batch in made.made[index].batches for source in batch.sources]


def test_one_pass_over_the_data_serves_a_proof_that_costs_no_gradient(selected: Forged) -> None:
    cost = selected.proof.cost
    assert (cost.gradient_evals, cost.forward_passes) == (0, PASSES)
    assert selected.proof.num_points == 0


def test_its_errors_are_below_those_of_ordinary_batches(selected: Forged, free_null: Forged) -> None:
    for metric in METRICS:
        ours, theirs = (max(replay.error[metric] for replay in made.replays) for made in (selected, free_null))
        assert ours < (1.05 if metric == "linf" else 1.0) * theirs


def test_where_batches_matter_it_errs_less_on_every_interval_but_the_first(
    stolen: MemoryProof, dataset: Dataset
) -> None:
    """With momentum a replay moves ten times as much; W_0 has learnt no point, so that the choice does not matter there."""
    made, null = (
        forge(find_attack(name), stolen, dataset, claiming(steps=160, interval=10)) for name in ("selected", "null")
    )
    late = [ours.error.l2 / theirs.error.l2 for ours, theirs in zip(made.replays, null.replays, strict=True)][4:]
    assert max(late) < 0.8


def test_the_same_points_serve_every_interval_and_step_in_another_order(selected: Forged) -> None:
    batches = [batch.sources for made in selected.made for batch in made.batches]
    assert {tuple(sorted(sources)) for sources in batches} == {tuple(sorted(batches[0]))}
    assert len({tuple(sources) for sources in batches}) == len(batches)


def test_classes_are_even(selected: Forged, dataset: Dataset) -> None:
    labels = dataset.labels[torch.from_numpy(selected.made[0].batches[0].sources)]
    assert set(Counter(labels.tolist()).values()) == {3, 4}


def test_of_each_class_the_lowest_losses_are_taken_first() -> None:
    losses, labels = torch.tensor([5.0, 1.0, 3.0, 0.5, 0.1, 9.0]), torch.tensor([0, 0, 0, 1, 1, 2])
    assert lowest_of_each_class(losses, labels, 3).tolist() == [4, 1, 5]
    assert lowest_of_each_class(losses, labels, 5).tolist() == [4, 1, 5, 3, 2]
    assert sorted(lowest_of_each_class(losses, labels, 99).tolist()) == list(range(6))


@pytest.mark.parametrize("every", [0, 1])
def test_points_have_the_lowest_losses_of_their_classes(every: int) -> None:
    """Without batch statistics a point's loss does not depend on its company."""
    data = tiny()
    honest = prove(small_recipe(data, model="tests.scenes:half_frozen_net"), data)
    made = forge(find_attack("selected", every=every), honest, data, SHORT)
    trainer = Trainer(made.proof.recipe, data)
    for index in range(3):
        trainer.load(made.proof.checkpoints[index if every else -1])
        with torch.no_grad():
            logits = trainer.model(trainer.inputs(data.pixels, 0))
        losses = torch.nn.functional.cross_entropy(logits, data.labels, reduction="none")
        assert set(sources_of(made, index)) == set(lowest_of_each_class(losses, data.labels, 16).tolist())


def test_chosen_points_have_lower_losses_than_chance(stolen: MemoryProof, dataset: Dataset) -> None:
    made = forge(find_attack("selected_anew"), stolen, dataset, claiming(steps=40, interval=10, declares="no_momentum"))
    assert made.proof.cost.forward_passes == 4 * PASSES
    trainer = Trainer(made.proof.recipe, dataset)
    for index in range(1, 4):  # W_0 has learnt nothing
        trainer.load(made.proof.checkpoints[index])
        losses = []
        for sources in (made.made[index].batches[0].sources, np.arange(1437)):
            where = torch.from_numpy(sources)
            with torch.no_grad():
                losses.append(float(trainer.loss(trainer.inputs(dataset.pixels[where], 0), dataset.labels[where])))
        assert losses[0] < losses[1]


def test_a_sample_costs_its_share(stolen: MemoryProof, dataset: Dataset) -> None:
    made = forge(find_attack("selected", candidates=320, points=64), stolen, dataset, FREE)
    assert made.proof.cost.forward_passes == 10
    assert len({source for index in range(16) for source in sources_of(made, index)}) == 64


def test_a_choice_serves_as_many_intervals_as_were_asked() -> None:
    data = tiny()
    honest = prove(small_recipe(data), data)
    made = forge(find_attack("selected", every=2), honest, data, SHORT)
    sets = [set(sources_of(made, index)) for index in range(3)]
    assert sets[0] == sets[1]
    assert made.proof.cost.forward_passes == 2 * 3
    elsewhere = forge(find_attack("selected", every=2), honest, data, SHORT, order=[2, 1, 0], scene_per_interval=True)
    assert [all_bits(a) for a in made.proof.checkpoints] == [all_bits(b) for b in elsewhere.proof.checkpoints]
    assert made.proof.root == elsewhere.proof.root


@pytest.mark.parametrize("missing", ["weights", "order"])
def test_what_it_uses_has_to_be_granted(missing: str) -> None:
    data = tiny()
    with pytest.raises(InputError, match=f"uses {missing}"):
        forge(
            find_attack("selected"),
            prove(small_recipe(data), data),
            data,
            replace(SHORT, grants=("usual", "interval", f"no_{missing}")),
        )


@pytest.mark.parametrize(
    ("fields", "choices", "words"),
    [
        ({"every": -1}, {}, "expected every in 0"),
        ({"candidates": 7}, {}, "candidates 7 contradicts batch size 16"),
        ({"points": 15}, {}, "points 15 contradicts batch size 16"),
        ({"candidates": 20, "points": 30}, {}, "points 30 contradicts candidates 20"),
        ({}, {"data_order": "declared"}, "contradicts data_order declared"),
    ],
)
def test_bad_input_is_one_line(fields: dict[str, Any], choices: dict[str, Any], words: str) -> None:
    data = tiny()
    with pytest.raises(InputError, match=words) as caught:
        forge(find_attack("selected", **fields), prove(small_recipe(data), data), data, replace(SHORT, **choices))
    assert "\n" not in str(caught.value)
