"""What a DICOM file declares about its samples, checked before anything is allocated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from isnet_cli.errors import UnreadableImage

GREY = frozenset({"MONOCHROME1", "MONOCHROME2"})
COLOUR = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR"})


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

    @property
    def native_bytes(self) -> int:
        """Length of the samples without compression."""
        samples = self.rows * self.columns * self.frames * self.samples
        if self.photometric == "YBR_FULL_422":
            samples = samples * 2 // 3
        return (samples * self.allocated + 7) // 8


def read_pixel_module(ds: Any) -> PixelModule:
    """Reads and checks the pixel description of a dataset before anything is allocated.

    Raises:
        UnreadableImage: ``bad_header`` or ``depth``.
    """
    photometric = str(ds.get("PhotometricInterpretation") or "MONOCHROME2").strip().upper()
    if photometric not in GREY | COLOUR:
        raise UnreadableImage("bad_header", "photometric interpretation is none that is defined")
    samples = _read_number(ds, "SamplesPerPixel", 1)
    allocated = _read_number(ds, "BitsAllocated", None)
    stored = _read_number(ds, "BitsStored", allocated)
    module = PixelModule(
        rows=_read_number(ds, "Rows", None),
        columns=_read_number(ds, "Columns", None),
        frames=_read_number(ds, "NumberOfFrames", 1) or 1,
        samples=samples,
        allocated=allocated,
        stored=stored,
        high=_read_number(ds, "HighBit", stored - 1),
        signed=_read_number(ds, "PixelRepresentation", 0) == 1,
        photometric=photometric,
    )
    _check_module(module)
    return module


def _read_number(ds: Any, keyword: str, default: int | None) -> int:
    value = ds.get(keyword)
    if value is None or value == "":
        if default is None:
            raise UnreadableImage("bad_header", f"{keyword} is missing")
        return default
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise UnreadableImage("bad_header", f"{keyword} is not one whole number") from None


def _check_module(module: PixelModule) -> None:
    if min(module.rows, module.columns, module.frames) < 1:
        raise UnreadableImage("bad_header", "rows, columns and frames must be 1 or more")
    if module.samples == 3 and (module.allocated, module.stored) != (8, 8):
        raise UnreadableImage(
            "depth", f"colour of {module.stored} bits per channel, expected 8 (or a grey image)"
        )
    if module.allocated not in (1, 8, 16):
        raise UnreadableImage(
            "depth", f"{module.allocated} bits are allocated per sample, expected 1, 8 or 16"
        )
    grey = module.photometric in GREY or module.photometric == "PALETTE COLOR"
    bits_fit = 1 <= module.stored <= module.high + 1 <= module.allocated
    if not bits_fit or module.samples != (1 if grey else 3):
        raise UnreadableImage(
            "bad_header",
            "bits allocated, bits stored, high bit, samples per pixel and photometric "
            "interpretation contradict each other",
        )
