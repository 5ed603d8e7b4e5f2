"""Synthetic marks in a whole batch of images at once, on their device."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from isnet_cli.dataset.synthetic_marks import cut_stamp


def draw_marks(
    images: Tensor, shapes: Sequence[str], corners: Tensor, side: int, intensity: float
) -> Tensor:
    """The images with a mark each, to the last bit as `synthetic_marks.draw_shape` draws them.

    Args:
        images: [B, 1, h, w] in [0, 1]; written over.
        shapes: Mark of each image.
        corners: Their top left corners, int64 [B, 2], on the images' device.
        side: Of a mark, px; see `synthetic_marks.find_side`.
        intensity: Grey level of the marks, 0 to 1.

    Returns:
        `images`.
    """
    h, w = images.shape[-2:]
    device = images.device
    for shape in dict.fromkeys(shapes):
        stamp, cover = _load_stamp(shape, side, h, w, device)
        which = torch.tensor([n for n, own in enumerate(shapes) if own == shape])
        which = which.to(device, non_blocking=True)
        top, left = corners[which].unbind(1)
        rows = top[:, None] + torch.arange(stamp.shape[0], device=device)
        columns = left[:, None] + torch.arange(stamp.shape[1], device=device)
        at = (which[:, None, None], 0, rows[:, :, None], columns[:, None, :])
        images[at] = images[at] * (1 - cover) + stamp * intensity
    return images


@lru_cache(maxsize=64)
def _load_stamp(
    shape: str, side: int, h: int, w: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    stamp, cover = (torch.from_numpy(tile.copy()) for tile in cut_stamp(shape, side, (h, w)))
    return stamp.to(device, non_blocking=True), cover.to(device, non_blocking=True)
