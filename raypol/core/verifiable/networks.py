"""What a circuit for one step of a network would take, counted and not proved."""

import math
from functools import lru_cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from raypol.core.models import build_model
from raypol.core.verifiable.integer_model import WEIGHT_BITS


@lru_cache(maxsize=64)
def network_constraints(model: str, sizes: tuple[int, int, int], batch: int) -> float:
    """Constraints of one step of a network, at least: a product each.

    Forward, gradient by the inputs and gradient by the weights are as many multiplications each, so 3 x the forward's
    multiply-adds per point; a weight takes its range checks, 2 x 20 bits and a remainder of 12 + log2 B. Nothing is counted for
    ReLU, batch norm, softmax, momentum, the ranges of activations and the hashes: a lower bound.

    Args:
        model: its name.
        sizes: (C, H, W) of an image.
        batch: B.
    """
    net = build_model(model, in_channels=sizes[0], num_classes=10).eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        net(torch.zeros(1, *sizes))
    products = 3 * counter.get_total_flops() / 2 * batch
    weights = sum(parameter.numel() for parameter in net.parameters())
    return products + weights * (2 * WEIGHT_BITS + 12 + math.log2(batch))
