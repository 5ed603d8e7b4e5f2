"""What a DICOM file declares about its samples, checked before anything is allocated.

What is missing and has a usual value, or follows from the rest, is filled in with a note.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from isnet_cli.errors import UnreadableImage
from isnet_cli.images.dicom.attributes import Padding, read_numbers, read_text, read_value
from isnet_cli.images.dicom.code_streams import StreamHeader

GREY = frozenset({"MONOCHROME1", "MONOCHROME2"})
COLOUR = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR"})
NOT_READ = frozenset(
    {"YBR_PARTIAL_420", "YBR_PARTIAL_422", "XYB", "ARGB", "CMYK", "HSV"}
)  # defined, or once defined, by the standard; never used for X-rays


def _strip_spelling(name: str) -> str:
    """A name without blanks and dashes, in capitals."""
    return re.sub(r"[\s_\-]+", "", name.upper())


_SPELLINGS = {_strip_spelling(name): name for name in GREY | COLOUR | NOT_READ}


@dataclass(frozen=True)
class PixelModule:
    """What a file declares about its samples (PS3.3 C.7.6.3), checked for consistency.

    Attributes:
        rows: Height, px.
        columns: Width, px.
        frames: Number of frames, at least 1.
        samples: 1 (grey or palette) or 3 (colour).
        allocated: Bits of storage per sample: 1, 8 or 16.
        stored: Meaningful bits per sample, at most `allocated`.
        high: Position of the most significant meaningful bit.
        signed: Whether samples are in two's complement.
        photometric: One of `GREY` or `COLOUR`.
        planar: 1 when native colour comes plane by plane, else 0.
        padding: Lowest and highest stored value that means "no image here", or None.
        notes: What was filled in or corrected.
    """

    rows: int
    columns: int
    frames: int
    samples: int
    allocated: int
    stored: int
    high: int
    signed: bool
    photometric: str
    planar: int = 0
    padding: Padding | None = None
    notes: tuple[str, ...] = ()

    @property
    def native_bytes(self) -> int:
        """Length of the samples without compression."""
        samples = self.rows * self.columns * self.frames * self.samples
        if self.photometric == "YBR_FULL_422":
            samples = samples * 2 // 3
        return (samples * self.allocated + 7) // 8


class _Reader:
    """Reads whole numbers, and remembers what it had to fill in."""

    def __init__(self, ds: Any) -> None:
        self.ds = ds
        self.notes: list[str] = []

    def number(self, keyword: str, default: int | None, *, usual: bool = False) -> int:
        """A whole number, or `default`: with a note, unless its absence is `usual`."""
        value = read_value(self.ds, keyword)
        if value is None and not (keyword in self.ds and _is_broken(self.ds, keyword)):
            if default is None:
                raise UnreadableImage("bad_header", f"{keyword} is missing")
            if not usual:
                self.notes.append(f"{keyword} is missing, {default} taken")
            return default
        try:
            return int(value)
        except (TypeError, ValueError, OverflowError):
            raise UnreadableImage("bad_header", f"{keyword} is not one whole number") from None

    def correct(self, keyword: str, value: int) -> int:
        self.notes.append(f"{keyword} contradicts the rest, {value} taken")
        return value


def _is_broken(ds: Any, keyword: str) -> bool:
    """Whether an element is there and its value cannot be converted at all."""
    try:
        ds.get(keyword)
    except Exception:
        return True
    return False


def read_pixel_module(ds: Any, stream: StreamHeader | None = None) -> PixelModule:
    """Reads and checks the pixel description of a dataset before anything is allocated.

    Args:
        ds: The data set.
        stream: Header of the first code stream of compressed pixels; it says what the data set
            lacks.

    Raises:
        UnreadableImage: ``bad_header`` or ``depth``.
    """
    read = _Reader(ds)
    photometric = _read_photometric(ds, stream, read.notes)
    colour = photometric in COLOUR - {"PALETTE COLOR"}
    samples = read.number("SamplesPerPixel", 3 if colour else 1)
    rows = read.number("Rows", stream.rows if stream else None)
    columns = read.number("Columns", stream.columns if stream else None)
    frames = read.number("NumberOfFrames", 1, usual=True) or 1
    if min(rows, columns, frames) < 1:
        raise UnreadableImage("bad_header", "rows, columns and frames must be 1 or more")
    allocated = read.number("BitsAllocated", _guess_allocated(ds, rows * columns, samples, stream))
    stored = read.number("BitsStored", _guess_stored(ds, allocated, stream))
    if not 1 <= stored <= allocated:
        stored = read.correct("BitsStored", stream.precision if stream else allocated)
    high = read.number("HighBit", stored - 1)
    if not stored <= high + 1 <= allocated:
        high = read.correct("HighBit", stored - 1)
    signed = read.number("PixelRepresentation", int(stream.signed) if stream else 0)
    if signed not in (0, 1):
        signed = read.correct("PixelRepresentation", 0)
    planar = read.number("PlanarConfiguration", 0, usual=samples == 1 or stream is not None)
    module = PixelModule(
        rows=rows,
        columns=columns,
        frames=frames,
        samples=samples,
        allocated=allocated,
        stored=stored,
        high=high,
        signed=signed == 1,
        photometric=photometric,
        planar=int(planar == 1),
        padding=_read_padding(ds, signed == 1, stored),
        notes=tuple(read.notes),
    )
    _check_module(module)
    return module


def _read_photometric(ds: Any, stream: StreamHeader | None, notes: list[str]) -> str:
    """The photometric interpretation in the standard's spelling; the usual one where missing."""
    written = read_text(ds, "PhotometricInterpretation")
    name = _SPELLINGS.get(_strip_spelling(written), "?") if written else ""
    if name in NOT_READ:
        raise UnreadableImage("colour", f"photometric interpretation {name}, expected grey")
    if name == "?":
        raise UnreadableImage("bad_header", "photometric interpretation is none that is defined")
    if not name:
        declared = read_numbers(ds, "SamplesPerPixel")
        samples = stream.samples if stream else next(iter(declared), 1)
        name = "RGB" if samples == 3 else "MONOCHROME2"
        notes.append(f"PhotometricInterpretation is missing, {name} taken")
    elif name != written:
        notes.append(f"PhotometricInterpretation in another spelling, {name} taken")
    return name


