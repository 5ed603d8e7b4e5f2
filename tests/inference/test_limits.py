"""Limits grant the share that they promise, and are refused where there are too few images."""

from __future__ import annotations

import numpy as np
import pytest

from isnet_cli.inference.limits import FEWEST, lower_limit, upper_limit


@pytest.mark.parametrize(("n", "share"), [(10, 0.02), (19, 0.05), (100, 0.02), (107, 0.1)])
def test_the_limit_is_the_smallest_value_that_grants_the_share(n: int, share: float) -> None:
    values = np.random.default_rng(n).permutation(n) * 1.5
    found = upper_limit(values, share)
    # a further image is equally likely to have each of the n + 1 ranks among all
    granted = {
        float(v): sum(rank > position + 1 for rank in range(1, n + 2)) / (n + 1)
        for position, v in enumerate(sorted(values))
    }
    good = [v for v, chance in granted.items() if chance <= share + 1e-12]
    assert found["limit"] == (min(good) if good else max(granted))
    assert found["share"] == pytest.approx(granted[found["limit"]])
    assert found["n"] == n


def test_further_images_exceed_it_as_often_as_promised() -> None:
    rng = np.random.default_rng(0)
    exceeded, promised = [], 0.0
    for _ in range(400):
        images = rng.standard_t(3, size=61)
        found = upper_limit(images[:60], 0.1)
        exceeded += (rng.standard_t(3, size=50) > found["limit"]).tolist()
        promised = found["share"]
    assert promised == pytest.approx(6 / 61)
    assert np.mean(exceeded) == pytest.approx(promised, abs=0.01)


def test_the_lower_limit_is_its_mirror_image() -> None:
    values = np.random.default_rng(1).normal(size=50)
    above, below = upper_limit(-values, 0.1), lower_limit(values, 0.1)
    assert below["limit"] == -above["limit"]
    assert np.mean(values < below["limit"]) <= 0.1


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.arange(FEWEST - 1.0), "too few validation images: 9"),
        (np.r_[np.arange(20.0), np.nan], "not numbers"),
        (np.full(20, np.inf), "not finite"),
    ],
)
def test_no_limit_has_a_reason(values: np.ndarray, why: str) -> None:
    for found in (upper_limit(values, 0.05), lower_limit(-values, 0.05)):
        assert found["limit"] is None
        assert why in found["why"]
