"""What a simple probe is shown of an image: its background without the lungs, or its lungs alone.

A thumbnail whose cells are means over the pixels of one side of the lung mask; how often each grey
level occurs there; and how many edges of each direction and strength there are, which is how
letters and marks differ wherever they stand. Cells without pixels of that side are filled smoothly
from those around them. Nothing of the other side enters; the lungs' outline shows through faintly,
by where it was filled.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

SIDE = 32  # cells per axis
LEVELS = 16  # grey levels counted, evenly from black to white
DIRECTIONS = 12  # of edges, over half a turn
STRENGTHS = (0.1, 0.3, 0.6)  # least differences of grey over two pixels that count as edges
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MARGIN = 1 / 64  # of the shorter side: lungs are widened by this before the background is taken
COUNT = SIDE**2 + LEVELS + DIRECTIONS * len(STRENGTHS) + 2 + len(QUANTILES)
_REACH = 3.0  # cells: s.d. of the weights with which empty cells are filled

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


def describe_background(image: Floats, lungs: Bools) -> Floats:
    """Features of the image outside the lungs, which are widened by `MARGIN` first.

    Args:
        image: [h, w], 0 to 1.
        lungs: [h, w].

    Returns:
        float32 [`COUNT`]: thumbnail, shares of grey levels, edges, mean, standard deviation,
        quantiles.
    """
    reach = max(1, round(MARGIN * min(image.shape)))
    wide = Image.fromarray(lungs.astype(np.uint8) * np.uint8(255))
    grown = np.asarray(wide.filter(ImageFilter.MaxFilter(2 * reach + 1))) > 0
    return _describe_part(image, ~grown)


def describe_lungs(image: Floats, lungs: Bools) -> Floats:
    """Features of the image inside the lungs, as those of `describe_background`."""
    return _describe_part(image, lungs)


def _describe_part(image: Floats, part: Bools) -> Floats:
    values = image[part]
    if not len(values):
        return np.zeros(COUNT, np.float32)
    levels = np.minimum((values * LEVELS).astype(np.int64), LEVELS - 1)
    shares = np.bincount(levels, minlength=LEVELS) / len(values)
    facts = np.array([values.mean(), values.std(), *np.quantile(values, QUANTILES)])
    found = np.concatenate(
        [_make_thumbnail(image, part).ravel(), shares, _count_edges(image, part), facts]
    )
    return found.astype(np.float32)


def _count_edges(image: Floats, part: Bools) -> NDArray[np.float64]:
    """Square root of the share of pixels that are edges, by strength and direction.

    Central differences; only pixels whose four neighbours all lie in `part` are looked at.
    """
    core = part[1:-1, 1:-1] & part[2:, 1:-1] & part[:-2, 1:-1] & part[1:-1, 2:] & part[1:-1, :-2]
    across = (image[1:-1, 2:] - image[1:-1, :-2])[core]
    down = (image[2:, 1:-1] - image[:-2, 1:-1])[core]
    strength = np.hypot(across, down)
    turn = np.arctan2(down, across) / np.pi % 1.0
    direction = np.minimum((turn * DIRECTIONS).astype(np.int64), DIRECTIONS - 1)
    counts = [np.bincount(direction[strength >= s], minlength=DIRECTIONS) for s in STRENGTHS]
    return np.sqrt(np.concatenate(counts) / max(1, len(strength)))


def _make_thumbnail(image: Floats, part: Bools) -> NDArray[np.float64]:
    """Means over the cells' pixels in `part`, [`SIDE`, `SIDE`]; empty cells filled from around."""
    weight = _reduce(part.astype(np.float32))
    total = _reduce(np.where(part, image, np.float32(0)))
    known = weight > 1e-3
    means = np.where(known, total / np.where(known, weight, 1.0), 0.0)
    cells = np.arange(SIDE)
    near = np.exp(-0.5 * ((cells[:, None] - cells[None]) / _REACH) ** 2)
    # a little of the overall mean, for cells that lie far from every known one
    around = near @ known @ near.T + 1e-6
    filled = (near @ means @ near.T + 1e-6 * means[known].mean()) / around
    return np.where(known, means, filled)


def _reduce(values: Floats) -> NDArray[np.float64]:
    image = Image.fromarray(np.ascontiguousarray(values, np.float32))
    small = image.resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.float64)
