"""Models as honest users bring them: loaded weights, buffers of every dtype, modules left in evaluation mode, empty
layers, parametrised layers.
"""

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from raypol.core.models.initial_laws import Constant, Given, Law, Normal, Uniform

BACKBONE: Final = {"weight": 0.111, "bias": 0.5}
"""What the loaded layer of `pretrained` and its like has in every entry."""
_HEAD: Final = Uniform(1 / 8)  # torch's law of a linear layer with 64 inputs, weight and bias alike


class Flat(nn.Module):
    """Images of any size, averaged to size x size pixels, in rows."""

    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(x, self.size).flatten(1)


class Declared(nn.Sequential):
    """Layers in a row, with laws that the model declares."""

    def __init__(self, *layers: nn.Module, **laws: Law) -> None:
        super().__init__(*layers)
        self._laws = {name.replace("__", "."): law for name, law in laws.items()}

    def initial_laws(self) -> dict[str, Law]:
        return self._laws


def _backbone(in_channels: int, *, frozen: bool) -> nn.Conv2d:
    layer = nn.Conv2d(in_channels, 4, 3)
    layer.load_state_dict({name: torch.full_like(layer.get_parameter(name), value) for name, value in BACKBONE.items()})
    layer.requires_grad_(not frozen)
    return layer


def pretrained(*, in_channels: int, num_classes: int) -> nn.Module:
    """A frozen layer with loaded weights, and no word about it."""
    return nn.Sequential(_backbone(in_channels, frozen=True), Flat(6), nn.Linear(144, num_classes))


def loaded(*, in_channels: int, num_classes: int) -> nn.Module:
    """The same, to be trained on."""
    return nn.Sequential(_backbone(in_channels, frozen=False), Flat(6), nn.Linear(144, num_classes))


def tuned_head(*, in_channels: int, num_classes: int) -> nn.Module:
    """A frozen layer that is declared as given, and a head that is drawn."""
    return Declared(
        *(_backbone(in_channels, frozen=True), Flat(6), nn.Linear(144, num_classes)),
        **{"0__weight": Given(), "0__bias": Given()},
    )


def tuned_whole(*, in_channels: int, num_classes: int) -> nn.Module:
    """The same, all of it trained."""
    return Declared(
        *(_backbone(in_channels, frozen=False), Flat(6), nn.Linear(144, num_classes)),
        **{"0__weight": Given(), "0__bias": Given()},
    )


def constant_backbone(*, in_channels: int, num_classes: int) -> nn.Module:
    """A frozen layer whose law is a constant that float32 rounds."""
    return Declared(
        *(_backbone(in_channels, frozen=True), Flat(6), nn.Linear(144, num_classes)),
        **{"0__weight": Constant(BACKBONE["weight"]), "0__bias": Constant(BACKBONE["bias"])},
    )


