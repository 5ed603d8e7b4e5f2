from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from isnet_cli.errors import UnreadableImage
from isnet_cli.images.read import read_images
from isnet_cli.images.types import XRay
from tests.images.factory import PNG_GREY_ALPHA, PNG_RGB, png_bytes, saved, tiff_bytes


def values(bits: int, size: tuple[int, int] = (40, 52)) -> np.ndarray:
    """All levels of `bits` that fit, in no order that a decoder could guess."""
    rng = np.random.default_rng(bits)
    found = rng.integers(0, 1 << bits, size)
    found[0, :2] = (0, (1 << bits) - 1)
    return found


def read(tmp_path: Path, content: bytes, scale: str = "bits") -> list[XRay]:
    path = tmp_path / "image.xyz"
    path.write_bytes(content)
    return read_images(path, scale=scale)


def one(tmp_path: Path, content: bytes, scale: str = "bits") -> XRay:
    (image,) = read(tmp_path, content, scale)
    assert image.pixels.dtype == np.float32
    return image


def fault(tmp_path: Path, content: bytes, scale: str = "bits") -> UnreadableImage:
    with pytest.raises(UnreadableImage) as caught:
        read(tmp_path, content, scale)
    return caught.value


def pillow(mode: str) -> tuple[Image.Image, np.ndarray]:
    """A picture of a mode and the grey that it means."""
    grey = values(8).astype(np.uint8)
    image = Image.fromarray(grey)
    if mode == "1":
        bits = values(1).astype(bool)
        return Image.fromarray(bits), bits.astype(float)
    if mode == "P":
        palette = Image.fromarray(grey, "L").convert("P")
        palette.putpalette([v for level in range(255, -1, -1) for v in (level,) * 3])
        return palette, (255 - grey) / 255
    if mode in ("LA", "RGBA"):
        alpha = np.full_like(grey, 255)
        alpha[:, :20] = 0
        alpha[:, 20:30] = 51
        image = image.convert(mode)
        image.putalpha(Image.fromarray(alpha))
        return image, grey / 255 * (alpha / 255)
    return image.convert(mode), grey / 255


@pytest.mark.parametrize("format_", ["PNG", "TIFF"])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_pillow_modes(tmp_path: Path, format_: str, mode: str) -> None:
    image, expected = pillow(mode)
    image = one(tmp_path, saved(image, format_))
    assert np.abs(image.pixels - expected).max() < 1e-6
    assert image.format == format_.lower()
    assert image.bits == (1 if mode == "1" else 8)
    assert image.view == "unknown"
    assert image.notes == ()


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_png_of_every_depth(tmp_path: Path, bits: int) -> None:
    stored = values(bits)
    image = one(tmp_path, png_bytes(stored, bits))
    assert np.abs(image.pixels - stored / ((1 << bits) - 1)).max() < 1e-6
    assert image.bits == bits


def test_sixteen_bits_of_a_png_survive(tmp_path: Path) -> None:
    image = one(tmp_path, png_bytes(np.arange(65536).reshape(256, 256), 16))
    assert len(np.unique(image.pixels)) == 65536


def test_twelve_bits_in_a_sixteen_bit_file_stay_dark_with_a_note(tmp_path: Path) -> None:
    stored = values(12)
    dark = one(tmp_path, png_bytes(stored, 16))
    assert dark.pixels.max() == pytest.approx(4095 / 65535)
    assert dark.notes == ("narrow: spans 6% of its range of bits",)
    bright = one(tmp_path, png_bytes(stored, 16), "range")
    assert np.abs(bright.pixels - stored / 4095).max() < 1e-6
    assert bright.notes == ()


def test_deep_grey_with_alpha_and_deep_colour_are_read_at_eight_bits(tmp_path: Path) -> None:
    stored = values(16)
    alpha = np.full_like(stored, 65535)
    image = one(tmp_path, png_bytes(np.stack([stored, alpha], -1), 16, PNG_GREY_ALPHA))
    assert np.abs(image.pixels - stored / 65535).max() < 1 / 255
    assert image.bits == 8
    assert image.notes == ("16-bit colour read at 8 bits",)
    image = one(tmp_path, png_bytes(np.stack([stored] * 3, -1), 16, PNG_RGB))
    assert np.abs(image.pixels - stored / 65535).max() < 1 / 255


@pytest.mark.parametrize("bits", [8, 16])
def test_a_transparent_grey_of_a_png_is_black(tmp_path: Path, bits: int) -> None:
    stored = np.clip(values(bits), 10, None)
    clear = int(stored[5, 5])
    content = png_bytes(stored, bits, chunks=((b"tRNS", struct.pack(">H", clear)),))
    expected = np.where(stored == clear, 0, stored) / ((1 << bits) - 1)
    assert np.abs(one(tmp_path, content).pixels - expected).max() < 1e-6


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg(tmp_path: Path, mode: str) -> None:
    ramp = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))
    image = Image.fromarray(ramp).convert(mode)
    image = one(tmp_path, saved(image, "JPEG", quality=95))
    assert np.abs(image.pixels - ramp / 255).max() < 0.03
    assert (image.format, image.bits) == ("jpeg", 8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["PNG", "JPEG", "TIFF"])
def test_exif_orientation(tmp_path: Path, format_: str, orientation: int) -> None:
    upright = np.full((48, 64), 20, np.uint8)
    upright[:16, :16] = 240  # the upper left corner is bright
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright.T[::-1, ::-1],
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    options: dict[str, Any] = (
        {"exif": exif} if format_ != "TIFF" else {"tiffinfo": {274: orientation}}
    )
    image = one(tmp_path, saved(Image.fromarray(np.ascontiguousarray(turned)), format_, **options))
    assert image.pixels.shape == (48, 64)
    assert np.abs(image.pixels - upright / 255).max() < 0.06


