"""From path lengths to an image: exposure, scatter, noise, grey curve, letters, borders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from isnet_cli.phantoms.canvas import Grid, Map, blur, smoothstep

Hospital = Literal["A", "B"]
SOFT, LUNG = 0.2, 0.036  # attenuation per cm at about 120 kVp


@dataclass(frozen=True)
class Appearance:
    """How a hospital's images style.

    Attributes:
        photons: Detected quanta per pixel in the open beam.
        scatter: Share of scattered radiation.
        grain: Deviation of the image's or reader's own noise.
        compress: Share of the coarse contrast that the processing takes away.
        sharpen: Edge enhancement.
        middle: Attenuation shown as mid grey.
        slope: Steepness of the characteristic curve.
        air: Grey level of the open beam.
    """

    photons: float
    scatter: float
    grain: float
    compress: float
    sharpen: float
    middle: float
    slope: float
    air: float


APPEARANCES: dict[str, Appearance] = {
    "A": Appearance(5e4, 0.08, 0.004, 0.42, 0.8, 2.2, 1.6, 0.06),
    "B": Appearance(2.5e4, 0.06, 0.007, 0.0, 0.15, 2.55, 2.1, 0.0),
}


def expose(attenuation: Map, grid: Grid, hospital: Hospital, rng: np.random.Generator) -> Map:
    """Develops an attenuation image into grey levels, 0 to 1, bone bright.

    Args:
        attenuation: Line integrals, dimensionless.
        grid: Scale of the image.
        hospital: Whose detector and processing.
        rng: Noise and the exposure's variation.
    """
    style = APPEARANCES[hospital]
    beam = 1 - 0.05 * _compute_falloff(grid)
    primary = beam * np.exp(-attenuation)
    haze = style.scatter * rng.uniform(0.8, 1.3) * blur(primary, 2.5 * grid.scale)
    light = blur(np.asarray(primary + haze, np.float32), 0.03 * grid.scale)
    photons = style.photons * rng.uniform(0.5, 1.6)
    noise = rng.standard_normal(light.shape, np.float32)
    light = np.maximum(light + noise * np.sqrt(light / np.float32(photons)), 1e-4)
    density = -np.log(light)
    if style.compress:
        coarse = blur(density, 1.8 * grid.scale)
        density = density - style.compress * (coarse - style.middle)
    density = density + style.sharpen * (density - blur(density, 0.16 * grid.scale))
    middle = style.middle + rng.normal(0, 0.12)
    slope = style.slope * rng.uniform(0.9, 1.12)
    grey = 1 / (1 + np.exp(-slope * (density - middle)))
    floor = 1 / (1 + np.exp(slope * middle))
    grey = style.air + (1 - style.air) * (grey - floor) / (1 - floor)
    grain = rng.standard_normal(grey.shape, np.float32)
    return np.asarray(np.clip(grey + style.grain * grain, 0, 1), np.float32)


def _compute_falloff(grid: Grid) -> Map:
    x, y = grid.xy
    return np.asarray(((x / 20) ** 2 + ((y - 14) / 20) ** 2) / 2, np.float32)


def add_marks(
    image: Map, lungs: NDArray[np.bool_], hospital: Hospital, rng: np.random.Generator
) -> Map:
    """Stamps side letters, words, stickers and leads outside the lungs, as the hospital does.

    What is stamped depends on `rng` alone, never on the image's class.

    Args:
        image: [H, W], 0 to 1.
        lungs: [H, W]; no stamp touches them.
        hospital: A: a lead letter, at times the projection in small print, at times a lead wire.
            B: a sticker ``PA ERECT``, a letter, a line of print along the border.
        rng: Choices and places.
    """
    out = image.copy()
    unit = min(image.shape)
    side = "R" if rng.random() < 0.6 else "L"
    if hospital == "A":
        bright = rng.uniform(0.75, 1.0)
        box = _stamp_word(out, lungs, side, rng.uniform(0.028, 0.045) * unit, side, bright, rng)
        if rng.random() < 0.5:
            word = str(rng.choice(["pa", "PA", "AP", "ERECT", "10:42", "S 1"]))
            _stamp_beneath(out, lungs, word, 0.02 * unit, box, bright)
        if rng.random() < 0.12:
            out = _draw_wire(out, lungs, rng)
    else:
        _stamp_word(out, lungs, side, rng.uniform(0.04, 0.055) * unit, side, 1.0, rng)
        other = "L" if side == "R" else "R"
        _stick_labels(out, lungs, ["PA", "ERECT"], 0.032 * unit, other, rng)
    return out


def draw_text(word: str, height: float) -> Map:
    """Coverage, 0 to 1, of a word whose capitals are `height` px high."""
    font = ImageFont.load_default(size=max(4.0, height) * 1.38 * 4)
    left, top, right, bottom = font.getbbox(word)
    size = (int(right - left) + 8, int(bottom - top) + 8)
    image = Image.new("L", size, 0)
    ImageDraw.Draw(image).text((4 - left, 4 - top), word, fill=255, font=font)
    small = image.resize((max(1, size[0] // 4), max(1, size[1] // 4)), Image.Resampling.BOX)
    return np.asarray(small, np.float32) / np.float32(255)


Box = tuple[int, int, int, int]


def _blend_stamp(image: Map, lungs: NDArray[np.bool_], stamp: Map, grey: float, box: Box) -> bool:
    """Lays `stamp` into the box unless it leaves the image or touches the lungs."""
    top, left, height, width = box
    if top < 0 or left < 0 or top + height > image.shape[0] or left + width > image.shape[1]:
        return False
    area = slice(top, top + height), slice(left, left + width)
    if lungs[area].any():
        return False
    image[area] += stamp * (np.float32(grey) - image[area])
    return True


def _stamp_word(
    image: Map,
    lungs: NDArray[np.bool_],
    word: str,
    height: float,
    side: str,
    grey: float,
    rng: np.random.Generator,
) -> Box:
    """A word in the upper corner of the given side of the patient (R is on the image's left)."""
    stamp = draw_text(word, height)
    h, w = stamp.shape
    for _ in range(20):
        across = rng.uniform(0.03, 0.2) * image.shape[1]
        left = int(across if side == "R" else image.shape[1] - across - w)
        box = (int(rng.uniform(0.02, 0.2) * image.shape[0]), left, h, w)
        if _blend_stamp(image, lungs, stamp, grey, box):
            return box
    return (0, 0, 0, 0)


def _stamp_beneath(
    image: Map, lungs: NDArray[np.bool_], word: str, height: float, box: Box, grey: float
) -> None:
    stamp = draw_text(word, height)
    h, w = stamp.shape
    left = int(np.clip(box[1] + (box[3] - w) // 2, 0, image.shape[1] - w))
    _blend_stamp(image, lungs, stamp, grey, (box[0] + box[2] + h // 2, left, h, w))


def _stick_labels(
    image: Map,
    lungs: NDArray[np.bool_],
    lines: list[str],
    height: float,
    side: str,
    rng: np.random.Generator,
) -> None:
    """White labels with black print, one line each, stuck near the upper corner."""
    top = int(rng.uniform(0.02, 0.07) * image.shape[0])
    middle = rng.uniform(0.1, 0.18) * image.shape[1]
    for line in lines:
        ink = draw_text(line, height)
        label = np.pad(1 - ink, max(1, int(height * 0.16)), constant_values=1.0)
        h, w = label.shape
        left = int((middle if side == "R" else image.shape[1] - middle) - w / 2)
        box = (top, left, h, w)
        paper = np.ones_like(label)
        if _blend_stamp(image, lungs, paper, 0.0, box):
            image[top : top + h, left : left + w] = np.maximum(label, 0.02)
        top += h + 1


def _draw_wire(image: Map, lungs: NDArray[np.bool_], rng: np.random.Generator) -> Map:
    """A thin lead that hangs from a shoulder along the border, never over the lungs."""
    height, width = image.shape
    t = np.linspace(0, 1, 60)
    right = rng.random() < 0.5
    across = rng.uniform(0.03, 0.1) + 0.02 * np.sin(t * rng.uniform(3, 7) + rng.uniform(0, 6))
    across = 1 - across if right else across
    sketch = Image.new("L", (width * 2, height * 2), 0)
    points = np.stack((across * 2 * width, (0.15 + t) * 2 * height), -1)
    ImageDraw.Draw(sketch).line(points.ravel().tolist(), fill=255, width=max(2, height // 110))
    ImageDraw.Draw(sketch).ellipse(
        [*(points[0] - height / 50), *(points[0] + height / 50)], fill=190
    )
    cover = np.asarray(sketch.resize((width, height), Image.Resampling.BOX), np.float32) / 255
    cover = np.where(lungs, 0, cover) * np.float32(0.55)
    return np.asarray(image + cover * (np.float32(0.97) - image), np.float32)


def collimate(image: Map, hospital: Hospital, rng: np.random.Generator) -> Map:
    """Black borders where the beam was shuttered, a little askew."""
    height, width = image.shape
    reach = 0.018 if hospital == "A" else 0.045
    chance = 0.6 if hospital == "A" else 0.5
    rows = np.arange(height, dtype=np.float32)[:, None]
    columns = np.arange(width, dtype=np.float32)[None, :]
    inside = np.ones_like(image)
    for edge in range(4):
        if rng.random() > chance:
            continue
        depth = rng.uniform(0.2, 1.0) * reach * min(image.shape)
        askew = rng.normal(0, 0.006)
        distance = (
            rows + askew * columns
            if edge == 0
            else height - 1 - rows + askew * columns
            if edge == 1
            else columns + askew * rows
            if edge == 2
            else width - 1 - columns + askew * rows
        )
        inside *= smoothstep(distance, depth - 1, depth + 1)
    return np.asarray(image * inside, np.float32)
