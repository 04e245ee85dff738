"""Models: CIFAR-style residual networks for small images, and own models by import path.

An own model is named `my_pkg.models:make_net`, a function `make_net(*, in_channels, num_classes) -> nn.Module`.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from raypol.core.errors import InputError
from raypol.core.imports import is_import_path, load_object
from raypol.core.initial_laws import Law, kaiming_normal


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a parameter-free shortcut (He et al. 2016, option A: stride and zero-padded channels)."""

    def __init__(self, in_planes: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_planes, planes, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.stride = stride
        self.pad = (planes - in_planes) // 2

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_planes, H, W) -> (B, planes, H / stride, W / stride)."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        shortcut = x[:, :, :: self.stride, :: self.stride] if self.stride > 1 else x
        if self.pad:
            shortcut = F.pad(shortcut, (0, 0, 0, 0, self.pad, self.pad))
        return F.relu(out + shortcut)


class CifarResNet(nn.Module):
    """Residual network for small images (He et al. 2016, section 4.2): three stages of n blocks.

    Widths 16, 32, 64 with n = 3 is the CIFAR ResNet-20: 269,722 parameters for three channels and ten classes, its tensors
    named conv1, bn1, layer1.0.conv1, ..., linear.
    """

    def __init__(self, *, in_channels: int, num_classes: int, widths: tuple[int, int, int], num_blocks: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        planes = (widths[0], *widths)
        for stage in range(3):
            blocks = [
                BasicBlock(
                    planes[stage] if n == 0 else planes[stage + 1],
                    planes[stage + 1],
                    stride=2 if stage > 0 and n == 0 else 1,
                )
                for n in range(num_blocks)
            ]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.linear = nn.Linear(widths[2], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) normalised pixels -> (B, num_classes) logits."""
        out = F.relu(self.bn1(self.conv1(x)))
        for stage in ("layer1", "layer2", "layer3"):
            out = self.get_submodule(stage)(out)
        return self.linear(out.mean(dim=(2, 3)))  # type: ignore[no-any-return]

    def initial_laws(self) -> Mapping[str, Law]:
        """Kaiming normal for every convolution and the classifier; norms and the classifier's bias as torch sets them."""
        return {name: kaiming_normal(p) for name, p in self.named_parameters() if p.dim() > 1}


MODELS: Final[dict[str, Callable[..., nn.Module]]] = {
    "resnet8": partial(CifarResNet, widths=(8, 16, 32), num_blocks=1),
    "resnet20": partial(CifarResNet, widths=(16, 32, 64), num_blocks=3),
}


def build_model(name: str, *, in_channels: int, num_classes: int) -> nn.Module:
    """Model by built-in name or import path, in float32 on the CPU; its values are about to be overwritten.

    Raises:
        InputError: unknown name, or an import path that yields no module.
    """
    if is_import_path(name):
        with torch.random.fork_rng(devices=[]):  # a constructor draws values; nobody else's stream should notice
            torch.default_generator.manual_seed(0)  # prover and verifier must get the same buffers
            model = load_object(name)(in_channels=in_channels, num_classes=num_classes)
        if not isinstance(model, nn.Module):
            raise InputError(f"expected {name} to return a torch.nn.Module, got {type(model).__name__}")
        return model
    if name not in MODELS:
        raise InputError(
            f"unknown model {name!r}; possible: {', '.join(sorted(MODELS))}, or an import path such as my_pkg.models:make_net"
        )
    with torch.random.fork_rng(devices=[]):
        return MODELS[name](in_channels=in_channels, num_classes=num_classes)


def count_parameters(model: nn.Module) -> int:
    """Number of trainable scalars."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
