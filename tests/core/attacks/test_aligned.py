"""Attack aligned: replayed moves point along the claimed ones, better than those of ordinary batches."""

from dataclasses import replace
from functools import cache
from statistics import median
from typing import Any, Final

import numpy as np
import pytest
import torch
from torch import nn

from raypol import prove
from raypol.core.attacks import find_attack
from raypol.core.attacks.aligned import (
    METHOD,
    Aligned,
    Sketch,
    batch_gradients,
    nonnegative_fit,
    per_sample_gradients,
    shares_to_places,
)
from raypol.core.datasets.dataset import Dataset
from raypol.core.errors import InputError
from raypol.core.proof import MemoryProof
from raypol.core.spoofing.method import make_scene, spoof_recipe
from raypol.core.spoofing.scene import CraftedBatch, Scene
from raypol.core.spoofing.spoof_config import SpoofConfig
from tests.scenes import SHORT, Forged, claiming, forge, sgd, small_recipe, tiny

CHOICES: Final = claiming(steps=90, interval=10, declares="no_momentum")
PLAIN: Final = "tests.core.attacks.test_aligned:plain_net"


def plain_net(*, in_channels: int, num_classes: int) -> nn.Module:
    """No norm layers: a point's gradient does not depend on its company."""
    return nn.Sequential(
        nn.Conv2d(in_channels, 8, 3, padding=1), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, num_classes)
    )


@pytest.fixture(scope="module")
def plain(dataset: Dataset) -> MemoryProof:
    optimizer = sgd(momentum=0.9, weight_decay=1e-3)
    return prove(small_recipe(dataset, model=PLAIN, steps=300, interval=50, optimizer=optimizer), dataset)


def by_stage(made: Forged) -> list[float]:
    found = [replay.direction for replay in made.replays]
    return [median(found[i : i + 3]) for i in (0, 3, 6)]


def test_moves_of_a_model_without_norm_layers_point_along_the_claimed_ones(
    plain: MemoryProof, dataset: Dataset
) -> None:
    null, ours = (forge(find_attack(name), plain, dataset, CHOICES) for name in ("null", "aligned"))
    for unweighted, weighed in zip(by_stage(null), by_stage(ours), strict=True):
        assert weighed > unweighted + 0.02
    assert ours.mean_error_l2 < null.mean_error_l2


def test_whole_batches_are_weighed_where_norm_layers_mix_their_points(stolen: MemoryProof, dataset: Dataset) -> None:
    null, ours = (forge(find_attack(name), stolen, dataset, CHOICES) for name in ("null", "aligned"))
    assert sum(by_stage(ours)) > sum(by_stage(null))
    assert ours.proof.cost.gradient_evals == 9 * 40


def test_points_are_repeated_and_their_gradients_are_paid_for(plain: MemoryProof, dataset: Dataset) -> None:
    made = forge(find_attack("aligned", candidates=100), plain, dataset, CHOICES)
    assert (made.proof.cost.gradient_evals, made.proof.cost.forward_passes) == (9 * 7, 9 * 7)
    assert made.proof.num_points == 0
    for crafted in made.made:
        assert [len(batch.sources) for batch in crafted.batches] == [16] * 10
        assert len({int(i) for batch in crafted.batches for i in batch.sources}) <= 100


@cache
def _scene(model: str, **options: float) -> Scene:
    data = tiny()
    honest = prove(small_recipe(data, model=model, optimizer=sgd(**options)), data)
    recipe = spoof_recipe(METHOD, Aligned(), SHORT, honest.recipe, data)
    return make_scene(METHOD, Aligned(), SHORT, recipe, data, honest.checkpoints[-1])


WHOLE: Final = Sketch(None, None, 0)


def test_gradients_of_points_are_those_of_batches_of_one() -> None:
    scene = _scene("tests.scenes:half_frozen_net")
    start = scene.trajectory.checkpoint(3)
    found = per_sample_gradients(scene, start, torch.arange(20), WHOLE)
    one_by_one = batch_gradients(scene, start, [np.array([i]) for i in range(20)], WHOLE)
    assert torch.allclose(found, one_by_one, atol=1e-6)
    together = batch_gradients(scene, start, [np.arange(20)], WHOLE)
    assert torch.allclose(found.mean(0), together[0], atol=1e-6)


