from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from isnet_cli.errors import UnreadableImage
from isnet_cli.images.dicom.greyscale import (
    make_display_table,
    note_narrow_range,
    stored_range,
    stretch,
    stretch_table,
)
from tests.images.dicom.factory import lut_item


def scope(**attributes: Any) -> list[Dataset]:
    ds = Dataset()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return [ds]


def table(bits: int = 12, signed: bool = False, voi: str = "auto", histogram=None, **attributes):
    if histogram is None:
        histogram = np.ones(1 << bits, np.int64)
    return make_display_table(scope(**attributes), bits, signed, histogram, voi)


def standard_window(x: float, c: float, w: float, function: str) -> float:
    """The pseudo-code of PS3.3 C.11.2.1.2.1 and C.11.2.1.3 with an output range of 0 to 1."""
    if function == "SIGMOID":
        return 1 / (1 + math.exp(-4 * (x - c) / w))
    if function == "LINEAR":
        low, high = c - 0.5 - (w - 1) / 2, c - 0.5 + (w - 1) / 2
        inside = (x - (c - 0.5)) / (w - 1) + 0.5
    else:
        low, high = c - w / 2, c + w / 2
        inside = (x - c) / w + 0.5
    return 0.0 if x <= low else 1.0 if x > high else inside


@pytest.mark.parametrize(
    ("bits", "signed", "expected"),
    [(8, False, (0, 255)), (8, True, (-128, 127)), (16, True, (-32768, 32767)), (1, False, (0, 1))],
)
def test_stored_range(bits: int, signed: bool, expected: tuple[int, int]) -> None:
    assert stored_range(bits, signed) == expected


def test_without_any_transform_white_is_the_highest_stored_value() -> None:
    found = table(10)
    assert found.output[0] == 0.0
    assert found.output[1023] == 1.0
    assert found.output[512] == pytest.approx(512 / 1023)
    assert found.notes == ("full range of 10 bits",)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (2.5, -1000), (0.125, 7), (-3, 50)])
@pytest.mark.parametrize(("centre", "width"), [(0.5, 0.6), (0.3, 0.25), (0.9, 1.0)])
def test_windows_follow_the_pseudo_code_after_rescale(
    function, signed, slope, intercept, centre, width
) -> None:
    low, high = stored_range(12, signed)
    ends = sorted((low * slope + intercept, high * slope + intercept))
    c = round(ends[0] + centre * (ends[1] - ends[0]), 3)
    w = round(width * (ends[1] - ends[0]), 3)
    found = table(
        12,
        signed,
        RescaleSlope=slope,
        RescaleIntercept=intercept,
        WindowCenter=[c, 1],
        WindowWidth=[w, 2],
        VOILUTFunction=function,
    )
    assert f"window {function.lower()}" in found.notes
    for stored in range(low, high + 1, 7):
        expected = standard_window(stored * slope + intercept, c, w, function)
        assert found.output[stored - low] == pytest.approx(expected, abs=1e-9)


def test_window_of_width_one_is_a_threshold() -> None:
    found = table(4, voi="window", WindowCenter=8, WindowWidth=1)
    assert found.output.tolist() == [0.0] * 8 + [1.0] * 8


@pytest.mark.parametrize("first", [0, 1000, 4000])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_voi_lut_maps_and_clamps(first: int, bits: int) -> None:
    data = np.linspace(0, (1 << bits) - 1, 300).astype(int)
    found = table(voi="lut", VOILUTSequence=[lut_item(first, data, bits)])
    for stored in range(0, 4096, 13):
        entry = data[min(max(stored - first, 0), 299)]
        assert found.output[stored] == pytest.approx(entry / ((1 << bits) - 1))


def test_voi_lut_of_65536_entries_writes_its_length_as_zero() -> None:
    data = np.arange(65536)[::-1].copy()
    item = lut_item(0, data, 16, words=False)
    assert item.LUTDescriptor[0] == 0
    found = table(16, VOILUTSequence=[item])
    assert found.output[[0, 1, 65535]] == pytest.approx([1.0, 65534 / 65535, 0.0])


@pytest.mark.parametrize("signed_first", [True, False])
def test_voi_lut_may_begin_below_zero(signed_first: bool) -> None:
    data = np.arange(4096)
    first = -2048 if signed_first else 65536 - 2048  # the same number written as US
    item = lut_item(first, data, 12, signed_first=signed_first)
    found = table(12, RescaleIntercept=-2048, RescaleSlope=1, VOILUTSequence=[item])
    assert found.output == pytest.approx(np.arange(4096) / 4095)


def test_eight_bit_entries_packed_two_to_a_word() -> None:
    item = Dataset()
    item.LUTDescriptor = [256, 0, 8]
    item.add_new("LUTData", "US", np.arange(256, dtype=np.uint8).view("<u2").tolist())
    found = table(8, VOILUTSequence=[item])
    assert found.output == pytest.approx(np.arange(256) / 255)


