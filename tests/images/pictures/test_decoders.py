from __future__ import annotations

import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageOps

from isnet_cli.errors import UnreadableImage
from isnet_cli.images.dicom.code_streams import decode_stream, read_stream_header
from isnet_cli.images.pictures.decoders import check_png
from isnet_cli.images.read import read_images
from isnet_cli.images.types import XRay
from tests.images.dicom.factory import image_values
from tests.images.dicom.jpeg_encoders import jpeg_lossless, jpeg_ls
from tests.images.factory import png_bytes, saved

GREY8 = image_values(8, size=(72, 96)).astype(np.uint8)
GREY16 = image_values(16, size=(72, 96)).astype(np.uint16)


def read(tmp_path: Path, content: bytes, scale: str = "bits") -> XRay:
    path = tmp_path / "image"
    path.write_bytes(content)
    (image,) = read_images(path, scale=scale)
    return image


def test_png_checksums_and_ends(tmp_path: Path) -> None:
    sound = png_bytes(GREY8, 8)
    assert check_png(sound) == ()
    at = sound.index(b"IDAT")
    (size,) = struct.unpack(">I", sound[at - 4 : at])
    wrong = bytearray(sound)
    wrong[at + 4 + size] ^= 1  # the checksum itself: the pixels are sound
    image = read(tmp_path, bytes(wrong))
    assert np.abs(image.pixels - GREY8 / 255).max() < 1e-6
    assert "damaged: a checksum is wrong (PNG)" in image.notes
    assert "more bytes after the end of the PNG file" in read(tmp_path, sound + b"tail").notes
    assert "damaged: the PNG file has no end" in read(tmp_path, sound[:-12]).notes


@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpeg_is_turned_upright(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    content = saved(Image.fromarray(GREY8), "JPEG", exif=exif)
    path = tmp_path / "image"
    path.write_bytes(content)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(np.rint(read(tmp_path, content).pixels * 255), expected)


def test_damaged_jpeg_is_noted(tmp_path: Path) -> None:
    big = image_values(8, size=(200, 240)).astype(np.uint8)
    content = bytearray(saved(Image.fromarray(big), "JPEG", quality=90))
    assert read(tmp_path, bytes(content)).notes == ()
    middle = len(content) // 2
    content[middle : middle + 30] = bytes(range(60, 90))
    assert any(note.startswith("damaged: ") for note in read(tmp_path, bytes(content)).notes)
    assert (
        "more bytes after the end of the JPEG stream"
        in read(tmp_path, saved(Image.fromarray(big), "JPEG") + b"tail").notes
    )


@pytest.mark.parametrize("kind", ["extended", "lossless", "jpegls", "colour"])
def test_rare_jpeg_files_are_read(tmp_path: Path, kind: str) -> None:
    stored = image_values(12, size=(72, 96))
    content = {
        "extended": lambda: imagecodecs.jpeg8_encode(
            stored.astype(np.uint16), level=98, bitspersample=12
        ),
        "lossless": lambda: jpeg_lossless(stored, 12),
        "jpegls": lambda: jpeg_ls(stored, 12),
        "colour": lambda: imagecodecs.jpegls_encode(np.stack([stored] * 3, -1).astype(np.uint16)),
    }[kind]()
    image = read(tmp_path, bytes(content))
    assert image.bits in (12, 16)
    white = (1 << image.bits) - 1
    assert np.abs(image.pixels - stored / white).max() < (0.02 if kind == "extended" else 1e-5)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("kind", ["uint16", "float32"])
def test_colour_tiffs_of_more_than_eight_bits(tmp_path: Path, planar: bool, kind: str) -> None:
    values = GREY16 if kind == "uint16" else (GREY16 / 65535).astype(np.float32)
    colours = np.stack([values] * 3, 0 if planar else -1)
    config = "separate" if planar else "contig"
    content = imagecodecs.tiff_encode(colours, photometric="rgb", planarconfig=config)
    image = read(tmp_path, bytes(content))
    assert np.abs(image.pixels - GREY16 / 65535).max() < 1e-5
    assert image.bits == 16
    coloured = np.random.default_rng(0).permuted(colours, axis=None).reshape(colours.shape)
    with pytest.raises(UnreadableImage) as caught:
        read(
            tmp_path,
            bytes(imagecodecs.tiff_encode(coloured, photometric="rgb", planarconfig=config)),
        )
    assert caught.value.reason == "colour"


def test_deflated_tiffs_with_a_wrong_checksum_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(saved(Image.fromarray(GREY8), "TIFF", compression="tiff_adobe_deflate"))
    with Image.open(path) as image:
        end = image.tag_v2[273][0] + image.tag_v2[279][0]
    wrong = bytearray(path.read_bytes())
    wrong[end - 1] ^= 1  # the checksum itself
    with pytest.raises(UnreadableImage) as caught:
        read(tmp_path, bytes(wrong))
    assert caught.value.detail == "damaged TIFF file (its content is damaged)"


def test_lossless_jpeg_that_takes_more_or_less_data_than_there_are() -> None:
    stored = image_values(12, size=(72, 96))
    stream = jpeg_lossless(stored, 12)
    header = read_stream_header(stream)
    assert decode_stream(stream, header)[1] == ()
    for damaged in (stream[:-40] + b"\xff\xd9", stream[:-2] + bytes(60) + b"\xff\xd9"):
        assert decode_stream(damaged, header)[1] == (
            "damaged: the JPEG data do not fit the picture",
        )
