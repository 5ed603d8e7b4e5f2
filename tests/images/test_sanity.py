from __future__ import annotations

import numpy as np
import pytest

from isnet_cli.images.find import collect_images
from isnet_cli.images.read import read_images
from isnet_cli.images.sanity import (
    MIN_SIDE,
    check_colour,
    check_sanity,
    luma,
    measure_colour_spread,
)
from isnet_cli.images.types import XRay
from tests.support.paths import ROOT

SHARED = ROOT.parent / "shared" / "data"


def image(pixels: np.ndarray, view: str = "unknown") -> XRay:
    return XRay(pixels=pixels.astype(np.float32), bits=8, format="png", view=view)


def noise(height: int = 128, width: int = 128) -> np.ndarray:
    return np.random.default_rng(0).random((height, width))


def reason(pixels: np.ndarray, view: str = "unknown", wanted: str = "frontal") -> str | None:
    fault = check_sanity(image(pixels, view), wanted)
    return fault.reason if fault else None


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (noise(), None),
        (noise(MIN_SIDE, MIN_SIDE), None),
        (noise(32, 32), "too_small"),
        (noise(MIN_SIDE - 1, 500), "too_small"),
        (noise(100, 401), "aspect"),
        (noise(400, 100), None),
        (np.full((128, 128), 0.3), "constant"),
        (np.zeros((128, 128)), "constant"),
        (np.round(noise()), "saturated"),
    ],
)
def test_reasons(pixels: np.ndarray, expected: str | None) -> None:
    assert reason(pixels) == expected


@pytest.mark.parametrize(("grey", "expected"), [(0.02, "saturated"), (0.05, None)])
def test_saturation_leaves_room_for_wide_collimation(grey: float, expected: str | None) -> None:
    pixels = np.round(noise())
    pixels[: round(128 * grey)] = 0.5
    assert reason(pixels) == expected


@pytest.mark.parametrize(
    ("view", "wanted", "expected"),
    [
        ("lateral", "frontal", "lateral"),
        ("lateral", "any", None),
        ("unknown", "frontal", None),
        ("frontal", "frontal", None),
    ],
)
def test_only_known_laterals_are_refused(view: str, wanted: str, expected: str | None) -> None:
    assert reason(noise(), view, wanted) == expected


def rainbow(size: int = 96) -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.repeat(np.repeat(rng.random((size // 8, size // 8, 3)), 8, 0), 8, 1)


def test_colour_pictures_are_told_from_tinted_and_marked_images() -> None:
    grey = np.repeat(noise(96, 96)[..., None], 3, axis=2)
    tinted = grey * np.array([0.6, 0.8, 1.0])
    marked = grey.copy()
    marked[:10, :20] = (1.0, 0.0, 0.0)
    assert measure_colour_spread(grey.astype(np.float32)) < 1e-6
    for picture, expected in (
        (grey, None),
        (tinted, None),
        (marked * 0.5, None),
        (rainbow(), "colour"),
    ):
        fault = check_colour(picture.astype(np.float32))
        assert (fault.reason if fault else None) == expected


def test_luma_of_grey_is_that_grey_exactly() -> None:
    grey = (np.arange(256) / 255).astype(np.float32)
    assert np.array_equal(luma(np.stack([grey] * 3, -1)), grey)
    levels = np.arange(256, dtype=np.uint8)
    assert np.array_equal(luma(np.stack([levels] * 3, -1)), levels / np.float32(255))
    weights = luma(np.eye(3, dtype=np.float32))
    assert weights == pytest.approx([0.299, 0.587, 0.114], abs=1e-6)


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="the real X-rays are not beside the checkout")
@pytest.mark.parametrize(("folder", "count"), [("tb", 644), ("covid", 919), ("covid_ood", 44)])
@pytest.mark.parametrize("step", [40, pytest.param(1, marks=pytest.mark.slow)])
def test_every_real_image_passes(folder: str, count: int, step: int) -> None:
    found = collect_images(str(SHARED / folder / "images")).images
    assert len(found) == count
    for key, path in found[::step]:
        (single,) = read_images(path)
        assert check_sanity(single) is None, key
