from __future__ import annotations

from typing import Any

import pytest
from pydicom.dataset import Dataset

from isnet_cli.errors import UnreadableImage
from isnet_cli.images.dicom.code_streams import StreamHeader
from isnet_cli.images.dicom.pixel_module import read_pixel_module

USUAL = {
    "Rows": 20,
    "Columns": 30,
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "BitsAllocated": 16,
    "BitsStored": 12,
    "HighBit": 11,
    "PixelRepresentation": 0,
}


def declared(**changes: Any) -> Dataset:
    ds = Dataset()
    for keyword, value in (USUAL | changes).items():
        if value != "absent":
            setattr(ds, keyword, value)
    return ds


def test_usual_module() -> None:
    module = read_pixel_module(declared(NumberOfFrames="3", PixelRepresentation=1))
    assert (module.rows, module.columns, module.frames) == (20, 30, 3)
    assert (module.allocated, module.stored, module.high, module.signed) == (16, 12, 11, True)
    assert module.native_bytes == 20 * 30 * 3 * 2


@pytest.mark.parametrize(
    ("changes", "attribute", "expected"),
    [
        ({"NumberOfFrames": "absent"}, "frames", 1),
        ({"NumberOfFrames": 0}, "frames", 1),
        ({"NumberOfFrames": ""}, "frames", 1),
        ({"SamplesPerPixel": "absent"}, "samples", 1),
        ({"BitsStored": "absent", "HighBit": "absent"}, "stored", 16),
        ({"HighBit": "absent"}, "high", 11),
        ({"BitsStored": "absent"}, "stored", 12),
        ({"PixelRepresentation": "absent"}, "signed", False),
        ({"PhotometricInterpretation": "absent"}, "photometric", "MONOCHROME2"),
    ],
)
def test_what_may_be_missing(changes: dict[str, Any], attribute: str, expected: Any) -> None:
    module = read_pixel_module(declared(**changes))
    assert getattr(module, attribute) == expected
    said = [keyword for keyword in changes if keyword != "NumberOfFrames"]
    assert all(any(note.startswith(keyword) for note in module.notes) for keyword in said)


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize("written", ["monochrome2", "Monochrome 2", "MONOCHROME_2", "MONOCHROME2 "])
def test_spellings_of_the_photometric_interpretation(written: str) -> None:
    module = read_pixel_module(declared(PhotometricInterpretation=written))
    assert module.photometric == "MONOCHROME2"
    assert bool(module.notes) is (written.strip() != "MONOCHROME2")


@pytest.mark.parametrize(
    ("changes", "attribute", "expected"),
    [
        ({"BitsStored": 17, "HighBit": 16}, "stored", 16),
        ({"BitsStored": 0}, "stored", 16),
        ({"HighBit": 3}, "high", 11),
        ({"HighBit": 16}, "high", 11),
        ({"PixelRepresentation": 7}, "signed", False),
    ],
)
def test_contradictions_that_can_be_resolved(changes, attribute: str, expected: int) -> None:
    module = read_pixel_module(declared(**changes))
    assert getattr(module, attribute) == expected
    assert any("contradicts" in note for note in module.notes)


@pytest.mark.parametrize(("size", "allocated"), [(600, 8), (1200, 16), (601, 8)])
def test_bits_allocated_follow_from_the_length(size: int, allocated: int) -> None:
    gone = dict.fromkeys(("BitsAllocated", "BitsStored", "HighBit"), "absent")
    module = read_pixel_module(declared(PixelData=bytes(size), **gone))
    assert (module.allocated, module.stored, module.high) == (allocated, allocated, allocated - 1)


def test_a_code_stream_says_what_the_header_lacks() -> None:
    header = StreamHeader(20, 30, 1, 10, True, "JPEG 2000")
    gone = dict.fromkeys(USUAL, "absent")
    module = read_pixel_module(declared(**gone), header)
    assert (module.rows, module.columns, module.samples) == (20, 30, 1)
    assert (module.allocated, module.stored, module.high, module.signed) == (16, 10, 9, True)
    assert module.photometric == "MONOCHROME2"
    assert len(module.notes) == len(USUAL)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"PixelPaddingRangeLimit": 9}, None),
        ({"PixelPaddingValue": 5, "PixelPaddingRangeLimit": 9}, (5, 9)),
        ({"PixelPaddingValue": 63536, "PixelRepresentation": 1}, (-2000, -2000)),
        ({"PixelPaddingValue": 2048, "PixelRepresentation": 1}, (-2048, -2048)),
        ({"PixelPaddingValue": -1}, (65535, 65535)),
    ],
)
@pytest.mark.filterwarnings("ignore:Value")
def test_padding(changes: dict[str, Any], expected: tuple[int, int] | None) -> None:
    ds = declared(**{k: v for k, v in changes.items() if not k.startswith("PixelPadding")})
    for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        if keyword in changes:
            ds.add_new(keyword, "SS" if changes[keyword] < 0 else "US", changes[keyword])
    assert read_pixel_module(ds).padding == expected


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ({"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}, 75),
        ({"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}, 600),
        (
            {
                "SamplesPerPixel": 3,
                "PhotometricInterpretation": "YBR_FULL_422",
                "BitsAllocated": 8,
                "BitsStored": 8,
                "HighBit": 7,
            },
            1200,
        ),
    ],
)
def test_native_length(changes: dict[str, Any], size: int) -> None:
    assert read_pixel_module(declared(**changes)).native_bytes == size


@pytest.mark.parametrize(
    ("changes", "reason", "words"),
    [
        ({"Rows": "absent"}, "bad_header", "Rows is missing"),
        ({"BitsAllocated": "absent"}, "bad_header", "BitsAllocated is missing"),
        ({"Columns": 0}, "bad_header", "1 or more"),
        ({"NumberOfFrames": -4}, "bad_header", "1 or more"),
        ({"Rows": [3, 4]}, "bad_header", "Rows is not one whole number"),
        ({"SamplesPerPixel": 3}, "depth", "colour of 12 bits"),
        ({"SamplesPerPixel": 2}, "bad_header", "contradict"),
        ({"PhotometricInterpretation": "RGB"}, "bad_header", "contradict"),
        ({"PhotometricInterpretation": "CANARY"}, "bad_header", "none that is defined"),
        ({"PhotometricInterpretation": "CMYK"}, "colour", "CMYK"),
        ({"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31}, "depth", "32 bits"),
    ],
)
def test_faults(changes: dict[str, Any], reason: str, words: str) -> None:
    with pytest.raises(UnreadableImage) as caught:
        read_pixel_module(declared(**changes))
    assert caught.value.reason == reason
    assert words in caught.value.detail
    assert "CANARY" not in caught.value.detail
