from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isnet_cli.errors import UnreadableImage
from isnet_cli.images.read import read_images
from isnet_cli.images.types import XRay
from tests.images.dicom.factory import image_values
from tests.images.factory import saved

GREY8 = image_values(8, size=(200, 240)).astype(np.uint8)
GREY16 = image_values(16, size=(200, 240)).astype(np.uint16)


def read(tmp_path: Path, content: bytes) -> XRay:
    path = tmp_path / "image"
    path.write_bytes(content)
    (image,) = read_images(path)
    return image


def tiff(image: Image.Image, compression: str, **tags: int) -> bytes:
    """A TIFF of several strips."""
    info = {int(number[1:]): value for number, value in tags.items()}
    return saved(image, "TIFF", compression=compression, tiffinfo=info, strip_size=9000)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("values", [GREY8, GREY16])
@pytest.mark.parametrize("tags", [{}, {"t274": 6}, {"t317": 2}])
def test_strips_give_what_pillow_gives(tmp_path: Path, compression, values, tags) -> None:
    if "t317" in tags and compression == "packbits":
        pytest.skip("predictors belong to other forms")
    image = read(tmp_path, tiff(Image.fromarray(values), compression, **tags))
    right = values / np.iinfo(values.dtype).max
    assert np.abs(image.pixels - (np.rot90(right, -1) if "t274" in tags else right)).max() < 1e-6
    assert image.notes == ()


@pytest.mark.parametrize("mode", ["RGB", "LA", "1"])
def test_layouts_that_pillow_decodes_are_checked_too(tmp_path: Path, mode: str) -> None:
    for compression in ("tiff_adobe_deflate", *(("tiff_lzw",) if mode != "1" else ())):
        content = tiff(Image.fromarray(GREY8).convert(mode), compression)
        assert read(tmp_path, content).notes == ()


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_strips(tmp_path: Path, mode: str) -> None:
    content = tiff(Image.fromarray(GREY8).convert(mode), "jpeg")
    image = read(tmp_path, content)
    assert np.abs(image.pixels - GREY8 / 255).mean() < 0.02
    assert image.notes == ()


@pytest.mark.parametrize("compression", ["tiff_adobe_deflate", "jpeg"])
def test_damage_that_the_library_passes_over_is_noted(tmp_path: Path, compression: str) -> None:
    smooth = np.add.outer(np.arange(200), np.arange(240)).astype(np.uint8)
    smooth ^= (GREY8 > 250).astype(np.uint8) * 3
    sound = tiff(Image.fromarray(smooth), compression)
    right = read(tmp_path, sound)
    rng = np.random.default_rng(0)
    far = noted = 0
    for _ in range(60):
        damaged = bytearray(sound)
        damaged[int(rng.integers(len(sound) // 5, len(sound) * 9 // 10))] ^= int(
            rng.integers(1, 256)
        )
        try:
            image = read(tmp_path, bytes(damaged))
        except UnreadableImage:
            continue
        if np.mean(np.abs(image.pixels - right.pixels) > 0.1) > 0.001:
            far += 1
            noted += any(note.startswith("damaged: ") for note in image.notes)
    assert far
    assert noted >= 0.7 * far


def test_packed_bytes_of_another_length_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "sound"
    path.write_bytes(tiff(Image.fromarray(GREY8), "packbits"))
    with Image.open(path) as image:
        start = image.tag_v2[273][1]
    damaged = bytearray(path.read_bytes())
    damaged[start] ^= 1  # the length of a run
    notes = read(tmp_path, bytes(damaged)).notes
    assert notes == ("damaged: a strip of the TIFF page does not decode to what it should",)


@pytest.mark.parametrize("how", ["cut", "a code without a meaning"])
def test_damaged_lzw_strips_are_noted(tmp_path: Path, how: str) -> None:
    """LZW has no checksum: its length and its codes tell."""
    path = tmp_path / "sound"
    path.write_bytes(tiff(Image.fromarray(GREY8), "tiff_lzw"))
    with Image.open(path) as image:
        start, size = image.tag_v2[273][1], image.tag_v2[279][1]
    damaged = bytearray(path.read_bytes())
    if how == "cut":
        damaged[start + size - 40 : start + size] = bytes(40)
    else:
        damaged[start + 2 : start + 5] = b"\xff\xff\xff"
    try:
        notes = read(tmp_path, bytes(damaged)).notes
    except UnreadableImage as fault:
        assert fault.reason in {"unreadable", "truncated"}  # noqa: PT017 - both are right
    else:
        assert any(note.startswith("damaged: ") for note in notes)