def test_a_batchs_gradient_is_that_of_its_step() -> None:
    scene = _scene("tests.scenes:smooth_net")
    start = scene.trajectory.checkpoint(3)
    sources = np.arange(16)
    (found,) = batch_gradients(scene, start, [sources], WHOLE)
    scene.trainer.load(start)
    scene.trainer.step(3, *scene.stored(CraftedBatch(sources, scene.dataset.labels[:16], None)))
    assert torch.allclose(found, torch.cat([g.flatten() for g in scene.trainer.gradients().values()]), atol=1e-6)


def test_no_other_weights_point_better() -> None:
    rng = np.random.default_rng(1)
    columns, goal = rng.normal(size=(12, 40)), rng.normal(size=40)
    weights, cosine = nonnegative_fit(columns, goal)

    def reached(w: np.ndarray[Any, Any]) -> float:
        total = w @ columns
        return float(total @ goal / np.linalg.norm(total) / np.linalg.norm(goal))

    assert weights.min() >= 0.0
    assert reached(weights) == pytest.approx(cosine, abs=1e-9)
    for _ in range(200):
        assert reached(np.maximum(weights + 0.1 * weights.max() * rng.normal(size=12), 0.0)) <= cosine + 1e-9
    assert reached(np.ones(12)) < cosine


def test_places_go_by_largest_remainder() -> None:
    assert shares_to_places(np.array([1.0, 1.0, 2.0]), 8).tolist() == [2, 2, 4]
    assert shares_to_places(np.array([0.5, 0.3, 0.2]), 4).tolist() == [2, 1, 1]
    assert shares_to_places(np.zeros(3), 7).sum() == 7


def test_a_sketch_keeps_inner_products() -> None:
    rng = torch.Generator().manual_seed(2)
    sketch = Sketch.draw(20_000, 2048, rng)
    rows = torch.randn(2, 20_000, generator=rng, dtype=torch.float64)
    rows[1] += rows[0]
    small = sketch(rows)
    # Standard deviation |a| |b| / sqrt(2048) of each: five of them.
    for i, j in ((0, 0), (0, 1), (1, 1)):
        exact, tolerance = float(rows[i] @ rows[j]), 5.0 * float(rows[i].norm() * rows[j].norm()) / 2048**0.5
        assert abs(float(small[i] @ small[j]) - exact) < tolerance
    assert Sketch.draw(100, 0, rng)(rows) is rows


def test_the_seed_alone_decides() -> None:
    data = tiny()
    honest = prove(small_recipe(data), data)
    choices = replace(SHORT, declares="no_momentum", carry="restart")
    first = forge(Aligned(batches=5), honest, data, choices)
    elsewhere = forge(Aligned(batches=5), honest, data, choices, order=[2, 0, 1], scene_per_interval=True)
    assert first.proof.root == elsewhere.proof.root


@pytest.mark.parametrize("missing", ["weights", "order"])
def test_what_it_uses_has_to_be_granted(missing: str) -> None:
    data = tiny()
    choices = replace(SHORT, grants=("usual", "interval", f"no_{missing}"))
    with pytest.raises(InputError, match=f"uses {missing}"):
        forge(Aligned(), prove(small_recipe(data), data), data, choices)


@pytest.mark.parametrize(
    ("fields", "choices", "words"),
    [
        ({"unit": "pixels"}, SHORT, "possible: auto, batches, points"),
        ({"candidates": -1}, SHORT, "expected candidates in 0"),
        ({"batches": 0}, SHORT, "expected batches in 1"),
        ({"sketch": -2}, SHORT, "expected sketch in 0"),
        ({}, replace(SHORT, data_order="declared"), "contradicts data_order declared"),
    ],
)
def test_bad_input_is_one_line(fields: dict[str, Any], choices: SpoofConfig, words: str) -> None:
    data = tiny()
    with pytest.raises(InputError) as caught:
        forge(Aligned(**fields), prove(small_recipe(data), data), data, choices)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
