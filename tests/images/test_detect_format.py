from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from isnet_cli.images.detect_format import HEAD_BYTES, describe_content, detect_bytes, detect_format
from tests.images.dicom.factory import dicom_bytes, image_values
from tests.images.factory import saved

SMALL = image_values(size=(16, 16))
GREY = Image.fromarray(np.zeros((8, 8), np.uint8))


@pytest.mark.parametrize("syntax", ["implicit", "explicit", "big", "deflated", "rle"])
def test_dicom_with_preamble(syntax: str) -> None:
    assert detect_bytes(dicom_bytes(SMALL, syntax=syntax)) == "dicom"


@pytest.mark.parametrize("syntax", ["implicit", "explicit", "big"])
def test_dicom_without_preamble(syntax: str) -> None:
    content = dicom_bytes(SMALL, syntax=syntax, preamble=False)
    assert content[128:132] != b"DICM"
    assert detect_bytes(content) == "dicom"


def test_tiff_hidden_in_a_dicom_preamble_is_dicom() -> None:
    content = bytearray(dicom_bytes(SMALL))
    content[:8] = b"II*\0\x08\0\0\0"
    assert detect_bytes(bytes(content)) == "dicom"


@pytest.mark.parametrize(
    ("format_", "expected"), [("PNG", "png"), ("JPEG", "jpeg"), ("TIFF", "tiff")]
)
def test_raster_formats_whatever_the_name(tmp_path, format_: str, expected: str) -> None:
    path = tmp_path / "image.dcm"
    path.write_bytes(saved(GREY, format_))
    assert detect_format(path) == expected


@pytest.mark.parametrize("magic", [b"MM\0*", b"II+\0", b"MM\0+"])
def test_other_tiff_magics(magic: bytes) -> None:
    assert detect_bytes(magic + bytes(100)) == "tiff"


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\x08",
        bytes(512),
        b"\x89PNG",
        b"II",
        b"a,b\n1,2\n",
        b"\x08\0\x77\x77CS\0\0",
        b"BMxxxx",
    ],
)
def test_everything_else_is_none(head: bytes) -> None:
    assert detect_bytes(head) is None


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"", "an empty file"),
        (b"PK\x03\x04rest", "a zip archive; unpack it first"),
        (b"%PDF-1.7", "a PDF document"),
        (b"patient,label\n1,2\n", "a text file"),
        (bytes(range(256)), "a file of unknown format"),
        (bytes(257) + b"ustar", "a tar archive; unpack it first"),
    ],
)
def test_foreign_files_are_described(head: bytes, words: str) -> None:
    assert describe_content(head) == words


def test_the_head_suffices_for_every_magic() -> None:
    buffer = io.BytesIO(dicom_bytes(SMALL))
    assert detect_bytes(buffer.read(HEAD_BYTES)) == "dicom"