class Buffered(nn.Module):
    """One layer after a chain of buffers of every kind."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(64, num_classes)
        mask = torch.arange(64) % 3 > 0
        self.register_buffer("order", torch.randperm(64))
        self.register_buffer("mask", mask)
        self.register_buffer("levels", torch.arange(64, dtype=torch.uint8))
        self.register_buffer("short", torch.arange(64, dtype=torch.int16))
        self.register_buffer("scale", torch.linspace(0.3, 1.0, 64, dtype=torch.float64))
        self.register_buffer("freqs_cis", torch.polar(torch.ones(32), torch.linspace(0, 3, 32)).conj())
        self.register_buffer("attention", torch.zeros(64).masked_fill(~mask, -math.inf))
        self.register_buffer("turn", torch.ones(2, dtype=torch.complex64))
        self.register_buffer("seen", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        b = dict(self.named_buffers())
        if self.training:
            b["seen"] += 1
            b["turn"] *= torch.polar(torch.ones(2), torch.tensor([0.1, 0.2]))
        pairs = torch.view_as_complex(
            nn.functional.adaptive_avg_pool2d(x, 8).flatten(1)[:, b["order"]].reshape(-1, 32, 2).contiguous()
        )
        turned = torch.view_as_real(pairs * b["freqs_cis"] * b["turn"][0]).flatten(1)
        scaled = (turned * b["scale"] + b["levels"] / 255 + b["short"] / 64) * b["mask"]
        out: Tensor = self.fc(scaled * torch.softmax(scaled + b["attention"], 1) * 64)
        return out


def buffered(*, in_channels: int, num_classes: int) -> nn.Module:
    del in_channels
    return Buffered(num_classes)


def frozen_norm(*, in_channels: int, num_classes: int) -> nn.Module:
    """A norm layer in evaluation mode, as the constructor left it."""
    net = _normed(in_channels, num_classes)
    net[1].eval()
    return net


def loaded_norm(*, in_channels: int, num_classes: int) -> nn.Module:
    """A norm layer with the statistics and the counter of an earlier training."""
    net = _normed(in_channels, num_classes)
    net[1].load_state_dict(
        {**net[1].state_dict(), "running_mean": torch.ones(4), "num_batches_tracked": torch.tensor(1000)}
    )
    return net


class _KeepsNorm(nn.Sequential):
    def train(self, mode: bool = True) -> "_KeepsNorm":
        super().train(mode)
        self[1].eval()
        return self


def norm_frozen_by_train(*, in_channels: int, num_classes: int) -> nn.Module:
    """A norm layer in evaluation mode whenever the model is told to train: the usual way to freeze it."""
    return _KeepsNorm(*_normed(in_channels, num_classes))


def still_dropout(*, in_channels: int, num_classes: int) -> nn.Module:
    """One dropout that drops, and one in evaluation mode."""
    del in_channels
    net = nn.Sequential(Flat(), nn.Dropout(0.9), nn.Linear(64, 12), nn.Dropout(0.5), nn.Linear(12, num_classes))
    net[1].eval()
    return net


def wholly_evaluating(*, in_channels: int, num_classes: int) -> nn.Module:
    return _normed(in_channels, num_classes).eval()


def _normed(in_channels: int, num_classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, 4, 3), nn.BatchNorm2d(4), Flat(6), nn.Dropout(0.1), nn.Linear(144, num_classes)
    )


class _Unused(nn.Module):
    """Parameters that no forward pass uses, among them some without entries."""

    def __init__(self, num_classes: int, extra: nn.Module) -> None:
        super().__init__()
        self.fc, self.extra = nn.Linear(64, num_classes), extra

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(nn.functional.adaptive_avg_pool2d(x, 8).flatten(1))
        return out


def empty_head(*, in_channels: int, num_classes: int) -> nn.Module:
    del in_channels
    return _Unused(num_classes, nn.Linear(4, 0))


def empty_input(*, in_channels: int, num_classes: int) -> nn.Module:
    """A weight without entries and a bias with some, which torch sets to 0; and a norm layer of nothing."""
    del in_channels
    return _Unused(num_classes, nn.Sequential(nn.Linear(0, 3), nn.BatchNorm1d(0), nn.Linear(1, 1)))


def _parametrised(layer: nn.Module, **laws: Law) -> nn.Module:
    return Declared(Flat(), layer, **{"1__bias": _HEAD, **laws})


def weight_norm(*, in_channels: int, num_classes: int) -> nn.Module:
    layer = parametrizations.weight_norm(nn.Linear(64 * in_channels, num_classes))
    name = "1__parametrizations__weight__original"
    laws: dict[str, Law] = {f"{name}0": Constant(0.5), f"{name}1": _HEAD}
    return _parametrised(layer, **laws)


def spectral_norm(*, in_channels: int, num_classes: int) -> nn.Module:
    layer = parametrizations.spectral_norm(nn.Linear(64 * in_channels, num_classes))
    return _parametrised(layer, **{"1__parametrizations__weight__original": _HEAD})


def orthogonal(*, in_channels: int, num_classes: int) -> nn.Module:
    layer = parametrizations.orthogonal(nn.Linear(64 * in_channels, num_classes))
    return _parametrised(layer, **{"1__parametrizations__weight__original": Given()})


def old_weight_norm(*, in_channels: int, num_classes: int) -> nn.Module:
    layer = nn.utils.weight_norm(nn.Linear(64 * in_channels, num_classes))
    laws: dict[str, Law] = {"1__weight_g": Given(), "1__weight_v": _HEAD}
    return _parametrised(layer, **laws)


def old_spectral_norm(*, in_channels: int, num_classes: int) -> nn.Module:
    layer = nn.utils.spectral_norm(nn.Linear(64 * in_channels, num_classes))
    return _parametrised(layer, **{"1__weight_orig": _HEAD})


def undeclared_spectral_norm(*, in_channels: int, num_classes: int) -> nn.Module:
    return nn.Sequential(Flat(), parametrizations.spectral_norm(nn.Linear(64 * in_channels, num_classes)))


PARAMETRISED: Final = ["weight_norm", "spectral_norm", "orthogonal", "old_weight_norm", "old_spectral_norm"]


def complex_weight(*, in_channels: int, num_classes: int) -> nn.Module:
    """A parameter of complex numbers, which no law is for."""
    net = Declared(Flat(), nn.Linear(64 * in_channels, num_classes))
    net[1].register_parameter("phase", nn.Parameter(torch.ones(3, dtype=torch.complex64)))
    return net


def underflowing(*, in_channels: int, num_classes: int) -> nn.Module:
    """A law narrower than float32's smallest number."""
    return Declared(Flat(), nn.Linear(64 * in_channels, num_classes), **{"1__weight": Normal(1e-50)})
