"""The sheet on which chest phantoms are projected: a grid in centimetres, tubes, noise, polygons.

A phantom is a stack of path lengths (cm of tissue that a ray crosses). Tubes (ribs, vessels,
airways) are curves in space: their path length is the projected curve, weighted by its length in
space, convolved with a disc. A rib seen end-on is therefore as bright as it is on an image.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Map = NDArray[np.float32]
Points = NDArray[np.float64]

_RADIUS_STEP = 1.3  # ratio of neighbouring radii; a tube is shared by the two nearest


@dataclass(frozen=True)
class Grid:
    """Pixel grid and the patient's coordinates on it.

    The origin is the midline at the level of the lung apices; x grows towards the patient's left
    (the right of the image), y towards the feet, z towards the chest's front, all in cm.

    Attributes:
        height: Rows.
        width: Columns.
        scale: Pixels per cm.
        origin: (row, column) of the coordinates' origin, px.
        tilt: Rotation of the patient in the image plane, radians.
        turn: Rotation of the patient about the long axis, radians.
    """

    height: int
    width: int
    scale: float
    origin: tuple[float, float]
    tilt: float = 0.0
    turn: float = 0.0

    @functools.cached_property
    def xy(self) -> tuple[Map, Map]:
        """Patient coordinates (x, y) of every pixel's centre, each [height, width], cm."""
        rows = (np.arange(self.height, dtype=np.float32)[:, None] - self.origin[0]) / self.scale
        columns = (np.arange(self.width, dtype=np.float32)[None, :] - self.origin[1]) / self.scale
        c, s = np.cos(self.tilt), np.sin(self.tilt)
        return (
            np.asarray(c * columns + s * rows, np.float32),
            np.asarray(c * rows - s * columns, np.float32),
        )

    def project(self, points: Points) -> Points:
        """Pixel positions (column, row) of points [..., 3] (x, y, z in cm) or [..., 2] (z = 0)."""
        x, y = points[..., 0], points[..., 1]
        if points.shape[-1] == 3:
            x = x + np.sin(self.turn) * points[..., 2]
        c, s = np.cos(self.tilt), np.sin(self.tilt)
        return np.stack(
            (
                self.origin[1] + self.scale * (c * x - s * y),
                self.origin[0] + self.scale * (s * x + c * y),
            ),
            axis=-1,
        )

    def polygon(self, points: Points, soft: int = 2) -> Map:
        """Coverage, 0 to 1, of a filled polygon [N, 2] or [N, 3] (cm), with edges of `soft` px."""
        image = Image.new("L", (self.width * 2, self.height * 2), 0)
        corners = (self.project(points) * 2.0 + 0.5).ravel().tolist()
        ImageDraw.Draw(image).polygon(corners, fill=255)
        small = image.resize((self.width, self.height), Image.Resampling.BOX)
        out = np.asarray(small, np.float32) / np.float32(255)
        return blur(out, soft) if soft > 1 else out


