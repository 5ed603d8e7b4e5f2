"""An overlay on the image's own pixels that explains itself: colour bar and words in a corner."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from isnet_cli.output.colours import relevance_limit
from isnet_cli.output.lettering import fit, font
from isnet_cli.output.overlays import RGB, FloatImage, Mask, check_arrays, overlay
from isnet_cli.output.panels import colour_ramp

_INK, _BOX, _COVER = (238, 240, 243), (12, 14, 18), 0.72
_WIDTH = 0.46  # of the image's width, at most


def compose_capture(
    image: FloatImage,
    relevance: FloatImage,
    mask: Mask | None,
    lines: Sequence[str],
    *,
    limit: float | None = None,
    signed: bool = True,
    findings: Sequence[Mask] = (),
) -> RGB:
    """The overlay [H, W, 3] with a dark box at the lower left: a colour bar and `lines`.

    Args:
        image: [H, W], 0 to 1.
        relevance: [H, W].
        mask: [H, W] lungs, or None.
        lines: Short texts; each is cut to the box.
        limit: As in `overlay`.
        signed: As in `compose_panel`.
        findings: As in `overlay`.

    Raises:
        ValueError: When shapes differ or values are not finite.
    """
    check_arrays(image, relevance, mask)
    strongest = limit if limit is not None and limit > 0 else relevance_limit(relevance)
    picture = Image.fromarray(overlay(image, relevance, mask, limit=strongest, findings=findings))
    unit = max(9, min(image.shape) // 52)
    letters = font(unit)
    width = min(round(_WIDTH * picture.width), 24 * unit)
    low = f"\N{MINUS SIGN}{strongest:.2g} against" if signed else "0"
    high = f"for +{strongest:.2g}" if signed else f"{strongest:.2g}"
    height = round((3.4 + 1.35 * len(lines)) * unit)
    if height + unit > picture.height or width < 8 * unit:  # no room for letters
        return np.asarray(picture)
    left, top = unit // 2, picture.height - height - unit // 2
    box = Image.new("RGB", (width, height), _BOX)
    under = picture.crop((left, top, left + width, top + height))
    picture.paste(Image.blend(under, box, _COVER), (left, top))
    draw = ImageDraw.Draw(picture)
    inner, x, y = width - unit, left + unit // 2, top + unit // 2
    bar = colour_ramp((round(0.7 * unit), inner), signed=signed)
    picture.paste(Image.fromarray(bar), (x, y))
    below = y + round(0.95 * unit)
    draw.text((x, below), fit(low, letters, 0.5 * inner), _INK, letters)
    draw.text((x + inner, below), fit(high, letters, 0.5 * inner), _INK, letters, anchor="ra")
    for number, line in enumerate(lines):
        place = (x, below + round((1.5 + 1.35 * number) * unit))
        draw.text(place, fit(line, letters, inner), _INK, letters)
    return np.asarray(picture)
