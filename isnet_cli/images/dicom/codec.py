"""Stored sample values of a DICOM file, whatever its transfer syntax, before any display step.

Native and RLE pixels are decoded by pydicom. JPEG, JPEG-LS and JPEG 2000 are decoded by SimpleITK,
used as a codec alone: it gets a temporary file that holds one frame's code stream and the numbers
needed to decode it (no patient, no rescale, MONOCHROME2). Given the whole file, SimpleITK would
invert MONOCHROME1 and apply the rescale by itself, in a way that depends on its version.
"""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isnet_cli.errors import UnreadableImage
from isnet_cli.images.dicom.pixel_module import PixelModule
from isnet_cli.images.quiet import mute_stderr

MAX_RATIO = 2_000  # declared bytes per compressed byte; real images stay far below 200
_NATIVE = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"})
BIG_ENDIAN = "1.2.840.10008.1.2.2"
RLE = "1.2.840.10008.1.2.5"
_CODE_STREAMS = frozenset(
    f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70, 80, 81, 90, 91)
)  # JPEG baseline, extended, lossless, lossless SV1, JPEG-LS (2), JPEG 2000 (2)


def decode_pixels(ds: Any, module: PixelModule) -> tuple[NDArray[Any], int]:
    """Decodes all frames.

    Args:
        ds: Dataset with file meta information and pixel data.
        module: Its checked description.

    Returns:
        The samples and their number of meaningful bits (BitsStored, or less when the compressed
        data have less). Grey and palette: integers [frames, rows, columns] in the stored units
        (two's complement resolved, bits outside BitsStored cleared). Colour: uint8 RGB
        [frames, rows, columns, 3].

    Raises:
        UnreadableImage: ``truncated``, ``too_large``, ``codec``, ``bad_header``, or ``unreadable``.
    """
    syntax = str(ds.file_meta.TransferSyntaxUID)
    precision = module.high + 1
    if syntax in _CODE_STREAMS:
        _check_compressed(ds, module)
        raw, precision = _decode_streams(ds, module, syntax)
    elif syntax in _NATIVE or syntax in (BIG_ENDIAN, RLE):
        raw = _decode_plain(ds, module, syntax)
    else:
        raise UnreadableImage(
            "codec", f"transfer syntax {_name_syntax(ds)} is not supported; convert the image first"
        )
    if module.samples == 3:
        return raw, module.stored
    bits = min(module.stored, precision)
    shift = module.high + 1 - module.stored if precision == module.high + 1 else 0
    return _extract_stored_values(raw, bits, shift, module.signed), bits


def _name_syntax(ds: Any) -> str:
    uid = ds.file_meta.TransferSyntaxUID
    return str(uid.name) if uid.is_transfer_syntax and not uid.is_private else "unknown"


def _check_compressed(ds: Any, module: PixelModule) -> None:
    size = len(ds.PixelData)
    if module.native_bytes > MAX_RATIO * size + 65_536:
        raise UnreadableImage(
            "too_large",
            f"{module.native_bytes} bytes of pixels are declared but only {size} compressed bytes "
            "are there",
        )


def _decode_plain(ds: Any, module: PixelModule, syntax: str) -> NDArray[Any]:
    """Native and RLE samples by pydicom."""
    from pydicom.pixels import pixel_array

    if syntax == RLE:
        _check_compressed(ds, module)
    elif len(ds.PixelData) < module.native_bytes:
        raise UnreadableImage(
            "truncated",
            f"{len(ds.PixelData)} bytes of pixel data, expected {module.native_bytes}",
        )
    # all allocated bits are requested: pydicom would clear the wrong ones where HighBit is odd
    options = {"bits_stored": module.allocated} if module.samples == 1 else {}
    plugin = "pydicom" if syntax == RLE else ""
    raw = module.samples == 1
    array = pixel_array(ds, raw=raw, decoding_plugin=plugin, **options)
    shape = (module.frames, module.rows, module.columns)
    return np.asarray(array).reshape(shape if module.samples == 1 else (*shape, 3))


def _extract_stored_values(raw: NDArray[Any], bits: int, shift: int, signed: bool) -> NDArray[Any]:
    """Keeps the meaningful bits alone (others may hold retired overlays) and their sign."""
    if not signed and shift == 0 and bits == raw.itemsize * 8 and raw.dtype.kind == "u":
        return raw
    values = raw.astype(np.int32) >> shift
    values &= (1 << bits) - 1
    if signed:
        sign = 1 << (bits - 1)
        values = (values ^ sign) - sign
        return values.astype(np.int16 if bits > 8 else np.int8)
    return values.astype(np.uint16 if bits > 8 else np.uint8)


