"""Samples and the bits that the file declares for them: nothing is cut off without a note.

Samples are meant to lie in BitsStored bits below HighBit (PS3.5 section 8.1). Bits outside may hold
an overlay (retired), the extended sign, or nothing. Real files also have samples that need more
bits than declared: lossy compression overshoots, and headers are wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isnet_cli.images.dicom.attributes import Padding

MAX_LOST = 0.05  # share of an image's pixels that may be clipped by more than `MARGIN`
MARGIN = 16  # clipping by less than a sixteenth of the range hardly shows
FLAGS = 16  # as many different values under one pattern of upper bits: the pattern is a flag


@dataclass(frozen=True)
class Stored:
    """Samples that fit their bits.

    Attributes:
        values: Integers of any shape, two's complement resolved.
        bits: Bits that they fit in: those declared, fewer where a code stream has fewer, more where
            the values need more.
        notes: What was clipped or corrected.
        hidden: Where the samples were padding before they were clipped; None: by value, as usual.
    """

    values: NDArray[Any]
    bits: int
    notes: tuple[str, ...] = ()
    hidden: NDArray[np.bool_] | None = None


def fit_to_bits(
    raw: NDArray[Any],
    width: int,
    stored: int,
    high: int,
    signed: bool,
    *,
    overlay: bool = False,
    padding: Padding | None = None,
) -> Stored:
    """Takes the meaningful bits out of samples.

    Values beyond the declared bits are clipped when few pixels are concerned, or all by little.
    Otherwise clipping would destroy the image, and the bits in use count. Upper bits that
    are flags rather than part of the values (an overlay that is declared, or one pattern above
    values of any size) are cleared.

    Args:
        raw: Unsigned integers of `width` bits, any shape.
        width: Bits that each sample has: BitsAllocated, or the precision of a code stream.
        stored: BitsStored.
        high: HighBit, below `width`.
        signed: Whether samples are in two's complement.
        overlay: Whether the header declares an overlay in the unused bits.
        padding: Stored values that mean "no image here".
    """
    notes: list[str] = []
    shift = _find_shift(raw, width, stored, high, signed, overlay, notes)
    if overlay or width == stored:
        return Stored(_cut_out(raw, stored, shift, signed), stored, tuple(notes))
    if not signed:
        values = raw >> shift if shift else raw
        if int(values.max()) < 1 << stored:
            return Stored(_shrink(values, stored), stored, tuple(notes))
    else:
        values = _extend_sign(raw, width) >> shift
        if _fits(values, stored):
            return Stored(values, stored, tuple(notes))
        if not np.any(raw >> (shift + stored)):  # signs are not extended: a plain field
            return Stored(_cut_out(raw, stored, shift, signed), stored, tuple(notes))
    return _settle_overflow(values, width - shift, stored, signed, padding, notes)


def _find_shift(
    raw: NDArray[Any],
    width: int,
    stored: int,
    high: int,
    signed: bool,
    overlay: bool,
    notes: list[str],
) -> int:
    """Position of the least meaningful bit; corrects a HighBit that the values contradict."""
    shift = high + 1 - stored
    if shift <= 0 or overlay:
        return max(shift, 0)
    if not np.any(raw & ((1 << shift) - 1)):
        return shift
    low_aligned = _extend_sign(raw, width) if signed else raw
    if _fits(low_aligned, stored, signed=signed):
        notes.append(f"HighBit contradicts the values, {stored - 1} taken")
        return 0
    notes.append(f"{shift} bits below the stored ones not used")
    return shift


def _fits(values: NDArray[Any], bits: int, *, signed: bool = True) -> bool:
    low, high = _list_limits(bits, signed)
    return low <= int(values.min()) and int(values.max()) <= high


def _list_limits(bits: int, signed: bool) -> tuple[int, int]:
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)


def _extend_sign(raw: NDArray[Any], width: int) -> NDArray[Any]:
    """Two's complement of `width` bits."""
    if width == raw.dtype.itemsize * 8:
        return raw.view(raw.dtype.str.replace("u", "i"))
    sign = 1 << (width - 1)
    return ((raw.astype(np.int32) ^ sign) - sign).astype(np.int16)


