"""Residual networks for small images as published for CIFAR (He et al. 2016, section 4.2)."""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from raypol.core.models.initial_laws import Law, kaiming_normal


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
