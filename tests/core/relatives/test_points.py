"""Points of a dataset, and what a model says about them."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from raypol.core.errors import InputError
from raypol.core.relatives.points import check_points, look, pick_points
from raypol.core.training.trainer import Trainer
from tests.core.relatives.conftest import Fresh, everything_of, is_same


@pytest.mark.parametrize("split", ["test", "train"])
def test_points_are_the_datasets_in_the_order_asked(trained: Trainer, split: Any) -> None:  # noqa: ANN401
    data = trained.dataset
    pixels, labels = (data.test_pixels, data.test_labels) if split == "test" else (data.pixels, data.labels)
    X, y = pick_points(trained, [5, 0, 5], split)
    assert torch.equal((X * 255.0).round().to(torch.uint8), pixels[[5, 0, 5]])
    assert torch.equal(y, labels[[5, 0, 5]])


@pytest.mark.parametrize(
    ("indices", "split", "said"),
    [
        ([359], "test", r"0\.\.358 \(test points of digits\), got 359"),
        ([0, 1438], "train", r"0\.\.1437 .*got 1438"),
        ([-1], "test", "got -1"),
        ([], "test", "got none"),
        ([0], "valid", "unknown split 'valid'; possible: test, train"),
    ],
)
def test_points_that_are_not_there(trained: Trainer, indices: list[int], split: Any, said: str) -> None:  # noqa: ANN401
    with pytest.raises(InputError, match=said):
        pick_points(trained, indices, split)


def test_what_the_model_says_is_what_evaluation_mode_says(trained: Trainer) -> None:
    X, y = pick_points(trained, range(359))
    before = everything_of(trained)
    seen = look(trained, X, y)
    assert is_same(before, everything_of(trained))
    trained.model.eval()
    with torch.no_grad():
        logits = trained.model((X - 0.3) / 0.38)
    trained.model.train()
    assert torch.allclose(seen.probabilities.float(), logits.softmax(1), atol=1e-5)
    assert torch.allclose(seen.losses.float(), F.cross_entropy(logits, y, reduction="none"), atol=1e-5)
    assert float((seen.predictions == y).float().mean()) > 0.93  # it has learnt


def test_a_point_is_seen_alone_as_among_others(trained: Trainer) -> None:
    X, y = pick_points(trained, range(20))
    together = look(trained, X, y).losses
    alone = torch.cat([look(trained, X[i : i + 1], y[i : i + 1]).losses for i in range(20)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_bad_points(trained: Trainer) -> None:
    X, y = pick_points(trained, [0, 1])
    for points, labels, said in [
        (X[0], y, "expected points"),
        (X[:, :, :4], y, r"expected points \(B>0, 1, 8, 8\).*got \(2, 1, 4, 8\)"),
        (X, y[:1], "a label each"),
        (X[:0], y[:0], "B>0"),
        (X * 255.0, y, r"pixels in \[0, 1\].*divided by 255"),
        (X * torch.nan, y, r"pixels in \[0, 1\]"),
        (X, y + 10, r"labels in 0\.\.9"),
        (X, y - 10, r"labels in 0\.\.9"),
    ]:
        with pytest.raises(InputError, match=said):
            check_points(trained, points, labels)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["layer1.0.conv1.weight", "bn1.running_var"])
def test_weights_that_are_not_finite_are_named(fresh: Fresh, bad: float, name: str) -> None:
    trainer = fresh("resnet8")
    {**trainer.parameters, **trainer.buffers}[name].data[3] = bad
    X, y = pick_points(trainer, [0])
    with pytest.raises(InputError, match=f"finite weights.*{name}"):
        check_points(trainer, X, y)


def test_the_model_is_given_back_in_its_mode_when_it_fails(trained: Trainer) -> None:
    X, y = pick_points(trained, [0])
    before = everything_of(trained)
    with pytest.raises(RuntimeError):
        look(trained, X.repeat(1, 2, 1, 1), y)  # two channels
    assert is_same(before, everything_of(trained))


def test_half_of_a_dataset_has_half_the_points(trained: Trainer) -> None:
    trainer = Trainer(
        trained.recipe, replace(trained.dataset, pixels=trained.dataset.pixels[:7], labels=trained.dataset.labels[:7])
    )
    with pytest.raises(InputError, match=r"0\.\.6"):
        pick_points(trainer, [7], "train")
