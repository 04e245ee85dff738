"""The benchmark of forgeries runs on a tiny model, and compares the same work."""

import pytest
import torch

from benchmarks.forgeries import FRESH, RECORDED, Setting, cheap_forgeries, search_ratios
from raypol.core.datasets.dataset import Dataset
from raypol.core.training.train_config import TrainConfig


@pytest.fixture
def setting(digits: Dataset) -> Setting:
    train = TrainConfig(model="tests.toys:mlp", steps=40, interval=10, batch_size=32)
    return Setting(train=train, data=digits, device=torch.device("cpu"))


def test_honest_errors_are_those_of_fresh_augmentation(setting: Setting) -> None:
    proof = setting.prove()
    assert all(one.error.l2 == 0.0 for one in setting.replays(proof, RECORDED))
    assert len(setting.replays(proof, FRESH, every=3)) == 2
    assert all(one.error.l2 > 0.0 for one in setting.replays(proof, FRESH))


def test_cheap_forgeries_are_counted(setting: Setting) -> None:
    ratios = {ratio.claim: ratio for ratio in cheap_forgeries(setting, setting.prove(), repeats=1)}
    assert list(ratios["selected of 320, no momentum, T' = T: gradient evaluations"].values) == [0.0]
    assert all(len(ratio.values) == 1 and ratio.line() for ratio in ratios.values())


def test_both_objectives_search_from_the_same_start(setting: Setting) -> None:
    found = [ratio for ratio in search_ratios(setting, setting.prove(), repeats=1) if "grad" in ratio.claim]
    assert [ratio.values[0] for ratio in found if "|grad|^2" in ratio.claim] == pytest.approx([1.0, 1.0], abs=0.1)
