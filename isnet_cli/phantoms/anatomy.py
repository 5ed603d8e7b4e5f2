"""Soft parts of a chest phantom: the body, the lungs, the mediastinum, the domes of the diaphragm.

Lengths are in cm in the coordinates of `isnet_cli.phantoms.canvas.Grid`. The shapes are simple
solids (ellipsoids, superellipses) whose thickness along the ray is known in closed form.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isnet_cli.phantoms.canvas import Grid, Map, blur, draw_clouds, draw_dome, smoothstep


@dataclass(frozen=True)
class Patient:
    """What stays the same from image to image of one patient (cm, or factors around 1).

    Attributes:
        chest: Half width of the rib cage at its widest.
        depth: Half depth of the rib cage at its deepest.
        wall: Thickness of the chest wall, fat included.
        muscle: Width of the muscles beside the upper chest.
        heart: Size of the heart.
        lean: How far the heart lies to the left.
        aorta: Radius of the aortic arch.
        dome: Level of the right dome at full inspiration.
        dome_left: How much lower the left dome stands.
        breasts: Size of the breast shadows, 0 for none.
        sag: Level of the breasts below the apices.
        slope: How far the shoulders fall towards the arms.
        neck: Half width of the neck.
        bone: Mineral of the bones.
        wobble: Four small numbers that make the two sides unlike.
        gas: Size of the gas in the stomach.
    """

    chest: float
    depth: float
    wall: float
    muscle: float
    heart: float
    lean: float
    aorta: float
    dome: float
    dome_left: float
    breasts: float
    sag: float
    slope: float
    neck: float
    bone: float
    wobble: tuple[float, float, float, float]
    gas: float

    @staticmethod
    def draw(rng: np.random.Generator) -> Patient:
        """A random adult."""
        woman = rng.random() < 0.45
        fat = rng.beta(2, 4)
        return Patient(
            chest=rng.normal(13.2 if woman else 14.1, 0.55),
            depth=rng.normal(8.6, 0.6),
            wall=2.0 + 2.2 * fat,
            muscle=rng.normal(3.6 if woman else 4.3, 0.4),
            heart=float(np.clip(rng.normal(1.0, 0.07), 0.86, 1.2)),
            lean=rng.normal(0.0, 0.4),
            aorta=float(np.clip(rng.normal(1.55, 0.22), 1.1, 2.2)),
            dome=float(np.clip(rng.normal(21.0, 1.0), 18.5, 23.0)),
            dome_left=float(np.clip(rng.normal(1.1, 0.5), 0.0, 2.4)),
            breasts=float(rng.uniform(0.5, 1.2)) if woman else 0.0,
            sag=rng.normal(18.5, 1.2),
            slope=rng.normal(1.0, 0.18),
            neck=rng.normal(5.4 if woman else 6.2, 0.4),
            bone=rng.normal(1.0, 0.12),
            wobble=tuple(rng.normal(0, 1, 4).tolist()),
            gas=float(rng.beta(2, 2)),
        )


@dataclass(frozen=True)
class Pose:
    """What differs from image to image.

    Attributes:
        breath: Depth of inspiration; 0 is full, positive is less (the domes stand higher), cm.
        arms: How far the arms are spread, 0 (hanging) to 1.
        shoulders: Height of the shoulders, cm, positive is higher.
        turn: Rotation about the long axis, radians.
    """

    breath: float
    arms: float
    shoulders: float
    turn: float

    @staticmethod
    def draw(rng: np.random.Generator) -> Pose:
        """A random position of a patient who stands before the detector."""
        return Pose(
            breath=float(np.clip(rng.normal(0.5, 0.8), -0.6, 3.0)),
            arms=float(rng.beta(2, 2)),
            shoulders=rng.normal(0.0, 0.6),
            turn=rng.normal(0.0, 0.03),
        )


@dataclass(frozen=True)
class Cage:
    """The inside of the rib cage as functions of the level y."""

    patient: Patient

    def half_width(self, y: Map, side: Map | float) -> Map:
        """Half width at level `y` on `side` (negative: patient's right), cm."""
        u = np.clip(y / 5.2, 0.0, 1.0)
        rise = np.sqrt(np.maximum(1 - (1 - u) ** 2, 0))
        low = np.sin(np.clip(y / 22.0, 0.0, 1.5) * np.pi / 2)
        w = self.patient.wobble
        uneven = 1 + 0.012 * np.where(np.asarray(side) < 0, w[0], w[1]) * np.sin(y / 5.0 + w[2])
        return np.asarray(self.patient.chest * (0.70 * rise + 0.30 * low) * uneven, np.float32)

    def half_depth(self, y: Map) -> Map:
        """Half depth at level `y`, cm."""
        top = np.sqrt(np.clip(y / 4.0, 0.0, 1.0))
        low = np.sin(np.clip(y / 20.0, 0.0, 1.3) * np.pi / 2)
        return np.asarray(self.patient.depth * (0.32 * top + 0.68 * low), np.float32)


@dataclass(frozen=True)
class Soft:
    """Path lengths of the soft parts, cm, each [height, width].

    Attributes:
        body: Whole body, air included.
        air: Lung.
        mask: True where a reader would draw the lungs: heart, mediastinum and the lung behind the
            domes are left out.
        gas: Air in the stomach and the bowel.
        domes: Level of the diaphragm's silhouette at every pixel's x, cm.
        extra: Further soft tissue outside the body's smooth shape (breasts), cm.
    """

    body: Map
    air: Map
    mask: NDArray[np.bool_]
    gas: Map
    domes: Map
    extra: Map


def draw_soft_parts(grid: Grid, patient: Patient, pose: Pose, rng: np.random.Generator) -> Soft:
    """Projects body, lungs, mediastinum and abdomen.

    Args:
        grid: Where to project.
        patient: Whose chest.
        pose: How it stands.
        rng: Fine variation (bowel gas, uneven fat).
    """
    x, y = grid.xy
    cage = Cage(patient)
    width = cage.half_width(y, x)
    inside = np.maximum(1 - np.abs(x / np.maximum(width, 0.1)) ** np.float32(2.4), 0)
    space = 2 * cage.half_depth(y) * inside ** np.float32(1 / 2.4)
    domes = _draw_domes(x, y, patient, pose)
    middle = blur(_draw_mediastinum(x, y, domes, patient, pose), 0.1 * grid.scale)
    below = np.maximum(y - domes, 0)
    liver = np.float32(18.0) * np.sqrt(below) + np.float32(0.8) * below
    air = np.maximum(space - middle - liver, 0)
    mask = (space > 0.9) & (y < domes) & (middle < 0.12 * space + 0.4) & (air > 0.6)
    breasts = _draw_breasts(x, y, patient)
    return Soft(
        body=_draw_body(grid, patient, pose, rng),
        air=np.asarray(air, np.float32),
        mask=mask,
        gas=_draw_gas(grid, patient, domes, rng),
        domes=domes,
        extra=breasts,
    )


def _draw_domes(x: Map, y: Map, patient: Patient, pose: Pose) -> Map:
    """Level of the diaphragm's silhouette under each pixel."""
    level = patient.dome - pose.breath
    left = x > 0
    top = np.where(left, level + patient.dome_left, level)
    peak = np.where(left, 0.47, 0.42) * patient.chest
    out = np.abs(x) - peak
    lateral = out > 0
    reach = np.where(lateral, 1.02 * patient.chest - peak, 9.0)
    fall = np.where(lateral, 4.7 + 0.3 * patient.wobble[3], 3.4)
    ratio = np.clip(out / reach, -1.0, 1.0)
    drop = 0.55 * (1 - np.sqrt(np.maximum(1 - ratio * ratio, 0))) + 0.45 * ratio * ratio
    return np.asarray(top + fall * drop, np.float32)


def _draw_mediastinum(x: Map, y: Map, domes: Map, patient: Patient, pose: Pose) -> Map:
    """Depth of what stands in the lungs' way: vessels, heart, spine's soft tissue."""
    s, lean = patient.heart, patient.lean
    shift = float(np.sin(pose.turn) * 5.0)  # the heart lies before the axis of rotation
    level = patient.dome - pose.breath
    # Where heart and diaphragm meet the heart's fat rounds the angle off.
    xs = (x - np.float32(shift)) * (1 - 0.3 * smoothstep(y - domes, -0.7, 0.7))
    hx, hy = 2.2 * s + lean, level - 2.9 * s
    yh = np.minimum(y, np.float32(level + 0.2))  # the heart rests on the diaphragm: no lower edge
    ventricle = 14.0 * _steep(xs, yh, (hx + 1.35, hy + 0.9), (6.1 * s, 4.3 * s), 0.80)
    atrium = 11.0 * _steep(xs, yh, (-0.15 + 0.5 * lean, hy + 0.2), (3.85 * s, 5.8 * s), -0.06)
    outflow = 10.0 * _steep(xs, yh, (1.35 + 0.8 * lean, hy - 4.4), (2.75 * s, 5.2), -0.28)
    ascending = 7.5 * _steep(xs, y, (-0.75, hy - 7.2), (2.35, 7.5), 0.06)
    knob = 7.5 * draw_dome(x, y, (1.45, 7.4), (patient.aorta * 1.7, patient.aorta * 1.28), 1.2)
    descending = 2.0 * np.sqrt(np.maximum(1 - ((x - 1.3) / 1.4) ** 2, 0)) * smoothstep(y, 6.5, 8.5)
    half = 2.1 + 2.4 * np.exp(-np.maximum(y, 0) / 1.1) + 0.7 * smoothstep(y, 8, 2)
    core = 13.0 * np.sqrt(np.maximum(1 - (x / half) ** 2, 0))
    union = np.zeros_like(x)
    for part in (ventricle, atrium, outflow, ascending, knob, core):
        union += part * part * part
    return np.asarray(np.cbrt(union) + descending, np.float32)


def _steep(
    x: Map, y: Map, centre: tuple[float, float], axes: tuple[float, float], angle: float
) -> Map:
    """A dome with a steeper rim: a solid that is rounder than an ellipsoid."""
    return np.asarray(draw_dome(x, y, centre, axes, angle) ** np.float32(0.72), np.float32)


def _draw_breasts(x: Map, y: Map, patient: Patient) -> Map:
    if patient.breasts == 0:
        return np.zeros_like(x)
    total = np.zeros_like(x)
    size = 4.6 + 1.6 * patient.breasts
    for side in (-1.0, 1.0):
        centre = (side * (7.6 + 0.4 * patient.breasts), patient.sag - 0.4 * side)
        lower = draw_dome(x, y, centre, (size, size * 0.92), 0.0)
        upper = draw_dome(x, y, centre, (size * 1.05, size * 1.9), 0.0)
        total += np.where(y > centre[1], lower, upper) * np.float32(3.2 * patient.breasts)
    return total


def _draw_body(grid: Grid, patient: Patient, pose: Pose, rng: np.random.Generator) -> Map:
    """Thickness of the whole body: torso, neck, shoulders, arms."""
    x, y = grid.xy
    cage = Cage(patient)
    flank = patient.muscle * np.exp(-(((y - 9.5) / 8.5) ** 2))
    half = patient.chest + 0.35 * patient.wall + flank - 0.5 * smoothstep(y, 22, 34)
    deep = 1.15 * np.maximum(cage.half_depth(np.maximum(y, 3.0)), 0.5 * patient.depth)
    deep = deep + patient.wall
    torso = 2 * deep * np.maximum(1 - np.abs(x / half) ** 2.6, 0) ** np.float32(1 / 2.6)
    level = y + pose.shoulders * smoothstep(np.abs(x), 3, 14)
    roof = -4.6 + 0.0105 * patient.slope * np.maximum(np.abs(x) - 4.0, 0) ** 2.15
    roof = roof - 3.0 * smoothstep(np.abs(x), 9.0, 4.0)
    under = np.clip((level - roof) / 6.5, 0.0, 1.0)
    rounded = np.sqrt(np.maximum(1 - (1 - under) ** 2, 0))
    shoulders = 14.5 * rounded * smoothstep(y, 17, 5) * (0.6 + 0.4 * smoothstep(np.abs(x), 2, 10))
    neck = 2 * 0.92 * np.sqrt(np.maximum(patient.neck**2 - x * x, 0)) * smoothstep(y, 5, -1)
    arm = _draw_arms(x, level, patient, pose)
    torso = torso * smoothstep(level - roof, 0, 7)
    union = torso**4 + shoulders**4 * (np.abs(x) < 23) + neck**4 + arm**4
    fat = 1 + 0.016 * draw_clouds(rng, grid, 6.0, 3, 0.6)
    return np.asarray(np.sqrt(np.sqrt(union)) * fat, np.float32)


def _draw_arms(x: Map, y: Map, patient: Patient, pose: Pose) -> Map:
    """Upper arms: capsules from the shoulder joint downwards and outwards."""
    start = np.array([patient.chest + 2.6, 5.0])
    direction = np.array([np.sin(0.35 + 0.55 * pose.arms), np.cos(0.35 + 0.55 * pose.arms)])
    dx, dy = np.abs(x) - start[0], y - start[1]
    along = np.clip(dx * direction[0] + dy * direction[1], 0, 30)
    off = (dx - along * direction[0]) ** 2 + (dy - along * direction[1]) ** 2
    radius = 4.9 - 0.05 * along
    return np.asarray(1.8 * np.sqrt(np.maximum(radius**2 - off, 0)), np.float32)


def _draw_gas(grid: Grid, patient: Patient, domes: Map, rng: np.random.Generator) -> Map:
    """Stomach bubble with its fluid level, and loops of bowel."""
    x, y = grid.xy
    total = np.zeros_like(x)
    centre = 0.47 * patient.chest + rng.normal(0, 0.6)
    row = int(np.clip(grid.origin[0], 0, grid.height - 1))
    column = int(np.clip(grid.origin[1] + centre * grid.scale, 0, grid.width - 1))
    top = float(domes[row, column]) + 0.7
    if patient.gas > 0.2:
        size = 1.4 + 2.2 * patient.gas
        bubble = draw_dome(x, y, (centre, top + 0.62 * size), (size * 1.25, size * 0.62), 0.08)
        level = top + size * rng.uniform(0.5, 0.95)
        total += 5.0 * bubble * smoothstep(y, level + 0.08, level - 0.08)
    for _ in range(int(rng.integers(0, 7))):
        place = (rng.uniform(3, 0.85 * patient.chest), top + rng.uniform(2.5, 9.0))
        size = rng.uniform(0.5, 1.5)
        total += 2.2 * draw_dome(x, y, place, (size * 1.3, size), rng.uniform(0, 3)) ** 2
    total *= np.clip(1 + 0.22 * draw_clouds(rng, grid, 1.2, 2, 0.6), 0, 2)
    soft = smoothstep(y - domes, 0.4, 0.9)
    return blur(np.asarray(np.minimum(total, 5.0) * soft, np.float32), 0.06 * grid.scale)
