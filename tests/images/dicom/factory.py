"""DICOM files of every variant, as bytes, for tests."""

from __future__ import annotations

import io
import zlib
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels.encoders import RLELosslessEncoder

from tests.images.dicom.jpeg_encoders import jpeg_lossless, jpeg_ls

DX = "1.2.840.10008.5.1.4.1.1.1.1"
SYNTAXES = {
    "implicit": uid.ImplicitVRLittleEndian,
    "explicit": uid.ExplicitVRLittleEndian,
    "big": uid.ExplicitVRBigEndian,
    "deflated": uid.DeflatedExplicitVRLittleEndian,
    "rle": uid.RLELossless,
    "jpeg": uid.JPEGBaseline8Bit,
    "extended": uid.JPEGExtended12Bit,
    "lossless57": uid.JPEGLossless,
    "lossless70": uid.JPEGLosslessSV1,
    "jpegls": uid.JPEGLSLossless,
    "jpegls_near": uid.JPEGLSNearLossless,
    "j2k": uid.JPEG2000Lossless,
    "j2k_lossy": uid.JPEG2000,
    "htj2k": uid.HTJ2KLossless,
    "htj2k_lossy": uid.HTJ2K,
    "deflated_frames": uid.UID("1.2.840.10008.1.2.8.1"),
    "plain_frames": uid.UID("1.2.840.10008.1.2.1.98"),
}
EXACT = ("implicit", "explicit", "big", "deflated", "rle", "lossless57", "lossless70", "jpegls")
NATIVE = ("implicit", "explicit", "big", "deflated")
ALSO_EXACT = ("deflated_frames", "plain_frames")  # rare
NEAR = 2  # largest error of `jpegls_near`


def image_values(
    bits: int = 12, signed: bool = False, size: tuple[int, int] = (80, 96), seed: int = 0
) -> NDArray[np.integer]:
    """Stored values of a smooth picture with noise and flat parts that uses all of `bits`."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0 : size[0], 0 : size[1]]
    shade = np.hypot(rows / size[0] - 0.5, columns / size[1] - 0.5)
    shade = shade / shade.max() + rng.normal(0, 0.02, size)
    shade[: size[0] // 4, : size[1] // 2] = 0.0
    top = (1 << bits) - 1
    values = np.clip(np.rint(shade * top), 0, top).astype(np.int64)
    values[0, 0], values[-1, -1] = 0, top
    if signed:
        values -= 1 << (bits - 1)
    return values


def dicom_bytes(
    stored: NDArray[np.integer],
    *,
    bits: int = 12,
    allocated: int | None = None,
    signed: bool = False,
    syntax: str = "explicit",
    photometric: str = "MONOCHROME2",
    preamble: bool = True,
    streams: list[bytes] | None = None,
    extended_offsets: bool = False,
    omit: tuple[str, ...] = (),
    overlay: bool = False,
    **attributes: Any,
) -> bytes:
    """A DX file.

    Args:
        stored: [H, W], [F, H, W], or colour [H, W, 3].
        bits: BitsStored.
        allocated: BitsAllocated; by default 8 or 16.
        signed: Two's complement.
        syntax: A key of `SYNTAXES`.
        photometric: PhotometricInterpretation.
        preamble: False leaves out preamble and file meta information.
        streams: Ready code streams instead of encoding `stored`.
        extended_offsets: Write an extended offset table.
        omit: Keywords to leave out.
        overlay: Declare an overlay in the highest bit.
        attributes: Further data elements by keyword; they replace the usual ones.
    """
    colour = stored.ndim == 3 and stored.shape[-1] == 3
    frames = stored[None] if stored.ndim == 2 or colour else stored
    ds = _header(frames, bits, allocated or (8 if bits <= 8 else 16), signed, photometric)
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    ds.file_meta.TransferSyntaxUID = SYNTAXES[syntax]
    _set_pixels(ds, frames, syntax, streams, extended_offsets)
    for keyword in omit:
        delattr(ds, keyword)
    if overlay:
        ds.add_new(0x60000100, "US", ds.BitsAllocated)
        ds.add_new(0x60000102, "US", ds.BitsAllocated - 1)
    return _written(ds, syntax, preamble)


def _header(
    frames: NDArray[np.integer], bits: int, allocated: int, signed: bool, photometric: str
) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.SOPClassUID = DX
    ds.SOPInstanceUID = "2.25.123456789"
    ds.Modality = "DX"
    ds.PatientID = "0042"
    ds.AccessionNumber = "A7"
    ds.SamplesPerPixel = 3 if frames.shape[-1] == 3 else 1
    if ds.SamplesPerPixel == 3:
        ds.PlanarConfiguration = 0
    ds.PhotometricInterpretation = photometric
    if len(frames) > 1:
        ds.NumberOfFrames = len(frames)
    ds.Rows, ds.Columns = frames.shape[1:3]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = allocated, bits, bits - 1
    ds.PixelRepresentation = int(signed)
    return ds


def _set_pixels(
    ds: Dataset,
    frames: NDArray[np.integer],
    syntax: str,
    streams: list[bytes] | None,
    extended_offsets: bool,
) -> None:
    order = ">" if syntax == "big" else "<"
    kind = f"{order}{'i' if ds.PixelRepresentation else 'u'}{max(1, ds.BitsAllocated // 8)}"
    native = frames.astype(kind)
    if syntax in NATIVE:
        data = native.tobytes()
        ds.PixelData = data + b"\0" * (len(data) % 2)
        ds["PixelData"].VR = "OB" if ds.BitsAllocated <= 8 and syntax != "implicit" else "OW"
        return
    if streams is None:
        streams = [_encode(ds, frame, syntax) for frame in native]
    if extended_offsets:
        data, offsets, lengths = encapsulate_extended(streams)
        ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = offsets, lengths
    else:
        data = encapsulate(streams)
    ds.PixelData = data
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True


def _encode(ds: Dataset, frame: NDArray[np.integer], syntax: str) -> bytes:
    """One frame; lossless JPEG and JPEG-LS carry two's complement as its raw bits."""
    if syntax == "rle":
        return RLELosslessEncoder.encode(
            frame.tobytes(),
            rows=ds.Rows,
            columns=ds.Columns,
            samples_per_pixel=ds.SamplesPerPixel,
            bits_allocated=ds.BitsAllocated,
            bits_stored=ds.BitsStored,
            pixel_representation=ds.PixelRepresentation,
            photometric_interpretation=ds.PhotometricInterpretation,
            number_of_frames=1,
            planar_configuration=0,
            encoding_plugin="pydicom",
        )
    raw = frame.astype(np.int64) & ((1 << ds.BitsStored) - 1)
    unsigned = raw.astype(np.uint8 if ds.BitsAllocated == 8 else np.uint16)
    encoders = {
        "plain_frames": frame.tobytes,
        "deflated_frames": lambda: zlib.compress(frame.tobytes(), 9)[2:-4],  # without its frame
        "lossless57": lambda: jpeg_lossless(raw, ds.BitsStored, predictor=6),
        "lossless70": lambda: jpeg_lossless(raw, ds.BitsStored),
        "jpegls": lambda: jpeg_ls(raw, ds.BitsStored),
        "jpegls_near": lambda: jpeg_ls(raw, ds.BitsStored, NEAR),
        "htj2k": lambda: bytes(imagecodecs.htj2k_encode(unsigned, reversible=True)),
        "htj2k_lossy": lambda: bytes(
            imagecodecs.htj2k_encode(unsigned, reversible=False, level=1e-4)
        ),
        "extended": lambda: bytes(imagecodecs.jpeg8_encode(unsigned, level=95, bitspersample=12)),
    }
    return encoders[syntax]() if syntax in encoders else _pillow(frame, syntax)


