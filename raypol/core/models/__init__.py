"""Models by name: CIFAR-style and torchvision's residual networks, a small convolutional one, and your own by import path.

Your own model is named `my_pkg.models:make_net`, a function `make_net(*, in_channels, num_classes) -> nn.Module`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import torch
from torch import nn

from raypol.core.errors import InputError, in_short
from raypol.core.imports import call_object, is_import_path
from raypol.core.models.cifar_resnet import CifarResNet
from raypol.core.models.simple_conv import SimpleConv
from raypol.core.models.torchvision_resnet import torchvision_resnet

MODELS: Final[dict[str, Callable[..., nn.Module]]] = {
    "resnet8": partial(CifarResNet, widths=(8, 16, 32), num_blocks=1),
    "resnet20": partial(CifarResNet, widths=(16, 32, 64), num_blocks=3),
    "simple_conv": SimpleConv,
    "resnet18": partial(torchvision_resnet, "resnet18"),
    "resnet18_small": partial(torchvision_resnet, "resnet18", small_images=True),
    "resnet50": partial(torchvision_resnet, "resnet50"),
    "resnet50_small": partial(torchvision_resnet, "resnet50", small_images=True),
}
"""Built-in models; `_small` has the stem for small images."""


def build_model(name: str, *, in_channels: int, num_classes: int) -> nn.Module:
    """Model by built-in name or import path, on the CPU, as its constructor leaves it under a fixed seed.

    Raises:
        InputError: unknown name, an import path that yields no module, or a module that has nothing to train or no sizes yet.
    """
    if in_channels < 1 or num_classes < 1:
        raise InputError(f"expected at least one channel and one class, got {in_channels} and {num_classes}")
    if not is_import_path(name) and name not in MODELS:
        raise InputError(
            f"unknown model {in_short(name)}; possible: {', '.join(MODELS)}, or an import path such as my_pkg.models:make_net"
        )
    shape = {"in_channels": in_channels, "num_classes": num_classes}
    with torch.random.fork_rng(devices=[]):  # a constructor draws values, which must not disturb other streams
        torch.default_generator.manual_seed(0)  # prover and verifier must get the same buffers and given weights
        model = call_object(name, **shape) if is_import_path(name) else MODELS[name](**shape)
    if not isinstance(model, nn.Module):
        raise InputError(f"expected {name} to return a torch.nn.Module, got {type(model).__name__}")
    lazy = [key for key, tensor in (*model.named_parameters(), *model.named_buffers()) if nn.parameter.is_lazy(tensor)]
    if lazy:
        raise InputError(
            f"model {name}: {lazy[0]} has no shape before the first batch; expected modules with their sizes, such as "
            "nn.Linear(64, 10) for nn.LazyLinear(10)"
        )
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise InputError(f"model {name} has no parameters to train")
    _set_modes(model)
    return model


def _set_modes(model: nn.Module) -> None:
    """Training mode but for what is in evaluation mode by the constructor's doing, or by a `train` of the module's own."""
    evaluated = [module for module in model.modules() if not module.training]
    if model.training:
        model.train()  # models that freeze their norm layers often do so here
    for module in evaluated:
        module.training = False


def count_parameters(model: nn.Module) -> int:
    """Number of trainable scalars."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSize:
    """How large a model and its checkpoints are."""

    num_parameters: int
    """Trainable scalars."""
    num_tensors: int
    """Recorded as weights, trainable or not."""
    weight_bytes: int
    """Of the recorded weights."""
    buffer_bytes: int
    """Of the norm layers' statistics and other buffers."""
    momentum_bytes: int
    """Of the state of SGD with momentum: one number per trainable scalar."""

    @property
    def checkpoint_bytes(self) -> int:
        """Weights, buffers and momentum: what a proof records every k steps, before compression."""
        return self.weight_bytes + self.buffer_bytes + self.momentum_bytes


def model_size(model: nn.Module) -> ModelSize:
    """Counts of a model; it may be on the meta device."""
    parameters, trainable = list(model.parameters()), [p for p in model.parameters() if p.requires_grad]
    return ModelSize(
        num_parameters=count_parameters(model),
        num_tensors=len(parameters),
        weight_bytes=sum(p.nbytes for p in parameters),
        buffer_bytes=sum(b.nbytes for b in model.buffers()),
        momentum_bytes=sum(p.nbytes for p in trainable),
    )
