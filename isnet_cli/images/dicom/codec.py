"""Stored sample values of a DICOM file, whatever its transfer syntax, before any display step.

What the pixel data really are decides, not the transfer syntax alone: files whose pixels are
compressed although the header says otherwise exist, and so does the opposite. Nothing is written
to disk.
"""

from __future__ import annotations

import re
import zlib
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isnet_cli.errors import UnreadableImage
from isnet_cli.images.dicom.attributes import has_embedded_overlay
from isnet_cli.images.dicom.code_streams import StreamHeader, decode_stream, read_stream_header
from isnet_cli.images.dicom.pixel_module import PixelModule
from isnet_cli.images.dicom.stored_bits import Stored, fit_to_bits

MAX_RATIO = 2_000  # declared bytes per compressed byte; real images stay far below 200
BIG_ENDIAN = "1.2.840.10008.1.2.2"
RLE = "1.2.840.10008.1.2.5"
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
PLAIN_FRAMES = "1.2.840.10008.1.2.1.98"  # uncompressed, one item per frame
_NATIVE = frozenset(
    {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", BIG_ENDIAN}
)
_KINDS = {  # transfer syntaxes below 1.2.840.10008.1.2.4, by what their frames are
    "JPEG": (*range(50, 67), 70),
    "JPEG-LS": (80, 81),
    "JPEG 2000": (90, 91, 92, 93),
    "HTJ2K": (201, 202, 203),
}
_CODE_STREAMS = {
    f"1.2.840.10008.1.2.4.{number}": kind for kind, numbers in _KINDS.items() for number in numbers
}
_ITEM = b"\xfe\xff\x00\xe0"  # tag of an item, little endian: encapsulated pixel data begin with it
_SIGNATURES = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP")


class Samples(NamedTuple):
    """Decoded frames.

    Attributes:
        frames: Grey and palette: integers [frames, rows, columns] in the stored units. Colour:
            uint8 RGB [frames, rows, columns, 3].
        bits: Meaningful bits of a sample.
        notes: What the decoders found doubtful, and what became of values beyond the bits.
        hidden: Where padding was before clipping [frames, rows, columns]; None: by value.
    """

    frames: NDArray[Any]
    bits: int
    notes: tuple[str, ...] = ()
    hidden: NDArray[np.bool_] | None = None


class PixelSource(NamedTuple):
    """The pixel data of a file as they really are.

    Attributes:
        kind: ``native``, ``rle``, ``deflated``, ``plain`` (uncompressed items), or ``streams``.
        frames: The frames' bytes; native data as one.
        header: Of the first code stream, or None.
        notes: Contradictions with the header.
    """

    kind: str
    frames: list[bytes]
    header: StreamHeader | None = None
    notes: tuple[str, ...] = ()


def open_pixel_data(ds: Any, frames: int) -> PixelSource:
    """Finds out what the pixel data are, without decoding them.

    Args:
        ds: Dataset with file meta information and pixel data.
        frames: NumberOfFrames.

    Raises:
        UnreadableImage: ``codec``, ``truncated`` or ``bad_header``.
    """
    syntax = str(ds.file_meta.TransferSyntaxUID)
    data = ds.PixelData or b""
    wrapped = data[:4] == _ITEM and (syntax not in _NATIVE or _is_wrapped(ds))
    if syntax in _NATIVE or (not wrapped and syntax in {RLE, *_CODE_STREAMS} and len(data) > 3):
        if not wrapped:
            known = syntax in _NATIVE
            note = () if known else ("pixels are not compressed, although the header says so",)
            return PixelSource("native", [data], None, note)
    elif syntax not in {RLE, DEFLATED_FRAMES, PLAIN_FRAMES, *_CODE_STREAMS}:
        raise UnreadableImage(
            "codec", f"transfer syntax {name_syntax(syntax)} is not supported; convert the image"
        )
    streams = _split_frames(ds, data, frames)
    if syntax == PLAIN_FRAMES:
        return PixelSource("plain", streams)
    if syntax == DEFLATED_FRAMES:
        return PixelSource("deflated", streams)
    if syntax == RLE and not streams[0].startswith(_SIGNATURES):
        return PixelSource("rle", streams)
    header = read_stream_header(streams[0])
    declared = _CODE_STREAMS.get(syntax, "no compression" if syntax in _NATIVE else "RLE")
    same = header.kind == declared or (header.kind == "HTJ2K" and declared == "JPEG 2000")
    note = () if same else (f"the pixels are {header.kind}, the header says {declared}",)
    return PixelSource("streams", streams, header, note)


def name_syntax(uid: str) -> str:
    """A transfer syntax by its UID, and by its name where the standard has one."""
    from pydicom.uid import UID

    if not re.fullmatch(r"[0-9.]{1,64}", uid):
        return "that is no UID"
    known = UID(uid)
    named = known.is_transfer_syntax if not known.is_private and known.name != uid else False
    return f"{uid} ({known.name})" if named else f"{uid} (unknown)"


def _is_wrapped(ds: Any) -> bool:
    return bool(getattr(ds["PixelData"], "is_undefined_length", False))


def _split_frames(ds: Any, data: bytes, frames: int) -> list[bytes]:
    """One byte string per frame."""
    from pydicom.encaps import generate_frames

    offsets = None
    if "ExtendedOffsetTable" in ds and "ExtendedOffsetTableLengths" in ds:
        offsets = (ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths)
    found = list(generate_frames(data, number_of_frames=frames, extended_offsets=offsets))
    if len(found) < max(1, frames):
        raise UnreadableImage("truncated", f"{frames} frames are declared, {len(found)} found")
    return found[:frames]


def decode_pixels(ds: Any, module: PixelModule, source: PixelSource | None = None) -> Samples:
    """Decodes all frames.

    Args:
        ds: Dataset with file meta information and pixel data.
        module: Its checked description.
        source: Its pixel data, when they are opened already.

    Raises:
        UnreadableImage: ``truncated``, ``too_large``, ``codec``, ``bad_header``, or ``unreadable``.
    """
    source = source or open_pixel_data(ds, module.frames)
    notes = [*module.notes, *source.notes]
    width, stored, high = module.allocated, module.stored, module.high
    if source.kind == "native":
        raw = _read_native(ds, module, source.frames[0], notes)
    else:
        _check_compressed(module, sum(map(len, source.frames)))
        raw, precision = _decode_frames(source, module, notes)
        if precision:  # the streams' own depth
            width, stored, high = _fit_stream(precision, module, notes)
            if module.samples == 1 and int(raw.max()) >> precision:  # more than they state
                width = 16
    if module.samples == 3:
        return Samples(raw, module.stored, _merge(notes))
    found: Stored = fit_to_bits(
        raw,
        width,
        stored,
        high,
        module.signed,
        overlay=width > stored and has_embedded_overlay(ds),
        padding=module.padding,
    )
    return Samples(found.values, found.bits, _merge([*notes, *found.notes]), found.hidden)


def _merge(notes: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(notes))


def _fit_stream(precision: int, module: PixelModule, notes: list[str]) -> tuple[int, int, int]:
    """Width, stored bits and high bit of samples that a code stream of `precision` bits holds."""
    if precision < module.stored:
        notes.append(f"the stream has {precision} bits, {module.stored} are declared")
        return precision, precision, precision - 1
    high = module.high if precision == module.high + 1 else module.stored - 1
    return precision, module.stored, high


def _check_compressed(module: PixelModule, size: int) -> None:
    if module.native_bytes > MAX_RATIO * size + 65_536:
        raise UnreadableImage(
            "too_large",
            f"{module.native_bytes} bytes of pixels are declared but only {size} compressed bytes "
            "are there",
        )


def _read_native(ds: Any, module: PixelModule, data: bytes, notes: list[str]) -> NDArray[Any]:
    """Uncompressed samples: unsigned grey of all allocated bits, or RGB."""
    size = module.native_bytes
    if len(data) < size:
        raise UnreadableImage("truncated", f"{len(data)} bytes of pixel data, expected {size}")
    if len(data) > size + size % 2:
        notes.append(_describe_surplus(len(data) - size, size // module.frames))
    big = str(ds.file_meta.TransferSyntaxUID) == BIG_ENDIAN
    if big and module.allocated == 8 and ds["PixelData"].VR == "OW":  # bytes swapped in words
        swapped = np.frombuffer(data[: len(data) // 2 * 2], ">u2").astype("<u2")
        data = swapped.tobytes() + data[len(data) // 2 * 2 :]
    return _arrange(np.frombuffer(data[:size], _type_of(module, big=big)), module)


def _describe_surplus(surplus: int, frame: int) -> str:
    if surplus >= frame:
        return f"pixels of {surplus // frame} more frames than declared, not used"
    return f"{surplus} more bytes of pixels than declared, not used"


def _type_of(module: PixelModule, *, big: bool = False) -> str:
    return (">u2" if big else "<u2") if module.allocated == 16 else "u1"


def _arrange(samples: NDArray[Any], module: PixelModule) -> NDArray[Any]:
    """Flat native samples as [frames, rows, columns], or RGB [frames, rows, columns, 3]."""
    shape = (module.frames, module.rows, module.columns)
    if module.samples == 1:
        if module.allocated == 1:  # PS3.5 section 8.1.1: from the least significant bit on
            samples = np.unpackbits(samples, bitorder="little")[: int(np.prod(shape))]
        return samples.astype(samples.dtype.newbyteorder("="), copy=False).reshape(shape)
    if module.photometric == "YBR_FULL_422":  # PS3.3 C.7.6.3.1.2: Y1 Y2 Cb Cr
        if samples.size % 4 or module.columns % 2:
            raise UnreadableImage("bad_header", "YBR_FULL_422 with an odd number of columns")
        fours = samples.reshape(-1, 4)
        colours = fours[:, [0, 2, 3, 1, 2, 3]].reshape(*shape, 3)
    elif module.planar:
        colours = np.moveaxis(samples.reshape(module.frames, 3, *shape[1:]), 1, -1)
    else:
        colours = samples.reshape(*shape, 3)
    return _convert_colours(np.ascontiguousarray(colours), module.photometric)


def _convert_colours(colours: NDArray[Any], photometric: str) -> NDArray[Any]:
    """RGB of colours that are not decoded by a JPEG library."""
    if not photometric.startswith("YBR_FULL"):
        return colours
    from pydicom.pixels import convert_color_space

    return np.asarray(convert_color_space(colours, "YBR_FULL", "RGB"))


def _decode_frames(
    source: PixelSource, module: PixelModule, notes: list[str]
) -> tuple[NDArray[Any], int]:
    """All frames, and the bits that their code streams declare (0 for other encodings)."""
    if source.kind == "rle":
        return np.concatenate([_unpack_rle(data, module, notes) for data in source.frames]), 0
    if source.kind != "streams":
        unpack = _inflate if source.kind == "deflated" else _take_plain
        one = module.native_bytes // module.frames
        flat = b"".join(unpack(data, one, notes) for data in source.frames)
        return _arrange(np.frombuffer(flat, _type_of(module)), module), 0
    headers = [read_stream_header(stream) for stream in source.frames]
    for header in headers:
        _check_stream(header, module)
    frames, precision = [], max(header.precision for header in headers)
    for stream, header in zip(source.frames, headers, strict=True):
        array, doubts = decode_stream(stream, header, module.photometric, signed=module.signed)
        notes += doubts
        frames.append(_make_unsigned(array, precision) if module.samples == 1 else array)
    return np.stack(frames), precision


def _make_unsigned(array: NDArray[Any], precision: int) -> NDArray[Any]:
    """The bit pattern of signed samples, whose sign the data set resolves as for others."""
    if array.dtype.kind == "u":
        return array.astype(np.uint16) if precision > 8 else array
    pattern = array.astype(np.int32) & ((1 << precision) - 1)
    return pattern.astype(np.uint16 if precision > 8 else np.uint8)


def _check_stream(header: StreamHeader, module: PixelModule) -> None:
    """Refuses a code stream that is not what the file declares, before it is decoded."""
    if header[:3] != (module.rows, module.columns, module.samples):
        raise UnreadableImage(
            "bad_header",
            f"the compressed frame is {header.columns} x {header.rows} x {header.samples}, the "
            f"file declares {module.columns} x {module.rows} x {module.samples}",
        )
    if not 1 <= header.precision <= 16 or (module.samples == 3 and header.precision != 8):
        raise UnreadableImage(
            "depth", f"{header.kind} of {header.precision} bits, expected 1 to 16 (colour: 8)"
        )


def _unpack_rle(data: bytes, module: PixelModule, notes: list[str]) -> NDArray[Any]:
    """One RLE frame (PS3.5 annex G): byte planes, the most significant of each sample first."""
    import imagecodecs

    pixels = module.rows * module.columns
    width = max(1, module.allocated // 8)
    count = int.from_bytes(data[:4], "little")
    if module.allocated == 1 or count != width * module.samples or len(data) < 64:
        raise UnreadableImage(
            "bad_header", f"{count} RLE segments, expected {width * module.samples}"
        )
    starts = [*np.frombuffer(data[4 : 4 + 4 * count], "<u4").tolist(), len(data)]
    planes = np.empty((module.samples, width, pixels), np.uint8)
    for number, (start, stop) in enumerate(pairwise(starts)):
        if not 64 <= start <= stop <= len(data):
            raise UnreadableImage("bad_header", "RLE segments outside the frame")
        try:
            plane = imagecodecs.packbits_decode(data[start:stop], out=2 * pixels + 1024)
        except Exception:
            raise UnreadableImage("unreadable", "an RLE segment is damaged") from None
        if len(plane) < pixels:
            raise UnreadableImage(
                "truncated", f"an RLE segment gives {len(plane)} bytes, expected {pixels}"
            )
        if len(plane) > pixels + pixels % 2:
            notes.append("damaged: an RLE segment gives more bytes than pixels")
        planes[number // width, width - 1 - number % width] = np.frombuffer(
            plane[:pixels], np.uint8
        )
    samples = np.moveaxis(planes, (0, 1), (1, 2))  # [pixels, samples, bytes]
    grey = np.ascontiguousarray(samples).view(_type_of(module)).reshape(-1)
    shape = (1, module.rows, module.columns)
    if module.samples == 1:
        return grey.astype(grey.dtype.newbyteorder("="), copy=False).reshape(shape)
    return _convert_colours(grey.reshape(*shape, 3), module.photometric)


def _inflate(data: bytes, size: int, notes: list[str]) -> bytes:
    """One deflated frame (PS3.5 section 8.2.17), no more than declared."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = inflater.decompress(data, size + 2)
    except zlib.error:
        raise UnreadableImage("unreadable", "a deflated frame is damaged") from None
    return _take_plain(plain, size, notes)


def _take_plain(data: bytes, size: int, notes: list[str]) -> bytes:
    if len(data) < size:
        raise UnreadableImage("truncated", f"a frame of {len(data)} bytes, expected {size}")
    if len(data) > size + size % 2:
        notes.append(_describe_surplus(len(data) - size, size))
    return data[:size]
