from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isnet_cli.images.dicom.stored_bits import Stored, fit_to_bits

SIZE = (60, 80)


def ramp(low: int, high: int) -> np.ndarray:
    """Every value from `low` to `high`, evenly."""
    return np.rint(np.linspace(low, high, SIZE[0] * SIZE[1])).astype(np.int64).reshape(SIZE)


def fit(values: np.ndarray, width: int, stored: int, signed: bool = False, **options) -> Stored:
    kind = np.uint8 if width <= 8 else np.uint16
    raw = (values & ((1 << width) - 1)).astype(kind)
    high = options.pop("high", stored - 1)
    return fit_to_bits(raw, width, stored, high, signed, **options)


@pytest.mark.parametrize("width", [12, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_a_few_values_beyond_the_bits_are_clipped(width: int, signed: bool) -> None:
    low, high = (-512, 511) if signed else (0, 1023)
    values = ramp(low, high)
    values[:2, :60] = high + 200
    values[2, :30] = low - 300 if signed else high + 1
    found = fit(values, width, 10, signed)
    assert np.array_equal(found.values, np.clip(values, low, high))
    assert found.bits == 10
    assert found.notes == ("150 pixels (3.1%) beyond 10 bits clipped",)


@pytest.mark.parametrize("signed", [False, True])
def test_a_small_overshoot_of_many_is_clipped_too(signed: bool) -> None:
    low, high = (-512, 511) if signed else (0, 1023)
    values = np.where(ramp(0, 9) > 4, high + 20, ramp(low, high))
    found = fit(values, 16, 10, signed)
    assert np.array_equal(found.values, np.clip(values, low, high))
    assert found.bits == 10


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [9, 12, 15])
def test_where_clipping_would_destroy_the_image_the_bits_in_use_count(signed, bits: int) -> None:
    values = ramp(-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else ramp(0, (1 << bits) - 1)
    found = fit(values, 16, 8, signed)
    assert np.array_equal(found.values, values)
    assert found.bits == bits
    assert found.notes == (f"values need {bits} bits, 8 are declared",)


def test_both_at_once() -> None:
    values = ramp(0, 4095)
    values[0, :10] = 60000
    found = fit(values, 16, 8)
    assert np.array_equal(found.values, np.clip(values, 0, 4095))
    assert found.notes[1] == "10 pixels (0.2%) beyond 12 bits clipped"


def test_one_hot_pixel_stays_white() -> None:
    for hot in (4096, 5000, 61440, 65535):
        values = ramp(0, 4000)
        values[3, 4] = hot
        assert fit(values, 16, 12).values[3, 4] == 4095


@pytest.mark.parametrize("signed", [False, True])
def test_a_declared_overlay_is_cleared(signed: bool) -> None:
    values = ramp(-2048, 2047) if signed else ramp(0, 4095)
    overlay = np.where(np.arange(SIZE[1]) % 2, 0x5000, 0)
    found = fit((values & 0x0FFF) | overlay, 16, 12, signed, overlay=True)
    assert np.array_equal(found.values, values)
    assert found.notes == ()


def test_an_undeclared_overlay_is_cleared_with_a_note() -> None:
    values = ramp(0, 4095)
    overlay = np.where(np.arange(SIZE[1]) % 2, 0x8000, 0)
    found = fit(values | overlay, 16, 12)
    assert np.array_equal(found.values, values)
    assert "no part of the values" in found.notes[0]


def test_negative_values_declared_unsigned_become_black() -> None:
    values = ramp(-500, 3000)
    found = fit(values, 16, 12)
    assert np.array_equal(found.values, np.clip(values, 0, None))
    assert "negative" in found.notes[0]


@pytest.mark.parametrize("extended", [True, False])
def test_signs_extended_or_not(extended: bool) -> None:
    values = ramp(-2048, 2047)
    found = fit(values if extended else values & 0x0FFF, 16, 12, signed=True)
    assert np.array_equal(found.values, values)
    assert found.notes == ()


@pytest.mark.parametrize("signed", [False, True])
def test_high_bit(signed: bool) -> None:
    values = ramp(-2048, 2047) if signed else ramp(0, 4095)
    assert np.array_equal(fit(values << 4, 16, 12, signed, high=15).values, values)
    wrong = fit(values, 16, 12, signed, high=15)
    assert np.array_equal(wrong.values, values)
    assert wrong.notes == ("HighBit contradicts the values, 11 taken",)
    noisy = fit((values << 4) | 5, 16, 12, signed, high=15)
    assert np.array_equal(noisy.values, values)
    assert "below" in noisy.notes[0]


def test_padding_outside_the_bits_is_hidden_and_does_not_count() -> None:
    values = ramp(0, 1023)
    values[:30] = 65535
    values[30, :5] = 1100
    found = fit(values, 16, 10, padding=(65535, 65535))
    assert found.bits == 10
    assert found.hidden is not None
    assert np.array_equal(found.hidden, values == 65535)
    assert np.array_equal(found.values[30:], np.clip(values[30:], 0, 1023))


def test_what_is_clipped_does_not_become_padding() -> None:
    values = ramp(0, 1000)
    values[0, :5] = 1500
    found = fit(values, 16, 10, padding=(1023, 1023))
    assert found.hidden is not None
    assert not found.hidden.any()
    assert (found.values[0, :5] == 1023).all()


@given(
    st.integers(2, 16), st.integers(1, 16), st.booleans(), st.integers(0, 2**32 - 1), st.booleans()
)
@settings(deadline=None)
def test_whatever_the_bits_no_order_is_turned(width, stored, signed, seed, wide: bool) -> None:
    """Greater values never become less, unless flags or negative values are noted."""
    stored = min(stored, width)
    rng = np.random.default_rng(seed)
    bits = width if wide else stored
    low = -(1 << (bits - 1)) if signed else 0
    values = rng.integers(low, low + (1 << bits), (20, 20))
    found = fit(values, width, stored, signed)
    assert stored <= found.bits <= width
    if signed and not np.any((values & ((1 << width) - 1)) >> stored):
        return  # a plain field of `stored` bits, signs not extended
    order = np.argsort(values.ravel(), kind="stable")
    cleared = any("cleared" in note or "negative" in note for note in found.notes)
    assert cleared or (np.diff(found.values.ravel()[order].astype(int)) >= 0).all()
    if not found.notes:
        assert np.array_equal(found.values, values)
