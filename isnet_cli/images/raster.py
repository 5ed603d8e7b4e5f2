"""PNG, JPEG and TIFF files as images in the normal form.

White is the highest value that the sample format can hold. A 12-bit image stored in the lower part
of a 16-bit file is therefore dark: nothing in the file distinguishes it from a dark 16-bit image,
and guessing by the brightest pixel would scale each image differently. A note marks such images;
``data.scale: range`` or ``percentile`` brightens them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from isnet_cli.errors import UnreadableImage
from isnet_cli.images.detect_format import Format
from isnet_cli.images.dicom.greyscale import Scale, note_narrow_range, stretch
from isnet_cli.images.dicom.pixel_module import MAX_PIXELS
from isnet_cli.images.quiet import mute_stderr
from isnet_cli.images.sanity import check_colour, luma
from isnet_cli.images.types import XRay

_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT, _SUBFILE = 258, 262, 339, 254  # TIFF tags
_WITH_ALPHA = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
_EIGHT_BIT = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK"})
_EIGHT_BIT_LIKE = _EIGHT_BIT | {"YCbCr", "LAB", "HSV"}


@dataclass(frozen=True)
class _Samples:
    """Grey intensities of one page before scaling by its own values."""

    pixels: NDArray[np.float32]
    bits: int
    notes: tuple[str, ...] = ()


def read_raster(path: Path, kind: Format, scale: Scale = "bits") -> list[XRay]:
    """Reads a PNG or JPEG, or each page of a TIFF (reduced-size previews left out), as images.

    Grey of 1 to 16 bits keeps its depth; transparency is laid on black; colour of 8 bits becomes
    grey (BT.601); the EXIF orientation is applied.

    Args:
        path: The file.
        kind: Its format by content.
        scale: ``bits``, ``range`` or ``percentile``. Samples without a meaning of bits (32-bit
            integers, floats beyond [0, 1]) need one of the last two.

    Raises:
        UnreadableImage: Damaged, too large, in colour, or without a defined white.
        Exception: Whatever the imaging library raises; `read_images` turns it into
            `UnreadableImage`.
    """
    try:
        # a file object, not a path: Pillow maps raw TIFF files by path into memory and then
        # mistakes their sides where the orientation swaps them (seen in 13.0)
        with (
            mute_stderr() if kind == "tiff" else contextlib.nullcontext(),
            path.open("rb") as file,
            Image.open(file, formats=(kind.upper(),)) as image,
        ):
            return [_read_page(page, kind, scale) for page in _list_pages(image, kind)]
    except UnidentifiedImageError:
        raise UnreadableImage(
            "unreadable", f"begins like a {kind.upper()} but its header is damaged or unusual"
        ) from None
    except Image.DecompressionBombError:
        raise UnreadableImage("too_large", "declares more pixels than are read") from None


def _list_pages(image: Any, kind: Format) -> Iterator[Any]:
    """Pages worth reading, each checked for size before its pixels are touched."""
    count = getattr(image, "n_frames", 1) if kind == "tiff" else 1
    total = 0
    for number in range(count):
        if number:
            image.seek(number)
        if number and int(_read_tag(image, _SUBFILE, 0)) & 1:
            continue
        total += image.width * image.height
        if total > MAX_PIXELS:
            raise UnreadableImage(
                "too_large",
                f"{image.width} x {image.height} pixels, at most {MAX_PIXELS // 1_000_000} million "
                "per file are read",
            )
        yield image


def _read_page(image: Any, kind: Format, scale: Scale) -> XRay:
    samples = _read_samples(image, kind, scale)
    pixels = stretch(samples.pixels, scale)
    notes = (*samples.notes, *note_narrow_range(pixels))
    return XRay(pixels=pixels, bits=samples.bits, format=kind, notes=notes)


def _read_samples(image: Any, kind: Format, scale: Scale) -> _Samples:
    bits = _read_bits(image, kind)
    turned = _turn_upright(image)
    if turned.mode in _EIGHT_BIT_LIKE:
        return _read_eight_bit(turned, bits)
    if turned.mode not in ("I", "F") and not turned.mode.startswith("I;16"):
        raise UnreadableImage("depth", "a sample format that is not read, expected 1 to 16 bits")
    values = np.asarray(turned)
    if turned.mode == "F" or bits > 16:
        return _read_without_white(values.astype(np.float32), scale, _white_is_zero(image, kind))
    signed = kind == "tiff" and int(_take_first(_read_tag(image, _SAMPLE_FORMAT, 1))) == 2
    lowest = -(1 << (bits - 1)) if signed else 0
    pixels = (values.astype(np.float32) - lowest) / np.float32((1 << bits) - 1)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        pixels[values == transparent] = 0.0
    pixels = np.clip(pixels, 0.0, 1.0)
    if _white_is_zero(image, kind):
        return _Samples(np.float32(1.0) - pixels, bits, ("inverted",))
    return _Samples(pixels, bits)


def _turn_upright(image: Any) -> Any:
    """The page turned by its EXIF orientation; as it is when the EXIF data are damaged."""
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # the pixels are sound, and their orientation is usually the first one
        return image


def _read_eight_bit(image: Any, bits: int) -> _Samples:
    """Modes of at most 8 bits per channel as grey, transparency on black."""
    notes: tuple[str, ...] = ("16-bit colour read at 8 bits",) if bits > 8 else ()
    if image.mode in ("1", "L") and "transparency" not in image.info:
        return _Samples(_scale_bytes(np.asarray(image.convert("L"))), bits)
    transparent = "transparency" in image.info or image.mode in _WITH_ALPHA
    channels = np.asarray(image.convert("RGBA" if transparent else "RGB"))
    fault = check_colour(channels[..., :3])
    if fault is not None:
        raise fault
    pixels = luma(channels)
    if transparent:
        pixels *= _scale_bytes(channels[..., 3])
    return _Samples(pixels, min(bits, 8), notes)


def _scale_bytes(levels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return levels.astype(np.float32) / np.float32(255.0)


def _read_without_white(values: NDArray[np.float32], scale: Scale, inverted: bool) -> _Samples:
    """Floats in [0, 1] as they are; anything else only when its own range may be used."""
    if not np.isfinite(values).all():
        raise UnreadableImage("unreadable", "pixels that are not finite, expected numbers")
    low, high = float(values.min()), float(values.max())
    if scale == "bits" and (low < 0.0 or high > 1.0):
        raise UnreadableImage(
            "depth",
            "32-bit samples beyond 0 to 1 have no defined white; set data.scale to range or "
            "percentile",
        )
    if inverted:
        values = (np.float32(1.0) if scale == "bits" else np.float32(0.0)) - values
    return _Samples(values, 16, ("inverted",) if inverted else ())


def _read_bits(image: Any, kind: Format) -> int:
    """Bits per sample as the file declares them."""
    if kind == "jpeg":
        return 8
    if kind == "tiff":
        return int(_take_first(_read_tag(image, _BITS, 1)))
    position = image.fp.tell()
    image.fp.seek(24)  # IHDR: bit depth (PNG specification, section 11.2.1)
    depth = image.fp.read(1)[0]
    image.fp.seek(position)
    return int(depth)


def _white_is_zero(image: Any, kind: Format) -> bool:
    return kind == "tiff" and int(_take_first(_read_tag(image, _PHOTOMETRIC, 1))) == 0


def _read_tag(image: Any, number: int, default: int) -> Any:
    tags = getattr(image, "tag_v2", {})
    return tags.get(number, default)


def _take_first(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) else value
