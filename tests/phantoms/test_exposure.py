"""Exposure turns attenuation into grey; stamps and wires keep off the lungs."""

from __future__ import annotations

import numpy as np
import pytest

from isnet_cli.phantoms.exposure import APPEARANCES, add_marks, collimate, draw_text, expose
from tests.phantoms.factory import sheet

GRID = sheet()


def ramp() -> np.ndarray:
    return np.tile(np.linspace(0, 6, 200, dtype=np.float32), (200, 1))


@pytest.mark.parametrize("hospital", ["A", "B"])
def test_denser_tissue_is_brighter(hospital: str) -> None:
    image = expose(ramp(), GRID, hospital, np.random.default_rng(0))
    assert image.min() >= 0
    assert image.max() <= 1
    steps = image[:, ::20].mean(axis=0)
    assert (np.diff(steps) > -0.01).all()
    assert steps[-1] - steps[0] > 0.6


def test_image_of_hospital_b_is_steeper() -> None:
    spans = {}
    for hospital in APPEARANCES:
        steps = expose(ramp(), GRID, hospital, np.random.default_rng(0)).mean(axis=0)
        spans[hospital] = ((steps > 0.15) & (steps < 0.85)).sum()
    assert spans["B"] < 0.8 * spans["A"]


@pytest.mark.parametrize("hospital", ["A", "B"])
@pytest.mark.parametrize("seed", range(10))
def test_stamps_keep_off_the_lungs(hospital: str, seed: int) -> None:
    image = np.full((180, 160), 0.4, np.float32)
    lungs = np.zeros(image.shape, bool)
    lungs[30:150, 12:148] = True
    out = add_marks(image, lungs, hospital, np.random.default_rng(seed))
    assert np.array_equal(out[lungs], image[lungs])
    assert (image == np.float32(0.4)).all()


@pytest.mark.parametrize("hospital", ["A", "B"])
def test_stamps_appear(hospital: str) -> None:
    image = np.full((180, 160), 0.4, np.float32)
    lungs = np.zeros(image.shape, bool)
    lungs[60:150, 30:130] = True
    changed = [
        (add_marks(image, lungs, hospital, np.random.default_rng(seed)) != image).sum()
        for seed in range(8)
    ]
    assert min(changed) > 4
    assert len(set(changed)) > 3


def test_text_has_the_height_that_was_asked_for() -> None:
    stamp = draw_text("R", 20)
    rows = np.flatnonzero((stamp > 0.5).any(axis=1))
    assert 17 <= rows[-1] - rows[0] + 1 <= 23
    assert draw_text("ERECT", 20).shape[1] > 2.5 * stamp.shape[1]


@pytest.mark.parametrize("hospital", ["A", "B"])
def test_collimation_blackens_borders_alone(hospital: str) -> None:
    image = np.full((200, 180), 0.5, np.float32)
    dark = []
    for seed in range(12):
        out = collimate(image, hospital, np.random.default_rng(seed))
        assert (out[20:180, 20:160] > 0.49).all()
        dark.append((out < 0.01).mean())
    assert 0 < np.mean(dark) < 0.2
