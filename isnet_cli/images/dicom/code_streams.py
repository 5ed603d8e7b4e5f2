"""Compressed samples, of DICOM frames and of JPEG files: what a stream states, and its decoding.

Decoders work in memory and leave no file behind. JPEG of 8 bits is decoded by simplejpeg, which
passes on the warnings of libjpeg; all other forms by imagecodecs (libjpeg-turbo, CharLS, OpenJPEG).
"""

from __future__ import annotations

import re
import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isnet_cli.errors import UnreadableImage

END = b"\xff\xd9"  # end of JPEG and JPEG-LS images, and of JPEG 2000 code streams
_HUFFMAN_8 = frozenset({0xC0, 0xC1, 0xC2})
_LOSSLESS = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
_HIERARCHICAL = frozenset({0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF})
_TAILS = (b"\x55\xaa" * 512 + END, b"\x13\xd7\x71" * 341 + END)
LAST = 3  # bytes: the last data of a stream, padding and a stuffed zero aside
MIN_STREAM = 1024  # bytes; shorter streams are not tried
MAX_CODES = 256  # of a Huffman table
_SCAN, _CODE_TABLES = 0xDA, 0xC4  # markers
_COUNT = re.compile(r"\b\d+\b")


class StreamHeader(NamedTuple):
    """What a JPEG, JPEG-LS or JPEG 2000 code stream states about its pixels."""

    rows: int
    columns: int
    samples: int
    precision: int
    signed: bool
    kind: str = "JPEG"  # JPEG, JPEG-LS, JPEG 2000 or HTJ2K
    marker: int = 0  # of the frame header


def read_stream_header(stream: bytes) -> StreamHeader:
    """Reads the frame header of a code stream (T.81 B.2.2, T.87 C.2.2, T.800 A.5.1, T.814 A.3).

    Raises:
        UnreadableImage: ``bad_header``, when there is none.
    """
    if stream[:2] != b"\xff\xd8":  # JP2 boxes may stand before it
        start = stream.find(b"\xff\x4f\xff\x51", 0, 1 << 20)
        if start >= 0 and len(stream) >= start + 43:
            capabilities, x1, y1, x0, y0 = struct.unpack(">H4I", stream[start + 6 : start + 24])
            samples, depth = struct.unpack(">HB", stream[start + 40 : start + 43])
            kind = "HTJ2K" if capabilities & 0x4000 else "JPEG 2000"
            signed = bool(depth & 0x80)
            return StreamHeader(y1 - y0, x1 - x0, samples, (depth & 0x7F) + 1, signed, kind, 0x51)
        raise UnreadableImage("bad_header", "the compressed pixel data hold no frame header")
    at = 2
    while at + 10 <= len(stream) and stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        is_frame = 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)
        if is_frame or marker == 0xF7:
            precision, rows, columns, samples = struct.unpack(">BHHB", stream[at + 4 : at + 10])
            kind = "JPEG-LS" if marker == 0xF7 else "JPEG"
            return StreamHeader(rows, columns, samples, precision, False, kind, marker)
        at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    raise UnreadableImage("bad_header", "the compressed pixel data hold no frame header")


