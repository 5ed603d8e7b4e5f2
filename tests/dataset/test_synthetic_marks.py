"""Shapes are drawn in the background, differ from one another, and depend on key and seed alone."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest

from isnet_cli.dataset.synthetic_marks import (
    SHAPES,
    assign_shapes,
    choose_shape,
    draw_shape,
    make_rng,
    render_shape,
)
from isnet_cli.errors import IsnetError

WORDS = ("text:PORTABLE", "text:PA")


def two_lungs(h: int = 192, w: int = 160) -> np.ndarray:
    lungs = np.zeros((h, w), bool)
    lungs[h // 6 : -h // 4, w // 8 : w // 2 - 4] = True
    lungs[h // 6 : -h // 4, w // 2 + 4 : -w // 8] = True
    return lungs


@pytest.mark.parametrize("shape", [*SHAPES, *WORDS])
@pytest.mark.parametrize("seed", range(6))
def test_lungs_keep_their_pixels_and_the_background_changes(shape: str, seed: int) -> None:
    lungs = two_lungs()
    image = np.full(lungs.shape, 0.25, np.float32)
    before = image.copy()
    drawn = draw_shape(image, lungs, shape, size=0.1, intensity=1.0, rng=make_rng("image", seed))
    assert np.array_equal(image, before)
    assert drawn.dtype == np.float32
    assert np.array_equal(drawn[lungs], image[lungs])
    assert drawn.max() > 0.95
    assert drawn.min() < 0.01  # the rim
    assert (drawn > 0.6).sum() > 12


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tissue", [0.0, 0.5, 1.0])
def test_a_rim_keeps_the_shape_visible_on_any_tissue(shape: str, tissue: float) -> None:
    image = np.full((96, 96), tissue, np.float32)
    drawn = draw_shape(image, image > 2, shape, size=0.2, intensity=1.0, rng=make_rng("a", 0))
    assert drawn.max() > 0.95
    assert drawn.min() < 0.05


def test_intensity_is_the_grey_level() -> None:
    image = np.full((64, 64), 0.9, np.float32)
    lungs = np.zeros((64, 64), bool)
    drawn = draw_shape(image, lungs, "square", size=0.2, intensity=0.3, rng=make_rng("a", 0))
    levels = np.unique(np.round(drawn, 6), return_counts=True)
    common = levels[0][np.argsort(levels[1])[::-1][:3]]  # image, shape, rim
    assert sorted(common) == pytest.approx([0.0, 0.3, 0.9], abs=1e-6)


def test_least_overlap_is_taken_when_no_place_is_free() -> None:
    lungs = np.ones((40, 40), bool)
    lungs[26:38, 26:38] = False  # just the shape with its rim
    image = np.zeros((40, 40), np.float32)
    for seed in range(5):
        drawn = draw_shape(image, lungs, "square", size=0.2, intensity=1.0, rng=make_rng("x", seed))
        assert drawn[27:37, 27:37].max() > 0.95
        assert (drawn[lungs] == 0).all()


def test_a_word_wider_than_the_image_is_cut() -> None:
    image = np.zeros((32, 32), np.float32)
    drawn = draw_shape(
        image, image > 1, "text:AP PORTABLE SUPINE", size=0.5, intensity=1.0, rng=make_rng("x", 1)
    )
    assert drawn.shape == (32, 32)
    assert drawn.max() > 0.9


@pytest.mark.parametrize(("one", "other"), list(combinations([*SHAPES, *WORDS], 2)))
def test_shapes_differ(one: str, other: str) -> None:
    a, b = render_shape(one, 16), render_shape(other, 16)
    assert a.shape != b.shape or np.abs(a - b).mean() > 0.08


def test_areas_of_the_shapes() -> None:
    assert render_shape("triangle", 64).mean() == pytest.approx(0.5, abs=0.01)
    assert render_shape("circle", 64).mean() == pytest.approx(np.pi / 4, abs=0.01)
    assert render_shape("diamond", 64).mean() == pytest.approx(0.5, abs=0.01)
    assert render_shape("ring", 64).mean() == pytest.approx(np.pi / 4 * (1 - 0.16), abs=0.01)


def test_place_varies_with_the_key_and_repeats_with_it() -> None:
    lungs = two_lungs()
    image = np.zeros(lungs.shape, np.float32)

    def drawn(key: str, seed: int) -> np.ndarray:
        return draw_shape(image, lungs, "circle", size=0.1, intensity=1.0, rng=make_rng(key, seed))

    assert np.array_equal(drawn("a/b", 3), drawn("a/b", 3))
    assert not np.array_equal(drawn("a/b", 3), drawn("a/c", 3))
    assert not np.array_equal(drawn("a/b", 3), drawn("a/b", 4))


def test_generator_is_the_same_in_another_process() -> None:
    code = "from isnet_cli.dataset.synthetic_marks import make_rng\n"
    code += "print(make_rng('k', 7).integers(1 << 60))"
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )
    assert int(printed.stdout) == int(make_rng("k", 7).integers(1 << 60))


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_no_class_keeps_its_shape_in_the_deceiving_version(classes: int) -> None:
    shapes = assign_shapes(classes, None)
    own = [choose_shape(label, "biased", shapes) for label in range(classes)]
    swapped = [choose_shape(label, "deceiving", shapes) for label in range(classes)]
    assert own == list(SHAPES[:classes])
    assert sorted(own) == sorted(swapped)
    assert all(a != b for a, b in zip(own, swapped, strict=True))


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(IsnetError, match="2 shapes for 3 classes"):
        assign_shapes(3, ["circle", "ring"])
    with pytest.raises(IsnetError, match="appears twice"):
        assign_shapes(2, ["circle", "circle"])
    with pytest.raises(ValueError, match="class index 2"):
        choose_shape(2, "biased", ["circle", "ring"])
    with pytest.raises(ValueError, match="unknown shape 'star'"):
        render_shape("star", 8)
