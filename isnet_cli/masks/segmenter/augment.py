"""Random changes of images and masks for the training of the lung U-Net, as batches of tensors.

Each change stands for something that real images do: patients turned or cut off, other exposure and
tube voltage, collimation, letters and cables, consolidated lungs. Images are [B, 1, H, W] in [0,
1].
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

Picture = NDArray[np.float32]
WORDS = (
    "L",
    "R",
    "AP",
    "PA",
    "PORTABLE",
    "SUPINE",
    "STEHEND",
    "12:45",
    "ERECT",
    "XR 0457",
    "90 KV",
)


def augment(
    images: Tensor, masks: Tensor, rng: np.random.Generator, warp: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Images and masks [B, 1, H, W] changed at random; masks stay shares of lung in [0, 1].

    Args:
        images: In [0, 1].
        masks: In [0, 1].
        rng: Where chance comes from.
        warp: Largest smooth displacement of a pixel along each axis, as a share of the side.
    """
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    images, masks = _move(images, masks, generator, warp)
    images = _opacify(images, masks, generator)
    images = _veil(images, generator)
    images = _expose(images, generator)
    images = _sharpen_or_blur(images, generator)
    new_images, new_masks = [], []
    for image, mask in zip(images.numpy(), masks.numpy(), strict=True):
        marked = _letters_and_cables(image[0], rng)
        collimated, cut = _collimate(marked, mask[0], rng)
        new_images.append(collimated)
        new_masks.append(cut)
    images = torch.from_numpy(np.stack(new_images))[:, None]
    noise = torch.randn(images.shape, generator=generator) * _uniform(images, 0.0, 0.05, generator)
    images = torch.where(images > 0, (images + noise).clamp(0.0, 1.0), images)
    return images, torch.from_numpy(np.stack(new_masks))[:, None]


def _uniform(like: Tensor, low: float, high: float, generator: torch.Generator) -> Tensor:
    """One number per image in [low, high], shaped [B, 1, 1, 1]."""
    return torch.rand(len(like), 1, 1, 1, generator=generator) * (high - low) + low


