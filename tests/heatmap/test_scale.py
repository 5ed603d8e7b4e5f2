"""What pictures show of a map; a colour limit of one, and one for many."""

from __future__ import annotations

import numpy as np
import pytest

from isnet_cli.heatmap.explainers import METHODS
from isnet_cli.heatmap.scale import SMOOTHING, own_limit, shared_limit, shown_part, smoothing
from isnet_cli.images.resize import Frame
from isnet_cli.output.colours import relevance_limit, smooth

LRP, CAM, ROLLOUT = (METHODS[name] for name in ("lrp", "gradcam", "attention_rollout"))
FRAME = Frame((100, 50), (32, 32))


def letterboxed(inside: np.ndarray) -> np.ndarray:
    top, left, height, width = FRAME.inner
    values = np.full((32, 32), 99.0, np.float32)
    values[top : top + height, left : left + width] = inside
    return values


def noise() -> np.ndarray:
    return np.random.default_rng(0).normal(size=FRAME.inner[2:]).astype(np.float32)


def test_only_the_part_that_shows_the_image_counts() -> None:
    assert np.array_equal(shown_part(letterboxed(noise()), FRAME, CAM), noise())
    assert own_limit(letterboxed(noise()), FRAME, CAM) == relevance_limit(noise())


def test_the_limit_is_that_of_the_smoothed_picture() -> None:
    assert (smoothing(LRP), smoothing(CAM)) == (SMOOTHING, 0.0)
    expected = relevance_limit(smooth(noise(), SMOOTHING))
    assert own_limit(letterboxed(noise()), FRAME, LRP) == expected
    assert expected < 0.8 * relevance_limit(noise())


def test_attention_is_shown_above_an_even_map() -> None:
    even = np.full(FRAME.inner[2:], 0.02, np.float32)
    spot = even.copy()
    spot[10:20, 3:9] = 0.5
    mean = float(spot.mean())
    shown = shown_part(letterboxed(spot), FRAME, ROLLOUT)
    assert shown.max() == pytest.approx(0.5 - mean)
    assert (shown[:10] == 0).all()
    assert own_limit(letterboxed(spot), FRAME, ROLLOUT) == pytest.approx(0.5 - mean)
    almost = even + 1e-4 * noise()  # no preference to speak of: hardly a colour
    limit = own_limit(letterboxed(almost), FRAME, ROLLOUT)
    assert limit == pytest.approx(0.02, rel=0.01)
    assert shown_part(letterboxed(almost), FRAME, ROLLOUT).max() < 0.03 * limit


def test_one_odd_map_does_not_set_the_scale_of_all() -> None:
    assert shared_limit([1.0] * 99 + [1000.0]) == pytest.approx(1.0)
    assert shared_limit([1.0, 3.0]) == pytest.approx(2.9)
    assert shared_limit([]) is None