class StreamHeader(NamedTuple):
    """What a JPEG, JPEG-LS or JPEG 2000 code stream states about its pixels."""

    rows: int
    columns: int
    samples: int
    precision: int
    signed: bool


def read_stream_header(stream: bytes) -> StreamHeader:
    """Reads the frame header of a code stream (T.81 B.2.2, T.87 C.2.2, T.800 A.5.1).

    Raises:
        UnreadableImage: ``bad_header``, when there is none.
    """
    start = stream.find(b"\xff\x4f\xff\x51", 0, 1 << 20)  # JP2 boxes may stand before it
    if start >= 0 and len(stream) >= start + 42:
        x1, y1, x0, y0 = struct.unpack(">4I", stream[start + 8 : start + 24])
        samples, depth = struct.unpack(">HB", stream[start + 40 : start + 43])
        return StreamHeader(y1 - y0, x1 - x0, samples, (depth & 0x7F) + 1, bool(depth & 0x80))
    at = 2
    while stream[:2] == b"\xff\xd8" and at + 10 <= len(stream) and stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        is_frame = 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)
        if is_frame or marker == 0xF7:
            precision, rows, columns, samples = struct.unpack(">BHHB", stream[at + 4 : at + 10])
            return StreamHeader(rows, columns, samples, precision, False)
        at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    raise UnreadableImage("bad_header", "the compressed pixel data hold no frame header")


def _decode_streams(ds: Any, module: PixelModule, syntax: str) -> tuple[NDArray[Any], int]:
    """All frames by SimpleITK, and the bits per sample that their code streams declare."""
    from pydicom.encaps import generate_frames

    offsets = None
    if "ExtendedOffsetTable" in ds and "ExtendedOffsetTableLengths" in ds:
        offsets = (ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths)
    streams = list(
        generate_frames(ds.PixelData, number_of_frames=module.frames, extended_offsets=offsets)
    )
    if len(streams) < module.frames:
        raise UnreadableImage(
            "truncated", f"{len(streams)} frames are there, {module.frames} are declared"
        )
    headers = [read_stream_header(stream) for stream in streams[: module.frames]]
    for header in headers:
        _check_stream(header, module)
    with tempfile.TemporaryDirectory(prefix="isnet-") as folder:
        frames = [
            _decode_stream(stream, header, module, syntax, Path(folder, "frame.dcm"))
            for stream, header in zip(streams, headers, strict=False)
        ]
    return np.stack(frames), max(header.precision for header in headers)


def _check_stream(header: StreamHeader, module: PixelModule) -> None:
    """Refuses a code stream that is not what the file declares, before it is decoded."""
    if header[:3] != (module.rows, module.columns, module.samples) or header.precision > 16:
        raise UnreadableImage(
            "bad_header",
            f"the compressed frame is {header.columns} x {header.rows} x {header.samples}, the "
            f"file declares {module.columns} x {module.rows} x {module.samples}",
        )


def _decode_stream(
    stream: bytes, header: StreamHeader, module: PixelModule, syntax: str, temporary: Path
) -> NDArray[Any]:
    """One frame through SimpleITK."""
    import SimpleITK

    _write_codec_file(stream, header, module, syntax, temporary)
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(temporary))
    try:
        with mute_stderr():
            array = SimpleITK.GetArrayFromImage(reader.Execute())
    except RuntimeError:
        raise UnreadableImage(
            "unreadable", "the compressed pixel data are damaged (the codec refuses them)"
        ) from None
    shape = (module.rows, module.columns) + ((3,) if module.samples == 3 else ())
    return np.asarray(array).reshape(shape)


def _write_codec_file(
    stream: bytes, header: StreamHeader, module: PixelModule, syntax: str, path: Path
) -> None:
    """A DICOM file with one code stream and nothing that identifies or displays."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID, SecondaryCaptureImageStorage

    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    ds.SOPClassUID = SecondaryCaptureImageStorage
    ds.SOPInstanceUID = "2.25.1"
    ds.SamplesPerPixel = header.samples
    ds.PhotometricInterpretation = module.photometric if header.samples == 3 else "MONOCHROME2"
    if header.samples == 3:
        ds.PlanarConfiguration = 0
    ds.Rows, ds.Columns = header.rows, header.columns
    ds.BitsAllocated = 8 if header.precision <= 8 else 16
    ds.BitsStored, ds.HighBit = header.precision, header.precision - 1
    ds.PixelRepresentation = int(header.signed)
    ds.PixelData = encapsulate([stream])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    ds.save_as(path, enforce_file_format=True)