def test_lut_that_declares_more_bits_than_it_uses_is_not_dark() -> None:
    found = table(12, VOILUTSequence=[lut_item(0, np.arange(4096), 16)])
    assert found.output[4095] == 1.0
    honest = table(12, voi="lut", VOILUTSequence=[lut_item(0, np.arange(4096) // 2, 12)])
    assert honest.output[4095] == pytest.approx(2047 / 4095)


def test_modality_lut_sets_the_range_and_comes_before_the_window() -> None:
    data = (np.arange(4096) // 4)[::-1].copy()
    item = lut_item(0, data, 10)
    plain = table(ModalityLUTSequence=[item])
    assert plain.output == pytest.approx(data / 1023)
    assert plain.notes[0] == "modality LUT"
    windowed = table(ModalityLUTSequence=[item], WindowCenter=500, WindowWidth=401)
    expected = [standard_window(x, 500, 401, "LINEAR") for x in data]
    assert windowed.output == pytest.approx(expected)


def test_negative_slope_turns_the_image_around() -> None:
    found = table(8, RescaleSlope=-2, RescaleIntercept=100)
    assert found.output == pytest.approx(1 - np.arange(256) / 255)


BOTH = {"WindowCenter": 2048, "WindowWidth": 1001}


@pytest.mark.parametrize(
    ("voi", "with_lut", "note"),
    [
        ("auto", True, "VOI LUT"),
        ("auto", False, "window linear"),
        ("lut", True, "VOI LUT"),
        ("lut", False, "full range of 12 bits"),
        ("window", True, "window linear"),
        ("none", True, "full range of 12 bits"),
    ],
)
def test_choice_of_the_voi_transform(voi: str, with_lut: bool, note: str) -> None:
    luts = {"VOILUTSequence": [lut_item(0, np.arange(4096), 12)]} if with_lut else {}
    assert table(voi=voi, **BOTH, **luts).notes[-1] == note


@pytest.mark.parametrize(
    ("centre", "width"),
    [(0, 0), (2048, -5), (9000, 100), (-500, 100), (127, 20000), (1e308, 1e308), (2048, 0.5)],
)
def test_auto_does_not_believe_a_senseless_window(centre: float, width: float) -> None:
    found = table(WindowCenter=centre, WindowWidth=width)
    assert found.notes[-1] == "full range of 12 bits"
    assert found.notes[-2].endswith("not used")
    assert found.output == pytest.approx(np.arange(4096) / 4095)


def test_auto_does_not_believe_a_window_that_saturates_the_image() -> None:
    histogram = np.zeros(4096, np.int64)
    histogram[3000:3100] = 50
    window = {"WindowCenter": 500, "WindowWidth": 400}
    assert table(histogram=histogram, **window).notes[-1] == "full range of 12 bits"
    assert table(histogram=histogram, voi="window", **window).notes[-1] == "window linear"
    assert table(**window | {"WindowWidth": 900}).notes[-1] == "window linear"


def test_auto_falls_from_a_bad_lut_to_a_good_window() -> None:
    found = table(VOILUTSequence=[lut_item(0, np.zeros(16, int), 12)], **BOTH)
    assert found.notes == ("VOI LUT is constant, not used", "window linear")


def short_lut() -> Dataset:
    item = lut_item(0, np.arange(5), 12)
    item.LUTDescriptor = [4096, 0, 12]
    return item


@pytest.mark.parametrize(
    "attributes",
    [
        {"RescaleSlope": 0},
        {"RescaleSlope": "1e308", "RescaleIntercept": "1e308"},
        {"ModalityLUTSequence": [short_lut()]},
    ],
)
def test_a_malformed_modality_step_is_refused(attributes: dict[str, Any]) -> None:
    with pytest.raises(UnreadableImage) as caught:
        table(**attributes)
    assert caught.value.reason == "bad_lut"


def test_an_empty_item_does_not_lose_the_image() -> None:
    for keyword in ("ModalityLUTSequence", "VOILUTSequence"):
        assert table(**{keyword: [Dataset()]}).notes == ("full range of 12 bits",)


@pytest.mark.parametrize(
    ("declared", "data", "top"),
    [
        (8, np.arange(4096) * 16, 65535),  # entries of 16 bits
        (8, np.arange(4096), 4095),
        (40, np.arange(4096), 4095),
        (0, np.arange(4096), 4095),
        (16, np.arange(4096) // 4, 1023),
        (8, np.arange(4096) // 16 + 1, 255),  # a small overshoot: clipped
        (10, np.arange(4096) // 4, 1023),
    ],
)
@pytest.mark.parametrize("words", [True, False])
@pytest.mark.parametrize("keyword", ["ModalityLUTSequence", "VOILUTSequence"])
def test_unusual_depths_of_luts(declared, data, top: int, words: bool, keyword: str) -> None:
    found = table(12, **{keyword: [lut_item(0, data, declared, words=words)]})
    assert found.output == pytest.approx(np.minimum(data, top) / top)
    noted = any(f"{declared} are declared" in note for note in found.notes)
    assert noted is ((1 << declared) - 1 != top)


def test_descriptors_written_with_another_type_and_sign() -> None:
    item = lut_item(0, np.arange(4096), 12)
    item.add_new("LUTDescriptor", "OW", np.array([4096, 0, 12], "<u2").tobytes())
    assert table(12, VOILUTSequence=[item]).output == pytest.approx(np.arange(4096) / 4095)
    high = lut_item(40000 - 65536, np.arange(4096), 12, signed_first=True)
    found = table(16, voi="lut", VOILUTSequence=[high])
    assert found.output[[0, 40000, 44095, 65535]] == pytest.approx([0, 0, 1, 1])


def test_narrow_windows_of_rescaled_values() -> None:
    """Values of 0 to 1: a width below 1 is no mistake there."""
    attributes = {"RescaleSlope": 1 / 4095, "WindowCenter": 0.5, "WindowWidth": 0.8}
    found = table(12, RescaleIntercept=0, **attributes)
    assert found.notes == ("rescale", "window linear_exact")
    assert found.output[2048] == pytest.approx(0.5, abs=1e-3)


def test_the_first_believable_of_several_windows_counts() -> None:
    windows = {"WindowCenter": [90000, 2048, 100], "WindowWidth": [10, 2001, 50]}
    found = table(12, **windows)
    assert found.notes[-1] == "window linear 2 of 3"
    assert found.output[1500] == pytest.approx(standard_window(1500, 2048, 2001, "LINEAR"))


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_functions_in_other_spellings() -> None:
    window = {"WindowCenter": 2048, "WindowWidth": 2001}
    assert table(12, VOILUTFunction="linear exact", **window).notes == ("window linear_exact",)
    assert "unknown" in table(12, VOILUTFunction="CURVE", **window).notes[1]


def test_lut_with_too_few_entries_is_not_used() -> None:
    item = lut_item(0, np.arange(100), 12)
    item.LUTDescriptor = [4096, 0, 12]
    found = table(VOILUTSequence=[item])
    assert found.notes == ("VOI LUT is malformed, not used", "full range of 12 bits")


def test_attributes_are_looked_up_in_order() -> None:
    group = scope(WindowCenter=2048, WindowWidth=2001, RescaleSlope=2)[0]
    histogram = np.ones(4096, np.int64)
    found = make_display_table([Dataset(), group], 12, False, histogram, "auto")
    assert found.notes == ("rescale", "RescaleIntercept is missing, 0 taken", "window linear")
    assert found.output[1024] == pytest.approx(standard_window(2048, 2048, 2001, "LINEAR"))


def test_stretch() -> None:
    pixels = np.linspace(0.2, 0.6, 10_001, dtype=np.float32).reshape(1, -1)
    assert stretch(pixels, "bits") is pixels
    assert stretch(pixels, "range")[0, [0, -1]].tolist() == [0.0, 1.0]
    clipped = stretch(pixels, "percentile")[0]
    assert np.count_nonzero(clipped == 0.0) == pytest.approx(50, abs=2)
    assert np.count_nonzero(clipped == 1.0) == pytest.approx(50, abs=2)
    assert not stretch(np.full((3, 3), 0.4, np.float32), "range").any()


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("scale", ["bits", "range", "percentile"])
def test_stretching_the_table_is_stretching_the_image(scale: str, turned: bool) -> None:
    rng = np.random.default_rng(0)
    stored = np.clip(rng.normal(2000, 400, (200, 200)), 0, 4095).astype(int)
    output = np.linspace(0, 1, 4096)[:: -1 if turned else 1]
    spread = stretch_table(output, np.bincount(stored.reshape(-1), minlength=4096), scale)
    image = stretch(output[stored].astype(np.float32), scale)
    assert np.abs(spread[stored] - image).max() < 1e-3
    assert not stretch_table(output, (np.arange(4096) == 7).astype(int), "range").any()
    nothing = np.zeros(4096, int)
    assert np.array_equal(stretch_table(output, nothing, scale), output)


@pytest.mark.parametrize(("top", "noted"), [(0.06, True), (0.2, False), (0.0, False)])
def test_narrow_images_are_noted(top: float, noted: bool) -> None:
    pixels = np.linspace(0, top, 100, dtype=np.float32).reshape(10, 10)
    assert bool(note_narrow_range(pixels)) is noted
