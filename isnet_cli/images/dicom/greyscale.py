"""From stored DICOM values to display intensities in [0, 1], as one table over all stored values.

The order is the standard's (PS3.3 C.11.1 to C.11.6, PS3.4 N.2): modality LUT or rescale, then VOI
LUT or window, then inversion for MONOCHROME1 or an inverse presentation LUT. Each step acts on a
value alone, so it is applied to the at most 65,536 possible values in float64 and the image is one
look-up. White is the highest value that the bits allow, not the image's own maximum.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isnet_cli.errors import UnreadableImage
from isnet_cli.images.dicom.attributes import read_items, read_numbers, read_value

Voi = Literal["auto", "none", "lut", "window"]
Scale = Literal["bits", "range", "percentile"]
Values = NDArray[np.float64]

MIN_INSIDE = 0.1  # share of an image's pixels that a believable window or LUT leaves unsaturated
MIN_SPAN = 0.5  # share of [0, 1] that it reaches over all values that the bits allow
MAX_TRIED = 8  # VOI LUTs, and windows, of one image
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
    there is one, else the first window; one that is not believed gives way to the next. Images of
    different makers then become comparable, while the full range of bits often leaves the anatomy
    in a narrow grey band. A transform is believed only when it is well formed, reaches at least
    half of the grey scale over all values that the bits allow, and leaves at least a tenth of the
    image's pixels (padding aside) between black and white; otherwise, and when there is none, the
    full range of the bits is used, and a note says so. ``lut`` and ``window`` ask for that kind
    and fall back to the full range when the file has none; ``none`` always takes the full range.

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
        steps = (_list_voi_luts if kind == "lut" else _list_windows)(scope, values, span)
        for step in itertools.islice(steps, MAX_TRIED):
            try:
                found, said = step()
            except UnreadableImage as fault:
                notes.append(f"{fault.detail}, not used")
                continue
            output = np.clip(found, 0.0, 1.0)
            if voi != "auto" or _is_believable(output, histogram):
                return GreyTable(lowest, output, (*notes, *said))
            notes.append(f"{said[0]} does not fit the image, not used")
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
    for item in _list_items(scope, "ModalityLUTSequence"):
        lut = _read_lut(item, signed, "modality LUT")
        notes = ["modality LUT", *lut.notes]
        return _look_up(stored, lut.first, lut.data), (0.0, float(lut.top)), notes
    slope = _read_decimal(scope, "RescaleSlope", 1.0)
    intercept = _read_decimal(scope, "RescaleIntercept", 0.0)
    if slope == 0.0 or not np.isfinite([slope, intercept, slope * 65536 + intercept]).all():
        raise UnreadableImage("bad_lut", "rescale slope or intercept is 0 or not finite")
    values = stored * slope + intercept
    low, high = sorted((float(values[0]), float(values[-1])))
    if not high > low:
        raise UnreadableImage("bad_lut", "the rescale makes all values equal")
    notes = [] if slope == 1.0 and intercept == 0.0 else ["rescale"]
    for name, other in _PAIRS:
        if _read_numbers(scope, name) and not _read_numbers(scope, other):
            notes.append(f"{other} is missing, {'1' if other == 'RescaleSlope' else '0'} taken")
    return values, (low, high), notes


_PAIRS = (("RescaleSlope", "RescaleIntercept"), ("RescaleIntercept", "RescaleSlope"))


def _list_voi_luts(
    scope: list[Any], values: Values, span: tuple[float, float]
) -> Iterator[Callable[[], tuple[Values, tuple[str, ...]]]]:
    """One step for each VOI LUT (PS3.3 C.11.2.1.1), in order."""
    items = _list_items(scope, "VOILUTSequence")
    for number, item in enumerate(items, 1):

        def step(item: Any = item, number: int = number) -> tuple[Values, tuple[str, ...]]:
            lut = _read_lut(item, span[0] < 0, "VOI LUT")
            if lut.data.max() == lut.data.min():
                raise UnreadableImage("bad_lut", "VOI LUT is constant")
            name = "VOI LUT" if number == 1 else f"VOI LUT {number} of {len(items)}"
            return _look_up(values, lut.first, lut.data) / lut.top, (name, *lut.notes)

        yield step


def _list_windows(
    scope: list[Any], values: Values, span: tuple[float, float]
) -> Iterator[Callable[[], tuple[Values, tuple[str, ...]]]]:
    """One step for each window (PS3.3 C.11.2.1.2 and C.11.2.1.3), in order."""
    centres = _read_numbers(scope, "WindowCenter")
    widths = _read_numbers(scope, "WindowWidth")
    count = min(len(centres), len(widths))
    function, notes = _read_function(scope)
    for number, (centre, width) in enumerate(zip(centres, widths, strict=False), 1):

        def step(
            centre: float = centre, width: float = width, number: int = number
        ) -> tuple[Values, tuple[str, ...]]:
            valid = np.isfinite([centre, width]).all() and width > 0
            if not valid or centre + width / 2 <= span[0] or centre - width / 2 >= span[1]:
                raise UnreadableImage("bad_lut", "window is malformed or outside the image")
            narrow = function == "LINEAR" and width < 1  # of values that are no whole numbers
            used = "LINEAR_EXACT" if narrow else function
            name = f"window {used.lower()}" + (f" {number} of {count}" if number > 1 else "")
            return _compute_window(values, centre, width, used), (name, *notes)

        yield step


def _read_function(scope: list[Any]) -> tuple[str, tuple[str, ...]]:
    """The window function, and a note when it is none that is defined."""
    written = str(_read_attribute(scope, "VOILUTFunction") or "LINEAR").strip("\0 ").upper()
    name = re.sub(r"[\s_\-]+", "_", written)
    if name in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        return name, ()
    return "LINEAR", ("window function unknown, linear taken",)


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


class _Lut(NamedTuple):
    """A LUT item: first mapped value, entries, white level, notes."""

    first: int
    data: Values
    top: int
    notes: tuple[str, ...] = ()


def _read_lut(item: Any, signed: bool, name: str) -> _Lut:
    """A LUT item (PS3.3 C.11.1.1, C.11.2.1.1).

    White is 2^n - 1 for the declared n bits, unless the entries say otherwise: when they need more
    bits (beyond a small overshoot, which is clipped), or leave the two highest unused, the bits in
    use count. Some makers declare 16 bits for entries of 8 to 12, others 8 for entries of 16.
    """
    try:
        count, first, bits = _read_descriptor(item)
        data = _read_lut_entries(item, count, bits)
    except Exception:  # whatever its elements hold
        raise UnreadableImage("bad_lut", f"{name} is malformed") from None
    if signed and first > 32767:  # the descriptor's sign is lost where its VR is written as US
        first -= 65536
    elif not signed and first < 0:
        first += 65536
    most, declared = int(data.max()), bits
    used = max(1, most.bit_length())
    top = (1 << bits) - 1 if 1 <= bits <= 16 else 0
    if most > top + top // 16 or used <= bits - 2:
        bits = used
    notes = () if bits == declared else (f"{name} of {bits} bits, {declared} are declared",)
    top = (1 << bits) - 1
    return _Lut(first, np.minimum(data, top).astype(np.float64), top, notes)


def _read_descriptor(item: Any) -> tuple[int, int, int]:
    """Entries (0 stands for 65,536), first mapped value, and declared bits."""
    value = item["LUTDescriptor"].value
    if isinstance(value, bytes):  # written with another VR
        value = np.frombuffer(value[:6], ">u2" if _is_big(item) else "<u2")
    count, first, bits = (int(v) for v in value)
    return (count & 0xFFFF) or 65536, first, bits


def _is_big(item: Any) -> bool:
    return item.original_encoding[1] is False


def _read_lut_entries(item: Any, count: int, bits: int) -> NDArray[Any]:
    """LUT data as integers: words, or bytes where 8-bit entries are packed two to a word."""
    raw = item["LUTData"].value
    if isinstance(raw, bytes):
        words = np.frombuffer(raw[: len(raw) // 2 * 2], ">u2" if _is_big(item) else "<u2")
        data = words if len(words) >= count else words.astype("<u2").view(np.uint8)
    else:
        data = np.atleast_1d(np.asarray(raw, np.int64)) & 0xFFFF
        if len(data) < count and bits <= 8:
            data = np.stack([data & 0xFF, data >> 8], 1).reshape(-1)
    if len(data) < count:
        raise ValueError(f"{len(data)} entries of {bits} bits")
    return data[:count]


def _look_up(values: Values, first: int, data: Values) -> Values:
    """Entry of each value; those below or above the LUT take its first or last entry."""
    index = np.clip(np.rint(values) - first, 0, len(data) - 1)
    return np.asarray(data[index.astype(np.int64)])


def _read_attribute(scope: list[Any], keyword: str) -> Any:
    """First non-empty value of an attribute in `scope`, or None."""
    return next((v for ds in scope if (v := read_value(ds, keyword)) is not None), None)


def _list_items(scope: list[Any], keyword: str) -> list[Any]:
    """The items of the first sequence in `scope` that holds something."""
    return next((items for ds in scope if (items := read_items(ds, keyword))), [])


def _read_numbers(scope: list[Any], keyword: str) -> list[float]:
    """The numbers of the first attribute in `scope` that holds some."""
    return next((found for ds in scope if (found := read_numbers(ds, keyword))), [])


def _read_decimal(scope: list[Any], keyword: str, default: float) -> float:
    """First value of a decimal attribute."""
    return next(iter(_read_numbers(scope, keyword)), default)


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
