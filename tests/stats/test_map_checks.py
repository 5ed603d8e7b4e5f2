"""Similarity of maps and curves of deletion, against slow transcriptions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from isnet_cli.stats.bootstrap import percentile_interval
from isnet_cli.stats.map_checks import (
    ONE_PATIENT,
    compare_ranks,
    compare_structure,
    mean_cell,
    measure_areas,
    rank_cells,
)


def rank_slowly(values: list[float]) -> list[float]:
    """Mean place of each value among the sorted ones, ties shared."""
    return [(sum(v < x for v in values) + sum(v <= x for v in values) + 1) / 2 for x in values]


def correlate_slowly(a: list[float], b: list[float]) -> float:
    ma, mb = sum(a) / len(a), sum(b) / len(b)
    both = sum((x - ma) * (y - mb) for x, y in zip(a, b, strict=True))
    return both / math.sqrt(sum((x - ma) ** 2 for x in a) * sum((y - mb) ** 2 for y in b))


def structure_slowly(x: np.ndarray, y: np.ndarray) -> float:
    """Wang et al. (2004), equation 13 at each pixel with a Gaussian window, edges mirrored."""
    x, y = x / x.max(), y / y.max()
    n, m = x.shape
    window = [math.exp(-(d**2) / (2 * 1.5**2)) for d in range(-5, 6)]
    window = [w / sum(window) for w in window]

    def mirror(i: int, size: int) -> int:
        while not 0 <= i < size:
            i = -1 - i if i < 0 else 2 * size - 1 - i
        return i

    total = 0.0
    for i in range(n):
        for j in range(m):
            mx = my = xx = yy = xy = 0.0
            for a in range(-5, 6):
                for b in range(-5, 6):
                    w = window[a + 5] * window[b + 5]
                    u, v = (z[mirror(i + a, n), mirror(j + b, m)] for z in (x, y))
                    mx, my = mx + w * u, my + w * v
                    xx, yy, xy = xx + w * u * u, yy + w * v * v, xy + w * u * v
            vx, vy, cov = xx - mx * mx, yy - my * my, xy - mx * my
            total += ((2 * mx * my + 1e-4) * (2 * cov + 9e-4)) / (
                (mx * mx + my * my + 1e-4) * (vx + vy + 9e-4)
            )
    return total / (n * m)


def maps() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(2, 9, 12))
    b = a * rng.uniform(0.5, 1.5, a.shape)
    b[1] = rng.integers(0, 3, b[1].shape)  # ties
    return a, b


def test_ranks_are_correlated_by_magnitude() -> None:
    a, b = maps()
    expected = [
        correlate_slowly(
            rank_slowly(np.abs(x).ravel().tolist()), rank_slowly(np.abs(y).ravel().tolist())
        )
        for x, y in zip(a, b, strict=True)
    ]
    assert compare_ranks(a, b) == pytest.approx(expected)
    assert compare_ranks(a, -3 * a) == pytest.approx(1)  # neither sign nor scale counts
    assert compare_ranks(a, np.exp(np.abs(a))) == pytest.approx(1)


def test_structure_is_compared_window_by_window() -> None:
    a, b = maps()
    expected = [structure_slowly(np.abs(x), np.abs(y)) for x, y in zip(a, b, strict=True)]
    assert compare_structure(a, b) == pytest.approx(expected)
    assert compare_structure(a, -2 * a) == pytest.approx(1)


def test_maps_that_say_nothing_are_not_compared() -> None:
    a, _ = maps()
    b = a.copy()
    b[0], b[1, 0, 0] = 1.0, np.nan
    assert np.isnan(compare_ranks(a, b)).all()
    assert np.isnan(compare_structure(b, a)).all()


def test_cells_come_by_their_mean_and_the_padding_never() -> None:
    values = np.zeros((70, 80))
    inner = (3, 8, 64, 66)  # cells of 2 px, 32 x 33 of them
    values[3 + 10, 8 + 20] = 5.0  # the cell of rows 10, 11 and columns 20, 21
    values[3 + 30 : 3 + 32, 8 + 40 : 8 + 42] = 1.0  # a mean of 1, below 5/4
    values[0, 0] = 99.0  # outside
    turns = rank_cells(values, inner)
    assert (turns[3 + 10 : 3 + 12, 8 + 20 : 8 + 22] == 0).all()
    assert turns[3 + 30, 8 + 40] == pytest.approx(1 / (32 * 33))
    assert (turns[:3] == 2).all()
    assert (turns[:, :8] == 2).all()
    assert (turns[3:67, 8:74] < 1).all()
    assert len(np.unique(turns)) == 32 * 33 + 1


def test_areas_are_trapezia() -> None:
    assert measure_areas([1.0, 1.0, 1.0]) == 1
    assert measure_areas([[1.0, 0.5, 0.0], [0.0, 0.0, 1.0]]) == pytest.approx([0.5, 0.25])


def test_a_mean_has_the_interval_of_its_patients() -> None:
    values, people = np.array([0.1, 0.2, np.nan, 0.9, 0.4]), np.array([0, 0, 1, 2, 3])
    found = mean_cell(values, people, 500, 1)
    assert (found["n"], found["value"]) == (4, pytest.approx(0.4))
    rng, draws = np.random.default_rng(1), []
    for _ in range(500):  # of the three patients with a value
        drawn = [v for c in rng.integers(0, 3, 3) for v in ([0.1, 0.2], [0.9], [0.4])[c]]
        draws.append(sum(drawn) / len(drawn))
    assert (found["low"], found["high"]) == pytest.approx(percentile_interval(np.array(draws), 3))
    one = mean_cell([0.1, 0.2], np.zeros(2, np.int64), 500, 1)
    assert (one["low"], one["why"]) == (None, ONE_PATIENT)
    assert mean_cell([np.nan], np.zeros(1, np.int64), 500, 1)["value"] is None
