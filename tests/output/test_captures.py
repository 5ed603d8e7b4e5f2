"""Overlays on the image's own pixels, with a legend that covers a corner and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from isnet_cli.output.captures import compose_capture
from isnet_cli.output.overlays import overlay
from tests.output.factory import scene


def large() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    image, relevance, mask = scene()
    return tuple(np.kron(part, np.ones((6, 6), part.dtype)) for part in (image, relevance, mask))


def test_the_image_s_pixels_are_kept_but_for_the_corner() -> None:
    image, relevance, mask = large()
    picture = compose_capture(image, relevance, mask, ["Relevance for sick", "80 % in the lungs"])
    assert picture.shape == (*image.shape, 3)
    plain = overlay(image, relevance, mask)
    changed = np.argwhere((picture != plain).any(axis=-1))
    assert changed[:, 0].min() > 0.7 * image.shape[0]
    assert changed[:, 1].max() < 0.5 * image.shape[1]
    assert len(changed) > 200
    box = picture[changed[:, 0].min() : changed[:, 0].max(), : changed[:, 1].max()]
    blue, red = box[..., 2].astype(int) - box[..., 0], box[..., 0].astype(int) - box[..., 2]
    assert blue.max() > 60
    assert red.max() > 60


def test_words_and_limit_and_sign_are_seen() -> None:
    image, relevance, mask = large()
    one = compose_capture(image, relevance, mask, ["a"])
    for other in (
        compose_capture(image, relevance, mask, ["b"]),
        compose_capture(image, relevance, mask, ["a"], limit=7.0),
        compose_capture(image, relevance, mask, ["a"], signed=False),
    ):
        assert not np.array_equal(one, other)
    assert np.array_equal(one, compose_capture(image, relevance, mask, ["a"]))


def test_a_image_too_small_for_letters_has_none() -> None:
    image = np.full((40, 40), 0.5, np.float32)
    relevance = image - 0.5
    picture = compose_capture(image, relevance, None, ["words " * 9])
    assert np.array_equal(picture, overlay(image, relevance, None))


@pytest.mark.parametrize("shape", [(900, 200), (200, 900)])
def test_odd_shapes(shape: tuple[int, int]) -> None:
    image = np.full(shape, 0.5, np.float32)
    assert compose_capture(image, image, None, ["x" * 300] * 2).shape == (*shape, 3)


def test_shapes_that_differ_are_refused() -> None:
    image = np.zeros((30, 30), np.float32)
    with pytest.raises(ValueError, match="relevance"):
        compose_capture(image, image[:-1], None, [])
