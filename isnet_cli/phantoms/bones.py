"""Bones of a chest phantom: ribs, shoulder girdle, spine.

Tubular bones are hollow tubes: a dense cortex around fainter marrow, so that their edges show.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from isnet_cli.phantoms.anatomy import Cage, Patient, Pose
from isnet_cli.phantoms.canvas import Grid, Map, Points, Tubes, blur, interpolate_curve, move_points

RIB_PAIRS = 12
_MARROW = 0.8  # of the cortex's attenuation is missing inside
_RIB, _LIMB = 0.46, 0.6  # attenuation of cortex beyond soft tissue, per cm


def draw_ribs(tubes: Tubes, patient: Patient, pose: Pose, rng: np.random.Generator) -> None:
    """Adds twelve pairs of ribs: posterior arcs, lateral turn, anterior arcs.

    A rib lies on the cage: its angle runs from the spine (0) over the side (90 degrees) to the
    cartilage (about 150), while it sinks by ``drop``; in projection the posterior arcs are convex
    upwards and the anterior arcs concave, as on an image.
    """
    cage = Cage(patient)
    numbers = np.arange(RIB_PAIRS)
    levels = 0.1 + 1.9 * numbers + 0.03 * numbers**2 - 0.25 * pose.breath * numbers / RIB_PAIRS
    drops = np.interp(numbers, [0, 1, 3, 6, 9, 11], [3.4, 5.0, 8.0, 9.8, 10.0, 9.0])
    ends = np.radians(
        np.interp(numbers, [0, 6, 7, 8, 9, 10, 11], [150, 152, 146, 138, 128, 92, 68])
    )
    half = np.interp(numbers, [0, 1, 4, 8, 11], [0.66, 0.56, 0.62, 0.6, 0.45])
    for side in (-1.0, 1.0):
        uneven = rng.normal(0, 0.12, RIB_PAIRS)
        for number in numbers:
            angle = np.linspace(np.radians(9), ends[number], 500)
            level, drop = levels[number] + uneven[number], drops[number]
            y = level + drop * (1 - np.cos(angle)) / 2
            y = y - min(0.55, 0.2 + 0.15 * number) * np.sin(2 * np.minimum(angle, np.pi / 2))
            turn = np.maximum(y, level + drop / 2).astype(np.float32)
            reach = cage.half_width(turn, side).astype(float)
            x = side * (reach * (0.86 if number == 0 else 1.0) + 0.25) * np.sin(angle) ** 0.92
            depth = cage.half_depth(np.maximum(y, 0.5).astype(np.float32)).astype(float)
            points = np.stack((x, y, -depth * np.cos(angle)), axis=-1)
            # A rib is taller than thick: seen from the side of the chest it is a narrow line.
            radius = half[number] * (
                0.48 + 0.5 * np.abs(np.cos(angle)) + 0.1 * (angle / np.pi) ** 3
            )
            fade = np.clip((ends[number] - angle) / 0.12, 0, 1) * np.clip(angle / 0.3, 0.5, 1)
            front = 1 - 0.5 * np.clip((angle - 1.7) / 0.8, 0, 1)
            _draw_hollow(tubes, points, radius, _RIB * patient.bone * fade * front, 0.085)


def draw_shoulder_girdle(tubes: Tubes, grid: Grid, patient: Patient, pose: Pose) -> Map:
    """Adds clavicles, scapulae and humeri; returns the attenuation of the flat scapular blades."""
    blades = np.zeros((grid.height, grid.width), np.float32)
    for side in (-1.0, 1.0):
        out = patient.chest + 2.3
        up = -pose.shoulders + 0.25 * side * patient.wobble[2]
        density = _LIMB * patient.bone
        _draw_clavicle(tubes, side, out, up, density)
        corners = _draw_scapula(tubes, side, out, up, density, pose)
        blades += np.float32(0.09 * patient.bone) * grid.polygon(corners, 3)
        joint = np.array([side * (out - 0.9), 4.0 + up, -1.5])
        _draw_humerus(tubes, joint, side, density, pose)
    return blades


def _draw_hollow(
    tubes: Tubes, points: Points, radius: Points | float, density: Points | float, cortex: float
) -> None:
    tubes.add(points, radius, density)
    inner = np.maximum(np.asarray(radius, float) - cortex, 0.02)
    # The marrow lies a little low: ribs have their sharp edge below.
    tubes.add(move_points(points, 0, 0.04, 0), inner, -_MARROW * np.asarray(density))


def _mirror_points(knots: Sequence[Any], side: float, count: int) -> Points:
    return interpolate_curve(np.array([list(knot) for knot in knots]) * [side, 1, 1], count)


def _draw_clavicle(tubes: Tubes, side: float, out: float, up: float, density: float) -> None:
    knots = [[2.2, 4.7, 6], [5.2, 3.9, 7.5], [9.2, 1.7 + 0.7 * up, 5], [out - 0.6, 0.3 + up, 1]]
    t = np.linspace(0, 1, 500)
    radius = np.interp(t, [0, 0.1, 0.5, 0.85, 1], [0.85, 0.6, 0.5, 0.6, 0.75])
    fade = np.interp(t, [0, 0.02, 0.96, 1], [0.3, 1, 1, 0.2])
    _draw_hollow(tubes, _mirror_points(knots, side, 500), radius, density * fade, 0.14)


def _draw_scapula(
    tubes: Tubes, side: float, out: float, up: float, density: float, pose: Pose
) -> Points:
    """Adds the borders, spine and coracoid; returns the blade's corners [N, 3]."""
    joint = np.array([out - 1.1, 4.2 + up, -1.5])
    tip = np.array([out - 4.6 + 1.8 * pose.arms, 14.0 + up, -7.0])
    top = np.array([out - 7.4 + 1.4 * pose.arms, 3.4 + up, -6.5])
    notch = np.array([out - 4.2, 2.7 + up, -4.0])
    lateral = [joint, move_points((joint + tip) / 2, -0.5, 0.4, 0), tip]
    fade = np.linspace(1, 0.6, 300)
    _draw_hollow(tubes, _mirror_points(lateral, side, 300), 0.5 * fade, density * 0.6 * fade, 0.1)
    medial = [tip, move_points((tip + top) / 2, -0.7, 0, 0), top]
    _draw_hollow(tubes, _mirror_points(medial, side, 250), 0.16, density * 0.6, 0.1)
    crest = [move_points(top, 0.2, 1.2, 0), [out - 3.6, 1.9 + up, -5], [out + 0.9, 0.9 + up, -2.5]]
    wide = np.linspace(0.25, 0.75, 300)
    ends = np.interp(np.linspace(0, 1, 300), [0, 0.2, 0.93, 1], [0.2, 0.8, 1, 0.2])
    _draw_hollow(tubes, _mirror_points(crest, side, 300), wide, density * 0.5 * ends, 0.1)
    _draw_hollow(tubes, _mirror_points([top, notch, joint], side, 200), 0.16, density * 0.5, 0.1)
    coracoid = [move_points(joint, -0.4, -0.4, 1), [out - 2.4, 2.3 + up, 3]]
    _draw_hollow(tubes, _mirror_points(coracoid, side, 80), 0.55, density * 0.7, 0.14)
    return np.array([joint, tip, move_points((tip + top) / 2, -0.7, 0, 0), top, notch]) * [
        side,
        1,
        1,
    ]


