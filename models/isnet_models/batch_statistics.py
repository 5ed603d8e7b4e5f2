"""BatchNorm statistics of other weights or other images than those of the training."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


def estimate_statistics(net: nn.Module, show: Callable[[], None]) -> int:
    """Gives BatchNorm layers the statistics of what they see, in place of those of the training.

    Each layer keeps the plain mean of the batches' means and variances. Layers that stay in
    evaluation mode while the network trains, as in a frozen part, keep what they have.

    Args:
        net: The network; in evaluation mode afterwards.
        show: Passes all batches through it, each as large as the next.

    Returns:
        How many layers there are; with none, nothing is shown.
    """
    net.train()
    layers = [
        layer for layer in net.modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm)
        and layer.training and layer.track_running_stats
    ]  # fmt: skip
    net.eval()
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the plain mean of all batches
        layer.train()
    try:
        if layers:
            with torch.no_grad():
                show()
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        net.eval()
    return len(layers)