@pytest.mark.parametrize(
    ("bits", "photometric", "order"),
    [
        (bits, photometric, order)
        for bits in (1, 8, 16)
        for photometric in (0, 1)
        for order in "<>"
        if (bits, photometric, order) != (16, 0, ">")  # Pillow refuses it
    ],
)
def test_tiff_of_every_depth_and_polarity(
    tmp_path: Path, bits: int, photometric: int, order
) -> None:
    stored = values(bits)
    image = one(tmp_path, tiff_bytes(stored, bits=bits, photometric=photometric, order=order))
    expected = stored / ((1 << bits) - 1)
    assert np.abs(image.pixels - (expected if photometric else 1 - expected)).max() < 1e-6
    assert image.bits == bits


def test_twelve_bit_tiff(tmp_path: Path) -> None:
    stored = values(12)
    image = one(tmp_path, tiff_bytes(stored, bits=12))
    assert np.abs(image.pixels - stored / 4095).max() < 1e-6
    assert image.bits == 12


def test_signed_tiff(tmp_path: Path) -> None:
    stored = values(16) - 32768
    image = one(tmp_path, tiff_bytes(stored, bits=16, sample_format=2))
    assert np.abs(image.pixels - (stored + 32768) / 65535).max() < 1e-6


@pytest.mark.parametrize("photometric", [0, 1])
def test_float_tiff_between_zero_and_one(tmp_path: Path, photometric: int) -> None:
    stored = np.random.default_rng(0).random((40, 52)).astype(np.float32)
    content = tiff_bytes(stored, bits=32, sample_format=3, photometric=photometric)
    for scale in ("bits", "range"):
        low, high = (0, 1) if scale == "bits" else (stored.min(), stored.max())
        expected = (stored - low) / (high - low)
        image = one(tmp_path, content, scale)
        assert np.abs(image.pixels - (expected if photometric else 1 - expected)).max() < 1e-5


@pytest.mark.parametrize(("bits", "sample_format"), [(32, 3), (32, 2)])
def test_samples_without_a_white_need_another_scale(tmp_path: Path, bits, sample_format) -> None:
    stored = values(20) - 70_000
    content = tiff_bytes(stored, bits=bits, sample_format=sample_format)
    refused = fault(tmp_path, content)
    assert refused.reason == "depth"
    assert "data.scale" in refused.detail
    for scale in ("range", "percentile"):
        image = one(tmp_path, content, scale)
        assert (image.pixels.min(), image.pixels.max()) == (0.0, 1.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_floats_that_are_no_numbers_are_refused(tmp_path: Path, bad: float) -> None:
    stored = np.zeros((40, 52), np.float32)
    stored[3, 3] = bad
    for scale in ("bits", "range"):
        assert (
            fault(tmp_path, tiff_bytes(stored, bits=32, sample_format=3), scale).reason
            == "unreadable"
        )


def test_pages_become_images_and_previews_do_not(tmp_path: Path) -> None:
    pages = [Image.fromarray(values(8, (30 + n, 40)).astype(np.uint8)) for n in range(3)]
    images = read(tmp_path, saved(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    assert [image.pixels.shape for image in images] == [(30, 40), (31, 40), (32, 40)]
    for image, page in zip(images, pages, strict=True):
        assert np.abs(image.pixels - np.asarray(page) / 255).max() < 1e-6
    pages[1].encoderinfo = {"tiffinfo": {254: 1}}  # a preview of the page before
    images = read(tmp_path, saved(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    assert [image.pixels.shape for image in images] == [(30, 40), (32, 40)]


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_compressed_tiff(tmp_path: Path, compression: str) -> None:
    ramp = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))
    image = one(tmp_path, saved(Image.fromarray(ramp), "TIFF", compression=compression))
    assert np.abs(image.pixels - ramp / 255).max() < 0.03


def test_colour_picture_is_refused(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 52, 3)).astype(np.uint8)
    for format_ in ("PNG", "TIFF"):
        assert fault(tmp_path, saved(Image.fromarray(picture), format_)).reason == "colour"


def test_scale_by_percentile_ignores_a_few_bright_letters(tmp_path: Path) -> None:
    stored = values(8, (100, 100)) // 4 + 30
    stored[0, :3] = 255
    image = one(tmp_path, png_bytes(stored, 8), "percentile")
    assert np.count_nonzero(image.pixels == 1.0) > 3


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    small = np.zeros((4, 4), np.uint8)
    for size in ((20_000, 20_000), (11_000, 10_000), (65_000, 65_000)):
        assert fault(tmp_path, png_bytes(small, 8, size=size)).reason == "too_large"


def test_a_compressed_text_bomb_in_a_png_is_refused(tmp_path: Path) -> None:
    text = b"k\0\0" + zlib.compress(bytes(80 << 20), 9)
    content = png_bytes(values(8), 8, chunks=((b"zTXt", text),))
    assert fault(tmp_path, content).reason == "too_large"


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_files(tmp_path: Path, format_: str, share: float) -> None:
    content = saved(Image.fromarray(values(8, (200, 200)).astype(np.uint8)), format_)
    refused = fault(tmp_path, content[: int(len(content) * share)])
    assert refused.reason in ("truncated", "unreadable")
    assert format_ in refused.detail


def test_a_damaged_header_is_named(tmp_path: Path) -> None:
    refused = fault(tmp_path, b"\x89PNG\r\n\x1a\n" + bytes(50))
    assert (refused.reason, "header" in refused.detail) == ("unreadable", True)
