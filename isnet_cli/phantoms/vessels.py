"""Airways and branching vessels of a chest phantom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isnet_cli.phantoms.anatomy import Pose
from isnet_cli.phantoms.canvas import Grid, Points, Tubes, interpolate_curve, move_points

AIR, BLOOD = 0.2, 0.26  # attenuation per cm: what air takes away, what vessels add to lung
_GENERATIONS = 8
_THINNEST = 0.022  # cm, radius


def draw_airways(tubes: Tubes, pose: Pose, rng: np.random.Generator) -> None:
    """Takes away what the air in the trachea and the main bronchi replaces."""
    carina = np.array([0.15 + rng.normal(0, 0.15), 9.4 - 0.2 * pose.breath, -1.0])
    above = move_points(carina, 0, -0.4, 0)
    pipe = interpolate_curve(
        np.array([[0, -9, 1.5], [0, -2, 1], [rng.normal(-0.1, 0.15), 4, 0], carina]), 500
    )
    tubes.add(pipe, np.linspace(0.8, 0.9, 500), -AIR)
    right = interpolate_curve(
        np.array([above, move_points(carina, -1.5, 1.2, 0), move_points(carina, -3.2, 3.6, 0)]), 200
    )
    left = interpolate_curve(
        np.array([above, move_points(carina, 2.0, 1.2, 0), move_points(carina, 4.4, 2.7, 0)]), 200
    )
    fade = np.linspace(0.9, 0.2, 200)
    tubes.add(right, np.linspace(0.7, 0.35, 200), -AIR * fade)
    tubes.add(left, np.linspace(0.6, 0.3, 200), -AIR * fade)


@dataclass(frozen=True)
class _Shoots:
    """The growing ends of one generation of vessels.

    Attributes:
        starts: [B, 2] positions, cm.
        heads: [B, 2] unit directions.
        radii: [B] cm.
        lengths: [B] cm.
    """

    starts: Points
    heads: Points
    radii: Points
    lengths: Points


def draw_vessels(
    tubes: Tubes, grid: Grid, lung: NDArray[np.bool_], pose: Pose, rng: np.random.Generator
) -> None:
    """Adds the vessels of both lungs, from the hila outwards, where `lung` [H, W] is true."""
    for side in (-1.0, 1.0):
        hilum = np.array([side * 3.3, 11.4 - 0.9 * (side > 0) - 0.3 * pose.breath])
        _start_trunks(tubes, hilum, side)
        angles = np.radians([-80, -66, -50, -30, -8, 10, 26, 40, 54, 66, 78, 90])
        angles = angles + rng.normal(0, 0.09, 12)
        heads = np.stack((side * np.cos(angles), np.sin(angles)), axis=-1)
        radii = np.interp(np.abs(angles - 1.0), [0, 0.4, 1.1, 2.4], [0.45, 0.38, 0.28, 0.34])
        starts = hilum + heads * 0.5 + rng.normal(0, 0.3, (12, 2))
        starts[:, 1] += np.sin(angles) * 1.6
        radii, lengths = radii * rng.uniform(0.8, 1.15, 12), rng.uniform(2.0, 4.2, 12)
        shoots = _Shoots(starts, heads, radii, lengths)
        for _ in range(_GENERATIONS):
            if not len(shoots.starts):
                break
            shoots = _grow_shoots(tubes, grid, lung, shoots, rng)


def _start_trunks(tubes: Tubes, hilum: Points, side: float) -> None:
    """The large vessels of one hilum: a descending and an ascending branch."""
    start = [move_points(hilum, -side * 1.2, -1.0), move_points(hilum, side * 0.3, 0.2)]
    down = [*start, move_points(hilum, side * 1.0, 3.4), move_points(hilum, side * 1.3, 5.6)]
    tubes.add(
        _flatten(interpolate_curve(np.array(down), 300)), np.linspace(0.95, 0.4, 300), 0.65 * BLOOD
    )
    up = [*start, move_points(hilum, side * 1.3, -2.2)]
    tubes.add(
        _flatten(interpolate_curve(np.array(up), 200)), np.linspace(0.7, 0.35, 200), 0.6 * BLOOD
    )


def _flatten(points: Points) -> Points:
    return np.concatenate((points, np.zeros((*points.shape[:-1], 1))), axis=-1)


def _grow_shoots(
    tubes: Tubes, grid: Grid, lung: NDArray[np.bool_], shoots: _Shoots, rng: np.random.Generator
) -> _Shoots:
    """Adds one generation of branches and returns the next, two thinner ones from each end."""
    count = len(shoots.starts)
    t = np.linspace(0, 1, 40)[None, :, None]
    length = shoots.lengths[:, None, None]
    across = np.stack((-shoots.heads[:, 1], shoots.heads[:, 0]), axis=-1)[:, None]
    sway = 0.16 * rng.normal(0, 1, (count, 1, 1))
    wave = 0.03 * rng.normal(0, 1, (count, 1, 1)) * np.sin(3 * np.pi * t)
    flat = shoots.starts[:, None] + length * (
        t * shoots.heads[:, None] + (sway * t**2 + wave) * across
    )
    depth = 0.6 * length * t * rng.normal(0, 1, (count, 1, 1))
    points = np.concatenate((flat, depth), axis=-1)
    taper = shoots.radii[:, None] * np.linspace(1.0, 0.74, 40)
    tubes.add(points, taper, BLOOD * _keep_within(grid, lung, points))
    turn = np.arctan2(shoots.heads[:, 1], shoots.heads[:, 0]) + 2 * sway[:, 0, 0]
    fork, share = rng.uniform(0.22, 0.62, count), rng.uniform(0.62, 0.92, count)
    flip = rng.choice([-1.0, 1.0], count)
    major, minor = turn + flip * fork * (1 - share) * 1.6, turn - flip * fork * share * 1.2
    angle = np.concatenate((major, minor))
    thick = 0.74 * shoots.radii
    return _prune_shoots(
        grid,
        lung,
        _Shoots(
            np.tile(flat[:, -1], (2, 1)),
            np.stack((np.cos(angle), np.sin(angle)), axis=-1),
            np.concatenate((thick * share**0.2, thick * (1.15 - share) ** 0.35)),
            np.tile(shoots.lengths, 2) * rng.uniform(0.6, 1.0, 2 * count),
        ),
    )


def _prune_shoots(grid: Grid, lung: NDArray[np.bool_], shoots: _Shoots) -> _Shoots:
    """Without the shoots that are too thin or start outside the lung."""
    alive = (shoots.radii > _THINNEST) & (_keep_within(grid, lung, shoots.starts) > 0)
    return _Shoots(
        shoots.starts[alive], shoots.heads[alive], shoots.radii[alive], shoots.lengths[alive]
    )


def _keep_within(grid: Grid, lung: NDArray[np.bool_], points: Points) -> Points:
    """1 where points [..., 2 or 3] lie in the lung, 0 elsewhere."""
    places = np.round(grid.project(points)).astype(int)
    column = np.clip(places[..., 0], 0, grid.width - 1)
    row = np.clip(places[..., 1], 0, grid.height - 1)
    return np.asarray(lung[row, column], float)
