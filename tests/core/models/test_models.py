"""Residual networks as published, own models by import path."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from raypol.core.errors import InputError
from raypol.core.imports import is_import_path, load_object
from raypol.core.models import MODELS, ModelSize, build_model, count_parameters, model_size
from raypol.core.models.cifar_resnet import BasicBlock

OWN_MODELS = ["mlp", "dropout_mlp", "group_norm_net", "scaled_mlp", "random_features", "warming_mlp", "frozen_body"]


def resnet20_names() -> list[str]:
    names = ["conv1.weight", "bn1.weight", "bn1.bias"]
    for layer in (1, 2, 3):
        for block in (0, 1, 2):
            for part in ("conv1.weight", "bn1.weight", "bn1.bias", "conv2.weight", "bn2.weight", "bn2.bias"):
                names.append(f"layer{layer}.{block}.{part}")
    return [*names, "linear.weight", "linear.bias"]


def test_resnet20_has_the_published_size_and_names() -> None:
    model = build_model("resnet20", in_channels=3, num_classes=10)
    assert count_parameters(model) == 269_722
    assert [name for name, _ in model.named_parameters()] == resnet20_names()
    assert [name for name, _ in model.named_buffers()] == [
        f"{name.removesuffix('.weight')}.{kind}"
        for name in resnet20_names()
        if ".bn" in f".{name}" and name.endswith(".weight")
        for kind in ("running_mean", "running_var", "num_batches_tracked")
    ]


def test_only_trainable_scalars_count() -> None:
    model = build_model("tests.toys:frozen_body", in_channels=1, num_classes=10)
    assert count_parameters(model) == 12 * 10 + 10


@pytest.mark.parametrize(("name", "channels"), [("resnet8", 1), ("resnet8", 3), ("resnet20", 3)])
@pytest.mark.parametrize("size", [8, 32, 7])
def test_logits_come_out_for_any_image_size(name: str, channels: int, size: int) -> None:
    model = build_model(name, in_channels=channels, num_classes=7)
    assert model(torch.rand(2, channels, size, size)).shape == (2, 7)


@pytest.mark.parametrize("size", [16, 28, 33, 224])
def test_a_small_convolution_takes_images_from_16x16_on_and_records_weights_alone(size: int) -> None:
    model = build_model("simple_conv", in_channels=3, num_classes=7)
    x = torch.rand(2, 3, size, size)
    assert model(x).shape == (2, 7)
    assert not list(model.buffers())
    hidden = F.max_pool2d(F.relu(model.get_submodule("conv1")(x)), 2)
    hidden = F.max_pool2d(F.relu(model.get_submodule("conv2")(hidden)), 2)
    if size == 28:
        assert torch.equal(model.get_submodule("linear")(hidden.flatten(1)), model(x)), "nothing is averaged"


@pytest.mark.parametrize(
    ("name", "in_channels", "num_classes", "expected"),
    [
        # torchvision publishes 11,689,512 and 25,557,032 for 1,000 classes.
        ("resnet18", 3, 1000, 11_689_512),
        ("resnet50", 3, 1000, 25_557_032),
        ("resnet18", 3, 10, 11_689_512 - 990 * 513),
        ("resnet18", 1, 10, 11_689_512 - 990 * 513 - 2 * 64 * 49),
        ("resnet50", 3, 100, 25_557_032 - 900 * 2049),
        ("resnet18_small", 3, 10, 11_689_512 - 990 * 513 - 3 * 64 * (49 - 9)),
        ("resnet50_small", 3, 100, 25_557_032 - 900 * 2049 - 3 * 64 * (49 - 9)),
        ("resnet20", 3, 10, 269_722),
        ("resnet8", 1, 10, 19_074),
        ("simple_conv", 1, 10, 8 * 26 + 16 * (8 * 25 + 1) + 10 * 257),
        ("simple_conv", 3, 10, 8 * 76 + 16 * (8 * 25 + 1) + 10 * 257),
    ],
)
def test_sizes_are_the_published_ones(name: str, in_channels: int, num_classes: int, expected: int) -> None:
    with torch.device("meta"):
        model = build_model(name, in_channels=in_channels, num_classes=num_classes)
    assert count_parameters(model) == expected
    size = model_size(model)
    assert (size.num_parameters, size.weight_bytes, size.momentum_bytes) == (expected, 4 * expected, 4 * expected)


@pytest.mark.parametrize("kind", ["resnet18", "resnet50"])
def test_torchvisions_networks_keep_their_tensors_and_their_arithmetic(kind: str) -> None:
    from torchvision.models import resnet

    theirs = getattr(resnet, kind)(weights=None, num_classes=7).eval()
    ours = build_model(kind, in_channels=3, num_classes=7).eval()
    ours.load_state_dict(theirs.state_dict())  # every name, every shape
    x = torch.rand(1, 3, 64, 64)
    assert torch.equal(ours(x), theirs(x))


def test_the_small_stem_keeps_the_image() -> None:
    x, seen = torch.rand(1, 1, 16, 16), []
    for name in ("resnet18", "resnet18_small"):
        model = build_model(name, in_channels=1, num_classes=10).eval()
        model.get_submodule("layer1").register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape)))
        assert model(x).shape == (1, 10)
    assert seen == [(1, 64, 4, 4), (1, 64, 16, 16)]


def test_a_checkpoint_is_weights_statistics_and_momentum() -> None:
    # One trainable layer of 12 x 10 + 10 after a frozen one; batch norm would add its statistics.
    frozen = model_size(build_model("tests.toys:frozen_body", in_channels=1, num_classes=10))
    assert frozen.num_parameters == 130
    assert frozen.momentum_bytes == 520 < frozen.weight_bytes
    norm = model_size(nn.BatchNorm2d(5))
    assert norm == ModelSize(num_parameters=10, num_tensors=2, weight_bytes=40, buffer_bytes=48, momentum_bytes=40)
    assert norm.checkpoint_bytes == 128


@pytest.mark.parametrize(("channels", "classes"), [(0, 10), (3, 0), (-1, 10)])
@pytest.mark.parametrize("name", [*MODELS, "tests.toys:mlp"])
def test_a_model_of_no_channels_or_classes_is_an_error(name: str, channels: int, classes: int) -> None:
    with pytest.raises(InputError, match="expected at least one"):
        build_model(name, in_channels=channels, num_classes=classes)


@pytest.mark.parametrize(("planes", "stride"), [(4, 1), (8, 2), (8, 1), (4, 2)])
def test_a_block_without_its_convolutions_is_the_parameter_free_shortcut(planes: int, stride: int) -> None:
    block = BasicBlock(4, planes, stride)
    nn.init.zeros_(block.bn2.weight)
    x = torch.randn(3, 4, 6, 6)
    expected = torch.zeros(3, planes, 6 // stride, 6 // stride)
    before = (planes - 4) // 2
    expected[:, before : before + 4] = F.relu(x[:, :, ::stride, ::stride])
    assert torch.equal(block(x), expected)


def test_the_first_block_of_a_stage_halves_the_image() -> None:
    model = build_model("resnet20", in_channels=3, num_classes=10)
    x = torch.rand(2, 3, 32, 32)
    sizes = []
    x = F.relu(model.get_submodule("bn1")(model.get_submodule("conv1")(x)))
    for layer in ("layer1", "layer2", "layer3"):
        x = model.get_submodule(layer)(x)
        sizes.append(tuple(x.shape[1:]))
    assert sizes == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]


@pytest.mark.parametrize("name", ["resnet8", *(f"tests.toys:{own}" for own in OWN_MODELS)])
def test_building_leaves_the_callers_random_numbers_alone(name: str) -> None:
    state = torch.get_rng_state()
    build_model(name, in_channels=1, num_classes=10)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", [f"tests.toys:{own}" for own in OWN_MODELS])
def test_own_models_by_import_path(name: str) -> None:
    model = build_model(name, in_channels=1, num_classes=10)
    assert model(torch.rand(3, 1, 8, 8)).shape == (3, 10)
    assert all(p.dtype == torch.float32 for p in model.parameters())


@pytest.mark.parametrize("name", ["resnet8", "tests.toys:random_features"])
def test_a_model_is_built_the_same_whenever_it_is_built(name: str) -> None:
    # What a constructor draws into a buffer is drawn again by the verifier: it must be the same.
    first = build_model(name, in_channels=1, num_classes=10)
    torch.rand(7)
    again = build_model(name, in_channels=1, num_classes=10)
    for (key, a), (_, b) in zip(first.named_buffers(), again.named_buffers(), strict=True):
        assert torch.equal(a, b), key


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet21", "unknown model 'resnet21'; possible: resnet8, resnet20, simple_conv, resnet18, "),
        ("tests.toys:no_such_model", "cannot import"),
        ("tests.no_such_module:mlp", "cannot import"),
        ("tests.toys:", "cannot import"),
        (":mlp", "cannot import"),
        ("tests.toys:not_a_module", "to return a torch.nn.Module, got str"),
    ],
)
def test_a_name_that_means_no_model_is_an_error(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_model(name, in_channels=1, num_classes=10)


# --- import paths ----------------------------------------------------------------------------------------------------


def test_objects_are_found_by_module_and_dotted_name() -> None:
    assert load_object("math:pi") == math.pi
    assert load_object("pathlib:Path.cwd")() == Path.cwd()
    assert is_import_path("a:b")
    assert not is_import_path("resnet20")


def test_a_module_in_the_current_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    (tmp_path / "a_module_of_my_own.py").write_text("ANSWER = 42\n")
    monkeypatch.chdir(tmp_path)
    assert load_object("a_module_of_my_own:ANSWER") == 42
