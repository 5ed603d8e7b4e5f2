"""Pictures of films, lung masks and relevance maps: overlays, panels, contact sheets, PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from isnet_cli.export.colours import LIMIT_PERCENTILE, blend, relevance_limit, smooth
from isnet_cli.export.lettering import fit, font, wrap

FloatImage = NDArray[np.float32]
Mask = NDArray[np.bool_]
RGB = NDArray[np.uint8]

OUTLINE = (255, 214, 10)  # yellow: apart from the blue and the red of relevance, and from grey
_PAPER, _INK, _SOFT = (255, 255, 255), (24, 26, 30), (92, 97, 105)
_BAR_GREY = 0.35  # grey of the film beneath the colour bar: about the mean of a chest film


def grey(film: FloatImage) -> RGB:
    """A film [H, W] in [0, 1] as grey RGB, uint8 [H, W, 3]."""
    return np.repeat(_levels(film)[..., None], 3, axis=-1)


def film_tile(film: FloatImage, mask: Mask | None = None, *, side: int = 192) -> RGB:
    """A film [H, W] with its lungs outlined, its longest side `side` px: a contact sheet's tile."""
    height, width = film.shape
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = None if mask is None else _scaled(mask.astype(np.float32), size) >= 0.5
    return outlined(grey(_scaled(film, size)), small, width=1.5)


def outlined(picture: RGB, mask: Mask | None, *, width: float | None = None) -> RGB:
    """`picture` [H, W, 3] with the border of `mask` [H, W] as a smooth yellow line.

    Args:
        picture: Grey or coloured film.
        mask: Lungs true, or None for no line.
        width: Line width in px; default 1/220 of the shorter side (at least 1.5 px), so that the
            line survives when a large film is shown small.
    """
    if mask is None:
        return picture
    _same_shape(picture[..., 0], mask, "mask")
    line = width or max(1.5, min(mask.shape) / 220)
    soft = smooth(mask.astype(np.float32), max(0.8, 0.6 * line))
    slope = np.hypot(*np.gradient(soft)) if min(mask.shape) > 1 else np.zeros_like(soft)
    distance = np.abs(soft - 0.5) / np.maximum(slope, 1e-3)  # px, to first order
    cover = np.clip(line / 2 + 0.5 - distance, 0.0, 1.0)[..., None]
    cover *= (np.abs(soft - 0.5) < 0.48)[..., None]
    drawn = picture * (1 - cover) + np.asarray(OUTLINE, np.float32) * cover
    return _levels(drawn / 255)


def overlay(
    film: FloatImage,
    relevance: FloatImage,
    mask: Mask | None,
    *,
    limit: float | None = None,
    smoothing: float = 0.0,
) -> RGB:
    """Relevance in colour over the film, lungs outlined: red speaks for the class, blue against.

    Args:
        film: [H, W], 0 to 1.
        relevance: [H, W], the map on the film's pixels; 0 shows the bare film.
        mask: [H, W] lungs, or None.
        limit: Magnitude of the strongest colour; default the 99.5th percentile of |relevance|.
        smoothing: Standard deviation in px of a Gaussian, for display; 0 shows the raw map.

    Returns:
        uint8 RGB [H, W, 3].

    Raises:
        ValueError: When shapes differ or values are not finite.
    """
    _check(film, relevance, mask)
    shown = smooth(relevance, smoothing)
    strongest = limit if limit is not None and limit > 0 else relevance_limit(shown)
    colours = blend(film, shown, strongest)
    return outlined(_levels(colours), mask)


