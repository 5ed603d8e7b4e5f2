"""Maps and lung masks before a loss: shapes and values checked, resized, finite.

Nothing here makes the host wait for a GPU.
"""

from __future__ import annotations

import contextlib
import math
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

TINY = 1e-10  # e of the formulas
WIDEST_MARGIN = 0.25


class MaskValueError(ValueError):
    """Masks hold values other than 0 and 1."""


@dataclass(frozen=True)
class MaskedMaps:
    """A batch of maps with their masks, in one form.

    Attributes:
        H: Finite maps, float32 or float64 [B, K', C, h, w]; zero where `counts` is false.
        M: Lungs, 0 or 1, in the type of `H` [B, 1, 1, h, w].
        outside: Background, likewise: what is neither lungs nor the margin round them.
        counts: Whether the image takes part in the loss, bool [B].
    """

    H: Tensor
    M: Tensor
    outside: Tensor
    counts: Tensor


def disable_autocast(device: torch.device) -> AbstractContextManager[object]:
    """A context without autocast on `device`."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return contextlib.nullcontext()


def mask_maps(
    maps: Tensor,
    masks: Tensor,
    *,
    keep_degenerate: bool = False,
    check_values: bool | None = None,
    margin: float = 0.0,
) -> MaskedMaps:
    """Brings maps and masks to the form in which every loss takes them.

    Whether a mask is empty or full is asked of the mask as given: a mask that becomes full only
    by resizing to a coarse map still counts (it then has no background to penalise).

    Args:
        maps: Signed relevance [B, K', C, h, w]; half precision becomes float32.
        masks: Lungs, 0 or 1, any type [B, 1, H, W] or [B, C, H, W], of which channel 0 is taken.
        keep_degenerate: Images with an empty or a full mask count too.
        check_values: Whether the values of `masks` are looked at, for which the host waits for
            the device; None: on the CPU alone.
        margin: Width of the margin round the lungs that is no background, as a share of the masks'
            shorter side.

    Raises:
        ValueError: Wrong shapes, types or devices.
        MaskValueError: Checked masks hold values other than 0 and 1.
    """
    check_shapes(maps, masks)
    masks = masks[:, :1].detach()
    if check_values or (check_values is None and masks.device.type == "cpu"):
        check_mask_values(masks)
    with disable_autocast(maps.device):
        maps = maps if maps.dtype == torch.float64 else maps.float()
        masks = masks.to(maps.dtype)
        every = masks.new_ones(len(masks), dtype=torch.bool)
        counts = every if keep_degenerate else find_usable_masks(masks)
        M = shrink_mask(masks, maps.shape[-2:])[:, None]
        wide = shrink_mask(grow_mask(masks, margin), maps.shape[-2:])[:, None] if margin else M
        return MaskedMaps(sanitise(maps, M, counts), M, 1 - wide, counts)


def require_margin(margin: float) -> None:
    """Refuses a margin that is no share of the image.

    Raises:
        ValueError: It is not from 0 to 0.25.
    """
    if not 0 <= margin <= WIDEST_MARGIN:
        raise ValueError(f"margin = {margin!r}: must be from 0 to {WIDEST_MARGIN}, of the side")


def grow_mask(masks: Tensor, margin: float) -> Tensor:
    """Masks with a margin round them: pixels up to so many rows and columns away.

    Args:
        masks: 0 or 1, floating point [B, 1, H, W].
        margin: Share of the shorter side, rounded up to whole pixels.
    """
    r = math.ceil(margin * min(masks.shape[-2:]) - 1e-6)  # 0.1 · 30 px is no 4 px
    rows = F.max_pool2d(masks, (2 * r + 1, 1), 1, (r, 0))
    return F.max_pool2d(rows, (1, 2 * r + 1), 1, (0, r))


def find_usable_masks(masks: Tensor) -> Tensor:
    """Which masks are neither empty (no mask is an empty one) nor full, bool [B].

    Args:
        masks: 0 or 1 [B, C, H, W].
    """
    return (masks.amax(dim=(1, 2, 3)) > 0) & (masks.amin(dim=(1, 2, 3)) < 1)


def check_shapes(maps: Tensor, masks: Tensor) -> None:
    """Refuses maps and masks that do not fit together.

    Raises:
        ValueError: Wrong shapes, types or devices.
    """
    found = f"maps {list(maps.shape)}, masks {list(masks.shape)}: "
    if maps.dim() != 5:
        raise ValueError(
            found + "maps must be [B, K', C, h, w]: images, explained classes, channels, pixels"
        )
    if masks.dim() == 3:
        raise ValueError(found + "masks must be [B, 1, H, W]: add the channel with masks[:, None]")
    if masks.dim() != 4:
        raise ValueError(found + "masks must be [B, 1, H, W], one mask of the lungs per image")
    if masks.shape[0] != maps.shape[0]:
        raise ValueError(
            found + "the first axis must be the same images in both; give one mask per image, "
            "all zeros for an image without one"
        )
    if maps.numel() == 0 or masks.numel() == 0:
        raise ValueError(found + "an axis is empty; leave out the loss of a batch without images")
    if not maps.is_floating_point():
        raise ValueError(f"maps of type {maps.dtype}: give floating-point relevance")
    if masks.device != maps.device:
        raise ValueError(
            f"maps on {maps.device}, masks on {masks.device}: move one with .to(device)"
        )


def check_mask_values(masks: Tensor) -> None:
    """Refuses masks with values other than 0 and 1; the host waits for the device.

    Raises:
        MaskValueError: Says what was found.
    """
    if masks.dtype == torch.bool:
        return
    other = masks[~((masks == 0) | (masks == 1))]
    if other.numel():
        low, high = masks.amin().item(), masks.amax().item()
        raise MaskValueError(
            f"masks must hold 0 and 1 only: {other.numel()} of {masks.numel()} values are others, "
            f"such as {other[0].item():g} (lowest {low:g}, highest {high:g}); "
            "threshold them first, for instance masks > masks.max() / 2"
        )


def shrink_mask(masks: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Masks at another size: a cell with any foreground is foreground (docs/lrp.md, section 3.5).

    Args:
        masks: 0 or 1, floating point [B, 1, H, W].
        size: (h, w).
    """
    if masks.shape[-2:] == tuple(size):
        return masks
    return (F.adaptive_avg_pool2d(masks, (size[0], size[1])) != 0).to(masks.dtype)


def sanitise(H: Tensor, M: Tensor, counts: Tensor) -> Tensor:
    """Maps that every sum can be taken of (docs/lrp.md, section 4, "Sanitise").

    NaN becomes the mean relevance in the foreground (signed, over the batch), an infinity the
    largest or smallest finite value; none of them has a gradient. A value whose sum over the
    batch could overflow is taken for an infinity. Images that do not count become zero.

    Args:
        H: Maps [B, K', C, h, w].
        M: Masks [B, 1, 1, h, w].
        counts: Bool [B].
    """
    limit = torch.finfo(H.dtype).max / H.numel()
    use = counts.view(-1, 1, 1, 1, 1)
    usable = (H.detach().abs() <= limit) & use
    clean = torch.where(usable, H.detach(), 0.0)
    weight = (M * use).sum() * (H.shape[1] * H.shape[2])
    mean = (clean * M).sum() / (weight + TINY)
    bad = torch.where(H > 0, clean.max(), clean.min())
    bad = torch.where(torch.isnan(H), mean, bad)
    return torch.where(usable, H, torch.where(use, bad, 0.0))
