"""Signs of disease replace air, inside the lungs, as strongly as the disease is severe."""

from __future__ import annotations

import numpy as np
import pytest

from isnet_cli.phantoms.anatomy import draw_soft_parts
from isnet_cli.phantoms.canvas import Tubes
from isnet_cli.phantoms.disease import SIGNS, Disease, Sign, add_disease
from tests.phantoms.factory import UPRIGHT, person, sheet

GRID = sheet()
PARTS = draw_soft_parts(GRID, person(), UPRIGHT, np.random.default_rng(0))


def draw(sign: Sign, severity: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    tubes = Tubes(GRID)
    replaced = add_disease(
        GRID, PARTS.air, PARTS.mask, PARTS.domes, Disease((sign,), severity), tubes,
        np.random.default_rng(seed),
    )  # fmt: skip
    return replaced, tubes.path()


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("seed", range(4))
def test_a_sign_replaces_air_and_nothing_else(sign: Sign, seed: int) -> None:
    replaced, nodules = draw(sign, seed=seed)
    assert (replaced >= 0).all()
    assert (replaced <= 0.85 * PARTS.air + 1e-4).all()
    assert replaced.max() > 0.5
    assert (nodules.max() > 0.02) == (sign == "nodules")
    strong = (replaced > 1.0) | (nodules > 0.05)
    assert (strong & PARTS.mask).sum() > 0.8 * strong.sum()


def test_a_severe_disease_shows_more() -> None:
    for sign in ("consolidation", "cavity"):
        mild = np.mean([draw(sign, 0.5, seed)[0].sum() for seed in range(6)])
        grave = np.mean([draw(sign, 1.5, seed)[0].sum() for seed in range(6)])
        assert grave > 1.5 * mild


def test_effusion_stands_at_one_base() -> None:
    replaced, _ = draw("effusion", 1.2)
    x, y = GRID.xy
    sides = [replaced[(x * side > 0) & PARTS.mask].sum() for side in (-1, 1)]
    assert min(sides) < 0.01 * max(sides)
    assert not replaced[y < 8].max() > 0.5


def test_diseases_have_one_sign_or_two() -> None:
    drawn = [Disease.draw(np.random.default_rng(seed)) for seed in range(300)]
    assert {len(d.signs) for d in drawn} == {1, 2}
    assert {sign for d in drawn for sign in d.signs} == set(SIGNS)
    assert all(1.1 <= d.severity <= 1.7 for d in drawn)