def compose_panel(
    film: FloatImage,
    relevance: FloatImage,
    mask: Mask | None,
    *,
    title: str,
    caption: str,
    limit: float | None = None,
    smoothing: float = 0.0,
    height: int = 512,
) -> RGB:
    """A picture to show: the outlined film, the overlay beside it, a colour bar and the words.

    Args:
        film: [H, W], 0 to 1.
        relevance: [H, W] on the film's pixels.
        mask: [H, W] lungs, or None.
        title: One line above; shortened to fit.
        caption: Up to three lines below.
        limit: As in `overlay`.
        smoothing: Standard deviation of the display's Gaussian in px of the panel; a note says so.
        height: Height of the two pictures in px.

    Returns:
        uint8 RGB on white paper.

    Raises:
        ValueError: When shapes differ or values are not finite.
    """
    _check(film, relevance, mask)
    film, relevance, small = _to_height(film, relevance, mask, height)
    shown = smooth(relevance, smoothing)
    strongest = limit if limit is not None and limit > 0 else relevance_limit(shown)
    unit = max(10, height // 30)  # size of the small letters
    gap, edge = unit // 2, unit
    pictures = [outlined(grey(film), small), overlay(film, shown, small, limit=strongest)]
    width = 2 * film.shape[1] + gap
    words = [(line, _INK) for line in wrap(caption, font(unit), width, 3)]
    words += [(line, _SOFT) for line in wrap(_note(limit, smoothing), font(unit), width, 2)]
    top = edge + round(2.2 * unit)
    bar_top = top + height + gap
    words_top = bar_top + round(2.9 * unit)
    total = words_top + round(len(words) * 1.45 * unit) + edge
    sheet = Image.new("RGB", (width + 2 * edge, total), _PAPER)
    draw = ImageDraw.Draw(sheet)
    heading = font(round(1.3 * unit), bold=True)
    draw.text((edge, edge), fit(title, heading, width), _INK, heading)
    for place, picture in enumerate(pictures):
        sheet.paste(Image.fromarray(picture), (edge + place * (film.shape[1] + gap), top))
    _colour_bar(sheet, edge + film.shape[1] + gap, bar_top, film.shape[1], unit, strongest)
    _legend(draw, edge, bar_top, unit, small is not None)
    for number, (line, ink) in enumerate(words):
        draw.text((edge, words_top + round(number * 1.45 * unit)), line, ink, font(unit))
    return np.asarray(sheet)


@dataclass(frozen=True)
class SheetStyle:
    """Measures of a contact sheet.

    Attributes:
        cell: Side of the square that holds one picture, px.
        letters: Height of the caption's letters, px.
        lines: Lines of caption under each picture.
    """

    cell: int = 192
    letters: int = 12
    lines: int = 2


def contact_sheet(
    tiles: Sequence[RGB],
    captions: Sequence[str],
    columns: int,
    *,
    style: SheetStyle | None = None,
) -> RGB:
    """Many small pictures with captions in rows of `columns`, on white paper.

    Args:
        tiles: uint8 [h, w] or [h, w, 3], each of its own size; aspect ratios are kept.
        captions: One for each tile; wrapped, then shortened.
        columns: Pictures in a row, at least 1.
        style: Measures; see `SheetStyle`.

    Returns:
        uint8 RGB.

    Raises:
        ValueError: When tiles and captions differ in number, or there is none.
    """
    style = style or SheetStyle()
    if len(tiles) != len(captions) or not tiles or columns < 1:
        raise ValueError(f"{len(tiles)} tiles, {len(captions)} captions, {columns} columns")
    columns = min(columns, len(tiles))
    gap = max(6, style.cell // 24)
    words = round(style.lines * 1.3 * style.letters) + gap // 2
    rows = -(-len(tiles) // columns)
    size = (gap + columns * (style.cell + gap), gap + rows * (style.cell + words + gap))
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    letters = font(style.letters)
    for number, (tile, caption) in enumerate(zip(tiles, captions, strict=True)):
        row, column = divmod(number, columns)
        left, top = gap + column * (style.cell + gap), gap + row * (style.cell + words + gap)
        draw.rectangle((left, top, left + style.cell - 1, top + style.cell - 1), (0, 0, 0))
        picture = Image.fromarray(tile).convert("RGB")
        picture = _shrunk(picture, style.cell)
        spare = (style.cell - picture.width) // 2, (style.cell - picture.height) // 2
        sheet.paste(picture, (left + spare[0], top + spare[1]))
        for line, text in enumerate(wrap(caption, letters, style.cell, style.lines)):
            place = (left, top + style.cell + gap // 3 + round(line * 1.3 * style.letters))
            draw.text(place, text, _INK, letters)
    return np.asarray(sheet)


def png_bytes(picture: NDArray[np.uint8]) -> bytes:
    """PNG file of uint8 [H, W] or [H, W, 3]: pixels only, no text, no time; same in, same out."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def jpeg_bytes(picture: NDArray[np.uint8], quality: int = 85) -> bytes:
    """JPEG file of uint8 [H, W] or [H, W, 3], colours at full resolution, no metadata."""
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(picture))
    image.save(buffer, "JPEG", quality=quality, subsampling=0, optimize=True)
    return buffer.getvalue()


def _colour_bar(
    sheet: Image.Image, left: int, top: int, width: int, unit: int, limit: float
) -> None:
    """The bar from -limit to +limit as it looks over film of a mean grey, with its words."""
    draw = ImageDraw.Draw(sheet)
    ramp = np.linspace(-1.0, 1.0, width, dtype=np.float32)[None].repeat(unit, axis=0)
    bar = blend(np.full_like(ramp, _BAR_GREY), ramp, 1.0)
    sheet.paste(Image.fromarray(_levels(bar)), (left, top))
    below = top + round(1.25 * unit)
    low, high = f"\N{MINUS SIGN}{limit:.2g} against", f"for +{limit:.2g}"
    draw.text((left, below), fit(low, font(unit), 0.45 * width), _INK, font(unit))
    draw.text((left + width / 2, below), "0", _INK, font(unit), anchor="ma")
    draw.text(
        (left + width, below), fit(high, font(unit), 0.45 * width), _INK, font(unit), anchor="ra"
    )


def _legend(draw: ImageDraw.ImageDraw, left: int, top: int, unit: int, has_mask: bool) -> None:
    if not has_mask:
        draw.text((left, top), "no lung mask", _SOFT, font(unit))
        return
    middle = top + unit // 2
    draw.line((left, middle, left + 2 * unit, middle), OUTLINE, max(2, unit // 5))
    draw.text((left + round(2.6 * unit), top - unit // 6), "lung outline", _INK, font(unit))


def _note(limit: float | None, smoothing: float) -> str:
    scale = "as given" if limit else f"{LIMIT_PERCENTILE:g}th percentile of |relevance|"
    note = f"Colour limit: {scale}."
    if smoothing > 0:
        note += f" Smoothed for display only (Gaussian, standard deviation {smoothing:g} px)."
    return note


def _to_height(
    film: FloatImage, relevance: FloatImage, mask: Mask | None, height: int
) -> tuple[FloatImage, FloatImage, Mask | None]:
    width = max(1, round(film.shape[1] * height / film.shape[0]))
    small = None if mask is None else _scaled(mask.astype(np.float32), (width, height)) >= 0.5
    return _scaled(film, (width, height)), _scaled(relevance, (width, height)), small


def _scaled(values: FloatImage, size: tuple[int, int]) -> FloatImage:
    """Bilinear, antialiased when shrinking; `size` is (width, height)."""
    image = Image.fromarray(np.ascontiguousarray(values, np.float32))
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR), np.float32)


def _shrunk(picture: Image.Image, cell: int) -> Image.Image:
    scale = cell / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _levels(values: NDArray[np.floating]) -> RGB:
    """Values in [0, 1] as bytes; beyond the range they are cut."""
    return np.asarray(np.round(np.clip(values, 0.0, 1.0) * 255), np.uint8)


def _check(film: FloatImage, relevance: FloatImage, mask: Mask | None) -> None:
    if film.ndim != 2:
        raise ValueError(f"film: shape {film.shape}, expected [H, W]")
    _same_shape(film, relevance, "relevance")
    if mask is not None:
        _same_shape(film, mask, "mask")
    if not np.isfinite(relevance).all():
        raise ValueError("relevance: holds NaN or infinite values")


def _same_shape(film: NDArray[np.generic], other: NDArray[np.generic], name: str) -> None:
    if film.shape != other.shape:
        raise ValueError(f"{name}: shape {other.shape}, expected the film's {film.shape}")
