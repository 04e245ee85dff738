"""The rehearsal of models before anything is started: what it says, what it leaves alone, and the memory format it decides."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from raypol import Dataset, Recipe, SpoofConfig, TrainConfig, load_dataset, prove, spoof, verify
from raypol.core.errors import InputError
from raypol.core.models.rehearsal import Rehearsal, rehearse, takes_channels_last
from raypol.core.training.trainer import Trainer
from raypol.core.verification.policies import find_policy
from tests.toys import EXACT, toy_recipe

HERE = __name__


class Bent(nn.Module):
    """A linear layer whose logits go through a function of the case's."""

    def __init__(self, bend: Callable[[Tensor], Any], num_classes: int) -> None:
        super().__init__()
        self.layer, self.unused, self.bend = nn.Linear(64, num_classes), nn.Linear(2, 2), bend

    def forward(self, x_BCHW: Tensor) -> Any:  # noqa: ANN401 - that is the point
        return self.bend(self.layer(x_BCHW.flatten(1)))


def fine(*, in_channels: int, num_classes: int) -> nn.Module:
    del in_channels
    return Bent(lambda logits: logits, num_classes)


def pair(*, in_channels: int, num_classes: int) -> nn.Module:
    del in_channels
    return Bent(lambda logits: (logits, logits), num_classes)


def table(*, in_channels: int, num_classes: int) -> nn.Module:
    del in_channels
    return Bent(lambda logits: {"logits": logits}, num_classes)


def narrow(*, in_channels: int, num_classes: int) -> nn.Module:
    del in_channels, num_classes
    return Bent(lambda logits: logits, 3)


def cut(*, in_channels: int, num_classes: int) -> nn.Module:
    del in_channels
    return Bent(lambda logits: logits.detach(), num_classes)


def in_place(*, in_channels: int, num_classes: int) -> nn.Module:
    del in_channels
    return Bent(lambda logits: logits.exp().add_(1).sub_(1), num_classes)


def raising(*, in_channels: int, num_classes: int) -> nn.Module:
    raise RuntimeError(f"no weights for {in_channels} channels\nand {num_classes} classes")


def big_images(*, in_channels: int, num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * 32 * 32, num_classes))


def maps(*, in_channels: int, num_classes: int) -> nn.Module:
    return nn.Conv2d(in_channels, num_classes, 3)


def lazy(*, in_channels: int, num_classes: int) -> nn.Module:
    del in_channels
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))


def empty(*, in_channels: int, num_classes: int) -> nn.Module:
    del in_channels
    return nn.Sequential(nn.AdaptiveAvgPool2d((1, num_classes)), nn.Flatten())


def still(*, in_channels: int, num_classes: int) -> nn.Module:
    return big_images(in_channels=in_channels, num_classes=num_classes).requires_grad_(requires_grad=False)


def sized(width: int) -> nn.Module:
    return nn.Linear(width, width)


def batch_norm(*, in_channels: int, num_classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(in_channels * 64, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, num_classes)
    )