def _chance(like: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """One boolean per image [B, 1, 1, 1], true for about `share` of them."""
    return torch.rand(len(like), 1, 1, 1, generator=generator) < share


def _smooth_field(like: Tensor, cells: int, generator: torch.Generator) -> Tensor:
    """A smooth random field [B, 1, H, W] in [0, 1] with `cells` grains per side."""
    coarse = torch.rand(len(like), 1, cells, cells, generator=generator)
    size = list(like.shape[2:])
    return F.interpolate(coarse, size, mode="bicubic", align_corners=False).clamp(0, 1)


def _move(
    images: Tensor, masks: Tensor, generator: torch.Generator, warp: float
) -> tuple[Tensor, Tensor]:
    """Rotation, scale, stretching, shift, mirror and warping; lungs may be cut off."""
    count = len(images)

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(count, generator=generator) * (high - low) + low

    wild = (uniform(0, 1) < 0.15).float()
    angle = (uniform(-10, 10) + wild * uniform(-25, 25)) * math.pi / 180
    scale = torch.exp(uniform(-0.25, 0.35))
    stretch = torch.exp(uniform(-0.12, 0.3))
    mirror = 1 - 2 * (uniform(0, 1) < 0.5).float()
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = torch.stack(
        [
            torch.stack([cos * scale * mirror, -sin * scale, uniform(-0.15, 0.15)], 1),
            torch.stack([sin * scale * mirror, cos * scale * stretch, uniform(-0.15, 0.15)], 1),
        ],
        1,
    )
    grid = F.affine_grid(rows, list(images.shape), align_corners=False)
    if warp:  # lungs of other shapes: each image by an amount of its own, along both axes
        fields = [_smooth_field(images, 4, generator) * 2 - 1 for _ in range(2)]
        bent = torch.cat(fields, 1).permute(0, 2, 3, 1)
        grid = grid + 2 * bent * _uniform(images, 0, warp, generator)
    stack = torch.cat([masks, torch.ones_like(images)], 1)
    moved = F.grid_sample(stack, grid, padding_mode="zeros", align_corners=False)
    mask, covered = moved[:, :1], moved[:, 1:]
    image = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    # beyond the image: black, another grey, or its rim continued as the flanks of a broad patient
    grey = _uniform(images, 0, 1, generator) * _chance(images, 0.3, generator)
    framed = _chance(images, 0.5, generator)
    return torch.where(framed, image * covered + (1 - covered) * grey, image), mask


def _opacify(images: Tensor, masks: Tensor, generator: torch.Generator) -> Tensor:
    """Soft shadows inside the lungs of a third of the images, up to white-out; masks unchanged."""
    grain = _smooth_field(images, 5, generator)
    centre = _uniform(images, 0.35, 0.8, generator)
    cloud = torch.sigmoid((grain - centre) * _uniform(images, 8, 30, generator))
    lung = F.avg_pool2d(masks, 7, 1, 3)  # no sharp rim that would give the lung away
    level = _uniform(images, 0.5, 0.95, generator)
    amount = _uniform(images, 0.2, 0.95, generator) * _chance(images, 0.35, generator)
    weight = cloud * lung * amount
    return images * (1 - weight) + level * weight


def _veil(images: Tensor, generator: torch.Generator) -> Tensor:
    """Scattered rays on a third of the images: lungs little darker than tissue, as at the bed."""
    coarse = F.avg_pool2d(F.avg_pool2d(images, 8), 5, 1, 2, count_include_pad=False)
    soft = F.interpolate(coarse, list(images.shape[2:]), mode="bilinear")
    tissue = _smooth_field(images, 2, generator) * 0.6 + 0.3
    amount = _uniform(images, 0.2, 0.75, generator) * _chance(images, 0.35, generator)
    veiled = images * (1 - amount) + (0.6 * soft + 0.4 * tissue) * amount
    return torch.where(images > 0.02, veiled, images)


def _expose(images: Tensor, generator: torch.Generator) -> Tensor:
    """Contrast, saturation at both ends, gamma, uneven exposure; exact zeros stay zeros."""
    contrast = torch.exp(_uniform(images, -0.5, 0.5, generator))
    pivot = _uniform(images, 0.2, 0.8, generator)
    changed = ((images - pivot) * contrast + pivot).clamp(1e-3, 1)
    changed = changed ** torch.exp(_uniform(images, -0.7, 0.7, generator))
    uneven = 1 + (_smooth_field(images, 3, generator) - 0.5) * _uniform(images, 0, 1.0, generator)
    return torch.where(images > 0, (changed * uneven).clamp(1e-3, 1), images)


def _sharpen_or_blur(images: Tensor, generator: torch.Generator) -> Tensor:
    """Edge filters of some vendors, unsharpness of others."""
    soft = F.avg_pool2d(F.avg_pool2d(images, 5, 1, 2), 3, 1, 1)
    amount = _uniform(images, -0.9, 1.5, generator) * _chance(images, 0.6, generator)
    return torch.where(images > 0, (images + amount * (images - soft)).clamp(1e-3, 1), images)


def _letters_and_cables(image: Picture, rng: np.random.Generator) -> Picture:
    """Burnt-in words anywhere, thin bright lines and rings (cables, electrodes)."""
    height, width = image.shape
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(0, 4)) if rng.random() < 0.6 else 0):
        font = ImageFont.load_default(int(rng.integers(8, 30)))
        place = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        word = str(rng.choice(WORDS))
        draw.text(place, word, fill=float(rng.choice([0.02, 0.9, 1.0])), font=font)
    for _ in range(int(rng.integers(1, 4)) if rng.random() < 0.25 else 0):
        points = rng.uniform(-0.1, 1.1, (4, 2)) * (width, height)
        t = np.linspace(0, 1, 24)[:, None]
        powers = [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3]
        curve = sum(p * point for p, point in zip(powers, points, strict=True))
        path = [(float(x), float(y)) for x, y in np.asarray(curve)]
        draw.line(path, fill=float(rng.uniform(0.6, 1)), width=int(rng.integers(1, 3)))
        x, y = path[-1]
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), outline=float(rng.uniform(0.6, 1)))
    return np.asarray(canvas, np.float32)


def _collimate(image: Picture, mask: Picture, rng: np.random.Generator) -> tuple[Picture, Picture]:
    """Black, grey or white bars along some borders; what they cover is no visible lung."""
    if rng.random() > 0.35:
        return image, mask
    image, mask = image.copy(), mask.copy()
    grey = float(rng.choice([0.0, 0.0, rng.uniform(0, 1), 1.0]))
    for _ in range(int(rng.integers(1, 4))):
        depth = int(rng.integers(1, 1 + round(0.14 * min(image.shape))))
        side = int(rng.integers(4))
        view = (slice(0, depth), slice(-depth, None))[side % 2]
        where = (view, slice(None)) if side < 2 else (slice(None), view)
        image[where], mask[where] = grey, 0.0
    return image, mask
