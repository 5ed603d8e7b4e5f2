"""Vessels branch from the hila within the lungs; airways take attenuation away."""

from __future__ import annotations

import numpy as np

from isnet_cli.phantoms.anatomy import draw_soft_parts
from isnet_cli.phantoms.canvas import Tubes
from isnet_cli.phantoms.vessels import draw_airways, draw_vessels
from tests.phantoms.factory import UPRIGHT, person, sheet

GRID = sheet(320, 8.0)


def tree(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    lung = draw_soft_parts(GRID, person(), UPRIGHT, np.random.default_rng(0)).air > 1
    tubes = Tubes(GRID)
    draw_vessels(tubes, GRID, lung, UPRIGHT, np.random.default_rng(seed))
    return tubes.path(), lung


def test_vessels_lie_in_the_lungs_and_at_the_hila() -> None:
    path, lung = tree()
    x, y = GRID.xy
    hila = (np.abs(x) < 7) & (y > 7) & (y < 20)
    assert path[lung | hila].sum() > 0.97 * path.sum()


def test_vessels_thin_out_towards_the_chest_wall() -> None:
    path, lung = tree()
    x, y = GRID.xy
    inner = path[lung & (np.abs(x) > 3.5) & (np.abs(x) < 6) & (y > 8) & (y < 16)].mean()
    outer = path[lung & (np.abs(x) > 10) & (y > 8) & (y < 16)].mean()
    assert inner > 3 * outer
    assert outer > 0


def test_each_patient_has_a_tree_of_its_own() -> None:
    one, other, again = tree(0)[0], tree(1)[0], tree(0)[0]
    assert np.array_equal(one, again)
    assert np.abs(one - other).max() > 0.05


def test_no_lung_no_branches() -> None:
    tubes = Tubes(GRID)
    nothing = np.zeros((GRID.height, GRID.width), bool)
    draw_vessels(tubes, GRID, nothing, UPRIGHT, np.random.default_rng(0))
    x, _ = GRID.xy
    assert np.abs(tubes.path()[np.abs(x) > 8]).max() < 1e-3


def test_trachea_runs_down_the_middle_and_forks() -> None:
    tubes = Tubes(GRID)
    draw_airways(tubes, UPRIGHT, np.random.default_rng(0))
    path = tubes.path()
    x, y = GRID.xy
    assert path.max() < 1e-3
    neck = path[(np.abs(x) < 0.5) & (y > 0) & (y < 8)].mean()
    assert neck < -0.2
    assert path[(np.abs(x) > 1.5) & (y > 0) & (y < 7)].min() > -0.01
    for side in (-1, 1):
        assert path[(side * x > 1.2) & (side * x < 4) & (y > 9) & (y < 13)].min() < -0.05
