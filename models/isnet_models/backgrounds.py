"""Images with another background: lungs of one, the rest of another or a fill, a feathered seam.

Nothing here makes the host wait for a GPU.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad
from torchvision.transforms.v2.functional import gaussian_blur

from isnet_lrp.losses.map_masks import find_usable_masks
from isnet_models.methods.settings import FEATHER, Fill, Partner
from isnet_models.ranks import take_share

RING = 1 / 16  # of the shorter side: width of the band beside the seam whose brightness is matched
GAIN = (0.5, 2.0)  # limits of the change of brightness
BLUR = 1 / 8  # of the shorter side: standard deviation of the fill ``blur``


def draw_partners(
    masks: Tensor,
    labels: Tensor,
    kind: Partner = "any",
    generator: torch.Generator | None = None,
) -> Tensor:
    """For each image another image of the batch, each fitting one with equal chance.

    Args:
        masks: Lungs, 0 or 1 [B, 1, h, w]; images without a usable mask are no partners.
        labels: Class indices, int64 [B], or 0/1 with NaN for missing [B, K].
        kind: ``any``, or of the ``same`` or an``other`` class. Several labels are another class
            where any label known of both differs, the same where one is known of both and none
            differs.
        generator: Chance (on the CPU).

    Returns:
        int64 [B] on the device of the masks; -1 where no image fits.
    """
    B, device = len(masks), masks.device
    fits = find_usable_masks(masks)[None] & ~torch.eye(B, dtype=torch.bool, device=device)
    if kind != "any":
        y = labels[:, None] if labels.dim() == 1 else labels
        known = ~(torch.isnan(y)[:, None] | torch.isnan(y)[None])
        differ = (known & (y[:, None] != y[None])).any(2)
        fits &= differ if kind == "other" else known.any(2) & ~differ
    chance = torch.rand(B, B, generator=generator).to(device, non_blocking=True)
    return chance.masked_fill(~fits, -1).argmax(1).masked_fill(~fits.any(1), -1)


def select_images(drawn: Tensor, device: torch.device) -> Tensor:
    """Places of the images to change, int64 [n] on `device`; of processes, in each one's share.

    Args:
        drawn: Which images of the batch chance has chosen, bool [B] on the CPU.
        device: Of the images. Drawn images that do not fit are among them: `replace_images` keeps
            those as they are.
    """
    return take_share(drawn).nonzero()[:, 0].to(device, non_blocking=True)


def replace_images(images: Tensor, at: Tensor, changed: Tensor, fits: Tensor) -> Tensor:
    """A copy of `images` with the `changed` ones in their places, where those fit.

    Args:
        images: [B, C, h, w].
        at: Places of the changed images, int64 [n].
        changed: [n, C, h, w].
        fits: Which images can be changed, bool [B].
    """
    found = images.clone()
    found[at] = torch.where(fits[at].view(-1, 1, 1, 1), changed, images[at])
    return found


def draw_noise(chosen: Tensor, size: tuple[int, int], generator: torch.Generator | None) -> Tensor:
    """Noise for this process's chosen images of a batch, [n, 1, h, w] on the CPU.

    Args:
        chosen: Which of all the batch's images are changed, bool [B] on the CPU.
        size: Rows and columns.
        generator: Chance (on the CPU).
    """
    noise = torch.rand(int(chosen.sum()), 1, *size, generator=generator)
    return noise[take_share(chosen.cumsum(0) - 1)[take_share(chosen)]]


def filled(
    images: Tensor,
    masks: Tensor,
    fill: Fill,
    feather: float = FEATHER,
    noise: Tensor | None = None,
) -> Tensor:
    """Lungs of `images` on a background that is no other image's.

    Args:
        images: [B, C, h, w] in [0, 1].
        masks: Lungs, 0 or 1 [B, 1, h, w]; none full.
        fill: ``black``; ``noise``: `noise`, equal in all channels; ``blur``: the image's own
            background, blurred by `BLUR` of the shorter side, without anything of the lungs.
        feather: As in `feathered`.
        noise: For ``noise``, in [0, 1] [B, 1, h, w]; see `draw_noise`.

    Raises:
        ValueError: Another fill, or no noise for ``noise``.
    """
    if fill == "black":
        background = torch.zeros_like(images)
    elif fill == "noise":
        if noise is None:
            raise ValueError("fill: found noise, and no noise was drawn")
        background = noise.to(images, non_blocking=True).expand_as(images)
    elif fill == "blur":
        sigma = BLUR * min(images.shape[-2:])
        reach = round(2 * sigma)
        weight = _blurred(1 - masks, sigma, reach)
        background = _blurred(images * (1 - masks), sigma, reach) / weight.clamp(min=1e-6)
    else:
        raise ValueError(f"fill: found {fill!r}, expected black, noise or blur")
    return swap_backgrounds(images, masks, background, feather)


def feathered(masks: Tensor, feather: float = FEATHER) -> Tensor:
    """Weight of the image itself [B, 1, h, w]: 1 where `masks` is 1, falling smoothly outside.

    Args:
        masks: 0 or 1 [B, 1, h, w].
        feather: Standard deviation of the blur as a share of the shorter side; at least half a
            pixel is taken.
    """
    sigma = max(0.5, feather * min(masks.shape[-2:]))
    reach = min(round(2 * sigma), min(masks.shape[-2:]) - 1)  # the border is mirrored
    return torch.maximum(_blurred(masks, sigma, reach), masks)


def _blurred(values: Tensor, sigma: float, reach: int) -> Tensor:
    """Gaussian blur, cut off after `reach` px; axis by axis, which is quicker."""
    size, sigmas = 2 * reach + 1, [sigma, sigma]
    along: Tensor = gaussian_blur(values, [size, 1], sigmas)
    found: Tensor = gaussian_blur(along, [1, size], sigmas)
    return found


def swap_backgrounds(
    images: Tensor, masks: Tensor, backgrounds: Tensor, feather: float = FEATHER
) -> Tensor:
    """Lungs of `images` on `backgrounds`, with a feathered seam that leaves the lungs whole.

    Args:
        images: [B, C, h, w].
        masks: Lungs of `images`, 0 or 1 [B, 1, h, w].
        backgrounds: The partners' images [B, C, h, w].
        feather: As in `feathered`.
    """
    soft = feathered(masks, feather)
    return images * soft + backgrounds * (1 - soft)


def transplant(
    images: Tensor,
    masks: Tensor,
    others: Tensor,
    their_masks: Tensor,
    *,
    feather: float = FEATHER,
    brightness: bool = True,
) -> Tensor:
    """Lungs of `images` on the partners' backgrounds; of the partners' lungs nothing shows.

    Where a partner's lung would show beside the image's own, the image's own background stays.

    Args:
        images: [B, C, h, w] in [0, 1].
        masks: Lungs of `images`, 0 or 1 [B, 1, h, w].
        others: The partners' images [B, C, h, w] in [0, 1].
        their_masks: Lungs of `others`, 0 or 1 [B, 1, h, w].
        feather: As in `feathered`.
        brightness: Whether the partner's image is made as bright as the image beside the seam
            (`match_brightness`).

    Returns:
        [B, C, h, w] in [0, 1].
    """
    keep = torch.maximum(masks, their_masks)
    if brightness:
        others = match_brightness(images, keep, others)
    return swap_backgrounds(images, keep, others, feather)


def match_brightness(images: Tensor, keep: Tensor, others: Tensor) -> Tensor:
    """`others`, scaled so that the median beside the kept region is that of `images`.

    The factor is the ratio of the medians in a band around `keep` of `RING` of the shorter side,
    limited to `GAIN`; it is 1 where the band is empty or black. Black stays black.

    Args:
        images: [B, C, h, w] in [0, 1].
        keep: Kept region, 0 or 1 [B, 1, h, w].
        others: [B, C, h, w] in [0, 1].
    """
    reach = max(1, round(RING * min(images.shape[-2:])))
    ring = (widened(keep, reach) > 0) & (keep == 0)
    own, theirs = _take_median(images, ring), _take_median(others, ring)
    scale = torch.where((own > 0) & (theirs > 0), (own / theirs).clamp(*GAIN), 1.0)
    return (others * scale.view(-1, 1, 1, 1)).clamp(0, 1)


def widened(values: Tensor, reach: int) -> Tensor:
    """Largest of `values` [..., h, w], all >= 0, in a square of `reach` px to each side.

    As `max_pool2d`, which compares each pixel with all of its square; here the windows double
    along each axis, some hundred times quicker for a reach of 8.
    """
    size = 2 * reach + 1
    values = pad(values, (reach, reach, reach, reach))
    for axis in (-2, -1):
        seen = 1
        while seen < size:
            step, length = min(seen, size - seen), values.shape[axis]
            values = torch.maximum(
                values.narrow(axis, 0, length - step), values.narrow(axis, step, length - step)
            )
            seen += step
    return values


def _take_median(images: Tensor, region: Tensor) -> Tensor:
    """Lower median of the values [B, C, h, w] in `region` [B, 1, h, w], [B]; 0 where it is empty.

    By sorting: PyTorch's medians wait for a GPU, or are not reproducible there.
    """
    inside = region.expand_as(images).flatten(1)
    ordered = torch.where(inside, images.flatten(1), torch.inf).sort(1).values
    count = inside.sum(1)
    middle = ordered.gather(1, ((count - 1) // 2).clamp(min=0)[:, None])[:, 0]
    return torch.where(count > 0, middle, 0.0)