class TrainedOnly(nn.Module):
    """Fails in evaluation mode alone."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(64, num_classes)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        logits: Tensor = self.layer(x_BCHW.flatten(1))
        return logits if self.training else logits.softmax(1).argmax(1)


def trained_only(*, in_channels: int, num_classes: int) -> nn.Module:
    del in_channels
    return TrainedOnly(num_classes)


class _View(nn.Module):
    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW.view(x_BCHW.size(0), -1)


def view(*, in_channels: int, num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(in_channels, 2, 3), _View(), nn.Linear(72, num_classes))


def solid(*, in_channels: int, num_classes: int) -> nn.Module:
    """A convolution with weights of five dimensions, which have no channels_last."""
    return nn.Sequential(
        nn.Unflatten(1, (1, in_channels)),
        nn.Conv3d(1, 2, (in_channels, 3, 3)),
        nn.Flatten(),
        nn.Linear(72, num_classes),
    )


def asked(name: str, **changes: Any) -> Rehearsal:  # noqa: ANN401 - any field of Rehearsal
    return Rehearsal(**{"model": f"{HERE}:{name}", "image_shape": (1, 8, 8), "num_classes": 10, **changes})


def training(name: str, **changes: Any) -> TrainConfig:  # noqa: ANN401 - any field of TrainConfig
    shape: dict[str, Any] = {"model": f"{HERE}:{name}", "steps": 4, "interval": 2, "batch_size": 8}
    return TrainConfig(**{**shape, **changes})


def declared(data: Dataset, name: str, **changes: Any) -> Recipe:  # noqa: ANN401 - as above
    return training(name, **changes).recipe(data, device="cpu", threads=1)


# --- what it says ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("pair", "returns a tuple, expected logits of shape (B, 10)"),
        ("table", "returns a dict, expected logits of shape (B, 10)"),
        ("narrow", "returns a tensor of shape (2, 3) for 2 images of 1x8x8, expected logits of shape (B, 10)"),
        ("maps", "returns a tensor of shape (2, 10, 6, 6) for 2 images of 1x8x8, expected logits"),
        ("cut", "the output of model tests.core.models.test_rehearsal:cut has no gradient"),
        ("in_place", "cannot make a step on 2 images of 1x8x8: RuntimeError: one of the variables needed for gradient"),
        ("raising", "raising failed: RuntimeError: no weights for 1 channels (test_rehearsal.py, line "),
        (
            "big_images",
            "cannot make a step on 2 images of 1x8x8: RuntimeError: mat1 and mat2 shapes cannot be multiplied",
        ),
        ("lazy", "1.weight has no shape before the first batch"),
        ("empty", "has no parameters to train"),
        ("still", "has no parameters to train"),
        ("sized", "a function of (in_channels, num_classes), given by name: missing a required argument: 'width'"),
        ("HERE", "to be a function of (in_channels, num_classes), given by name; got str"),
        ("trained_only", "returns a tensor of shape (2,) for 2 images"),
    ],
)
def test_a_model_that_cannot_be_trained_is_one_line(name: str, said: str, digits: Dataset) -> None:
    with pytest.raises(InputError) as caught:
        declared(digits, name)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError):  # the library's own way, with a recipe
        prove(toy_recipe(digits, model=f"{HERE}:{name}"), digits)


def test_a_batch_of_one_is_rehearsed_with_one(digits: Dataset) -> None:
    assert prove(training("batch_norm"), digits).checkpoint_steps == [0, 2, 4]
    with pytest.raises(InputError, match=r"on 1 image of 1x8x8: .*; on 2 it can: give --batch-size 2 or more"):
        declared(digits, "batch_norm", batch_size=1)
    assert declared(digits, "fine", batch_size=1).batch_size == 1


def test_a_built_in_model_is_rehearsed_too(digits: Dataset) -> None:
    with pytest.raises(InputError, match=r"model resnet18 cannot make a step on 1 image .*; on 2 it can"):
        declared(digits, "", model="resnet18", batch_size=1)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def make(:\n", "SyntaxError: invalid syntax (broken.py, line 1)"),
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module' (broken.py, line 1)"),
        ("x = 1\nraise RuntimeError('at import')\n", "RuntimeError: at import (broken.py, line 2)"),
        ("import sys\nsys.exit('usage')\n", "SystemExit: usage (broken.py, line 2)"),
    ],
)
def test_a_module_that_fails_while_it_is_imported_is_one_line(
    code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: Dataset
) -> None:
    (tmp_path / "broken.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    kinds: list[Callable[[], object]] = [
        lambda: declared(digits, "", model="broken:make"),
        lambda: load_dataset("broken:make"),
        lambda: find_policy("broken:make"),
    ]
    for use in kinds:
        with pytest.raises(InputError) as caught:
            use()
        assert str(caught.value) == f"cannot import 'broken:make' as module:object: {said}"


def test_the_functions_of_ones_own_datasets_and_laws_fail_in_one_line(
    monkeypatch: pytest.MonkeyPatch, digits: Dataset
) -> None:
    with pytest.raises(InputError, match=r"test_rehearsal:fine to be a function without arguments: missing"):
        load_dataset(f"{HERE}:fine")
    monkeypatch.setattr(Bent, "initial_laws", lambda _: dict[str, Any]()["layer"], raising=False)
    with pytest.raises(
        InputError, match=r"initial_laws\(\) failed: KeyError: 'layer' \(test_rehearsal\.py, line \d+\)"
    ):
        declared(digits, "fine")


def test_a_model_that_was_changed_since_is_one_line_for_the_verifier(
    monkeypatch: pytest.MonkeyPatch, digits: Dataset
) -> None:
    proof = prove(training("fine"), digits)
    monkeypatch.setitem(globals(), "fine", pair)
    with pytest.raises(InputError, match=r"test_rehearsal:fine returns a tuple"):
        verify(proof, digits)
    monkeypatch.undo()
    assert verify(proof, digits).is_valid, "a mended function is rehearsed anew"


# --- what it leaves alone ----------------------------------------------------------------------------------------------


def test_it_is_made_once_and_touches_neither_models_nor_random_numbers(
    monkeypatch: pytest.MonkeyPatch, digits: Dataset
) -> None:
    built = []

    def counted(*, in_channels: int, num_classes: int) -> nn.Module:
        built.append(batch_norm(in_channels=in_channels, num_classes=num_classes))
        return built[-1]

    monkeypatch.setitem(globals(), "counted", counted)
    state = torch.get_rng_state()
    recipe = toy_recipe(digits, model=f"{HERE}:counted")
    first, second = Trainer(recipe, digits), Trainer(recipe, digits)
    assert torch.equal(torch.get_rng_state(), state)
    assert [model in built[1:] for model in (first.model, second.model)] == [True, True]
    assert len(built) == 3, "one for the rehearsal, one for each trainer"
    assert [int(model.get_buffer("2.num_batches_tracked")) for model in built] == [1, 0, 0]
    assert all(p.grad is None for model in built[1:] for p in model.parameters())


def test_it_names_parameters_that_no_gradient_reaches() -> None:
    assert rehearse(asked("fine")) == ("unused.weight", "unused.bias")
    assert rehearse(asked("batch_norm")) == ()


# --- the memory format -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"), [("view", False), ("solid", False), ("batch_norm", True), ("fine", True)]
)
def test_auto_takes_channels_last_where_the_model_does(name: str, expected: bool, digits: Dataset) -> None:
    assert takes_channels_last(asked(name)) == expected
    proof = prove(training(name), digits)
    assert proof.recipe.channels_last == expected, "a replay need not guess"
    assert verify(proof, digits, thresholds=EXACT).is_valid


def test_a_memory_format_that_is_asked_for_is_taken_or_refused(digits: Dataset) -> None:
    assert declared(digits, "batch_norm", memory_format="contiguous").channels_last is False
    assert declared(digits, "batch_norm", memory_format="channels_last").channels_last is True
    for name in ("view", "solid"):
        with pytest.raises(InputError, match=r"memory format channels_last: .*: give --memory-format auto$"):
            declared(digits, name, memory_format="channels_last")
    with pytest.raises(InputError, match="unknown memory_format 'wide'; possible: auto, channels_last, contiguous"):
        training("view", memory_format="wide")


@pytest.mark.parametrize("attack", ["null", "i", "ii", "iii", "iii_loss", "selected", "forged_momentum"])
def test_attacks_compute_in_the_proofs_memory_format(attack: str, digits: Dataset) -> None:
    """Also where the dataset's own tensor has other strides, as `permute` leaves it."""
    strided = digits.pixels.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    data = Dataset(
        name="strided",
        pixels=torch.cat([strided, strided], 1),
        labels=digits.labels,
        test_pixels=torch.cat([digits.test_pixels, digits.test_pixels], 1),
        test_labels=digits.test_labels,
        num_classes=10,
    )
    proof = prove(training("view"), data)
    assert not proof.recipe.channels_last
    forged = spoof(proof, data, attack, SpoofConfig(steps=2, interval=2))
    assert forged.recipe.channels_last == proof.recipe.channels_last
    assert "structure" not in verify(forged, data).rejected_by


def test_trials_keep_their_names_unless_a_format_is_asked_for() -> None:
    assert "memory_format" not in repr(TrainConfig())
    assert repr(TrainConfig(memory_format="contiguous")) != repr(TrainConfig(memory_format="channels_last"))
