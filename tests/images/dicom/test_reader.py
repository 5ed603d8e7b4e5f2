from __future__ import annotations

import tracemalloc
import zlib
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from isnet_cli.config.schema import Dicom, Limits
from isnet_cli.errors import UnreadableImage
from isnet_cli.images.dicom import reader as module
from isnet_cli.images.dicom.greyscale import stored_range
from isnet_cli.images.header_scan import scan_header
from isnet_cli.images.read import read_images
from isnet_cli.images.types import XRay
from tests.images.dicom.factory import EXACT, dicom_bytes, image_values, lut_item

SIZE = (24, 30)


def read(tmp_path: Path, content: bytes, scale: str = "bits", **options: Any) -> list[XRay]:
    path = tmp_path / "image"
    path.write_bytes(content)
    return read_images(path, Dicom(**options), scale)


def one(tmp_path: Path, content: bytes, scale: str = "bits", **options: Any) -> XRay:
    (image,) = read(tmp_path, content, scale, **options)
    return image


# The truth table: each display step written a second time, value by value, from the standard.

DISPLAYS = ("plain", "rescale", "negative", "modality_lut", "linear", "exact", "sigmoid", "voi_lut")
DISPLAYS += ("rescale_window", "modality_lut_voi_lut")


def display(kind: str, low: int, high: int) -> tuple[dict[str, Any], Any]:
    """Attributes of a display, and intensity as a function of one stored value."""
    span, middle = high - low, (low + high) / 2
    curve = np.rint(np.sqrt(np.linspace(0, 1, 200)) * 16383).astype(int)
    lut_first = low + span // 4

    def entry(x: float) -> float:
        return float(curve[int(min(max(x - lut_first, 0), 199))])

    def linear(x: float, c: float, w: float) -> float:
        return min(max((x - (c - 0.5)) / (w - 1) + 0.5, 0.0), 1.0)

    lut = lut_item(lut_first, curve, 14, signed_first=low < 0)
    second = lut_item(0, np.arange(16384)[::-1] // 4, 12)
    c, w = round(middle + 0.07 * span, 2), round(0.6 * span, 2)
    window = {"WindowCenter": c, "WindowWidth": w}
    return {
        "plain": ({}, lambda x: (x - low) / span),
        "rescale": ({"RescaleSlope": 2.5, "RescaleIntercept": -9}, lambda x: (x - low) / span),
        "negative": ({"RescaleSlope": -1, "RescaleIntercept": 7}, lambda x: (high - x) / span),
        "modality_lut": ({"ModalityLUTSequence": [lut]}, lambda x: entry(x) / 16383),
        "linear": (window, lambda x: linear(x, c, w)),
        "exact": (
            window | {"VOILUTFunction": "LINEAR_EXACT"},
            lambda x: min(max((x - c) / w + 0.5, 0.0), 1.0),
        ),
        "sigmoid": (
            window | {"VOILUTFunction": "SIGMOID"},
            lambda x: 1 / (1 + np.exp(-4 * (x - c) / w)),
        ),
        "voi_lut": ({"VOILUTSequence": [lut]}, lambda x: entry(x) / 16383),
        "rescale_window": (
            {
                "RescaleSlope": 0.5,
                "RescaleIntercept": 100,
                "WindowCenter": c / 2 + 100,
                "WindowWidth": w,
            },
            lambda x: linear(0.5 * x + 100, c / 2 + 100, w),
        ),
        "modality_lut_voi_lut": (
            {"ModalityLUTSequence": [lut], "VOILUTSequence": [second]},
            lambda x: ((16383 - int(entry(x))) // 4) / 4095,
        ),
    }[kind]


def truth_table() -> list[Any]:
    """All displays at 12 bits; at other depths two of them, the rest marked slow."""
    return [
        pytest.param(bits, sign == "signed", kind, id=f"{bits}-{sign}-{kind}", marks=marks)
        for bits in (8, 10, 12, 14, 16)
        for sign in ("unsigned", "signed")
        for kind in DISPLAYS
        for quick in [bits == 12 or (bits in (8, 16) and kind in ("plain", "rescale_window"))]
        for marks in [() if quick else (pytest.mark.slow,)]
    ]


@pytest.mark.parametrize(("bits", "signed", "kind"), truth_table())
def test_truth_table(tmp_path: Path, bits: int, signed: bool, kind: str) -> None:
    stored = image_values(bits, signed, SIZE)
    attributes, intensity = display(kind, *stored_range(bits, signed))
    expected = np.vectorize(intensity, otypes=[float])(stored)
    inverted = (("MONOCHROME1", "explicit"), ("MONOCHROME1", "jpegls"))
    for photometric, syntax in (*product(("MONOCHROME2",), EXACT), *inverted):
        content = dicom_bytes(
            stored, bits=bits, signed=signed, syntax=syntax, photometric=photometric, **attributes
        )
        image = one(tmp_path, content, voi="lut" if kind.endswith("voi_lut") else "auto")
        wanted = 1 - expected if photometric == "MONOCHROME1" else expected
        assert np.abs(image.pixels - wanted).max() <= 1e-6, (photometric, syntax)
        assert image.bits == bits
        assert image.pixels.dtype == np.float32
        assert ("inverted" in image.notes) is (photometric == "MONOCHROME1")


@pytest.mark.parametrize("words", [True, False])
@pytest.mark.parametrize("syntax", ["implicit", "explicit", "big", "deflated", "rle"])
def test_luts_in_every_byte_order(tmp_path: Path, syntax: str, words: bool) -> None:
    stored = image_values(12)
    order = ">" if syntax == "big" else "<"
    lut = lut_item(0, np.arange(4096)[::-1], 12, words=words, order=order)
    image = one(tmp_path, dicom_bytes(stored, syntax=syntax, VOILUTSequence=[lut]))
    assert np.abs(image.pixels - (4095 - stored) / 4095).max() < 1e-6


@pytest.mark.parametrize("syntax", ["implicit", "explicit", "big"])
def test_files_without_preamble_and_meta_information(tmp_path: Path, syntax: str) -> None:
    stored = image_values(12)
    image = one(tmp_path, dicom_bytes(stored, syntax=syntax, preamble=False))
    assert np.abs(image.pixels - stored / 4095).max() < 1e-6


@pytest.mark.parametrize(
    ("photometric", "shape", "option", "inverted"),
    [
        ("MONOCHROME2", None, "auto", False),
        ("MONOCHROME2", "IDENTITY", "auto", False),
        ("MONOCHROME1", None, "auto", True),
        ("MONOCHROME1", "INVERSE", "auto", True),
        ("MONOCHROME2", "INVERSE", "auto", True),
        ("MONOCHROME1", "INVERSE", "monochrome2", False),
        ("MONOCHROME2", None, "monochrome1", True),
    ],
)
def test_inversion_happens_once_and_can_be_decided(
    tmp_path: Path, photometric: str, shape: str | None, option: str, inverted: bool
) -> None:
    stored = image_values(12)
    attributes = {"PresentationLUTShape": shape} if shape else {}
    content = dicom_bytes(stored, photometric=photometric, **attributes)
    image = one(tmp_path, content, photometric=option)
    expected = 1 - stored / 4095 if inverted else stored / 4095
    assert np.abs(image.pixels - expected).max() < 1e-6


def test_inversion_comes_after_the_window(tmp_path: Path) -> None:
    stored = image_values(12)
    window = {"WindowCenter": 1000, "WindowWidth": 1501}
    content = dicom_bytes(stored, photometric="MONOCHROME1", **window)
    expected = 1 - np.clip((stored - 999.5) / 1500 + 0.5, 0, 1)
    assert np.abs(one(tmp_path, content).pixels - expected).max() < 1e-6


@pytest.mark.parametrize("voi", ["auto", "none", "lut", "window"])
def test_the_voi_option_decides(tmp_path: Path, voi: str) -> None:
    stored = image_values(12)
    lut = lut_item(0, 4095 - np.arange(4096), 12)
    window = {"WindowCenter": 2048, "WindowWidth": 2001}
    content = dicom_bytes(stored, VOILUTSequence=[lut], **window)
    expected = {
        "none": stored / 4095,
        "window": np.clip((stored - 2047.5) / 2000 + 0.5, 0, 1),
        "lut": 1 - stored / 4095,
        "auto": 1 - stored / 4095,
    }[voi]
    assert np.abs(one(tmp_path, content, voi=voi).pixels - expected).max() < 1e-6


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    ("attributes", "low", "high"),
    [
        ({"PixelPaddingValue": 0}, 0, 0),
        ({"PixelPaddingValue": 4095}, 4095, 4095),
        ({"PixelPaddingValue": 4000, "PixelPaddingRangeLimit": 4095}, 4000, 4095),
        ({"PixelPaddingValue": 4095, "PixelPaddingRangeLimit": 4000}, 4000, 4095),
    ],
)
def test_padding_is_black_and_does_not_count(
    tmp_path: Path, photometric: str, attributes, low: int, high: int
) -> None:
    rng = np.random.default_rng(0)
    stored = rng.integers(1000, 3001, (40, 50))
    stored[0, :2] = (1000, 3000)
    stored[:, -5:] = rng.integers(low, high + 1, (40, 5))
    content = dicom_bytes(stored, photometric=photometric, **attributes)
    for scale, expected in (("bits", stored / 4095), ("range", (stored - 1000) / 2000)):
        image = one(tmp_path, content, scale)
        wanted = 1 - expected if photometric == "MONOCHROME1" else expected
        assert not image.pixels[:, -5:].any()
        assert np.abs(image.pixels - wanted)[:, :-5].max() < 1e-6
        assert "padding 10%" in image.notes


def test_signed_padding_value(tmp_path: Path) -> None:
    stored = image_values(16, signed=True, size=(40, 50))
    stored[:10] = -32768
    image = one(tmp_path, dicom_bytes(stored, bits=16, signed=True, PixelPaddingValue=-32768))
    assert not image.pixels[:10].any()
    assert any(note.startswith("padding") for note in image.notes)


def test_absent_padding_is_not_noted(tmp_path: Path) -> None:
    stored = np.clip(image_values(12), 10, 4000)
    image = one(tmp_path, dicom_bytes(stored, PixelPaddingValue=4095))
    assert image.notes == ("full range of 12 bits",)


def test_padding_does_not_make_a_window_unbelievable(tmp_path: Path) -> None:
    stored = np.zeros((40, 50), int)
    stored[:3] = image_values(12, size=(3, 50)) // 8 + 1500
    content = dicom_bytes(stored, PixelPaddingValue=0, WindowCenter=1750, WindowWidth=800)
    assert "window linear" in one(tmp_path, content).notes


def test_white_is_the_meaning_of_the_bits_unless_asked(tmp_path: Path) -> None:
    stored = image_values(12, size=(50, 50)) // 4 + 500
    content = dicom_bytes(stored)
    assert one(tmp_path, content).pixels.max() == pytest.approx(stored.max() / 4095)
    ranged = one(tmp_path, content, "range").pixels
    assert (ranged.min(), ranged.max()) == (0.0, 1.0)
    spread = one(tmp_path, content, "percentile").pixels
    assert np.count_nonzero(spread == 1.0) >= 12


def test_sixteen_bits_survive(tmp_path: Path) -> None:
    stored = np.arange(65536).reshape(256, 256)
    image = one(tmp_path, dicom_bytes(stored, bits=16))
    assert len(np.unique(image.pixels)) == 65536


def test_frames_become_images_with_their_own_display(tmp_path: Path) -> None:
    stored = np.stack([image_values(12, size=SIZE, seed=seed) for seed in range(3)])
    groups = []
    for centre in (1000, 2000, 3000):
        window = Dataset()
        window.WindowCenter, window.WindowWidth = centre, 1501
        group = Dataset()
        group.FrameVOILUTSequence = [window]
        groups.append(group)
    shared, rescale = Dataset(), Dataset()
    rescale.RescaleSlope, rescale.RescaleIntercept = 1, 100
    shared.PixelValueTransformationSequence = [rescale]
    content = dicom_bytes(
        stored, PerFrameFunctionalGroupsSequence=groups, SharedFunctionalGroupsSequence=[shared]
    )
    images = read(tmp_path, content)
    for image, frame, centre in zip(images, stored, (1000, 2000, 3000), strict=True):
        expected = np.clip((frame + 100 - centre + 0.5) / 1500 + 0.5, 0, 1)
        assert np.abs(image.pixels - expected).max() < 1e-6


def test_what_the_image_carries(tmp_path: Path) -> None:
    content = dicom_bytes(
        image_values(10), bits=10, syntax="rle", ViewPosition="PA", ImagerPixelSpacing=[0.2, 0.1]
    )
    image = one(tmp_path, content)
    assert (image.bits, image.format, image.view) == (10, "dicom:RLE Lossless", "frontal")
    assert image.spacing == (0.2, 0.1)
    assert (image.identity.patient, image.identity.accession) == ("0042", "A7")
    assert image.identity.uid == "2.25.123456789"
    assert image.notes == ("full range of 10 bits",)


def test_grey_stored_as_colour_and_real_colour(tmp_path: Path) -> None:
    grey = image_values(8)
    as_rgb = np.repeat(grey[..., None], 3, axis=2)
    image = one(tmp_path, dicom_bytes(as_rgb, bits=8, photometric="RGB"))
    assert np.abs(image.pixels - grey / 255).max() < 1e-6
    assert image.notes == ("colour",)
    picture = np.random.default_rng(0).integers(0, 256, (80, 96, 3))
    with pytest.raises(UnreadableImage) as caught:
        one(tmp_path, dicom_bytes(picture, bits=8, photometric="RGB"))
    assert caught.value.reason == "colour"


def test_palette_of_greys(tmp_path: Path) -> None:
    stored = image_values(8)
    ramp = (np.arange(256)[::-1] * 257).astype("<u2").tobytes()
    palette: dict[str, Any] = {}
    for name in ("Red", "Green", "Blue"):
        palette[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        palette[f"{name}PaletteColorLookupTableData"] = ramp
    content = dicom_bytes(stored, bits=8, photometric="PALETTE COLOR", **palette)
    assert np.abs(one(tmp_path, content).pixels - (255 - stored) / 255).max() < 1e-6


def test_a_palette_that_is_missing_is_named(tmp_path: Path) -> None:
    fault = fault_of(tmp_path, dicom_bytes(image_values(8), bits=8, photometric="PALETTE COLOR"))
    assert (fault.reason, "palette" in fault.detail) == ("bad_lut", True)


def fault_of(tmp_path: Path, content: bytes, **limits: int) -> UnreadableImage:
    path = tmp_path / "image"
    path.write_bytes(content)
    with pytest.raises(UnreadableImage) as caught:
        module.read_dicom(path, limits=Limits(**limits))
    return caught.value


@pytest.mark.parametrize("hidden", ["nothing", "group length", "preamble"])
def test_a_deflated_bomb_is_refused_before_it_is_held(tmp_path: Path, hidden: str) -> None:
    """Whatever the meta information claims: the limit holds where the library inflates."""
    content = dicom_bytes(image_values(8, size=(16, 16)), bits=8, syntax="deflated")
    start = 144 + int.from_bytes(content[140:144], "little")  # after the file meta information
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = content[:start] + squeeze.compress(bytes(64 << 20)) + squeeze.flush()
    if hidden == "group length":
        bomb = bomb[:140] + (4000).to_bytes(4, "little") + bomb[144:]
    elif hidden == "preamble":
        bomb = bomb[132:]
    fault = fault_of(tmp_path, bomb, file_mb=1)
    assert len(bomb) < 1 << 20
    assert (fault.reason, "inflates" in fault.detail) == ("too_large", True)
    tracemalloc.start()
    scan_header(tmp_path / "image", Limits(file_mb=1))
    assert tracemalloc.get_traced_memory()[1] < 8_000_000
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Rows": 65535, "Columns": 65535}, "65535 x 65535"),
        ({"Rows": 9_900, "Columns": 9_900}, "take about 1176 MB of memory"),
        ({"NumberOfFrames": 100_000}, "more than 500 frames"),
    ],
)
def test_declared_sizes_are_refused_before_decoding(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    fault = fault_of(tmp_path, dicom_bytes(image_values(12), **changes))
    assert (fault.reason, words in fault.detail) == ("too_large", True)


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    content = dicom_bytes(image_values(8), bits=8)
    assert fault_of(tmp_path, content + bytes(1_000_000), file_mb=1).reason == "too_large"


@pytest.mark.parametrize("reader", ["scan", "read"])
def test_a_sequence_of_empty_items_is_not_built(tmp_path: Path, reader: str) -> None:
    """8 bytes of a file become an object of a kilobyte."""
    content = dicom_bytes(image_values(8), bits=8)
    at = content.index(bytes.fromhex("280002005553"))  # samples per pixel
    items = b"\xfe\xff\x00\xe0\0\0\0\0" * 50_000
    end = b"\xfe\xff\xdd\xe0\0\0\0\0"
    sequence = bytes.fromhex("09001010") + b"SQ\0\0\xff\xff\xff\xff" + items + end
    path = tmp_path / "image"
    path.write_bytes(content[:at] + sequence + content[at:])
    if reader == "read":
        assert fault_of(tmp_path, path.read_bytes(), elements=2000).reason == "too_large"
    else:
        found = scan_header(path, Limits(elements=2000)).fault
        assert found is not None
        assert found[0] == "too_large"


def test_the_input_file_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "image.dcm"
    path.write_bytes(dicom_bytes(image_values(12), syntax="jpegls"))
    before = path.read_bytes(), path.stat().st_mtime_ns
    module.read_dicom(path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert list(tmp_path.iterdir()) == [path]