def _guess_allocated(ds: Any, pixels: int, samples: int, stream: StreamHeader | None) -> int | None:
    """Bits allocated by the length of the pixel data, or by the code stream; None when unknown."""
    if stream is not None:
        return 8 if stream.precision <= 8 else 16
    size = len(read_value(ds, "PixelData") or b"")
    bytes_each = size // max(1, pixels * samples)
    return (
        8 * bytes_each
        if bytes_each in (1, 2) and size - bytes_each * pixels * samples < 2
        else None
    )


def _guess_stored(ds: Any, allocated: int, stream: StreamHeader | None) -> int:
    """Bits stored by the high bit, else by the code stream, else all that are allocated."""
    high = next((int(value) for value in read_numbers(ds, "HighBit") if 0 <= value < 16), None)
    if high is not None and high < allocated:
        return high + 1
    return stream.precision if stream else allocated


def _read_padding(ds: Any, signed: bool, stored: int) -> Padding | None:
    """Lowest and highest stored value that means "no image here" (PS3.3 C.7.5.1.1.2)."""
    limits = []
    for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        for number in read_numbers(ds, keyword)[:1]:
            value = int(number) if abs(number) < 1 << 17 else 1 << 17
            if signed and value > 32767:  # written as unsigned
                value -= 65536
            elif signed and 1 << (stored - 1) <= value < 1 << stored:  # without extended sign
                value -= 1 << stored
            elif not signed and value < 0:  # written as signed
                value += 65536
            limits.append(value)
        if not limits:
            return None
    return min(limits), max(limits)


def _check_module(module: PixelModule) -> None:
    if module.samples == 3 and (module.allocated, module.stored) != (8, 8):
        raise UnreadableImage(
            "depth", f"colour of {module.stored} bits per channel, expected 8 (or a grey image)"
        )
    if module.allocated not in (1, 8, 16):
        raise UnreadableImage(
            "depth", f"{module.allocated} bits are allocated per sample, expected 1, 8 or 16"
        )
    grey = module.photometric in GREY or module.photometric == "PALETTE COLOR"
    if module.samples != (1 if grey else 3):
        raise UnreadableImage(
            "bad_header",
            f"{module.samples} samples per pixel and photometric interpretation"
            f" {module.photometric} contradict each other",
        )