def decode_stream(
    stream: bytes, header: StreamHeader, photometric: str = "", *, signed: bool = False
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Decodes one frame.

    Args:
        stream: Its code stream.
        header: From `read_stream_header`, checked for size by the caller.
        photometric: Declared by the file around it; decides the meaning of colours where the stream
            does not.
        signed: Whether samples may be in two's complement of 16 bits.

    Returns:
        Integers [rows, columns] or RGB [rows, columns, 3], and the decoder's doubts in short words.

    Raises:
        UnreadableImage: ``codec``, ``truncated`` or ``unreadable``.
    """
    if header.kind == "JPEG" and header.marker in _HIERARCHICAL:
        raise UnreadableImage("codec", "hierarchical JPEG is not supported; convert it first")
    notes: list[str] = []
    array = _decode(stream, header, photometric, notes)
    shape = (header.rows, header.columns) + ((header.samples,) if header.samples > 1 else ())
    if array.size != np.prod(shape) or array.dtype.kind not in "ui" or array.dtype.itemsize > 2:
        raise UnreadableImage(
            "unreadable", f"the {header.kind} decoder gives another size or depth than declared"
        )
    notes += _find_excess(array, header, signed)
    return array.reshape(shape), (*notes, *_check_end(stream, header))


def _find_excess(array: NDArray[Any], header: StreamHeader, signed: bool) -> tuple[str, ...]:
    """A note on values that the stream's own bits cannot hold, as a damaged lossless one gives."""
    if header.signed or header.precision >= 16 or array.dtype.itemsize == 1:
        return ()
    if int(array.max()) < 1 << header.precision:
        return ()
    if signed:  # some encoders keep the sign in all 16 bits
        half, beyond = 1 << (header.precision - 1), array[array >= 1 << header.precision]
        if int(beyond.min()) >= (1 << 16) - half:
            return ()
    return (f"damaged: values beyond the {header.precision} bits of the {header.kind} data",)


def _decode(
    stream: bytes, header: StreamHeader, photometric: str, notes: list[str]
) -> NDArray[Any]:
    if header.kind != "JPEG":
        return _decode_other(stream, header, photometric)
    own_colours = header.samples == 3 and photometric == "RGB" and not _states_colours(stream)
    if header.marker in _HUFFMAN_8 and header.precision == 8 and not own_colours:
        array = _decode_jpeg_8(stream, header, notes)
    else:
        array = _decode_jpeg(stream, header, own_colours)
        notes += _find_misfit(stream, header, own_colours, array)
    if END not in stream[-4096:]:
        _refuse_truncated(stream, header, own_colours)
    return array


def _find_misfit(
    stream: bytes, header: StreamHeader, own_colours: bool, array: NDArray[Any]
) -> tuple[str, ...]:
    """A note when a picture does not take exactly the data that are there.

    The decoder keeps its warnings to itself. A damaged stream mostly asks for more data than it
    has, so that other data behind it change the picture, or for less, so that its last bytes do
    not matter, or holds codes without a meaning, so that a meaning for them changes the picture.
    """
    end = stream.rfind(END, -4096)
    if end < MIN_STREAM:
        return ()
    other = _fill_code_tables(stream[:end]) + _TAILS[0]
    try:
        fits = np.array_equal(_decode_jpeg(other, header, own_colours), array)
    except UnreadableImage:  # unusual tables: without them
        fits = np.array_equal(_decode_jpeg(stream[:end] + _TAILS[0], header, own_colours), array)
    if (
        fits
        and any(  # two tails: one of them begins with other bits than those cut off
            not np.array_equal(
                _decode_jpeg(stream[: end - LAST] + tail, header, own_colours), array
            )
            for tail in _TAILS
        )
    ):
        return ()
    return ("damaged: the JPEG data do not fit the picture",)


def _fill_code_tables(stream: bytes) -> bytes:
    """`stream` with a meaning for each Huffman code that its tables leave without one.

    New codes follow those that are there and stand for the category 1; the code of 16 ones, which
    the standard keeps free, gets none (T.81 annex C).
    """
    parts, at = [stream[:2]], 2
    while at + 4 <= len(stream) and stream[at] == 0xFF and stream[at + 1] != _SCAN:
        size = 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
        segment = stream[at : at + size]
        if segment[1] == _CODE_TABLES:
            body = _fill_tables(segment[4:])
            segment = segment[:2] + (len(body) + 2).to_bytes(2, "big") + body
        parts.append(segment)
        at += size
    return b"".join([*parts, stream[at:]])


def _fill_tables(body: bytes) -> bytes:
    done = b""
    while len(body) >= 17:
        counts = list(body[1:17])
        total = sum(counts)
        longest = max((length for length in range(16) if counts[length]), default=0)
        free = (1 << (longest + 1)) - sum(
            count << (longest - length) for length, count in enumerate(counts[: longest + 1])
        )
        added = [0] * 16
        if free > 0:
            added[longest] = free - 1
            added[longest + 1 :] = [1] * (15 - longest)
        if total and free > 0 and total + sum(added) <= MAX_CODES:
            counts = [count + more for count, more in zip(counts, added, strict=True)]
        new = b"\1" * (sum(counts) - total)
        done += body[:1] + bytes(counts) + body[17 : 17 + total] + new
        body = body[17 + total :]
    return done + body


def _decode_jpeg_8(stream: bytes, header: StreamHeader, notes: list[str]) -> NDArray[Any]:
    """Baseline and progressive JPEG of 8 bits, with the warnings of libjpeg."""
    import simplejpeg

    colours = {1: "GRAY", 3: "RGB", 4: "CMYK"}.get(header.samples, "")
    if not colours:
        raise UnreadableImage("colour", f"{header.samples} channels, expected 1 or 3")
    try:
        return np.asarray(simplejpeg.decode_jpeg(stream, colours))
    except ValueError as warning:
        words = str(warning)
    try:
        array = simplejpeg.decode_jpeg(stream, colours, strict=False)
    except ValueError:
        raise _refuse(header) from None
    notes.append(f"damaged: {_simplify_warning(words)} (JPEG)")
    return np.asarray(array)


def _simplify_warning(words: str) -> str:
    """A warning of libjpeg as a note; its texts are fixed and quote nothing of the file."""
    known = words.removeprefix("Corrupt JPEG data:").strip().rstrip(".")
    plain = known.isascii() and known.isprintable() and len(known) < 80
    return _COUNT.sub("some", known[:1].lower() + known[1:]) if plain else "the decoder warns"


def _decode_jpeg(stream: bytes, header: StreamHeader, own_colours: bool) -> NDArray[Any]:
    """JPEG of any process that libjpeg-turbo knows, 2 to 16 bits."""
    import imagecodecs

    colours = "RGB" if own_colours else None  # None: as libjpeg finds
    try:
        return np.asarray(
            imagecodecs.jpeg8_decode(stream, colorspace=colours, outcolorspace=colours)
        )
    except Exception:
        raise _refuse(header) from None


def _states_colours(stream: bytes) -> bool:
    """Whether a JPEG stream says itself whether its colours are RGB (JFIF or Adobe marker)."""
    head = stream[:4096]
    return b"JFIF\0" in head or b"Adobe" in head


def _refuse_truncated(stream: bytes, header: StreamHeader, own_colours: bool) -> None:
    """Raises where data are missing, and not the end marker alone.

    Decoders fill up what is missing: two different tails then give two different pictures.
    """
    first, second = (_decode_jpeg(stream + tail, header, own_colours) for tail in _TAILS)
    if not np.array_equal(first, second):
        raise UnreadableImage("truncated", "the JPEG data end before the last row")


def _decode_other(stream: bytes, header: StreamHeader, photometric: str) -> NDArray[Any]:
    import imagecodecs

    try:
        if header.kind == "JPEG-LS":
            # CharLS takes seconds to minutes for data that end without a marker
            closed = stream if END in stream[-4:] else stream + END
            array = np.asarray(imagecodecs.jpegls_decode(closed))
        else:
            array = np.asarray(imagecodecs.jpeg2k_decode(stream, planar=False, numthreads=1))
    except Exception as error:
        if "length size inconsistent" in str(error):
            raise UnreadableImage("truncated", f"the {header.kind} data end too early") from None
        raise _refuse(header) from None
    if header.samples == 3 and photometric.startswith("YBR_FULL") and array.dtype == np.uint8:
        from pydicom.pixels import convert_color_space

        return np.asarray(convert_color_space(array, "YBR_FULL", "RGB"))
    return array


def _refuse(header: StreamHeader) -> UnreadableImage:
    return UnreadableImage(
        "unreadable", f"the compressed pixel data are damaged (the {header.kind} decoder refuses)"
    )


def _check_end(stream: bytes, header: StreamHeader) -> tuple[str, ...]:
    """Notes on a stream that does not end with its end marker."""
    end = stream.rfind(END)
    if end < 0 or end < len(stream) - (1 << 20):
        return (f"damaged: the {header.kind} stream has no end marker",)
    if stream[end + 2 :].strip(b"\0\xff"):
        return (f"more bytes after the end of the {header.kind} stream",)
    return ()
