"""From stored DICOM values to display intensities in [0, 1], as one table over all stored values.

The order is the standard's (PS3.3 C.11.1 to C.11.6, PS3.4 N.2): modality LUT or rescale, then VOI
LUT or window, then inversion for MONOCHROME1 or an inverse presentation LUT. Each step acts on a
value alone, so it is applied to the at most 65,536 possible values in float64 and the image is one
look-up. White is the highest value that the bits allow, not the image's own maximum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from isnet_cli.errors import UnreadableImage

Voi = Literal["auto", "none", "lut", "window"]
Scale = Literal["bits", "range", "percentile"]
Values = NDArray[np.float64]

MIN_INSIDE = 0.1  # share of an image's pixels that a believable window or LUT leaves unsaturated
MIN_SPAN = 0.5  # share of [0, 1] that it reaches over all values that the bits allow
NARROW = 0.125  # an image that spans less of [0, 1] gets a note
PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True)
class GreyTable:
    """Intensities of all stored values.

    Attributes:
        lowest: The stored value of entry 0.
        output: Intensity in [0, 1] of each stored value, in order.
        notes: What was applied.
    """

    lowest: int
    output: Values
    notes: tuple[str, ...]


def stored_range(bits: int, signed: bool) -> tuple[int, int]:
    """Lowest and highest value that `bits` can hold."""
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)


def make_display_table(
    scope: list[Any], bits: int, signed: bool, histogram: NDArray[np.int64], voi: Voi
) -> GreyTable:
    """Modality and VOI steps for one frame; inversion is the caller's.

    ``auto`` takes what the file's maker meant for display, as viewers do: the first VOI LUT when
    there is one, else the first window. Images of different makers then become comparable, while
    the full range of bits often leaves the anatomy in a narrow grey band. A transform is believed
    only when it is well formed, reaches at least half of the grey scale over all values that the
    bits allow, and leaves at least a tenth of the image's pixels (padding aside) between black
    and white; otherwise, and when there is none, the full range of the bits is used, and a note
    says so. ``lut`` and ``window`` ask for that kind and fall back to the full
    range when the file has none; ``none`` always takes the full range.

    Args:
        scope: Datasets in which attributes are looked up, in order (file, frame, shared).
        bits: BitsStored.
        signed: Whether stored values are signed.
        histogram: Pixel counts of each stored value, lowest first, padding left out.
        voi: Which VOI transform is applied.

    Raises:
        UnreadableImage: ``bad_lut``, when the modality LUT or rescale is malformed.
    """
    lowest, highest = stored_range(bits, signed)
    stored = np.arange(lowest, highest + 1, dtype=np.float64)
    values, span, notes = _apply_modality(scope, stored, signed)
    full = (values - span[0]) / (span[1] - span[0])
    for kind in {"auto": ("lut", "window"), "none": ()}.get(voi, (voi,)):
        step = _apply_voi_lut if kind == "lut" else _apply_window
        try:
            found = step(scope, values, span)
        except UnreadableImage as fault:
            notes.append(f"{fault.detail}, not used")
            continue
        if found is None:
            continue
        output, note = np.clip(found[0], 0.0, 1.0), found[1]
        if voi != "auto" or _is_believable(output, histogram):
            return GreyTable(lowest, output, (*notes, note))
        notes.append(f"{note} does not fit the image, not used")
    return GreyTable(lowest, np.clip(full, 0.0, 1.0), (*notes, f"full range of {bits} bits"))


def _is_believable(output: Values, histogram: NDArray[np.int64]) -> bool:
    """Whether a VOI transform can be meant for this image (see `make_display_table`)."""
    edge = 1 / 256
    inside = int(histogram[(output > edge) & (output < 1.0 - edge)].sum())
    wide = float(output.max() - output.min()) >= MIN_SPAN
    return wide and inside >= MIN_INSIDE * max(1, int(histogram.sum()))


def _apply_modality(
    scope: list[Any], stored: Values, signed: bool
) -> tuple[Values, tuple[float, float], list[str]]:
    """Modality LUT or rescale (PS3.3 C.11.1): values, the range that they can take, notes."""
    item = _take_first_item(scope, "ModalityLUTSequence")
    if item is not None:
        first, data, top = _read_lut(item, signed, "modality LUT")
        return _look_up(stored, first, data), (0.0, float(top)), ["modality LUT"]
    slope = _read_decimal(scope, "RescaleSlope", 1.0)
    intercept = _read_decimal(scope, "RescaleIntercept", 0.0)
    if slope == 0.0 or not np.isfinite([slope, intercept, slope * 65536 + intercept]).all():
        raise UnreadableImage("bad_lut", "rescale slope or intercept is 0 or not finite")
    values = stored * slope + intercept
    low, high = sorted((float(values[0]), float(values[-1])))
    if not high > low:
        raise UnreadableImage("bad_lut", "the rescale makes all values equal")
    identity = slope == 1.0 and intercept == 0.0
    return values, (low, high), [] if identity else ["rescale"]


def _apply_voi_lut(
    scope: list[Any], values: Values, span: tuple[float, float]
) -> tuple[Values, str] | None:
    """First VOI LUT (PS3.3 C.11.2.1.1), or None."""
    item = _take_first_item(scope, "VOILUTSequence")
    if item is None:
        return None
    first, data, top = _read_lut(item, span[0] < 0, "VOI LUT")
    if data.max() == data.min():
        raise UnreadableImage("bad_lut", "VOI LUT is constant")
    return _look_up(values, first, data) / top, "VOI LUT"


def _apply_window(
    scope: list[Any], values: Values, span: tuple[float, float]
) -> tuple[Values, str] | None:
    """First window (PS3.3 C.11.2.1.2 and C.11.2.1.3), or None."""
    centre = _read_decimal(scope, "WindowCenter", None)
    width = _read_decimal(scope, "WindowWidth", None)
    if centre is None or width is None:
        return None
    function = str(_read_attribute(scope, "VOILUTFunction") or "LINEAR").strip().upper()
    if function not in ("LINEAR_EXACT", "SIGMOID"):
        function = "LINEAR"
    least = 1.0 if function == "LINEAR" else 0.0
    valid = np.isfinite([centre, width]).all() and width >= least and width > 0
    if not valid or centre + width / 2 <= span[0] or centre - width / 2 >= span[1]:
        raise UnreadableImage("bad_lut", "window is malformed or outside the image")
    return _compute_window(values, centre, width, function), f"window {function.lower()}"


def _compute_window(values: Values, centre: float, width: float, function: str) -> Values:
    """Window functions of PS3.3 C.11.2.1.2 (LINEAR) and C.11.2.1.3, output range [0, 1]."""
    if function == "SIGMOID":
        exponent = np.clip(-4.0 * (values - centre) / width, -700.0, 700.0)
        return np.asarray(1.0 / (1.0 + np.exp(exponent)))
    if function == "LINEAR_EXACT":
        return (values - centre) / width + 0.5
    if width == 1.0:
        return (values > centre - 0.5).astype(np.float64)
    return np.asarray((values - (centre - 0.5)) / (width - 1.0) + 0.5)


def _read_lut(item: Any, signed: bool, name: str) -> tuple[int, Values, int]:
    """First mapped value, entries and white level of a LUT item (PS3.3 C.11.1.1, C.11.2.1.1).

    White is 2^n - 1 for the declared n bits. Some makers declare 16 bits for entries of 8 to 12:
    when the two highest declared bits are unused by every entry, the bits in use count.
    """
    try:
        count, first, bits = (int(v) for v in item.LUTDescriptor)
        count = (count & 0xFFFF) or 65536  # 0 means 2^16
        data = _read_lut_entries(item, count, bits)
    except (AttributeError, TypeError, ValueError):
        raise UnreadableImage("bad_lut", f"{name} is malformed") from None
    if signed and first > 32767:  # the descriptor's sign is lost where its VR is written as US
        first -= 65536
    used = int(data.max()).bit_length()
    bits = max(bits, used)
    if used <= bits - 2:
        bits = max(used, 1)
    return first, data.astype(np.float64), (1 << bits) - 1


def _read_lut_entries(item: Any, count: int, bits: int) -> NDArray[Any]:
    """LUT data as integers: words, or bytes where 8-bit entries are packed two to a word."""
    raw = item["LUTData"].value
    if isinstance(raw, bytes):
        big = item.original_encoding[1] is False
        wide = np.dtype(">u2" if big else "<u2")
        data = np.frombuffer(raw, wide if len(raw) >= 2 * count else np.uint8)
    else:
        data = np.atleast_1d(np.asarray(raw, np.int64)) & 0xFFFF
        if len(data) < count and bits <= 8:
            data = np.stack([data & 0xFF, data >> 8], 1).reshape(-1)
    if not 1 <= bits <= 16 or len(data) < count:
        raise ValueError(f"{len(data)} entries of {bits} bits")
    return data[:count]


def _look_up(values: Values, first: int, data: Values) -> Values:
    """Entry of each value; those below or above the LUT take its first or last entry."""
    index = np.clip(np.rint(values) - first, 0, len(data) - 1)
    return np.asarray(data[index.astype(np.int64)])


def _read_attribute(scope: list[Any], keyword: str) -> Any:
    """First non-empty value of an attribute in `scope`, or None."""
    for ds in scope:
        value = ds.get(keyword)
        if value is not None and value != "" and not (hasattr(value, "__len__") and not len(value)):
            return value
    return None


def _take_first_item(scope: list[Any], keyword: str) -> Any:
    value = _read_attribute(scope, keyword)
    return value[0] if value is not None else None


def _read_decimal(scope: list[Any], keyword: str, default: Any) -> Any:
    """First value of a decimal attribute as float."""
    value = _read_attribute(scope, keyword)
    if value is None:
        return default
    if hasattr(value, "__len__") and not isinstance(value, str):
        value = value[0]
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UnreadableImage("bad_lut", f"{keyword} is not a number") from None


def note_narrow_range(pixels: NDArray[np.float32]) -> tuple[str, ...]:
    """A note on an image that uses only a small part of [0, 1], else nothing.

    Typical are 12-bit samples in a file that declares 16 bits; ``data.scale: range`` or
    ``percentile`` spreads such images.
    """
    span = float(pixels.max()) - float(pixels.min())
    return (f"narrow: spans {span:.0%} of its range of bits",) if 0.0 < span < NARROW else ()


def stretch(pixels: NDArray[np.float32], scale: Scale) -> NDArray[np.float32]:
    """Spreads [H, W] over [0, 1] by its own values; ``bits`` returns it as it is.

    Args:
        pixels: Finite values; in [0, 1] when `scale` is ``bits``.
        scale: ``range``: least to greatest value. ``percentile``: `PERCENTILES`, clipped.
    """
    if scale == "bits":
        return pixels
    if scale == "range":
        low, high = float(pixels.min()), float(pixels.max())
    else:
        low, high = (float(v) for v in np.percentile(pixels, PERCENTILES))
    return np.asarray(_spread_values(pixels, low, high), np.float32)


def stretch_table(output: Values, histogram: NDArray[np.int64], scale: Scale) -> Values:
    """As `stretch`, for a table of intensities and the pixel counts of its entries."""
    present = histogram > 0
    if scale == "bits" or not present.any():
        return output
    if scale == "range":
        low, high = float(output[present].min()), float(output[present].max())
    else:
        order = np.argsort(output, kind="stable")
        cumulative = np.cumsum(histogram[order])
        ranks = np.searchsorted(cumulative, np.asarray(PERCENTILES) / 100 * cumulative[-1])
        low, high = (float(v) for v in output[order][ranks])
    return _spread_values(output, low, high)


def _spread_values(values: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    if not high > low:
        return np.zeros_like(values)
    return np.clip((values - low) / (high - low), 0.0, 1.0)
