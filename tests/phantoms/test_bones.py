"""Bones: twelve pairs of ribs on the cage, a girdle at the shoulders, a spine in the middle."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from isnet_cli.phantoms.bones import draw_ribs, draw_shoulder_girdle, draw_spine
from isnet_cli.phantoms.canvas import Tubes
from tests.phantoms.factory import UPRIGHT, person, sheet

GRID = sheet(320, 8.0)


def drawn_ribs(bone: float = 1.0) -> np.ndarray:
    tubes = Tubes(GRID)
    patient = replace(person(), bone=bone, wobble=(0.0, 0.0, 0.0, 0.0))
    draw_ribs(tubes, patient, UPRIGHT, np.random.default_rng(0))
    return tubes.path()


def test_posterior_ribs_cross_the_lung_at_growing_levels() -> None:
    path = drawn_ribs()
    column = round(GRID.origin[1] + 4.0 * GRID.scale)
    profile = path[:, column] > 0.04
    starts = np.flatnonzero(profile[1:] & ~profile[:-1])
    assert 10 <= len(starts) <= 26  # posterior arcs, and anterior ones between them


def test_ribs_are_alike_on_both_sides() -> None:
    path = drawn_ribs()
    mirrored = path[:, ::-1]
    shifted = mirrored[:, 0:-1], path[:, 1:]  # the midline lies on a pixel, not between two
    assert np.corrcoef(shifted[0].ravel(), shifted[1].ravel())[0, 1] > 0.8


def test_ribs_stay_on_the_cage() -> None:
    x, y = GRID.xy
    path = drawn_ribs()
    assert not (path[np.abs(x) > person().chest + 2.5] > 0.01).any()
    assert not (path[y < -3] > 0.01).any()


def test_a_rib_has_bright_edges() -> None:
    """Across the middle of a posterior rib the two rims are brighter than the marrow."""
    fine = sheet(800, 20.0)
    tubes = Tubes(fine)
    draw_ribs(tubes, replace(person(), wobble=(0.0,) * 4), UPRIGHT, np.random.default_rng(0))
    column = round(fine.origin[1] - 5.0 * fine.scale)
    profile = tubes.path()[:, column]
    level = round(fine.origin[0] + 10.0 * fine.scale)
    window = profile[level - 60 : level + 60]
    peaks = np.flatnonzero((window[1:-1] > window[:-2]) & (window[1:-1] >= window[2:])) + 1
    strong = [p for p in peaks if window[p] > 0.05]
    gaps = [window[a:b].min() for a, b in pairwise(strong) if b - a < 35]
    assert any(gap < 0.85 * window[strong].max() for gap in gaps)


def test_mineral_scales_the_bones() -> None:
    thin, dense = drawn_ribs(0.7), drawn_ribs(1.4)
    assert dense.sum() == pytest.approx(2 * thin.sum(), rel=0.01)


def test_girdle_lies_at_the_shoulders() -> None:
    tubes, patient = Tubes(GRID), person()
    blades = draw_shoulder_girdle(tubes, GRID, patient, UPRIGHT)
    total = tubes.path() + blades
    x, y = GRID.xy
    at_shoulder = (np.abs(x) > 8) & (y > -3) & (y < 18)
    clavicles = (np.abs(x) > 1) & (np.abs(x) <= 8) & (y > 0) & (y < 7)
    assert total[at_shoulder | clavicles].sum() > 0.95 * total.sum()
    assert blades.max() > 0.05


def test_raising_the_shoulders_raises_the_clavicles() -> None:
    def level(shoulders: float) -> float:
        tubes = Tubes(GRID)
        draw_shoulder_girdle(tubes, GRID, person(), replace(UPRIGHT, shoulders=shoulders))
        x, y = GRID.xy
        weights = np.where((np.abs(x) > 9) & (np.abs(x) < 13), np.maximum(tubes.path(), 0), 0)
        return float((weights * y).sum() / weights.sum())

    assert level(1.5) < level(-1.5) - 1


def test_spine_is_a_column_of_vertebrae_in_the_middle() -> None:
    path = draw_spine(GRID, replace(person(), wobble=(0.0,) * 4), np.random.default_rng(0))
    x, _ = GRID.xy
    assert path[np.abs(x) < 3.2].sum() > 0.97 * path.sum()
    profile = path[:, round(GRID.origin[1] + 1.0 * GRID.scale)]
    lower = profile[round(GRID.origin[0] + 8 * GRID.scale) :]
    peaks = (lower[1:-1] > lower[:-2]) & (lower[1:-1] >= lower[2:]) & (lower[1:-1] > 0.25)
    assert peaks.sum() >= 6  # end plates
