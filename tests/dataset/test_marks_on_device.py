"""Marks of a whole batch are those that are drawn one by one, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from isnet_cli.dataset.marks_on_device import draw_marks
from isnet_cli.dataset.synthetic_marks import (
    SHAPES,
    draw_shape,
    find_side,
    make_rng,
    place_shape,
)


@pytest.mark.parametrize("size", [(48, 48), (40, 64), (9, 12)])
def test_a_batch_is_drawn_as_its_images(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    shapes = [*SHAPES, "text:PORTABLE", "circle"]
    images = rng.random((len(shapes), *size), np.float32)
    lungs = np.zeros(size, bool)
    lungs[size[0] // 4 : size[0] // 2, size[1] // 4 : size[1] // 2] = True
    side = find_side(size, 0.2)
    corners = [
        place_shape(lungs, shape, side, make_rng(str(n), 1)) for n, shape in enumerate(shapes)
    ]
    batch = torch.from_numpy(images.copy())[:, None]
    found = draw_marks(batch, shapes, torch.tensor(corners), side, 0.7)[:, 0].numpy()
    for n, shape in enumerate(shapes):
        rng = make_rng(str(n), 1)
        alone = draw_shape(images[n], lungs, shape, size=0.2, intensity=0.7, rng=rng)
        assert np.array_equal(found[n], alone), shape
