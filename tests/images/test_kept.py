from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isnet_cli.errors import IsnetError
from isnet_cli.images.kept import limit_size, load_image, save_image
from tests.images.factory import PNG_RGB, png_bytes


def gradient(height: int = 60, width: int = 90) -> np.ndarray:
    return np.linspace(0, 1, height * width, dtype=np.float32).reshape(height, width)


def test_round_trip_keeps_sixteen_bits(tmp_path: Path) -> None:
    pixels = gradient()
    save_image(tmp_path / "a.png", pixels)
    back = load_image(tmp_path / "a.png")
    assert back.dtype == np.float32
    assert np.abs(back - pixels).max() <= 0.51 / 65535
    assert len(np.unique(back)) == pixels.size


def test_all_levels_survive_exactly(tmp_path: Path) -> None:
    levels = np.arange(65536, dtype=np.float32).reshape(256, 256) / np.float32(65535)
    save_image(tmp_path / "a.png", levels)
    assert np.array_equal(load_image(tmp_path / "a.png"), levels)


def test_images_of_eight_bits_keep_eight_exactly(tmp_path: Path) -> None:
    levels = np.arange(256, dtype=np.float32).reshape(16, 16) / np.float32(255)
    save_image(tmp_path / "a.png", levels)
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "L"
        assert image.info == {}
    assert np.array_equal(load_image(tmp_path / "a.png"), levels)
    levels[3, 4] += 1 / 65535  # one pixel between two levels needs all bits
    save_image(tmp_path / "b.png", levels)
    with Image.open(tmp_path / "b.png") as image:
        assert image.mode == "I;16"
    assert np.array_equal(load_image(tmp_path / "b.png") * 65535, np.rint(levels * 65535))


def test_same_pixels_same_bytes_and_no_metadata(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png", gradient())
    save_image(tmp_path / "b.png", gradient())
    content = (tmp_path / "a.png").read_bytes()
    assert content == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        image.load()
        assert image.info == {}
        assert image.mode == "I;16"


@pytest.mark.parametrize("bad", [np.nan, 1.01, -0.01, np.inf])
def test_values_outside_the_normal_form_are_refused(tmp_path: Path, bad: float) -> None:
    pixels = gradient()
    pixels[3, 4] = bad
    with pytest.raises(ValueError, match="expected"):
        save_image(tmp_path / "a.png", pixels)
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((100, 50), (100, 50)),
        ((400, 200), (128, 64)),
        ((200, 400), (64, 128)),
        ((1000, 3), (128, 1)),
    ],
)
def test_reduction_keeps_the_aspect_and_never_enlarges(size, expected) -> None:
    reduced = limit_size(gradient(*size), 128)
    assert reduced.shape == expected
    assert reduced.dtype == np.float32
    assert 0.0 <= reduced.min() <= reduced.max() <= 1.0


def test_reduction_is_antialiased() -> None:
    stripes = np.tile(np.array([0.0, 1.0], np.float32), (512, 256))
    inner = limit_size(stripes, 128)[:, 2:-2]
    assert np.abs(inner - 0.5).max() < 0.02


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"no image",
        png_bytes(np.zeros((4, 4, 3), np.uint8), 8, PNG_RGB),
        png_bytes(np.zeros((4, 4), np.uint16), 16)[:-30],
    ],
    ids=["missing", "empty", "text", "rgb", "truncated"],
)
def test_what_is_no_kept_image_is_an_error_with_a_fix(tmp_path: Path, content) -> None:
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(IsnetError) as caught:
        load_image(path)
    assert caught.value.kind == "data"
    assert "a.png" in caught.value.message
    assert caught.value.fix
