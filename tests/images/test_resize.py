"""Images go to the network and back without moving."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isnet_cli.images.resize import Frame, resize, resize_mask


def disc(h: int, w: int, cy: float, cx: float, r: float) -> np.ndarray:
    y, x = np.mgrid[:h, :w] + 0.5
    return (((y - cy) / r) ** 2 + ((x - cx) / r) ** 2 < 1).astype(np.float32)


def centre(a: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[: a.shape[0], : a.shape[1]] + 0.5
    return np.array([(a * y).sum(), (a * x).sum()]) / a.sum()


@given(h=st.integers(200, 700), w=st.integers(200, 700), network=st.sampled_from([128, 224, 256]))
def test_round_trip_within_half_a_pixel(h: int, w: int, network: int) -> None:
    frame = Frame((h, w), (network, network))
    shape = disc(h, w, h * 0.4, w * 0.55, min(h, w) * 0.2)
    back = frame.to_original(frame.to_network(shape))
    assert back.shape == (h, w)
    assert np.abs(centre(back) - centre(shape)).max() < 0.5
    both = (back >= 0.5) & (shape > 0)
    either = (back >= 0.5) | (shape > 0)
    assert both.sum() / either.sum() > 0.96


@pytest.mark.parametrize(("h", "w"), [(512, 512), (3000, 1000), (40, 4000), (37, 41)])
def test_inner_area_is_centred_and_keeps_the_aspect(h: int, w: int) -> None:
    top, left, height, width = Frame((h, w), (224, 224)).inner
    assert max(height, width) == 224
    assert abs(2 * top + height - 224) <= 1
    assert abs(2 * left + width - 224) <= 1
    assert abs(height / width - h / w) / (h / w) < 0.5 / min(height, width) + 1e-9


def test_padding_is_black_and_masks_stay_binary() -> None:
    frame = Frame((100, 50), (64, 64))
    out = frame.to_network(np.ones((100, 50), np.float32))
    assert out.sum() == 64 * 32
    assert frame.mask_to_network(np.ones((200, 100), bool)).sum() == 64 * 32


def test_shrinking_is_antialiased() -> None:
    stripes = np.tile(np.array([0.0, 1.0], np.float32), (64, 32))
    assert np.abs(resize(stripes, (16, 16))[:, 2:-2] - 0.5).max() < 0.05


def test_masks_are_reduced_by_area() -> None:
    mask = np.zeros((8, 8), bool)
    mask[:, :3] = True
    assert resize_mask(mask, (4, 4))[0].tolist() == [True, True, False, False]
    assert (resize_mask(mask, (8, 8)) == mask).all()
