from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from isnet_cli.errors import UnreadableImage
from isnet_cli.images.header_scan import HeaderFacts, drop_placeholder, scan_header
from isnet_cli.images.read import read_images
from tests.images.dicom.factory import EXACT, dicom_bytes, image_values
from tests.images.factory import png_bytes


def write(folder: Path, content: bytes, name: str = "image") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("syntax", EXACT)
def test_dicom_headers_agree_with_the_reader(tmp_path: Path, syntax: str) -> None:
    content = dicom_bytes(
        image_values(12), syntax=syntax, photometric="MONOCHROME1", ViewPosition="PA",
        PatientID="P-1", AccessionNumber="A-1",
    )  # fmt: skip
    path = write(tmp_path, content)
    facts = scan_header(path)
    (image,) = read_images(path)
    assert (facts.kind, facts.format, facts.bits) == ("dicom", image.format, image.bits)
    assert (facts.height, facts.width) == image.pixels.shape
    assert (facts.view, facts.identity) == (image.view, image.identity)
    assert (facts.photometric, facts.frames, facts.fault) == ("MONOCHROME1", 1, None)


def test_frames_are_counted(tmp_path: Path) -> None:
    stack = np.stack([image_values(12, seed=n) for n in range(3)])
    assert scan_header(write(tmp_path, dicom_bytes(stack))).frames == 3


@pytest.mark.parametrize(
    ("attributes", "omit", "reason"),
    [
        ({"Modality": "CT"}, (), "modality"),
        ({"BodyPartExamined": "KNEE"}, (), "body_part"),
        ({}, ("PixelData", "Rows", "Columns"), "no_pixels"),
    ],
)
def test_what_the_reader_refuses_by_the_header_is_known_at_once(
    tmp_path: Path, attributes: dict[str, str], omit: tuple[str, ...], reason: str
) -> None:
    path = write(tmp_path, dicom_bytes(image_values(), omit=omit, **attributes))
    facts = scan_header(path)
    assert facts.fault is not None
    assert facts.fault[0] == reason
    with pytest.raises(UnreadableImage) as caught:
        read_images(path)
    assert (caught.value.reason, caught.value.detail) == facts.fault


@pytest.mark.parametrize(("bits", "mode"), [(1, "1"), (8, "L"), (16, "I;16")])
def test_png_headers(tmp_path: Path, bits: int, mode: str) -> None:
    facts = scan_header(write(tmp_path, png_bytes(image_values(bits, size=(70, 90)), bits)))
    assert (facts.kind, facts.bits, facts.photometric) == ("png", bits, mode)
    assert (facts.height, facts.width) == (70, 90)


@pytest.mark.parametrize("kind", ["jpeg", "tiff"])
def test_other_pictures(tmp_path: Path, kind: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(image_values(8).astype(np.uint8)).save(buffer, kind)
    facts = scan_header(write(tmp_path, buffer.getvalue(), "no-ending"))
    assert (facts.kind, facts.format, facts.bits) == (kind, kind, 8)


def test_files_that_are_no_images(tmp_path: Path) -> None:
    assert scan_header(tmp_path / "lost").fault == ("missing", "no such file")
    assert scan_header(write(tmp_path, b"")).fault == (
        "not_image", "an empty file, expected DICOM, PNG, JPEG or TIFF",
    )  # fmt: skip
    folder = scan_header(tmp_path).fault
    assert folder is not None
    assert folder[0] == "not_a_file"
    os.mkfifo(tmp_path / "pipe")  # would wait for a writer when opened
    assert scan_header(tmp_path / "pipe").fault == (
        "not_a_file", "a named pipe, expected an X-ray file",
    )  # fmt: skip


@settings(deadline=None)
@given(cut=st.integers(0, 400), flips=st.lists(st.tuples(st.integers(0, 399), st.integers(0, 255))))
def test_damaged_headers_never_raise(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flips: list[tuple[int, int]]
) -> None:
    content = bytearray(dicom_bytes(image_values(8, size=(8, 8)), bits=8, PatientID="CANARY"))
    for place, value in flips:
        content[place % len(content)] = value
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(bytes(content[: len(content) - cut]))
    facts = scan_header(path)
    assert isinstance(facts, HeaderFacts)
    assert "CANARY" not in str(facts.fault)


@pytest.mark.parametrize(
    "word", ["", "ANONYMOUS", "anon", "0", " Unknown ", "Removed", "anonymous^"]
)
def test_placeholders_name_nobody(word: str) -> None:
    assert drop_placeholder(word) == ""


@pytest.mark.parametrize("word", ["00", "P-0", "anon7", "Nana", "1"])
def test_identifiers_stay(word: str) -> None:
    assert drop_placeholder(f" {word} ") == word
