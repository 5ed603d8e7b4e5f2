"""The soft parts lie where anatomy puts them and move with breath, turn and body."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isnet_cli.phantoms.anatomy import Cage, Patient, Pose, Soft, draw_soft_parts
from tests.phantoms.factory import UPRIGHT, person, sheet

GRID = sheet()


def soft(patient: Patient | None = None, pose: Pose = UPRIGHT) -> Soft:
    return draw_soft_parts(GRID, patient or person(), pose, np.random.default_rng(0))


def at(image: np.ndarray, x: float, y: float) -> float:
    column, row = np.round(GRID.project(np.array([x, y]))).astype(int)
    return float(image[row, column])


@pytest.mark.parametrize("seed", range(6))
def test_what_lies_where(seed: int) -> None:
    parts = soft(person(seed))
    for side in (-1, 1):
        assert at(parts.mask, side * 7.0, 10.0)
        assert at(parts.air, side * 7.0, 10.0) > 8
        assert not at(parts.mask, side * 7.0, 29.0)  # belly
        assert not at(parts.mask, side * 7.0, -3.0)  # shoulder
    assert not at(parts.mask, 0.0, 10.0)  # mediastinum
    assert not at(parts.mask, 3.0, 17.5)  # heart
    assert at(parts.body, 0.0, 20.0) > 15
    assert at(parts.body, 19.5, 30.0) == 0  # beside the waist
    assert (parts.air >= 0).all()
    assert not parts.mask[parts.air <= 0].any()


def test_breathing_out_lifts_the_domes_and_shrinks_the_lungs() -> None:
    full, out = soft(), soft(pose=replace(UPRIGHT, breath=2.5))
    assert at(out.domes, -6, 20) == pytest.approx(at(full.domes, -6, 20) - 2.5, abs=1e-3)
    assert out.mask.sum() < 0.95 * full.mask.sum()


def test_the_left_dome_stands_lower_than_the_right() -> None:
    parts = soft(replace(person(), dome_left=1.2))
    assert at(parts.domes, 6, 20) > at(parts.domes, -6, 20) + 0.8


def test_a_larger_heart_takes_lung_away() -> None:
    small, large = soft(replace(person(), heart=0.9)), soft(replace(person(), heart=1.15))
    assert large.mask.sum() < small.mask.sum()


def test_breasts_add_tissue_over_the_lower_lungs_alone() -> None:
    woman, man = soft(replace(person(), breasts=1.0)), soft(replace(person(), breasts=0.0))
    assert not man.extra.any()
    assert at(woman.extra, 7.5, 18.5) > 2
    assert at(woman.extra, 7.5, 2.0) == 0


def test_gas_lies_under_the_left_dome() -> None:
    parts = soft(replace(person(), gas=0.9))
    x, _ = GRID.xy
    assert parts.gas.max() > 2
    assert not parts.gas[x < 0].any()
    assert not parts.gas[parts.mask].any()


def test_the_cage_widens_downwards() -> None:
    cage = Cage(person())
    y = np.array([1.0, 4.0, 10.0, 20.0], np.float32)
    assert (np.diff(cage.half_width(y, 1.0)) > 0).all()
    assert (np.diff(cage.half_depth(y)) > 0).all()


def test_patients_and_poses_vary_within_reason() -> None:
    patients = [person(seed) for seed in range(200)]
    assert 10.5 < min(p.chest for p in patients) < max(p.chest for p in patients) < 16.5
    assert {p.breasts > 0 for p in patients} == {True, False}
    poses = [Pose.draw(np.random.default_rng(seed)) for seed in range(200)]
    assert all(-0.6 <= p.breath <= 3 and 0 <= p.arms <= 1 for p in poses)
    assert np.std([p.turn for p in poses]) > 0.01
