"""Signs of disease inside the lungs: consolidation, nodules, a cavity, fluid at the base."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from isnet_cli.phantoms.canvas import Grid, Map, Tubes, blur, draw_clouds, move_points, smoothstep

Sign = Literal["consolidation", "nodules", "cavity", "effusion"]
SIGNS: tuple[Sign, ...] = ("consolidation", "nodules", "cavity", "effusion")
_SHARES = (0.40, 0.34, 0.18, 0.08)


@dataclass(frozen=True)
class Disease:
    """What ails one patient: one sign or two, and how severe they are (1.1 to 1.7)."""

    signs: tuple[Sign, ...]
    severity: float

    @staticmethod
    def draw(rng: np.random.Generator) -> Disease:
        """A random disease."""
        count = 1 if rng.random() < 0.4 else 2
        chosen = rng.choice(len(SIGNS), size=count, replace=False, p=_SHARES)
        return Disease(tuple(SIGNS[i] for i in sorted(chosen)), float(rng.uniform(1.1, 1.7)))


def add_disease(
    grid: Grid,
    air: Map,
    mask: NDArray[np.bool_],
    domes: Map,
    disease: Disease,
    tubes: Tubes,
    rng: np.random.Generator,
) -> Map:
    """Tissue or fluid that replaces air, cm, [height, width]; nodules are added to `tubes`.

    Args:
        grid: Where to project.
        air: Path through the lung, cm; never more than this is replaced.
        mask: Lungs as a reader sees them.
        domes: Level of the diaphragm's silhouette, cm.
        disease: The signs to draw.
        tubes: Receives the nodules.
        rng: Places and shapes.
    """
    total = np.zeros_like(air)
    for sign in disease.signs:
        if sign == "consolidation":
            for _ in range(int(rng.integers(1, 4))):
                total += _draw_patch(grid, mask, disease.severity, rng)
        elif sign == "nodules":
            total += _draw_nodules(grid, mask, disease.severity, tubes, rng)
        elif sign == "cavity":
            total += _draw_cavity(grid, mask, disease.severity, rng)
        else:
            total += _draw_effusion(grid, air, domes, disease.severity, rng)
    seen = blur(mask.astype(np.float32), 0.25 * grid.scale)
    return np.asarray(np.minimum(total * seen, 0.85 * air), np.float32)


def _choose_place(
    grid: Grid, mask: NDArray[np.bool_], rng: np.random.Generator, low: float, high: float
) -> tuple[float, float]:
    """A random point of the lungs between two levels (cm below the apices)."""
    x, y = grid.xy
    choices = np.flatnonzero(mask & (y > low) & (y < high))
    if not len(choices):
        choices = np.flatnonzero(mask)
    index = int(choices[rng.integers(len(choices))])
    return float(x.flat[index]), float(y.flat[index])


def _draw_patch(
    grid: Grid, mask: NDArray[np.bool_], severity: float, rng: np.random.Generator
) -> Map:
    """A cloudy opacity with ragged edges."""
    x, y = grid.xy
    size = rng.uniform(2.0, 4.2) * severity**0.5
    place = _choose_place(grid, mask, rng, 1.5, 20.0)
    axes = (size * rng.uniform(1.0, 1.5), size)
    height = _draw_hill(x, y, place, axes, rng.uniform(0, np.pi))
    ragged = height * (1 + 0.40 * draw_clouds(rng, grid, 2.0, 4, 0.55))
    return np.asarray(smoothstep(ragged, 0.05, 1.4) * rng.uniform(4.0, 6.5) * severity, np.float32)


def _draw_hill(
    x: Map, y: Map, place: tuple[float, float], axes: tuple[float, float], angle: float
) -> Map:
    """A Gaussian hill, 1 at its top."""
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    dx, dy = x - np.float32(place[0]), y - np.float32(place[1])
    u, v = (c * dx + s * dy) / np.float32(axes[0]), (c * dy - s * dx) / np.float32(axes[1])
    return np.asarray(np.exp(-(u * u + v * v)), np.float32)


def _draw_nodules(
    grid: Grid, mask: NDArray[np.bool_], severity: float, tubes: Tubes, rng: np.random.Generator
) -> Map:
    """A shower of small round opacities around one or two places, with some haze."""
    x, y = grid.xy
    haze = np.zeros_like(x)
    for _ in range(int(rng.integers(2, 5))):
        place = _choose_place(grid, mask, rng, 1.5, 18.0)
        spread = rng.uniform(1.5, 3.2)
        count = int(rng.integers(12, 34) * severity)
        where = np.array(place) + rng.normal(0, spread, (count, 2))
        radius = rng.uniform(0.14, 0.45, count)
        pixel = np.round(grid.project(where)).astype(int)
        inside = mask[
            np.clip(pixel[:, 1], 0, grid.height - 1), np.clip(pixel[:, 0], 0, grid.width - 1)
        ]
        ends = np.stack((move_points(where, 0, -0.01), move_points(where, 0, 0.01)), axis=1)[inside]
        solid = 0.30 * severity * radius[inside, None] / 0.02
        tubes.add(
            np.concatenate((ends, np.zeros((*ends.shape[:2], 1))), -1), radius[inside, None], solid
        )
        haze += 2.4 * severity * _draw_hill(x, y, place, (spread * 1.1, spread * 1.1), 0.0)
    return np.asarray(
        haze * np.clip(1 + 0.6 * draw_clouds(rng, grid, 1.0, 3, 0.7), 0, 3), np.float32
    )


def _draw_cavity(
    grid: Grid, mask: NDArray[np.bool_], severity: float, rng: np.random.Generator
) -> Map:
    """A ring: a thick irregular wall around air, in some cloud."""
    x, y = grid.xy
    place = _choose_place(grid, mask, rng, 1.5, 14.0)
    size = rng.uniform(1.6, 2.8)
    angle, longer = rng.uniform(0, np.pi), rng.uniform(1.0, 1.3)
    bend = 0.16 * size
    wx, wy = (
        x + bend * draw_clouds(rng, grid, 2.5, 2, 0.5),
        y + bend * draw_clouds(rng, grid, 2.5, 2, 0.5),
    )
    c, s = np.cos(angle), np.sin(angle)
    u = (c * (wx - place[0]) + s * (wy - place[1])) / (size * longer)
    v = (c * (wy - place[1]) - s * (wx - place[0])) / size
    radius = np.hypot(u, v)
    wall = 2.6 * np.exp(-(((radius - 0.8) / 0.2) ** 2)) - 0.9 * smoothstep(radius, 0.75, 0.5)
    cloud = _draw_hill(x, y, place, (size * 1.5, size * 1.5), angle)
    cloud *= np.maximum(1 + 0.5 * draw_clouds(rng, grid, 1.2, 3, 0.7), 0)
    return np.asarray(np.maximum(severity * (wall + 2.6 * cloud), 0), np.float32)


def _draw_effusion(
    grid: Grid, air: Map, domes: Map, severity: float, rng: np.random.Generator
) -> Map:
    """Fluid in one costophrenic angle: its upper edge climbs along the chest wall."""
    x, y = grid.xy
    side = float(rng.choice([-1.0, 1.0]))
    edge = np.abs(x) / 13.0
    top = float(domes[air > 1].min()) + rng.uniform(-1.2, 0.6) - 1.6 * (severity - 1)
    level = top + 1.2 - 8.5 * np.clip(edge - 0.35, 0, 0.7) ** 2
    fluid = smoothstep(y - level, -0.5, 1.0) * (np.sign(x) == side)
    return np.asarray(14.0 * fluid, np.float32)
