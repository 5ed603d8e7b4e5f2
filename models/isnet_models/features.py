"""What a classifier sees just before it decides: the input of its last linear layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


def decision_features(net: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of `images`, and the features from which the last layer makes them.

    The last layer is the last `Linear`; a network without one (SqueezeNet) has a last `Conv2d`,
    whose input is averaged over its area. The hook that takes the features is removed again.

    Args:
        net: A classifier of `isnet_models.backbones`.
        images: [B, C, H, W] in [0, 1].

    Returns:
        Logits [B, K] and features [B, F].

    Raises:
        ValueError: When the network has no such layer, or it did not run on one row per image.
    """
    with watched(net) as seen:
        logits: Tensor = net(images)
    return logits, features(net, seen, len(images)).detach()


@contextmanager
def watched(net: nn.Module) -> Iterator[list[Tensor]]:
    """Notes what the last layer gets, with its graph, whenever `net` runs inside this context."""
    seen: list[Tensor] = []

    def note(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen.append(inputs[0])

    handle = last_layer(net).register_forward_pre_hook(note)
    try:
        yield seen
    finally:
        handle.remove()


def features(net: nn.Module, seen: list[Tensor], images: int) -> Tensor:
    """Features [B, F] of the one pass that was `watched`.

    Raises:
        ValueError: It was not one pass, or the last layer did not run on one row per image.
    """
    if len(seen) != 1 or len(seen[0]) != images or seen[0].dim() not in (2, 4):
        raise ValueError(f"{type(net).__name__}: the last layer did not run once on all images")
    return seen[0].mean(dim=(2, 3)) if seen[0].dim() == 4 else seen[0]


def last_layer(net: nn.Module) -> nn.Module:
    """The layer that decides: the last `Linear`, else the last `Conv2d`.

    Raises:
        ValueError: The network has neither.
    """
    for kind in (nn.Linear, nn.Conv2d):
        found = [layer for layer in net.modules() if isinstance(layer, kind)]
        if found:
            return found[-1]
    raise ValueError(f"{type(net).__name__}: no linear layer and no convolution")
