"""Random changes of training films, the same for image and mask, reproducible by generator."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from isnet_cli.config.schema import Augment


def augment(
    images: Tensor, masks: Tensor, settings: Augment, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Rotates, shifts, scales and mirrors films with their masks; changes contrast of the films.

    Films are sampled bicubically; masks are 1 where their bilinear value is at least 0.5.

    Args:
        images: [B, C, h, w] in [0, 1].
        masks: [B, 1, h, w], 0 or 1.
        settings: Ranges; every change is drawn evenly within its range, per film.
        generator: Source of chance (on the CPU).

    Returns:
        (images in [0, 1], masks 0 or 1), same shapes; pixels from outside the film are 0.
    """
    B = images.shape[0]

    def draw(limit: float) -> Tensor:
        return (torch.rand(B, generator=generator) * 2 - 1) * limit

    angle, zoom = draw(math.radians(settings.rotate)), 1 + draw(settings.scale)
    shift_x, shift_y = draw(2 * settings.translate), draw(2 * settings.translate)
    mirror = torch.ones(B)
    if settings.flip:
        mirror = torch.where(torch.rand(B, generator=generator) < 0.5, -1.0, 1.0)
    contrast, brightness = 1 + draw(settings.contrast), draw(settings.brightness)

    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    aspect = images.shape[-2] / images.shape[-1]  # the grid's axes both run from -1 to 1
    matrix = torch.stack(
        [
            torch.stack([mirror * cos, -sin * aspect, shift_x], 1),
            torch.stack([mirror * sin / aspect, cos, shift_y], 1),
        ],
        1,
    ).to(images)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    # bicubic keeps fine structure, which bilinear blurs and test films have; it may overshoot
    images = F.grid_sample(images, grid, mode="bicubic", align_corners=False).clamp(0, 1)
    masks = (F.grid_sample(masks, grid, align_corners=False) >= 0.5).to(masks.dtype)
    scale, offset = (t.view(-1, 1, 1, 1).to(images) for t in (contrast, brightness))
    return ((images - 0.5) * scale + 0.5 + offset).clamp(0, 1), masks