def _draw_humerus(tubes: Tubes, joint: Points, side: float, density: float, pose: Pose) -> None:
    head = move_points(joint, side * 2.0, 0.1, 0.5)
    spread = 0.35 + 0.55 * pose.arms
    along = np.array([side * np.sin(spread), np.cos(spread), 0.1])
    reach = np.linspace(1.2, 22, 500)
    shaft = head + reach[:, None] * along
    radius = np.interp(reach, [1.2, 2.5, 6, 22], [2.0, 1.6, 1.15, 1.05])
    _draw_hollow(tubes, shaft, radius, density * 0.6 * np.clip(reach / 4, 0.3, 1), 0.28)
    ball = np.linspace(head - 0.5 * along, head + 0.6 * along, 40)
    _draw_hollow(tubes, ball, 2.1, density * 0.9, 0.14)


def draw_spine(grid: Grid, patient: Patient, rng: np.random.Generator) -> Map:
    """Attenuation of the vertebrae: bodies, end plates, pedicles, processes."""
    column, reach = round(grid.origin[1]), int(5.5 * grid.scale)
    strip = slice(max(column - reach, 0), column + reach)
    x, y = grid.xy[0][:, strip], grid.xy[1][:, strip]
    total = np.zeros_like(x)
    bow, phase = 0.5 * patient.wobble[1], rng.uniform(0, 3)
    level = -9.3
    for number in range(-5, 17):  # C3 to L4; 0 is T1
        size = max(number, -3) + 3
        height, half = 1.55 + 0.075 * size, 1.22 + 0.045 * size
        shift = bow * np.sin(level / 9.0 + phase) - bow * np.sin(phase)
        middle = int(grid.origin[0] + level * grid.scale)
        near = int(3 * grid.scale)
        band = slice(max(middle - near, 0), max(middle + near, 0))
        xv, yv = x[band] - np.float32(shift), y[band] - np.float32(level)
        crisp = float(np.interp(number, [-3, 2, 8], [0.45, 0.75, 1.0]))
        total[band] += _draw_vertebra(xv, yv, half, height, number, crisp)
        level += height + 0.3
    out = np.zeros_like(grid.xy[0])
    out[:, strip] = blur(np.asarray(total * patient.bone, np.float32), 0.06 * grid.scale)
    return out


def _draw_vertebra(x: Map, y: Map, half: float, height: float, number: int, crisp: float) -> Map:
    """One vertebra at the origin; `crisp` scales what a slanted view blurs."""
    waist = half * (0.9 + 0.1 * np.minimum(2 * y / height, 1.2) ** 2)
    side = np.clip((waist - np.abs(x)) * 6, 0, 1)
    upright = np.clip((height / 2 - np.abs(y)) * 5, 0, 1)
    disc = np.clip((height / 2 + 0.15 - np.abs(y)) * 20, 0, 1)
    block = side * (crisp * upright + (1 - crisp) * disc)
    body = 0.22 * block * np.sqrt(np.maximum(1.15 - (x / half) ** 2, 0.05))
    plates = 0.16 * crisp * side * np.exp(-(((np.abs(y) - height / 2 + 0.1) / 0.1) ** 2))
    walls = 0.15 * upright * np.exp(-(((np.abs(x) - waist + 0.1) / 0.11) ** 2))
    ring = np.hypot((np.abs(x) - 0.66 * half) / 0.34, (y + 0.16 * height) / 0.5)
    pedicles = 0.20 * crisp * np.exp(-(((ring - 1) / 0.3) ** 2))
    spike = 0.30 * np.exp(-((x / 0.2) ** 2) - ((y - 0.40 * height) / 0.5) ** 4)
    reach = half + (1.6 if 0 <= number < 12 else 1.1)
    wing = np.clip((reach - np.abs(x)) * 2, 0, 1) * np.clip((np.abs(x) - 0.5 * half) * 4, 0, 1)
    transverse = 0.12 * wing * np.exp(-(((y + 0.3 * height + 0.12 * np.abs(x)) / 0.42) ** 4))
    return np.asarray(body + plates + walls + pedicles + spike + transverse, np.float32)
