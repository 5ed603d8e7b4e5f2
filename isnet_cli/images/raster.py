"""PNG, JPEG and TIFF files as images in the normal form.

White is the highest value that the sample format can hold. A 12-bit image stored in the lower part
of a 16-bit file is therefore dark: nothing in the file distinguishes it from a dark 16-bit image,
and guessing by the brightest pixel would scale each image differently. A note marks such images;
``data.scale: range`` or ``percentile`` brightens them.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from isnet_cli.config.schema import Limits
from isnet_cli.errors import UnreadableImage
from isnet_cli.guard.metered import MeteredFile
from isnet_cli.guard.opening import TooManyBytes, open_regular
from isnet_cli.guard.sizes import check_frames, check_pixels
from isnet_cli.images.detect_format import Format
from isnet_cli.images.dicom.greyscale import Scale, note_narrow_range, stretch
from isnet_cli.images.pictures.decoders import (
    FirstPage,
    check_png,
    decode_jpeg,
    decode_rare_jpeg,
    decode_unusual_tiff,
    is_unusual_tiff,
    read_whole,
    turn_array,
)
from isnet_cli.images.pictures.directories import check_directories
from isnet_cli.images.pictures.strips import decode_strips, has_checked_strips
from isnet_cli.images.quiet import mute_stderr
from isnet_cli.images.sanity import check_colour, luma
from isnet_cli.images.types import XRay

CANVAS_COST = 12  # bytes per pixel of a WebP picture: two canvases and the result
MAX_TILE = 1 << 24  # pixels of a TIFF tile that are decoded whatever the page's size
STRIP = 256  # rows of a colour picture that are turned to grey at a time
SAMPLED = 250_000  # pixels that tell a colour picture
_ORIENTATION, _TILE = 274, (322, 323)  # tags of EXIF and TIFF
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


@contextlib.contextmanager
def open_picture(path: Path, formats: tuple[str, ...], limits: Limits) -> Iterator[Any]:
    """Opens a picture with Pillow; of its content only the header is read.

    Args:
        path: The file.
        formats: Pillow's names of the formats that are tried.
        limits: What the file may be and take.

    Raises:
        UnreadableImage: ``too_large`` or ``too_slow``.
        UnidentifiedImageError: It is none of `formats`, or its header is damaged.
        OSError: The file cannot be opened.
    """
    try:
        opened = open_regular(path, limits.file_bytes)
    except TooManyBytes as error:
        raise UnreadableImage("too_large", f"a file {error.strerror} (limits.file_mb)") from None
    # a file object, not a path: Pillow maps raw TIFF files by path into memory and then
    # mistakes their sides where the orientation swaps them (seen in 13.0)
    with MeteredFile(opened, limits.elements, limits.seconds) as file:
        try:
            _check_canvas(file, limits)
            with Image.open(cast(BinaryIO, file), formats=formats) as image:
                yield image
        except Image.DecompressionBombError:
            raise UnreadableImage(
                "too_large", "more than 178 million pixels, which no reader accepts"
            ) from None
        except ValueError as error:
            if "MAX_TEXT" in str(error):  # of Pillow: texts and profiles that inflate beyond it
                raise UnreadableImage(
                    "too_large", "its texts or colour profile inflate to more than 1 MB"
                ) from None
            raise


def _check_canvas(file: MeteredFile, limits: Limits) -> None:
    """The size of a WebP picture: its library allocates the whole canvas when it is opened."""
    head = file.read(30)
    file.seek(0)
    if head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X":
        width, height = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (24, 27))
        check_pixels(width, height, 1, CANVAS_COST, limits)


def read_raster(
    path: Path, kind: Format, scale: Scale = "bits", limits: Limits | None = None
) -> list[XRay]:
    """Reads a PNG or JPEG, or each page of a TIFF (reduced-size previews left out), as images.

    Grey of 1 to 16 bits keeps its depth; transparency is laid on black; colour of 8 bits becomes
    grey (BT.601); the EXIF orientation is applied.

    Args:
        path: The file.
        kind: Its format by content.
        limits: What the file may be and take; None: the defaults.
        scale: ``bits``, ``range`` or ``percentile``. Samples without a meaning of bits (32-bit
            integers, floats beyond [0, 1]) need one of the last two.

    Raises:
        UnreadableImage: Damaged, too large, in colour, or without a defined white.
        Exception: Whatever the imaging library raises; `read_images` turns it into
            `UnreadableImage`.
    """
    limits = limits or Limits()
    try:
        with (
            _heed_stderr(kind) as wrote,
            open_picture(path, (kind.upper(),), limits) as image,
        ):
            content = read_whole(path, limits) if _takes_bytes(image, kind) else b""
            pages = _list_pages(image, kind, limits)
            found = [_read_page(page, kind, scale, content) for page in pages]
            doubts = check_png(content) if kind == "png" else ()
        if kind == "tiff":
            doubts = check_directories(path, limits.frames)
        doubts = (*doubts, *(("damaged: the TIFF decoder warns",) if wrote else ()))
        return [_add_notes(image, doubts) for image in found]
    except UnidentifiedImageError:
        if kind == "jpeg" and (rare := _read_rare_jpeg(path, scale, limits)) is not None:
            return [rare]
        if kind == "tiff":
            content = read_whole(path, limits)
            page = FirstPage(content)
            if page.width and page.height and is_unusual_tiff(page):
                check_pixels(page.width, page.height, 1, 32, limits)
                return [_read_page(page, kind, scale, content)]
        raise UnreadableImage(
            "unreadable", f"begins like a {kind.upper()} but its header is damaged or unusual"
        ) from None


def _heed_stderr(kind: Format) -> contextlib.AbstractContextManager[list[bool]]:
    """Only libtiff writes to standard error."""
    return mute_stderr() if kind == "tiff" else contextlib.nullcontext([])


def _takes_bytes(image: Any, kind: Format) -> bool:
    """Whether more than Pillow's decoder is needed; several pages are not looked at one by one."""
    if kind != "tiff" or is_unusual_tiff(image) or has_checked_strips(image):
        return True
    return bool(getattr(image, "is_animated", False))


