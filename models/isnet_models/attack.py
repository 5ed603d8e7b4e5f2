"""How little must change outside the lungs to change the decision: an attack by gradient.

A map can be clean while the classifier still follows the background; what an attacker can do with
the background alone cannot be hidden so. Source: projected gradient ascent of Madry et al., ICLR
2018 (arXiv 1706.06083), in the L-infinity ball, restricted to a region.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

BOUNDS = tuple(n / 255 for n in (2, 4, 8, 16, 32))  # of grey levels 0 to 1


@dataclass(frozen=True)
class AttackSettings:
    """How hard an attack tries.

    Attributes:
        bounds: Largest change of a pixel, rising, in (0, 1]; each is tried on the images that the
            one before did not flip.
        steps: Of gradient ascent for each bound, >= 1.
        step: Of one step, as a share of the bound divided by `steps`.
    """

    bounds: tuple[float, ...] = BOUNDS
    steps: int = 10
    step: float = 2.5

    def __post_init__(self) -> None:
        if not self.bounds or list(self.bounds) != sorted(set(self.bounds)):
            raise ValueError(f"bounds: found {self.bounds}, expected rising numbers")
        if self.bounds[0] <= 0 or self.bounds[-1] > 1 or self.steps < 1 or self.step <= 0:
            raise ValueError("expected bounds above 0 to 1, steps >= 1 and step > 0")


def attack_region(
    net: nn.Module,
    images: Tensor,
    region: Tensor,
    thresholds: Tensor | None = None,
    settings: AttackSettings | None = None,
) -> Tensor:
    """The smallest bound at which changes inside a region flip each image's decision.

    Only grey levels change: all channels alike. Each bound begins at the image itself, so that
    nothing is left to chance.

    Args:
        net: A classifier in eval mode: [B, C, H, W] in [0, 1] -> logits [B, K]. Its weights get no
            gradients.
        images: [B, C, H, W] in [0, 1].
        region: Pixels that may change, 0 or 1 [B, 1, H, W].
        thresholds: Multi-label: logits from which each label counts [K]; None: one class each.
        settings: How hard is tried.

    Returns:
        [B] on the images' device: one of the bounds; infinity where none was enough.

    Raises:
        ValueError: One class alone, which no change can flip.
    """
    s = settings or AttackSettings()
    with torch.no_grad():
        first = net(images)
    if thresholds is None and first.shape[1] < 2:
        raise ValueError("one class: there is no other decision")
    decided = _decide(first, thresholds)
    # as exact as the settings: float32 would not equal its own bound
    found = torch.full((len(images),), math.inf, dtype=torch.float64, device=images.device)
    left = torch.arange(len(images), device=images.device)
    for bound in s.bounds:
        if not len(left):
            break
        flipped = _ascend(net, images[left], region[left], decided[left], thresholds, bound, s)
        found[left[flipped]] = bound
        left = left[~flipped]
    return found


def _ascend(
    net: nn.Module,
    images: Tensor,
    region: Tensor,
    decided: Tensor,
    thresholds: Tensor | None,
    bound: float,
    settings: AttackSettings,
) -> Tensor:
    """Which decisions [B] one bound flips."""
    change = torch.zeros_like(region)
    flipped = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    size = settings.step * bound / settings.steps
    for step in range(settings.steps + 1):
        change.requires_grad_(True)
        with torch.enable_grad():
            margin = _margin(net((images + change * region).clamp(0, 1)), decided, thresholds)
        flipped |= margin.detach() < 0
        if step == settings.steps or bool(flipped.all()):
            break
        (slope,) = torch.autograd.grad(margin.sum(), change)
        change = (change.detach() - size * slope.sign()).clamp(-bound, bound)
    return flipped


def _decide(logits: Tensor, thresholds: Tensor | None) -> Tensor:
    """The class [B], or of each label whether it is there [B, K]."""
    return logits.argmax(1) if thresholds is None else logits >= thresholds


def _margin(logits: Tensor, decided: Tensor, thresholds: Tensor | None) -> Tensor:
    """How far [B] the nearest decision is from another; below 0 it is another."""
    if thresholds is not None:
        distance = logits - thresholds
        return torch.where(decided, distance, -distance).amin(1)
    own = logits.gather(1, decided[:, None])[:, 0]
    others = logits.scatter(1, decided[:, None], -math.inf)
    return own - others.amax(1)
