"""Images made alike in their lungs: levels, octaves, and what happens without lungs or contrast."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from isnet_cli.dataset.standardise import (
    MEAN,
    NEAR,
    SPREAD,
    list_band_targets,
    scale_bands,
    split_octaves,
    standardise,
)
from isnet_cli.images.resize import Frame
from tests.dataset.test_image_dataset import make_dataset
from tests.support.runs import image, lungs

SIZE = 96
WHOLE = (0, 0, SIZE, SIZE)


def rough(seed: int = 0, size: int = SIZE) -> np.ndarray:
    """An image with structure of every scale."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    pixels = 0.5 + 0.06 * np.sin(9 * x + 5 * y) + 0.05 * np.sin(40 * x) - 0.15 * lungs(size)
    return np.asarray(pixels + rng.normal(0, 0.02, (size, size)), np.float32)


def test_levels_of_the_lungs_equal_the_formula() -> None:
    pixels, inside = rough(), lungs(SIZE)
    found = standardise(pixels, inside, WHOLE, "lungs")
    values = pixels[inside].astype(np.float64)
    for y, x in ((3, 5), (40, 30), (90, 47)):
        expected = (pixels[y, x] - values.mean()) / values.std() * SPREAD + MEAN
        assert found[y, x] == pytest.approx(min(max(expected, 0), 1), abs=1e-6)
    assert found[inside].mean() == pytest.approx(MEAN, abs=1e-4)
    assert found[inside].std() == pytest.approx(SPREAD, abs=1e-4)
    assert standardise(pixels, inside, WHOLE, "none") is pixels


@pytest.mark.parametrize("how", ["lungs", "bands"])
def test_gain_and_offset_of_a_image_leave_no_trace(how: str) -> None:
    pixels, inside = rough(), lungs(SIZE)
    first = standardise(pixels, inside, WHOLE, how)
    second = standardise(np.float32(0.6) * pixels + np.float32(0.1), inside, WHOLE, how)
    assert np.abs(first - second).max() < 1e-3


def blurred(pixels: np.ndarray, sigma: float, y: int, x: int) -> float:
    """One pixel of a Gaussian blur, by a double sum; the borders are mirrored."""
    reach = int(np.ceil(4 * sigma))
    padded = np.pad(pixels.astype(float), reach, mode="symmetric")
    k = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    patch = padded[y : y + 2 * reach + 1, x : x + 2 * reach + 1]
    return float((np.outer(k, k) * patch).sum() / k.sum() ** 2)


def test_octaves_are_differences_of_blurs_and_sum_to_the_image() -> None:
    pixels = rough()[:, 8:]  # the shorter side is 88 px: the narrowest blur 88 / 64
    bands = split_octaves(pixels)
    assert np.allclose(sum(bands), pixels, atol=1e-5)
    assert len(bands) == len(list_band_targets(88)) == 6
    widths = [88 / 2**k for k in (6, 5, 4, 3, 2)]
    for y, x in ((0, 0), (44, 30), (95, 87)):
        blurs = [float(pixels[y, x]), *(blurred(pixels, s, y, x) for s in widths), 0.0]
        expected = [a - b for a, b in itertools.pairwise(blurs)]
        assert [b[y, x] for b in bands] == pytest.approx(expected, abs=2e-5)


def test_bands_get_the_spectrum_of_the_reference() -> None:
    inside = lungs(SIZE)
    for seed in range(3):
        bands = split_octaves(scale_bands(rough(seed), inside))
        spreads = np.array([band[inside].std() for band in bands]) / SPREAD
        assert spreads == pytest.approx(np.array(list_band_targets(SIZE)), rel=2 * NEAR)


def test_two_images_of_other_sharpness_become_alike() -> None:
    inside, sharp = lungs(SIZE), rough()
    dull = sharp - np.float32(0.7) * split_octaves(sharp)[0]
    gaps = {}
    for how in ("lungs", "bands"):
        a, b = (standardise(one, inside, WHOLE, how) for one in (sharp, dull))
        gaps[how] = float(np.abs(a - b)[inside].mean())
    assert gaps["bands"] < 0.3 * gaps["lungs"]


@pytest.mark.parametrize("how", ["lungs", "bands"])
def test_images_without_lungs_or_contrast(how: str) -> None:
    none, inside = np.zeros((SIZE, SIZE), bool), lungs(SIZE)
    found = standardise(rough(), none, WHOLE, how)
    assert found.mean() == pytest.approx(MEAN, abs=0.02)
    assert found.std() == pytest.approx(SPREAD, abs=0.02)
    flat = standardise(np.full((SIZE, SIZE), 0.9, np.float32), inside, WHOLE, how)
    assert flat == pytest.approx(np.full((SIZE, SIZE), MEAN), abs=1e-5)
    still = np.where(inside, np.float32(0.2), rough())
    dim = standardise(still.astype(np.float32), inside, WHOLE, how)
    assert dim[inside] == pytest.approx(np.full(inside.sum(), MEAN), abs=1e-4)


@pytest.mark.parametrize("how", ["lungs", "bands"])
def test_what_is_around_the_image_stays_black(how: str) -> None:
    frame = Frame((96, 60), (64, 64))
    pixels = frame.to_network(rough()[:, :60])
    inside = frame.mask_to_network(lungs(96)[:, :60])
    found = standardise(pixels, inside, frame.inner, how)
    top, left, height, width = frame.inner
    around = np.ones((64, 64), bool)
    around[top : top + height, left : left + width] = False
    assert around.sum() > 500
    assert (found[around] == 0).all()
    assert found[inside].mean() == pytest.approx(MEAN, abs=0.01)


def test_small_images_have_their_coarse_octaves_alone() -> None:
    found = standardise(image(0, False, 32), lungs(32), (0, 0, 32, 32), "bands")
    assert np.isfinite(found).all()
    assert len(list_band_targets(32)) == 5
    assert len(list_band_targets(2)) == 2


@pytest.mark.parametrize("how", ["lungs", "bands"])
def test_a_dataset_s_images_are_standardised_before_shapes_are_drawn(
    tmp_path: Path, how: str
) -> None:
    model = {"arch": "small", "input": [64, 64], "standardise": how}
    images = make_dataset(tmp_path, model=model, bias={"kind": "shapes", "intensity": 0.5})
    for i in (0, 1, 2):
        inside = next(images.iterate_masks())[i]
        assert images.image(i)[inside].mean() == pytest.approx(MEAN, abs=0.01)
        assert images.image(i)[inside].std() == pytest.approx(SPREAD, abs=0.01)
        plain, drawn = images.image(i), images.image(i, "biased")
        changed = drawn[plain != drawn]
        assert (np.abs(changed - 0.5) < 1e-4).sum() > 9  # the shape has its own grey level
        assert np.array_equal(plain[inside], drawn[inside])
    assert len(np.unique(images.image(0))) > 900  # far more grey levels than 8 bits have
