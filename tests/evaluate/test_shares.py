"""Intervals of shares: the Beta posterior by integration, the bootstrap by hand, patients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from isnet_cli.config.schema import Intervals
from isnet_cli.evaluate.shares import share_interval
from isnet_cli.stats.bootstrap import weights


def settings(**values: Any) -> Intervals:
    return Intervals(**{"draws": 200_000, "shape": "equal_tails", **values})


def first(n: int, count: int) -> np.ndarray:
    return np.arange(n) < count


def beta_quantiles(a: float, b: float) -> tuple[float, float]:
    """2.5 % and 97.5 % points, by summing the density over a fine grid."""
    x = (np.arange(400_000) + 0.5) / 400_000
    density = np.exp((a - 1) * np.log(x) + (b - 1) * np.log1p(-x))
    below = np.cumsum(density) / density.sum()
    return float(x[np.searchsorted(below, 0.025)]), float(x[np.searchsorted(below, 0.975)])


@pytest.mark.parametrize(("n", "count"), [(20, 3), (50, 25), (100, 99), (30, 0), (8, 8)])
@pytest.mark.parametrize(("prior", "added"), [("jeffreys", 0.5), ("uniform", 1.0)])
def test_independent_images_have_the_posterior(
    n: int, count: int, prior: str, added: float
) -> None:
    found = share_interval(first(n, count), [""] * n, settings(prior=prior), 0)
    expected = beta_quantiles(count + added, n - count + added)
    assert (found["low"], found["high"]) == pytest.approx(expected, abs=0.003)
    assert found["method"] == "beta"


def test_the_densest_interval_of_no_flips_starts_at_zero() -> None:
    found = share_interval(first(40, 0), [""] * 40, settings(shape="densest"), 0)
    assert found["low"] < 1e-6 < found["high"] < 0.06


def test_patients_with_several_images_are_drawn_whole() -> None:
    chosen = np.repeat([True, False, True, False, False], 6)
    people = np.repeat(np.arange(5), 6)
    found = share_interval(chosen, [f"p{i}" for i in people], settings(), 3)
    drawn = np.concatenate(list(weights(people, 2000, 3)))
    shares = [sum(w * c for w, c in zip(row, chosen, strict=True)) / row.sum() for row in drawn]
    assert found["method"] == "bootstrap"
    assert min(shares) <= found["low"] < np.quantile(shares, 0.1)
    assert max(shares) >= found["high"] > np.quantile(shares, 0.9)
    alone = share_interval(chosen, [""] * 30, settings(), 3)
    assert alone["high"] - alone["low"] < 0.7 * (found["high"] - found["low"])


def test_when_all_draws_are_alike_patients_count_for_images() -> None:
    chosen, people = np.ones(30, bool), [f"p{i // 3}" for i in range(30)]
    found = share_interval(chosen, people, settings(), 0)
    assert (found["low"], found["high"]) == pytest.approx(beta_quantiles(10.5, 0.5), abs=0.003)
    one = share_interval(np.array([True, False]), ["p", "p"], settings(), 0)
    assert one["low"] < 0.1
    assert one["high"] > 0.9


def test_the_method_can_be_chosen() -> None:
    chosen = first(40, 10)
    people = [f"p{i // 2}" for i in range(40)]
    assert share_interval(chosen, people, settings(method="closed"), 0)["method"] == "beta"
    assert (
        share_interval(chosen, [""] * 40, settings(method="bootstrap"), 0)["method"] == "bootstrap"
    )
