"""torchvision's residual networks (He et al. 2016, section 4.1), untrained, with their tensors' names."""

from torch import nn


def torchvision_resnet(kind: str, *, in_channels: int, num_classes: int, small_images: bool = False) -> nn.Module:
    """A network of torchvision.models.resnet, its first convolution and its classifier made to fit.

    Its initial laws are torchvision's, known to `raypol.core.models.initial_laws`: fan-out normal for convolutions, constants for
    norms, torch's default for the classifier.

    Args:
        kind: resnet18 or resnet50.
        in_channels: of the images.
        num_classes: of the classifier.
        small_images: a first convolution of 3x3 without stride and no max-pooling, so that 32x32 is not reduced to 8x8
            before the first block; False = the published stem for 224x224 (7x7, stride 2, max-pooling).
    """
    from torchvision.models import resnet  # 1.7 s of import

    model: nn.Module = getattr(resnet, kind)(weights=None, num_classes=num_classes)
    if small_images:
        model.conv1 = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
        model.maxpool = nn.Identity()
    elif in_channels != 3:
        model.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
    nn.init.kaiming_normal_(
        model.get_parameter("conv1.weight"), mode="fan_out", nonlinearity="relu"
    )  # as torchvision draws its own
    return model
