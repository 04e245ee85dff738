"""A small convolutional network without norm layers, for regimes of many steps."""

from torch import Tensor, nn
from torch.nn import functional as F

_KERNEL = 5


class SimpleConv(nn.Module):
    """Two convolutions with pooling, one linear layer; 5,994 parameters on 28x28 grey images and ten classes.

    No norm layers: nothing but weights is recorded. Average pooling to 4x4 makes it fit images of any size from 16x16 on, and it
    is the identity on 28x28.
    """

    def __init__(self, *, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 8, _KERNEL)
        self.conv2 = nn.Conv2d(8, 16, _KERNEL)
        self.linear = nn.Linear(16 * 4 * 4, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, classes) logits."""
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        logits: Tensor = self.linear(F.adaptive_avg_pool2d(x, 4).flatten(1))
        return logits
