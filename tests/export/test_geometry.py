"""The letterbox as a graph: Pillow's resampling, and back."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from isnet_cli.dataset.records import DEPTH
from isnet_cli.export.geometry import COARSE, IMAGE, write_letterbox, write_way_back
from isnet_cli.images.resize import Frame

SIZES = [(64, 64), (100, 37), (31, 90), (200, 201), (1, 5)]


def run(model: object, **values: np.ndarray) -> np.ndarray:
    content = model.SerializeToString()  # type: ignore[attr-defined]
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, values)
    return np.asarray(found)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_those_of_the_data_set(size: tuple[int, int], channels: int) -> None:
    images = np.random.default_rng(0).random((2, *size), dtype=np.float32)
    found = run(write_letterbox(64, 48, channels), image=images)
    frame = Frame(size, (64, 48))
    expected = np.stack([np.rint(frame.to_network(one) * DEPTH) / DEPTH for one in images])
    assert found.shape == (2, channels, 64, 48)
    for channel in range(channels):
        assert np.abs(found[:, channel] - expected).max() <= 1.01 / DEPTH
    assert (found[:, 0] != expected.astype(np.float32)).mean() < 0.01


@pytest.mark.parametrize("size", SIZES)
def test_maps_come_back_to_the_images_own_size(size: tuple[int, int]) -> None:
    coarse = np.random.default_rng(1).random((2, 64, 48), dtype=np.float32)
    given = {IMAGE: np.zeros((2, *size), np.float32), COARSE: coarse}
    found = run(write_way_back(64, 48, "map"), **given)
    frame = Frame(size, (64, 48))
    expected = np.stack([frame.to_original(one) for one in coarse])
    assert np.abs(found - expected).max() < 1e-6


def test_without_levels_grey_values_are_not_rounded() -> None:
    images = np.full((1, 64, 48), 0.1234567, np.float32)
    found = run(write_letterbox(64, 48, 1, levels=False), image=images)
    assert np.array_equal(found[:, 0], images)
