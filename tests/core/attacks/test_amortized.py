"""Attack amortized: one search serves every interval of a proof of any length."""

from dataclasses import replace
from typing import Any, Final

import pytest
import torch

from raypol import prove
from raypol.core.attacks.amortized import Amortized
from raypol.core.datasets.dataset import Dataset
from raypol.core.distances import METRICS
from raypol.core.errors import InputError
from raypol.core.proof import MemoryProof
from raypol.core.training.trainer import Trainer
from tests.scenes import SHORT, Forged, claiming, forge, small_recipe, tiny

FREE: Final = claiming(steps=160, interval=10, declares="no_momentum")
CONFIG: Final = Amortized(points=64)


@pytest.fixture(scope="module")
def amortized(stolen: MemoryProof, dataset: Dataset) -> Forged:
    return forge(CONFIG, stolen, dataset, FREE)


def test_the_search_is_all_that_it_costs_whatever_is_claimed(
    amortized: Forged, stolen: MemoryProof, dataset: Dataset
) -> None:
    longer = forge(CONFIG, stolen, dataset, replace(FREE, steps=240))
    for made in (amortized, longer):
        assert made.proof.cost.gradient_evals == 8 * 3 * 2  # iterations, models, batches of 32
        assert made.proof.num_points == 64
        assert len(made.stats) == 1


def test_points_change_by_a_grey_level_of_eight_and_keep_their_labels(amortized: Forged, dataset: Dataset) -> None:
    own = amortized.proof.all_points()
    assert int((own.pixels.int() - dataset.pixels[own.sources].int()).abs().max()) == 8
    assert torch.equal(own.labels, dataset.labels[own.sources])


def test_each_model_along_the_path_loses_less_on_them(amortized: Forged, dataset: Dataset) -> None:
    assert amortized.stats[0].loss_after < amortized.stats[0].loss_before
    own, trainer = amortized.proof.all_points(), Trainer(amortized.proof.recipe, dataset)
    for index in (5, 10, 16):  # 1/3, 2/3 and 1 of 16 intervals
        trainer.load(amortized.proof.checkpoints[index])
        with torch.no_grad():
            after = trainer.loss(trainer.inputs(own.pixels, 0), own.labels)
            before = trainer.loss(trainer.inputs(dataset.pixels[own.sources], 0), own.labels)
        assert float(after) < float(before)


def test_it_errs_less_than_the_same_points_as_they_were(
    amortized: Forged, stolen: MemoryProof, dataset: Dataset
) -> None:
    still = forge(replace(CONFIG, linf_limit=1e-9), stolen, dataset, FREE)
    assert still.proof.num_points == 0
    assert [record.indices.tolist() for record in still.proof.records[:3]] == [
        amortized.proof.all_points().sources[record.indices - len(dataset)].tolist()
        for record in amortized.proof.records[:3]
    ]
    for metric in METRICS:
        ours, theirs = (sum(replay.error[metric] for replay in made.replays) for made in (amortized, still))
        assert ours <= (1.05 if metric == "linf" else 1.0) * theirs


def test_all_points_are_all_whole_batches() -> None:
    data = tiny()
    made = forge(Amortized(points=0, iterations=1), prove(small_recipe(data), data), data, SHORT)
    assert made.proof.num_points == 48
    assert forge(Amortized(points=1), prove(small_recipe(data), data), data, SHORT).proof.num_points == 16


@pytest.mark.parametrize("missing", ["weights", "own_points", "order"])
def test_what_it_uses_has_to_be_granted(missing: str) -> None:
    data = tiny()
    choices = replace(SHORT, grants=("usual", "interval", f"no_{missing}"))
    with pytest.raises(InputError, match=f"uses {missing}"):
        forge(Amortized(), prove(small_recipe(data), data), data, choices)


@pytest.mark.parametrize(
    ("fields", "choices", "words"),
    [
        ({"models": 0}, {}, "expected models in 1"),
        ({"points": -1}, {}, "expected points in 0"),
        ({"crafting": "select"}, {}, "possible: adam, lbfgs, signed"),
        ({"linf_limit": None}, {}, "expected linf_limit"),
        ({}, {"data_order": "declared"}, "contradicts data_order declared"),
    ],
)
def test_bad_input_is_one_line(fields: dict[str, Any], choices: dict[str, Any], words: str) -> None:
    data = tiny()
    with pytest.raises(InputError) as caught:
        forge(Amortized(**fields), prove(small_recipe(data), data), data, replace(SHORT, **choices))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
