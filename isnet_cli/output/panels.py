"""A relevance map as one picture: image, overlay, colour bar and words on white paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from isnet_cli.output.colours import LIMIT_PERCENTILE, blend, relevance_limit, smooth
from isnet_cli.output.lettering import fit, font, wrap
from isnet_cli.output.overlays import (
    FINDING,
    OUTLINE,
    RGB,
    FloatImage,
    Mask,
    check_arrays,
    draw_findings,
    draw_outline,
    grey,
    levels,
    overlay,
    scale_image,
)

_PAPER, _INK, _SOFT = (255, 255, 255), (24, 26, 30), (92, 97, 105)
_BAR_GREY = 0.35  # grey of the image beneath the colour bar: about the mean of a chest image
_CAPTION_LINES, _NOTE_LINES = 3, 2  # at most


@dataclass(frozen=True)
class Layout:
    """Where everything lies in a panel; all in px.

    Attributes:
        height: Of each of the two pictures.
        width: Of each of the two pictures.
    """

    height: int
    width: int

    @property
    def unit(self) -> int:
        """Size of the small letters; everything else follows from it."""
        return max(10, self.height // 30)

    @property
    def gap(self) -> int:
        """Between the pictures."""
        return self.unit // 2

    @property
    def top(self) -> int:
        """Row where the pictures begin."""
        return self.unit + round(2.2 * self.unit)

    @property
    def second(self) -> int:
        """Column where the overlay begins; the image begins at `unit`."""
        return self.unit + self.width + self.gap

    @property
    def text_width(self) -> int:
        """From the image's left edge to the overlay's right edge."""
        return 2 * self.width + self.gap

    @property
    def bar(self) -> int:
        """Row where the colour bar begins."""
        return self.top + self.height + self.gap

    @property
    def words(self) -> int:
        """Row where the caption begins."""
        return self.bar + round(2.9 * self.unit)

    def size(self, lines: int) -> tuple[int, int]:
        """(width, height) of a panel with `lines` lines of words."""
        return self.text_width + 2 * self.unit, self.line(lines) + self.unit

    def line(self, number: int) -> int:
        """Row of a line of words."""
        return self.words + round(number * 1.45 * self.unit)


def compose_panel(
    image: FloatImage,
    relevance: FloatImage,
    mask: Mask | None,
    *,
    title: str,
    caption: str,
    limit: float | None = None,
    smoothing: float = 0.0,
    height: int = 512,
    signed: bool = True,
    amount: str = "|relevance|",
    scale: str = "",
    findings: Sequence[Mask] = (),
) -> RGB:
    """A picture to show: the outlined image, the overlay beside it, a colour bar and the words.

    Args:
        image: [H, W], 0 to 1.
        relevance: [H, W] on the image's pixels.
        mask: [H, W] lungs, or None.
        title: One line above; shortened to fit.
        caption: Up to three lines below.
        limit: As in `overlay`.
        smoothing: Standard deviation of the display's Gaussian in px of the panel; a note says so.
        height: Height of the two pictures in px.
        signed: Whether values may speak against the class; otherwise the bar begins at 0.
        amount: What the colour limit is a percentile of.
        scale: Where a given `limit` comes from.
        findings: [H, W] each, outlined in both pictures.

    Returns:
        uint8 RGB on white paper.

    Raises:
        ValueError: When shapes differ or values are not finite.
    """
    check_arrays(image, relevance, mask)
    layout = Layout(height, _width(image.shape, height))
    image, relevance, small = _resized(image, relevance, mask, layout)
    drawn = [scale_image(one.astype(np.float32), (layout.width, height)) >= 0.5 for one in findings]
    shown = smooth(relevance, smoothing)
    strongest = limit if limit is not None and limit > 0 else relevance_limit(shown)
    letters = font(layout.unit)
    words = [(line, _INK) for line in wrap(caption, letters, layout.text_width, _CAPTION_LINES)]
    note = wrap(
        _note(scale if limit else "", amount, smoothing), letters, layout.text_width, _NOTE_LINES
    )
    words += [(line, _SOFT) for line in note]
    sheet = Image.new("RGB", layout.size(len(words)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    heading = font(round(1.3 * layout.unit), bold=True)
    draw.text((layout.unit, layout.unit), fit(title, heading, layout.text_width), _INK, heading)
    outlined = draw_findings(draw_outline(grey(image), small), drawn)
    sheet.paste(Image.fromarray(outlined), (layout.unit, layout.top))
    coloured = overlay(image, shown, small, limit=strongest, findings=drawn)
    sheet.paste(Image.fromarray(coloured), (layout.second, layout.top))
    _colour_bar(sheet, layout, strongest, signed=signed)
    _legend(draw, layout, has_mask=small is not None, has_findings=bool(drawn))
    for number, (line, ink) in enumerate(words):
        draw.text((layout.unit, layout.line(number)), line, ink, letters)
    return np.asarray(sheet)


def panel_parts(panel: RGB, image: tuple[int, int]) -> tuple[RGB, RGB]:
    """The two pictures of a panel that `compose_panel` made: (outlined image, overlay).

    Args:
        panel: uint8 RGB.
        image: (height, width) of the image that the panel was made from.

    Raises:
        ValueError: When the panel's size is not one that `compose_panel` gives such an image.
    """
    height, width = panel.shape[:2]
    for candidate in range(1, height):
        layout = Layout(candidate, _width(image, candidate))
        if layout.size(0)[0] != width:
            continue
        if any(layout.size(n)[1] == height for n in range(_CAPTION_LINES + _NOTE_LINES + 1)):
            rows = slice(layout.top, layout.top + layout.height)
            return (
                panel[rows, layout.unit : layout.unit + layout.width],
                panel[rows, layout.second : layout.second + layout.width],
            )
    raise ValueError(f"a panel of {width} x {height} px does not belong to an image of {image}")


def _colour_bar(sheet: Image.Image, layout: Layout, limit: float, *, signed: bool) -> None:
    """The bar up to +limit as it looks over image of a mean grey, with its words."""
    draw, letters = ImageDraw.Draw(sheet), font(layout.unit)
    bar = colour_ramp((layout.unit, layout.width), signed=signed)
    sheet.paste(Image.fromarray(bar), (layout.second, layout.bar))
    below = layout.bar + round(1.25 * layout.unit)
    side = 0.45 * layout.width
    low, high = f"\N{MINUS SIGN}{limit:.2g} against", f"for +{limit:.2g}"
    middle, right = layout.second + layout.width / 2, layout.second + layout.width
    if signed:
        draw.text((middle, below), "0", _INK, letters, anchor="ma")
    else:
        low, high = "0", f"{limit:.2g}"
    draw.text((layout.second, below), fit(low, letters, side), _INK, letters)
    draw.text((right, below), fit(high, letters, side), _INK, letters, anchor="ra")


def colour_ramp(size: tuple[int, int], *, signed: bool) -> RGB:
    """A colour bar [h, w]: from -1, or from 0, to 1, as it looks over image of a mean grey."""
    row = np.linspace(-1.0 if signed else 0.0, 1.0, size[1], dtype=np.float32)
    ramp = np.repeat(row[None], size[0], axis=0)
    return levels(blend(np.full_like(ramp, _BAR_GREY), ramp, 1.0))


def _legend(
    draw: ImageDraw.ImageDraw, layout: Layout, *, has_mask: bool, has_findings: bool
) -> None:
    unit, letters = layout.unit, font(layout.unit)
    lines = [(OUTLINE, "lung outline")] if has_mask else []
    lines += [(FINDING, "annotated finding")] if has_findings else []
    if not has_mask:
        place = (unit, layout.bar + round(1.25 * unit) * len(lines))
        draw.text(place, "no lung mask", _SOFT, letters)
    for number, (colour, words) in enumerate(lines):
        top = layout.bar + round(1.25 * unit) * number
        middle = top + unit // 2
        draw.line((unit, middle, 3 * unit, middle), colour, max(2, unit // 5))
        draw.text((round(3.6 * unit), top - unit // 6), words, _INK, letters)


def _note(scale: str, amount: str, smoothing: float) -> str:
    note = f"Colour limit: {scale or f'{LIMIT_PERCENTILE:g}th percentile of {amount}'}."
    if smoothing > 0:
        note += f" Smoothed for display only (Gaussian, standard deviation {smoothing:g} px)."
    return note


def _width(image: tuple[int, ...], height: int) -> int:
    return max(1, round(image[1] * height / image[0]))


def _resized(
    image: FloatImage, relevance: FloatImage, mask: Mask | None, layout: Layout
) -> tuple[FloatImage, FloatImage, Mask | None]:
    size = (layout.width, layout.height)
    small = None if mask is None else scale_image(mask.astype(np.float32), size) >= 0.5
    return scale_image(image, size), scale_image(relevance, size), small
