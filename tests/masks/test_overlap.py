"""Agreement of masks against slow transcriptions of the formulas, and cases known by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from isnet_cli.masks.overlap import score_mask, spread, surface_distance

Mask = NDArray[np.bool_]


def blobs(seed: int, size: tuple[int, int] = (23, 31)) -> Mask:
    """Two rectangles of random place and size."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(size, bool)
    for left in (2, 17):
        top, height, width = rng.integers(2, 8), rng.integers(4, 12), rng.integers(3, 10)
        mask[top : top + height, left : left + width] = True
    return mask


def slow_surface(mask: Mask) -> list[tuple[int, int]]:
    height, width = mask.shape
    found = []
    for y in range(height):
        for x in range(width):
            around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            outside = [
                not (0 <= v < height and 0 <= u < width) or not mask[v, u] for v, u in around
            ]
            if mask[y, x] and any(outside):
                found.append((y, x))
    return found


def slow_distance(a: Mask, b: Mask, spacing: tuple[float, float]) -> float:
    """Every distance by hand; the percentile by linear interpolation between sorted values."""
    worst = 0.0
    for one, other in ((a, b), (b, a)):
        ends = slow_surface(other)
        ways = sorted(
            min(math.hypot((y - v) * spacing[0], (x - u) * spacing[1]) for v, u in ends)
            for y, x in slow_surface(one)
        )
        place = 0.95 * (len(ways) - 1)
        low = math.floor(place)
        high = min(low + 1, len(ways) - 1)
        worst = max(worst, ways[low] + (place - low) * (ways[high] - ways[low]))
    return worst


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("spacing", [None, (0.4, 0.2)])
def test_scores_equal_the_slow_transcription(
    seed: int, spacing: tuple[float, float] | None
) -> None:
    a, b = blobs(seed), blobs(seed + 100)
    score = score_mask(a, b, spacing)
    inside = {(y, x) for y, x in np.argwhere(a).tolist()}
    truth = {(y, x) for y, x in np.argwhere(b).tolist()}
    assert score.dice == pytest.approx(2 * len(inside & truth) / (len(inside) + len(truth)))
    assert score.iou == pytest.approx(len(inside & truth) / len(inside | truth))
    assert score.iou == pytest.approx(score.dice / (2 - score.dice))
    assert score.distance95 == pytest.approx(slow_distance(a, b, spacing or (1.0, 1.0)))
    assert score.unit == ("mm" if spacing else "px")


def test_the_same_mask_is_perfect_and_a_shift_is_its_length() -> None:
    mask = blobs(1)
    perfect = score_mask(mask, mask)
    assert (perfect.dice, perfect.iou, perfect.distance95) == (1.0, 1.0, 0.0)
    square = np.zeros((60, 60), bool)
    square[20:40, 20:40] = True
    shifted = np.roll(square, 6, axis=1)
    assert surface_distance(square, shifted, (1.0, 0.5)) == pytest.approx(3.0)


def test_a_mask_that_found_nothing_scores_zero_and_has_no_distance() -> None:
    score = score_mask(np.zeros((23, 31), bool), blobs(0))
    assert (score.dice, score.iou, score.distance95) == (0.0, 0.0, None)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="not empty"):
        score_mask(blobs(0), np.zeros((23, 31), bool))
    with pytest.raises(ValueError, match="one size"):
        score_mask(blobs(0), blobs(0)[:-1])


def test_summaries_name_the_bad_end() -> None:
    values = [0.5, *[0.9] * 18, 1.0]
    found = spread(values)
    assert (found["images"], found["min"]) == (20, 0.5)
    assert found["mean"] == pytest.approx(sum(values) / 20)
    variance = sum((v - sum(values) / 20) ** 2 for v in values) / 19
    assert found["sd"] == pytest.approx(math.sqrt(variance))
    assert found["p5"] == pytest.approx(0.5 + 0.95 * 0.4)  # place 0.95 between 0.5 and 0.9
    assert spread([1.0, 3.0], high_is_bad=True)["max"] == 3.0
    assert spread([])["mean"] is None
    assert spread([0.7])["sd"] is None
