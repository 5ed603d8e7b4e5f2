"""Random changes of training images, the same for image and mask, reproducible by generator.

Each kind of change draws from the generator only when it is on, in a fixed order.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from isnet_cli.config.schema import Augment

OCTAVES = 6  # of spatial frequency: from a half to a 64th of a cycle per pixel


def augment(
    images: Tensor, masks: Tensor, settings: Augment, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Rotates, shifts, scales and mirrors images with their masks; changes the images' grey values.

    Images are sampled bicubically; masks are 1 where their bilinear value is at least 0.5.

    Args:
        images: [B, C, h, w] in [0, 1].
        masks: [B, 1, h, w], 0 or 1.
        settings: Ranges; every change is drawn evenly within its range, per image.
        generator: Source of chance (on the CPU).

    Returns:
        (images in [0, 1], masks 0 or 1), same shapes; pixels from outside the image are 0.
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
    # bicubic keeps fine structure, which bilinear blurs and test images have; it may overshoot
    images = F.grid_sample(images, grid, mode="bicubic", align_corners=False).clamp(0, 1)
    masks = (F.grid_sample(masks, grid, align_corners=False) >= 0.5).to(masks.dtype)
    scale, offset = (t.view(-1, 1, 1, 1).to(images) for t in (contrast, brightness))
    images = ((images - 0.5) * scale + 0.5 + offset).clamp(0, 1)
    if settings.gamma:
        images = images ** (2 ** draw(settings.gamma)).view(-1, 1, 1, 1).to(images)
    if settings.spectrum:
        gains = (torch.rand(B, OCTAVES, generator=generator) * 2 - 1) * settings.spectrum
        images = change_spectrum(images, 2**gains).clamp(0, 1)
    return images, masks


def change_spectrum(images: Tensor, gains: Tensor) -> Tensor:
    """Scales each octave of spatial frequency, leaving each image's mean as it is.

    Octave k, from 0, is centred at 2**-(k + 1) cycles per pixel; between the centres the logarithm
    of the gain is interpolated over the logarithm of the frequency, beyond them it is constant.
    Images are continued by reflection, so that no edge meets the one opposite.

    Args:
        images: [B, C, h, w].
        gains: Gain of each octave, fine to coarse [B, OCTAVES], > 0.
    """
    h, w = images.shape[-2:]
    pad = (w // 4, w // 4, h // 4, h // 4)
    x = F.pad(images, pad, mode="reflect")
    H, W = x.shape[-2:]
    fy = torch.fft.fftfreq(H, device=x.device, dtype=x.dtype)[:, None]
    fx = torch.fft.rfftfreq(W, device=x.device, dtype=x.dtype)[None]
    octave = -torch.log2((fx.square() + fy.square()).sqrt().clamp(min=1e-6)) - 1
    place = octave.clamp(0, OCTAVES - 1)
    below = place.floor().long().clamp(max=OCTAVES - 2)
    share = place - below
    logs = gains.log().to(x)
    gain = torch.exp(logs[:, below] * (1 - share) + logs[:, below + 1] * share)[:, None]
    gain[..., 0, 0] = 1
    changed: Tensor = torch.fft.irfft2(torch.fft.rfft2(x) * gain, s=(H, W))
    return changed[..., pad[2] : pad[2] + h, pad[0] : pad[0] + w]