def _add_notes(image: XRay, notes: tuple[str, ...]) -> XRay:
    return replace(image, notes=(*image.notes, *notes)) if notes else image


def _read_rare_jpeg(path: Path, scale: Scale, limits: Limits) -> XRay | None:
    """A JPEG that Pillow does not know, or None."""
    found = decode_rare_jpeg(read_whole(path, limits), limits)
    if found is None:
        return None
    array, header, notes = found
    if array.ndim == 3 and (fault := check_colour(array)) is not None:
        raise fault
    grey = array if array.ndim == 2 else array @ np.array([0.299, 0.587, 0.114])
    pixels = stretch(grey.astype(np.float32) / np.float32((1 << header.precision) - 1), scale)
    notes = (*note_narrow_range(pixels), *notes)
    return XRay(pixels=pixels, bits=header.precision, format="jpeg", notes=notes)


def _list_pages(image: Any, kind: Format, limits: Limits) -> Iterator[Any]:
    """Pages worth reading, each checked for size before its pixels are touched."""
    count, kept = _count_pages(image, limits) if kind == "tiff" else 1, 0
    for number in range(count):
        if number:
            image.seek(number)
        if not (number and int(_read_tag(image, _SUBFILE, 0)) & 1):
            kept += image.width * image.height
            pages = -(-kept // (image.width * image.height))  # as many as there were of this size
            check_pixels(image.width, image.height, pages, _cost(image), limits)
            _check_tiles(image)
            yield image


def _count_pages(image: Any, limits: Limits) -> int:
    """Pages of a TIFF, counted no further than the limit."""
    count = 1
    with contextlib.suppress(EOFError):
        while True:
            image.seek(count)
            count += 1
            check_frames(count, limits)
    image.seek(0)
    return count


def _cost(image: Any) -> int:
    """Bytes per pixel at the peak: as decoded, as an array of levels, and as float32."""
    if image.mode.startswith(("I", "F")):
        return 14
    return 8 if image.mode in ("1", "L") else 12


def _check_tiles(image: Any) -> None:
    """Refuses tiles far larger than the page: a decoder allocates a whole one."""
    width, height = (int(_take_first(_read_tag(image, tag, 0))) for tag in _TILE)
    if width * height > MAX_TILE and width * height > 4 * image.width * image.height:
        raise UnreadableImage(
            "too_large",
            f"tiles of {width} x {height} pixels in a page of {image.width} x {image.height}",
        )


def _read_page(image: Any, kind: Format, scale: Scale, content: bytes) -> XRay:
    if kind == "tiff" and is_unusual_tiff(image):
        samples = _read_unusual(image, content, scale)
    elif kind == "jpeg" and image.mode in ("L", "RGB"):
        turned, doubts = decode_jpeg(content, _read_orientation(image))
        samples = _read_eight_bit(turned, 8)
        samples = replace(samples, notes=(*samples.notes, *doubts))
    elif kind == "tiff" and has_checked_strips(image):
        array, doubts = decode_strips(content, image)
        samples = _read_samples(image, kind, scale, array)
        samples = replace(samples, notes=(*samples.notes, *doubts))
    else:
        samples = _read_samples(image, kind, scale)
    pixels = stretch(samples.pixels, scale)
    notes = (*samples.notes, *note_narrow_range(pixels))
    return XRay(pixels=pixels, bits=samples.bits, format=kind, notes=notes)


def _read_unusual(image: Any, content: bytes, scale: Scale) -> _Samples:
    """A TIFF page of several channels that are not bytes."""
    array = decode_unusual_tiff(content, image.tell(), image)
    array = turn_array(array, _read_orientation(image))
    photometric = int(_take_first(_read_tag(image, _PHOTOMETRIC, 1)))
    channels = 1 if array.ndim == 2 else array.shape[-1]
    if photometric not in (0, 1, 2) or array.dtype.kind not in "uf":
        raise UnreadableImage("depth", "a TIFF of signed or printing colours of more than 8 bits")
    notes: tuple[str, ...] = ("inverted",) if photometric == 0 else ()
    colours = array[..., :3] if photometric == 2 and channels >= 3 else array
    if colours.ndim == 3 and colours.shape[-1] == 3:
        top = 1.0 if array.dtype.kind == "u" else float(colours.max()) or 1.0
        fault = check_colour(colours if array.dtype.kind == "u" else colours / max(top, 1.0))
        if fault is not None:
            raise fault
        grey = colours.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    else:
        grey = (array if array.ndim == 2 else array[..., 0]).astype(np.float32)
    if array.dtype.kind == "f" or array.dtype.itemsize > 2:
        return _read_without_white(grey, scale, photometric == 0)
    pixels = np.clip(grey / np.float32(np.iinfo(array.dtype).max), 0.0, 1.0)
    if photometric == 0:
        pixels = np.float32(1.0) - pixels
    if channels in (2, 4):
        pixels *= array[..., -1].astype(np.float32) / np.float32(np.iinfo(array.dtype).max)
        notes = (*notes, "transparency on black")
    return _Samples(pixels, array.dtype.itemsize * 8, notes)


def _read_orientation(image: Any) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF data; the usual orientation
        return 1


def _read_samples(
    image: Any, kind: Format, scale: Scale, array: NDArray[Any] | None = None
) -> _Samples:
    """One page; `array` is what it holds, where it has been decoded already."""
    bits = _read_bits(image, kind)
    if array is None:
        turned = _turn_upright(image)
    else:
        turned = Image.fromarray(np.ascontiguousarray(turn_array(array, _read_orientation(image))))
    if turned.mode in _EIGHT_BIT_LIKE:
        return _read_eight_bit(turned, bits)
    if turned.mode not in ("I", "F") and not turned.mode.startswith("I;16"):
        raise UnreadableImage("depth", "a sample format that is not read, expected 1 to 16 bits")
    values = np.asarray(turned)
    if turned.mode == "F" or bits > 16:
        return _read_without_white(values.astype(np.float32), scale, _white_is_zero(image, kind))
    signed = kind == "tiff" and int(_take_first(_read_tag(image, _SAMPLE_FORMAT, 1))) == 2
    lowest = -(1 << (bits - 1)) if signed else 0
    pixels = values.astype(np.float32)
    pixels -= lowest
    pixels /= np.float32((1 << bits) - 1)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        pixels[values == transparent] = 0.0
    np.clip(pixels, 0.0, 1.0, out=pixels)
    if _white_is_zero(image, kind):
        return _Samples(np.float32(1.0) - pixels, bits, ("inverted",))
    return _Samples(pixels, bits)


def _turn_upright(image: Any) -> Any:
    """The page turned by its EXIF orientation; as it is when the EXIF data are damaged."""
    image.load()
    try:
        turned = image.getexif().get(_ORIENTATION, 1) != 1
        return ImageOps.exif_transpose(image) if turned else image
    except Exception:  # the pixels are sound, and their orientation is usually the first one
        return image


def _read_eight_bit(image: Any, bits: int) -> _Samples:
    """Modes of at most 8 bits per channel as grey, transparency on black."""
    notes: tuple[str, ...] = ("16-bit colour read at 8 bits",) if bits > 8 else ()
    if image.mode in ("1", "L") and "transparency" not in image.info:
        return _Samples(_scale_bytes(np.asarray(image.convert("L"))), bits)
    transparent = "transparency" in image.info or image.mode in _WITH_ALPHA
    pixels = np.empty((image.height, image.width), np.float32)
    step = max(1, math.isqrt(image.height * image.width // SAMPLED))
    sample = []  # every so many pixels, to tell a colour picture
    for top in range(0, image.height, STRIP):
        strip = image.crop((0, top, image.width, min(image.height, top + STRIP)))
        channels = np.asarray(strip.convert("RGBA" if transparent else "RGB"))
        sample.append(channels[-top % step :: step, ::step, :3])
        part = luma(channels)
        if transparent:
            part *= _scale_bytes(channels[..., 3])
        pixels[top : top + STRIP] = part
    fault = check_colour(np.concatenate(sample))
    if fault is not None:
        raise fault
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
