"""What probes are shown: means, counts, edges of one side of the mask; nothing of the other."""

from __future__ import annotations

import numpy as np
import pytest

from isnet_cli.check.thumbnails import (
    COUNT,
    DIRECTIONS,
    LEVELS,
    SIDE,
    STRENGTHS,
    describe_background,
    describe_lungs,
)
from tests.support.runs import lungs

H, W = 96, 128


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 1, (H, W)).astype(np.float32)


def two_lungs() -> np.ndarray:
    return lungs(W)[16 : 16 + H]


def parts(view: np.ndarray) -> tuple[np.ndarray, ...]:
    ends = np.cumsum([SIDE**2, LEVELS, DIRECTIONS * len(STRENGTHS)])
    return tuple(np.split(view, ends))


def by_hand(
    pixels: np.ndarray, part: np.ndarray
) -> tuple[dict[tuple[int, int], float], list, list]:
    """Means of the cells that have pixels, shares of grey levels, shares of edges."""
    high, wide = H // SIDE, W // SIDE
    means = {}
    for r in range(SIDE):
        for c in range(SIDE):
            block = np.s_[r * high : (r + 1) * high, c * wide : (c + 1) * wide]
            if part[block].any():
                means[r, c] = pixels[block][part[block]].mean()
    values = pixels[part]
    levels = [((values >= k / LEVELS) & (values < (k + 1) / LEVELS)).mean() for k in range(LEVELS)]
    edges = np.zeros((len(STRENGTHS), DIRECTIONS))
    count = 0
    for y in range(1, H - 1):
        for x in range(1, W - 1):
            if all(part[p] for p in ((y, x), (y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1))):
                count += 1
                gx = pixels[y, x + 1] - pixels[y, x - 1]
                gy = pixels[y + 1, x] - pixels[y - 1, x]
                turn = np.degrees(np.arctan2(gy, gx)) % 180
                for s, least in enumerate(STRENGTHS):
                    edges[s, int(turn // (180 / DIRECTIONS)) % DIRECTIONS] += (
                        np.hypot(gx, gy) >= least
                    )
    return means, levels, np.sqrt(edges / count).ravel().tolist()


def test_the_view_equals_its_transcription() -> None:
    pixels, mask = image(), two_lungs()
    found = describe_lungs(pixels, mask)
    assert found.shape == (COUNT,)
    thumbnail, levels, edges, facts = parts(found)
    means, expected_levels, expected_edges = by_hand(pixels, mask)
    cells = thumbnail.reshape(SIDE, SIDE)
    assert 0 < len(means) < SIDE**2
    for place, value in means.items():
        assert cells[place] == pytest.approx(value, abs=1e-5)
    assert levels == pytest.approx(expected_levels, abs=1e-6)
    assert edges == pytest.approx(expected_edges, abs=1e-5)
    values = pixels[mask]
    assert facts[:2] == pytest.approx([values.mean(), values.std()], abs=1e-5)
    assert facts[4] == pytest.approx(np.median(values), abs=1e-5)


def test_nothing_of_the_other_side_enters() -> None:
    mask, one, other = two_lungs(), image(1), image(2)
    inside, outside = np.where(mask, one, other), np.where(mask, other, one)
    assert np.array_equal(describe_lungs(one, mask), describe_lungs(inside, mask))
    assert np.array_equal(describe_background(one, mask), describe_background(outside, mask))
    assert not np.array_equal(describe_lungs(one, mask), describe_lungs(outside, mask))
    assert not np.array_equal(describe_background(one, mask), describe_background(inside, mask))


def test_the_background_keeps_a_margin_from_the_lungs() -> None:
    mask = two_lungs()
    ring = np.zeros_like(mask)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            ring |= np.roll(mask, (dy, dx), (0, 1))
    changed = np.where(ring & ~mask, np.float32(1), image())
    assert np.array_equal(describe_background(image(), mask), describe_background(changed, mask))


def test_cells_without_pixels_are_filled_between_their_neighbours() -> None:
    pixels = np.tile(np.linspace(0, 1, W, dtype=np.float32), (H, 1))
    cells = parts(describe_background(pixels, two_lungs()))[0].reshape(SIDE, SIDE)
    assert np.abs(np.diff(cells, axis=1)).max() < 0.2
    flat = parts(describe_background(np.full((H, W), 0.3, np.float32), two_lungs()))[0]
    assert flat == pytest.approx(np.full(SIDE**2, 0.3), abs=1e-5)


@pytest.mark.parametrize("mask", [np.zeros((H, W), bool), np.ones((H, W), bool)])
def test_a_side_without_pixels_gives_zeros(mask: np.ndarray) -> None:
    view = describe_background if mask.all() else describe_lungs
    assert not view(image(), mask).any()
    other = describe_lungs if mask.all() else describe_background
    assert np.isfinite(other(image(), mask)).all()
