"""Strips of compressed TIFF pages, decoded one by one, so that damage is noticed.

Pillow stops as soon as a page is full: it looks at no checksum of deflated strips, and silences
what the decoders warn of.
"""

from __future__ import annotations

import contextlib
import zlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isnet_cli.errors import UnreadableImage
from isnet_cli.images.dicom.code_streams import END, decode_stream, read_stream_header

LZW, DEFLATE, PACKBITS, JPEG = 5, (8, 32946), 32773, 7  # values of the tag Compression
HORIZONTAL = 2  # of Predictor
MAX_STRIPS = 1 << 16
_DAMAGED = ("damaged: a strip of the TIFF page does not decode to what it should",)
_ORDINARY = {259: 1, 262: 1, 266: 1, 277: 1, 284: 1, 317: 1, 339: 1}  # tags and their defaults


class _Layout(NamedTuple):
    """Where the strips are, and what they hold.

    Attributes:
        parts: Their bytes.
        rows: Rows of each.
        width: Pixels of a row.
        bits: Of a sample.
        samples: Of a pixel.
        plain: Whether it is grey of 8 or 16 bits, white highest, as Pillow reads it.
    """

    parts: list[bytes]
    rows: list[int]
    width: int
    bits: int
    samples: int
    plain: bool


def has_checked_strips(image: Any) -> bool:
    """Whether a page of a TIFF is compressed so that `decode_strips` can tell damage."""
    compression = _first(image, 259)
    return compression in (LZW, *DEFLATE, PACKBITS, JPEG) and 273 in image.tag_v2


def decode_strips(content: bytes, image: Any) -> tuple[NDArray[Any] | None, tuple[str, ...]]:
    """Decodes the strips of a page.

    Args:
        content: The file.
        image: The page, opened by Pillow, checked for size.

    Returns:
        Its samples [H, W] before any turning, or None where the layout is one that Pillow is to
        decode; and notes on damage.
    """
    layout = _find_strips(content, image)
    if layout is None:
        return None, ()
    compression, predictor = _first(image, 259), _first(image, 317)
    if compression == JPEG:
        return _decode_jpeg(layout, image)
    if layout.bits > 32 or (layout.width * layout.bits * layout.samples) < 1:
        return None, ()
    row = (layout.width * layout.bits * layout.samples + 7) // 8
    unpack = _inflate if compression in DEFLATE else _unlzw if compression == LZW else _unpack_bits
    done = []
    for part, rows in zip(layout.parts, layout.rows, strict=True):
        plain = unpack(part, rows * row, max(layout.rows) * row)
        if plain is None:
            return None, _DAMAGED
        done.append(plain)
    if not layout.plain or predictor not in (1, HORIZONTAL):
        return None, ()
    order = ">" if image.tag_v2.prefix == b"MM" else "<"
    kind = f"{order}u{layout.bits // 8}"
    array = np.frombuffer(b"".join(done), kind).reshape(sum(layout.rows), layout.width)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if predictor == HORIZONTAL:
        array = np.cumsum(array, axis=1, dtype=array.dtype)
    return array, ()


def _find_strips(content: bytes, image: Any) -> _Layout | None:
    tags = image.tag_v2
    starts, sizes = (np.atleast_1d(tags.get(tag, ())).tolist() for tag in (273, 279))
    height, width = image.tag_v2.get(257, 0), image.tag_v2.get(256, 0)
    usual = _first(image, 284) == 1 and _first(image, 266) == 1
    if not usual or len(starts) != len(sizes) or not 0 < len(starts) <= MAX_STRIPS:
        return None
    step = min(int(tags.get(278, height)), height)
    bits, samples = tuple(np.atleast_1d(tags.get(258, 1)).tolist()), int(_first(image, 277))
    if step < 1 or -(-height // step) != len(starts) or len(set(bits)) != 1:
        return None
    plain = (
        samples == 1
        and bits[0] in (8, 16)
        and _first(image, 262) == 1
        and _first(image, 339) == 1
        and image.mode in ("L", "I;16", "I;16B")
    )
    rows = [min(step, height - top) for top in range(0, height, step)]
    parts = [content[start : start + size] for start, size in zip(starts, sizes, strict=True)]
    if _first(image, 259) == LZW and any(part[:1] == b"\0" for part in parts):
        return None  # codes in the other order of bits, as before TIFF 5.0
    return _Layout(parts, rows, width, bits[0], samples, plain)


def _first(image: Any, tag: int) -> int:
    value = image.tag_v2.get(tag, _ORDINARY.get(tag, 0))
    return int(value[0] if isinstance(value, tuple) else value)


def _inflate(part: bytes, size: int, full: int) -> bytes | None:
    """A deflated strip of `size` bytes, or of `full` ones, with the right checksum; or None."""
    import imagecodecs

    with contextlib.suppress(Exception):  # damaged, or longer
        plain = bytes(imagecodecs.deflate_decode(part, out=size))  # twice as fast as zlib
        return plain if len(plain) == size else None
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(part, full + 1)
        if not inflater.eof:  # the checksum is still to come
            inflater.decompress(inflater.unconsumed_tail, 1)
    except zlib.error:
        return None
    return plain[:size] if len(plain) in (size, full) and inflater.eof else None


def _unpack_bits(part: bytes, size: int, full: int) -> bytes | None:
    import imagecodecs

    try:
        plain = imagecodecs.packbits_decode(part, out=2 * full + 1024)
    except Exception:
        return None
    return bytes(plain[:size]) if len(plain) in (size, full) else None


def _unlzw(part: bytes, size: int, full: int) -> bytes | None:
    import imagecodecs

    try:
        plain = imagecodecs.lzw_decode(part, out=full + 1024)
    except Exception:
        return None
    return bytes(plain[:size]) if len(plain) in (size, full) else None


def _decode_jpeg(layout: _Layout, image: Any) -> tuple[NDArray[Any] | None, tuple[str, ...]]:
    """Strips of JPEG; their tables stand apart."""
    tables = bytes(image.tag_v2.get(347, b""))
    head = tables[: -len(END)] if tables.endswith(END) else tables
    done: list[NDArray[Any]] = []
    notes: list[str] = []
    for part, rows in zip(layout.parts, layout.rows, strict=True):
        stream = head + part[2:] if head else part
        try:
            header = read_stream_header(stream)
            if header.columns != layout.width or not rows <= header.rows <= max(layout.rows):
                return None, _DAMAGED
            if header.kind != "JPEG" or header.precision != 8:
                return None, ()
            array, doubts = decode_stream(stream, header)
        except UnreadableImage:
            return None, _DAMAGED
        notes += doubts
        done.append(array[:rows])
    return (np.concatenate(done) if layout.plain else None), tuple(dict.fromkeys(notes))
