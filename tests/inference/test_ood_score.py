"""Distances from the training images equal a slow transcription; damaged clouds are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from isnet_cli.inference.ood_score import AXES, FLOOR, fit_cloud, pack, unpack


def images(n: int, f: int, seed: int = 0) -> np.ndarray:
    """Correlated features, some of them silent."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(n, 6)) @ np.random.default_rng(9).normal(size=(6, f))
    x = np.maximum(mixed + rng.normal(0, 0.5, (n, f)) + 1.0, 0.0)
    x[:, 0] = 0.25
    return x


def slow_distance(train: np.ndarray, image: np.ndarray) -> float:
    """Mahalanobis distance under the covariance of probabilistic PCA, written out in full."""
    n, f = train.shape
    mean = [sum(train[:, j]) / n for j in range(f)]
    spread = [(sum((v - mean[j]) ** 2 for v in train[:, j]) / (n - 1)) ** 0.5 for j in range(f)]
    least = FLOOR * sum(spread) / f
    scale = [max(s, least) for s in spread]
    z = np.array([[(v - m) / s for v, m, s in zip(row, mean, scale, strict=True)] for row in train])
    covariance = z.T @ z / (n - 1)
    values, vectors = np.linalg.eigh(covariance)
    order = np.argsort(-values)
    r = min(AXES, n // 2, f // 2)
    rest = max(sum(values[order[r:]]) / (f - r), 0.01)
    model = rest * np.eye(f)
    for k in order[:r]:
        model += max(values[k] - rest, 0.0) * np.outer(vectors[:, k], vectors[:, k])
    d = (image - np.array(mean)) / np.array(scale)
    return float((d @ np.linalg.inv(model) @ d / f) ** 0.5)


@pytest.mark.parametrize(("n", "f"), [(60, 24), (200, 12), (14, 40), (10, 2)])
def test_distances_equal_the_slow_transcription(n: int, f: int) -> None:
    train, others = images(n, f), images(5, f, seed=1) + 0.3
    found = fit_cloud(train).distance(others)
    expected = [slow_distance(train, image) for image in others]
    np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_a_training_image_has_distance_about_one_and_a_foreign_one_more() -> None:
    train = images(300, 24)
    cloud = fit_cloud(train)
    assert np.sqrt((cloud.distance(images(300, 24, seed=2)) ** 2).mean()) == pytest.approx(1, 0.2)
    silent = train[:5].copy()
    silent[:, 0] += 3.0  # a unit that never spoke in training
    assert (cloud.distance(silent) > 2 * cloud.distance(train[:5])).all()


def test_what_is_packed_comes_back() -> None:
    train, others = images(60, 24), images(5, 24, seed=1)
    cloud = fit_cloud(train)
    again = unpack(pack(cloud))
    np.testing.assert_allclose(again.distance(others), cloud.distance(others), rtol=1e-4)
    assert pack(again)["table"] == pack(cloud)["table"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda c: c.pop("table"),
        lambda c: c.update(table=c["table"][:-8]),
        lambda c: c.update(table="%%%"),
        lambda c: c.update(features=23),
        lambda c: c.update(rest=0.0),
        lambda c: c.update(rest="much"),
        lambda c: c["variances"].append(1.0),
        lambda c: c.update(variances=[float("nan")] * len(c["variances"])),
        lambda c: c.update(variances=None),
    ],
)
def test_a_damaged_cloud_is_refused(damage: Callable[[dict[str, Any]], Any]) -> None:
    content = pack(fit_cloud(images(60, 24)))
    damage(content)
    with pytest.raises(ValueError, match="damaged"):
        unpack(content)


def test_images_that_make_no_cloud_are_refused() -> None:
    broken = images(60, 24)
    broken[3, 4] = np.nan
    for x, why in (
        (images(9, 24), "too few training images: 9"),
        (broken, "not finite"),
        (images(60, 24)[:, :1], "fewer than two"),
        (np.ones((60, 24)), "do not differ"),
    ):
        with pytest.raises(ValueError, match=why):
            fit_cloud(x)
