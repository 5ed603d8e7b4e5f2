from __future__ import annotations

from typing import Any

import pytest
from pydicom.dataset import Dataset

from isnet_cli.errors import UnreadableImage
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
        ({"PixelRepresentation": "absent"}, "signed", False),
        ({"PhotometricInterpretation": "absent"}, "photometric", "MONOCHROME2"),
    ],
)
def test_what_may_be_missing(changes: dict[str, Any], attribute: str, expected: Any) -> None:
    assert getattr(read_pixel_module(declared(**changes)), attribute) == expected


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
        ({"BitsStored": 17, "HighBit": 16}, "bad_header", "contradict"),
        ({"BitsStored": 0}, "bad_header", "contradict"),
        ({"HighBit": 3}, "bad_header", "contradict"),
        ({"SamplesPerPixel": 3}, "depth", "colour of 12 bits"),
        ({"SamplesPerPixel": 2}, "bad_header", "contradict"),
        ({"PhotometricInterpretation": "RGB"}, "bad_header", "contradict"),
        ({"PhotometricInterpretation": "CANARY"}, "bad_header", "none that is defined"),
        ({"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31}, "depth", "32 bits"),
    ],
)
def test_faults(changes: dict[str, Any], reason: str, words: str) -> None:
    with pytest.raises(UnreadableImage) as caught:
        read_pixel_module(declared(**changes))
    assert caught.value.reason == reason
    assert words in caught.value.detail
    assert "CANARY" not in caught.value.detail