def _cut_out(raw: NDArray[Any], stored: int, shift: int, signed: bool) -> NDArray[Any]:
    """The field of `stored` bits from `shift` on, and nothing else."""
    if not signed and shift == 0 and stored == raw.dtype.itemsize * 8:
        return raw
    field = (raw >> shift) & raw.dtype.type((1 << stored) - 1)
    return _extend_sign(field, stored) if signed else _shrink(field, stored)


def _shrink(values: NDArray[Any], bits: int) -> NDArray[Any]:
    return values.astype(np.uint8) if bits <= 8 and values.dtype.itemsize > 1 else values


def _settle_overflow(
    values: NDArray[Any],
    width: int,
    stored: int,
    signed: bool,
    padding: Padding | None,
    notes: list[str],
) -> Stored:
    """Clips, widens, or clears flags, as the values suggest."""
    lowest = _list_limits(width, signed)[0]
    counts = np.bincount((values.astype(np.int64) - lowest).ravel(), minlength=1 << width)
    hidden = None
    if padding is not None:
        hidden = (values >= padding[0]) & (values <= padding[1])
        counts[max(0, padding[0] - lowest) : max(0, padding[1] - lowest + 1)] = 0
    total = max(1, int(counts.sum()))
    bits = next(
        b
        for b in range(stored, width + 1)
        if _count_lost(counts, lowest, b, signed) <= MAX_LOST * total
    )
    if bits > stored and not signed and (kind := _find_flags(counts, width, stored)):
        return _clear_flags(values, width, stored, kind, hidden, notes)
    low, high = _list_limits(bits, signed)
    outside = total - int(counts[low - lowest : high - lowest + 1].sum())
    if bits > stored:
        notes.append(f"values need {bits} bits, {stored} are declared")
    if outside:
        notes.append(
            f"{outside} pixels ({_write_share(outside / total)}) beyond {bits} bits clipped"
        )
    clipped = np.clip(values, low, high).astype(_name_type(bits, signed))
    return Stored(clipped, bits, tuple(notes), hidden)


def _count_lost(counts: NDArray[np.int64], lowest: int, bits: int, signed: bool) -> int:
    """Pixels that clipping to `bits` would change by more than a sixteenth of the range."""
    low, high = _list_limits(bits, signed)
    margin = (1 << bits) // MARGIN
    start, stop = max(0, low - margin - lowest), max(0, high + margin - lowest + 1)
    return int(counts[:start].sum() + counts[stop:].sum())


def _find_flags(counts: NDArray[np.int64], width: int, stored: int) -> str:
    """What the one pattern of bits above the stored ones is: ``sign``, ``flags``, or nothing."""
    by_pattern = counts.reshape(-1, 1 << stored)
    patterns = np.flatnonzero(by_pattern.sum(axis=1))
    patterns = patterns[patterns > 0]
    if len(patterns) != 1 or patterns[0] < 2:  # next to the stored values: they go on
        return ""
    below = np.flatnonzero(by_pattern[patterns[0]])
    if len(below) < FLAGS:
        return ""
    all_set = patterns[0] == (1 << (width - stored)) - 1
    return "sign" if all_set and below[0] >= 1 << (stored - 1) else "flags"


def _clear_flags(
    values: NDArray[Any],
    width: int,
    stored: int,
    kind: str,
    hidden: NDArray[np.bool_] | None,
    notes: list[str],
) -> Stored:
    inside = values & values.dtype.type((1 << stored) - 1)
    if kind == "sign":
        inside[values >> stored > 0] = 0
        notes.append("negative values in samples declared as unsigned, clipped to 0")
    else:
        notes.append(f"bits above the {stored} stored ones are no part of the values, cleared")
    return Stored(_shrink(inside, stored), stored, tuple(notes), hidden)


def _write_share(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else "less than 0.1%"


def _name_type(bits: int, signed: bool) -> type[np.integer[Any]]:
    if signed:
        return np.int16 if bits > 8 else np.int8
    return np.uint16 if bits > 8 else np.uint8