@dataclass
class Tubes:
    """Collects tubes and projects all of them at once."""

    grid: Grid
    _parts: list[tuple[Points, Points, Points]] = field(default_factory=list)

    def add(self, points: Points, radius: Points | float, density: Points | float) -> None:
        """Adds tubes along curves.

        Args:
            points: [..., N, 3] positions in cm, along each curve.
            radius: cm, broadcast to [..., N].
            density: Attenuation along the tube relative to 1 per cm, broadcast to [..., N].
        """
        steps = np.linalg.norm(np.diff(points, axis=-2), axis=-1)
        lengths = np.zeros(points.shape[:-1])
        lengths[..., :-1] += steps / 2
        lengths[..., 1:] += steps / 2
        shape = points.shape[:-1]
        self._parts.append(
            (
                self.grid.project(points).reshape(-1, 2),
                (lengths * density).ravel(),
                np.broadcast_to(np.asarray(radius, float), shape).ravel() * self.grid.scale,
            )
        )

    def path(self) -> Map:
        """Summed path length times density of all tubes, [height, width]."""
        grid = self.grid
        if not self._parts:
            return np.zeros((grid.height, grid.width), np.float32)
        places, weights, radii = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        exact = np.log(np.maximum(radii, 0.7)) / np.log(_RADIUS_STEP)
        lower = np.floor(exact)
        shares = ((lower, 1 - (exact - lower)), (lower + 1, exact - lower))
        total = np.zeros((grid.height, grid.width // 2 + 1), np.complex64)
        for number in np.unique(np.concatenate((lower, lower + 1))):
            disc = float(_RADIUS_STEP**number)
            chosen = [(bins == number) & (share > 0) for bins, share in shares]
            # A tube between two discs, or thinner than the thinnest, keeps its cross-section.
            scaled = weights * (radii / disc) ** 2
            dots = _splat(
                np.concatenate([places[which] for which in chosen]),
                np.concatenate([(scaled * s)[w] for (_, s), w in zip(shares, chosen, strict=True)]),
                grid.height,
                grid.width,
            )
            if dots.any():
                total += np.fft.rfft2(dots) * _disc(disc, grid.height, grid.width)
        return np.asarray(np.fft.irfft2(total, s=(grid.height, grid.width)), np.float32)


def interpolate_curve(knots: Points, count: int) -> Points:
    """A smooth curve of `count` points through `knots` [K, 2] or [K, 3] (Catmull-Rom)."""
    k = np.concatenate((2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]))
    t = np.linspace(0, len(k) - 3 - 1e-9, count)
    i = t.astype(int)
    f = (t - i)[:, None]
    a, b, c, d = k[i], k[i + 1], k[i + 2], k[i + 3]
    out = b + 0.5 * f * (c - a + f * (2 * a - 5 * b + 4 * c - d + f * (3 * (b - c) + d - a)))
    return np.asarray(out, float)


def move_points(points: Points, *by: float) -> Points:
    """Points [..., D] moved by D numbers of cm."""
    return np.asarray(points + np.array(by), float)


def _splat(places: Points, weights: Points, height: int, width: int) -> Map:
    column, row = places[:, 0], places[:, 1]
    inside = (column >= 0) & (column < width - 1) & (row >= 0) & (row < height - 1)
    column, row, weights = column[inside], row[inside], weights[inside]
    left, top = np.floor(column).astype(int), np.floor(row).astype(int)
    dx, dy = column - left, row - top
    corners = [(down, right) for down in (0, 1) for right in (0, 1)]
    index = np.concatenate([(top + down) * width + left + right for down, right in corners])
    shares = [(dy if down else 1 - dy) * (dx if right else 1 - dx) for down, right in corners]
    dots = np.bincount(index, np.concatenate(shares) * np.tile(weights, 4), height * width)
    return np.asarray(dots.reshape(height, width), np.float32)


@functools.lru_cache(maxsize=64)
def _disc(radius: float, height: int, width: int) -> NDArray[np.complex64]:
    """Transform of an antialiased disc of `radius` px around the origin, value 1 inside."""
    rows = np.fft.fftfreq(height, 1 / height)[:, None]
    columns = np.fft.fftfreq(width, 1 / width)[None, :]
    distance = np.hypot(rows, columns)
    disc = np.clip(radius + 0.5 - distance, 0.0, 1.0)
    disc *= np.pi * radius**2 / disc.sum()
    return np.asarray(np.fft.rfft2(disc.astype(np.float32)), np.complex64)


def blur(image: Map, sigma: float) -> Map:
    """Gaussian blur of `sigma` px; the borders are continued by their last pixel."""
    if sigma > 4:
        factor = int(sigma / 2)
        size = (-(-image.shape[1] // factor), -(-image.shape[0] // factor))
        small = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
        smooth = Image.fromarray(blur(small, sigma / factor))
        wide = smooth.resize((image.shape[1], image.shape[0]), Image.Resampling.BICUBIC)
        return np.asarray(wide, np.float32)
    reach = max(1, int(np.ceil(2.8 * sigma)))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-3)) ** 2)
    taps = (taps / taps.sum()).astype(np.float32)
    for axis in (0, 1):
        length = image.shape[axis]
        padded = np.pad(image, [(reach, reach) if a == axis else (0, 0) for a in (0, 1)], "edge")
        views = (
            padded[k : k + length] if axis == 0 else padded[:, k : k + length]
            for k in range(2 * reach + 1)
        )
        total = np.zeros_like(image)
        for tap, view in zip(taps, views, strict=True):
            total += tap * view
        image = total
    return image


def draw_clouds(
    rng: np.random.Generator, grid: Grid, coarsest: float, octaves: int, gain: float
) -> Map:
    """Random field with zero mean and unit deviation, smooth at `coarsest` cm, finer by octaves.

    Args:
        rng: Source of the randomness.
        grid: Size and scale of the field.
        coarsest: Length of the largest structures, cm.
        octaves: Number of scales, each half as large as the one before.
        gain: Amplitude of an octave relative to the one before.
    """
    total = np.zeros((grid.height, grid.width), np.float32)
    amplitude, power = 1.0, 0.0
    for octave in range(octaves):
        cell = max(coarsest / 2**octave * grid.scale, 1.0)
        rows, columns = int(grid.height / cell) + 3, int(grid.width / cell) + 3
        small = Image.fromarray(rng.standard_normal((rows, columns), np.float32))
        box = (0.0, 0.0, grid.width / cell + 1.0, grid.height / cell + 1.0)
        total += np.float32(amplitude) * np.asarray(
            small.resize((grid.width, grid.height), Image.Resampling.BICUBIC, box=box), np.float32
        )
        power += amplitude**2 * 0.55  # variance that bicubic interpolation leaves
        amplitude *= gain
    return total / np.float32(np.sqrt(power))


def smoothstep(values: NDArray[np.floating[Any]], low: float, high: float) -> Map:
    """0 below `low`, 1 above `high`, a cubic between (`low` may exceed `high`)."""
    t = np.clip((values - np.float32(low)) / np.float32(high - low), 0.0, 1.0)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def draw_dome(
    x: Map, y: Map, centre: tuple[float, float], axes: tuple[float, float], angle: float
) -> Map:
    """Height, 0 to 1, of half an ellipsoid over the plane: 1 at its centre, 0 outside.

    Args:
        x: Coordinates, cm.
        y: Coordinates, cm.
        centre: (x, y), cm.
        axes: Half axes, cm, the first along `angle`.
        angle: Direction of the first axis, radians from x towards y.
    """
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    dx, dy = x - np.float32(centre[0]), y - np.float32(centre[1])
    u, v = (c * dx + s * dy) / np.float32(axes[0]), (c * dy - s * dx) / np.float32(axes[1])
    return np.asarray(np.sqrt(np.maximum(1 - u * u - v * v, 0)), np.float32)