def _pillow(frame: NDArray[np.integer], syntax: str) -> bytes:
    """JPEG baseline (8 bit) and JPEG 2000 (8 or 16 bit, unsigned) by Pillow."""
    image = Image.fromarray(frame.astype(np.uint8 if frame.dtype.itemsize == 1 else np.uint16))
    buffer = io.BytesIO()
    if syntax == "jpeg":
        image.save(buffer, "JPEG", quality=95)
    else:
        image.save(buffer, "JPEG2000", irreversible=syntax == "j2k_lossy", no_jp2=True)
    return buffer.getvalue()


def _written(ds: Dataset, syntax: str, preamble: bool) -> bytes:
    buffer = io.BytesIO()
    if preamble and syntax in ALSO_EXACT:  # pydicom does not know them: a name of equal length
        wanted = str(ds.file_meta.TransferSyntaxUID).encode().ljust(22, b"\0")
        ds.file_meta.TransferSyntaxUID = SYNTAXES["lossless57"]
        ds.save_as(buffer, enforce_file_format=True)
        return buffer.getvalue().replace(SYNTAXES["lossless57"].encode(), wanted, 1)
    if preamble:
        ds.save_as(buffer, enforce_file_format=True)
        return buffer.getvalue()
    implicit, little = syntax == "implicit", syntax != "big"
    del ds.file_meta
    ds.save_as(buffer, implicit_vr=implicit, little_endian=little, enforce_file_format=False)
    return buffer.getvalue()


def lut_item(
    first: int,
    data: NDArray[np.integer],
    bits: int,
    *,
    signed_first: bool = False,
    words: bool = True,
    order: str = "<",
) -> Dataset:
    """Item of a Modality or VOI LUT Sequence: entries as US, or (not `words`) as OW bytes."""
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if signed_first else "US", [len(data) % 65536, first, bits])
    if words:
        item.add_new("LUTData", "US", [int(entry) for entry in data])
    else:
        item.add_new("LUTData", "OW", data.astype(f"{order}u2").tobytes())
    return item
