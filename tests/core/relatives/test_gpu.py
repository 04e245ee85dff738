"""The relatives on a CUDA device. Where there is none these tests skip, and pytest says so."""

import pytest
import torch

from raypol.core.datasets.load import load_dataset
from raypol.core.relatives.adversarial import Adversarial, adversarial_example
from raypol.core.relatives.dlg import DLG, psnr, recover, shared_gradient
from raypol.core.relatives.points import pick_points
from raypol.core.training.prover import initial_checkpoint
from raypol.core.training.trainer import Trainer
from tests.core.relatives.conftest import recipe_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_examples_are_as_good_as_on_a_cpu(trained: Trainer) -> None:
    there = Trainer(trained.recipe, trained.dataset, "cuda")
    there.load(trained.snapshot(300))
    here, gone = (adversarial_example(t, *pick_points(t, range(100)), Adversarial()) for t in (trained, there))
    assert gone.crafted.device.type == "cpu"
    assert float(gone.linf.max()) <= 8 / 255 + 1e-6
    assert torch.allclose(gone.after.losses, here.after.losses, rtol=0.05, atol=1e-3)


def test_a_digit_is_recovered() -> None:
    data = load_dataset("digits")
    recipe = recipe_of(data, "tests.core.relatives.conftest:sigmoid_net")
    trainer = Trainer(recipe, data, "cuda")
    trainer.load(initial_checkpoint(recipe, data))
    X, y = pick_points(trainer, [0])
    found = recover(trainer, shared_gradient(trainer, X, y), DLG(label="inferred"))
    assert found.label == int(y)
    assert psnr(X[0].cpu(), found.image) > 35.0
