"""Random changes of training images, the same for image and mask, reproducible by generator.

Each kind of change draws from the generator only when it is on, in a fixed order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from isnet_cli.config.schema import Augment

OCTAVES = 6  # of spatial frequency: from a half to a 64th of a cycle per pixel


def augment(
    images: Tensor, masks: Tensor, settings: Augment, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """`draw_changes` and `apply_changes` at once.

    Args:
        images: As in `apply_changes`.
        masks: See there.
        settings: Ranges; every change is drawn evenly within its range, per image.
        generator: Source of chance (on the CPU).
    """
    size = (images.shape[-2], images.shape[-1])
    changes = draw_changes(len(images), size, settings, generator)
    return apply_changes(images, masks, changes.to(images.device))


@dataclass(frozen=True)
class Changes:
    """What happens to each image of a batch; drawn on the CPU, whatever device applies it.

    Attributes:
        table: [B, 15], float32: a matrix [2, 3] that takes places of the result to places of the
            image, contrast, brightness, exponent, and the gains of `OCTAVES`.
        gamma: Whether exponents are to be applied.
        spectrum: Whether gains are.
    """

    table: Tensor
    gamma: bool
    spectrum: bool

    def to(self, device: torch.device) -> Changes:
        """The changes on `device`; the host does not wait."""
        return replace(self, table=self.table.to(device, non_blocking=True))

    def of(self, some: slice) -> Changes:
        """Those of some of the images."""
        return replace(self, table=self.table[some])


def draw_changes(
    images: int, size: tuple[int, int], settings: Augment, generator: torch.Generator
) -> Changes:
    """Draws the changes of so many images.

    Args:
        images: Their number, B.
        size: Their rows and columns.
        settings: Ranges; every change is drawn evenly within its range, per image.
        generator: Source of chance (on the CPU).
    """
    B = images

    def draw(limit: float) -> Tensor:
        return (torch.rand(B, generator=generator) * 2 - 1) * limit

    angle, zoom = draw(math.radians(settings.rotate)), 1 + draw(settings.scale)
    shift_x, shift_y = draw(2 * settings.translate), draw(2 * settings.translate)
    mirror = torch.ones(B)
    if settings.flip:
        mirror = torch.where(torch.rand(B, generator=generator) < 0.5, -1.0, 1.0)
    contrast, brightness = 1 + draw(settings.contrast), draw(settings.brightness)
    exponent = 2 ** draw(settings.gamma) if settings.gamma else torch.ones(B)
    gains = torch.ones(B, OCTAVES)
    if settings.spectrum:
        gains = 2 ** ((torch.rand(B, OCTAVES, generator=generator) * 2 - 1) * settings.spectrum)
    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    aspect = size[0] / size[1]  # the grid's axes both run from -1 to 1
    table = torch.stack(
        [
            mirror * cos, -sin * aspect, shift_x, mirror * sin / aspect, cos, shift_y,
            contrast, brightness, exponent, *gains.unbind(1),
        ],
        1,
    )  # fmt: skip
    return Changes(table, bool(settings.gamma), bool(settings.spectrum))


def apply_changes(images: Tensor, masks: Tensor, changes: Changes) -> tuple[Tensor, Tensor]:
    """Rotates, shifts, scales and mirrors images with their masks; changes the images' grey values.

    Images are sampled bicubically; masks are 1 where their bilinear value is at least 0.5.

    Args:
        images: [B, C, h, w] in [0, 1].
        masks: [B, 1, h, w], 0 or 1.
        changes: Of these images, on their device.

    Returns:
        (images in [0, 1], masks 0 or 1), same shapes; pixels from outside the image are 0.
    """
    table = changes.table.to(images.dtype)
    matrix, contrast, brightness, exponent, gains = torch.split(table, [6, 1, 1, 1, OCTAVES], 1)
    grid = F.affine_grid(matrix.reshape(-1, 2, 3), list(images.shape), align_corners=False)
    # bicubic keeps fine structure, which bilinear blurs and test images have; it may overshoot
    images = F.grid_sample(images, grid, mode="bicubic", align_corners=False).clamp(0, 1)
    masks = (F.grid_sample(masks, grid, align_corners=False) >= 0.5).to(masks.dtype)
    scale, offset = contrast.view(-1, 1, 1, 1), brightness.view(-1, 1, 1, 1)
    images = ((images - 0.5) * scale + 0.5 + offset).clamp(0, 1)
    if changes.gamma:
        images = images ** exponent.view(-1, 1, 1, 1)
    if changes.spectrum:
        images = change_spectrum(images, gains).clamp(0, 1)
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
