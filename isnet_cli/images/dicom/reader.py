"""DICOM files as images in the normal form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isnet_cli.config.schema import Dicom, Limits
from isnet_cli.errors import UnreadableImage
from isnet_cli.guard.sizes import check_frames, check_pixels
from isnet_cli.images.dicom import codec, header
from isnet_cli.images.dicom.attributes import read_items, read_numbers, read_text, read_value
from isnet_cli.images.dicom.dataset import open_dataset
from isnet_cli.images.dicom.greyscale import (
    Scale,
    make_display_table,
    note_narrow_range,
    stored_range,
    stretch,
    stretch_table,
)
from isnet_cli.images.dicom.pixel_module import GREY, PixelModule, read_pixel_module
from isnet_cli.images.sanity import check_colour, luma
from isnet_cli.images.types import XRay

BLOCK = 1 << 18  # pixels that are looked up at a time


def read_dicom(
    path: Path,
    options: Dicom | None = None,
    scale: Scale = "bits",
    limits: Limits | None = None,
) -> list[XRay]:
    """Reads each frame of a DICOM file as an image.

    Args:
        path: The file; with or without preamble and file meta information.
        options: Choice of the VOI transform (see `greyscale.make_display_table` for ``auto``) and
            of the photometric interpretation (``auto``: as the file says).
        scale: ``bits``: white is what the bits allow after rescale and VOI; ``range`` and
            ``percentile``: the image's own values, padding left out.
        limits: What the file may be and take; None: the defaults.

    Returns:
        One image per frame, bone bright; padding is black.

    Raises:
        UnreadableImage: The file is no chest projection image, or its pixels cannot be decoded.
        Exception: Whatever the DICOM library raises on a damaged file; `read_images` turns it into
            `UnreadableImage`.
    """
    options = options or Dicom()
    limits = limits or Limits()
    ds = _open_file(path, limits)
    header.refuse_unfit(ds)
    frames = next((int(number) for number in read_numbers(ds, "NumberOfFrames") if number > 0), 1)
    check_frames(frames, limits)
    source = codec.open_pixel_data(ds, frames)
    module = read_pixel_module(ds, source.header)
    check_pixels(module.columns, module.rows, module.frames, _cost(module), limits)
    samples = codec.decode_pixels(ds, module, source)
    module = replace(module, stored=samples.bits)
    return [_read_frame(ds, module, samples, n, options, scale) for n in range(module.frames)]


def _open_file(path: Path, limits: Limits) -> Any:
    """The data set with the transfer syntax that it is written in."""
    import pydicom

    ds = open_dataset(path, limits)
    meta = getattr(ds, "file_meta", None)
    if meta is None:
        ds.file_meta = meta = pydicom.dataset.FileMetaDataset()
    if not meta.get("TransferSyntaxUID"):
        meta.TransferSyntaxUID = _native_syntax(ds)
    return ds


def _cost(module: PixelModule) -> int:
    """Bytes per pixel at the peak: as stored, decoded and shifted, and as float32."""
    return 4 + 4 * module.samples * ((module.allocated + 7) // 8)


def _native_syntax(ds: Any) -> Any:
    """Transfer syntax of a file that does not state it, from how its elements are written."""
    from pydicom import uid

    implicit, little = ds.original_encoding
    if implicit:
        return uid.ImplicitVRLittleEndian
    return uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian


def _read_frame(
    ds: Any,
    module: PixelModule,
    samples: codec.Samples,
    number: int,
    options: Dicom,
    scale: Scale,
) -> XRay:
    if module.photometric in GREY:
        pixels, notes = _read_grey(ds, module, samples, number, options, scale)
    else:
        colours = _read_colour(ds, module, samples.frames[number])
        pixels, notes = stretch(colours, scale), ("colour",)
    return XRay(
        pixels=pixels,
        bits=module.stored,
        format=f"dicom:{ds.file_meta.TransferSyntaxUID.name}",
        view=header.read_view(ds),
        spacing=header.read_spacing(ds),
        identity=header.read_identity(ds),
        notes=(*notes, *note_narrow_range(pixels), *samples.notes, *header.read_notes(ds)),
    )


def _read_grey(
    ds: Any,
    module: PixelModule,
    samples: codec.Samples,
    number: int,
    options: Dicom,
    scale: Scale,
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """The display steps in the standard's order, then scaling, then black padding."""
    frame = samples.frames[number]
    lowest, highest = stored_range(module.stored, module.signed)
    histogram = _count_values(frame, lowest, highest)
    counted, output_hidden = histogram, np.zeros(len(histogram), bool)
    mask = None if samples.hidden is None else samples.hidden[number]
    if mask is not None:
        counted = _count_values(frame[~mask][None], lowest, highest)
    elif module.padding is not None:
        first, last = module.padding
        output_hidden[max(0, first - lowest) : max(0, last - lowest + 1)] = True
        counted = np.where(output_hidden, 0, histogram)
    table = make_display_table(
        _scope(ds, number), module.stored, module.signed, counted, options.voi
    )
    inverted = _is_inverted(ds, module, options)
    output = stretch_table(1.0 - table.output if inverted else table.output, counted, scale)
    output[output_hidden] = 0.0
    pixels = _look_up(frame, lowest, output.astype(np.float32))
    if mask is not None:
        pixels[mask] = 0.0
    share = 1.0 - float(counted.sum()) / frame.size
    notes = (
        *table.notes,
        *(("inverted",) if inverted else ()),
        *((f"padding {share:.0%}",) if share else ()),
    )
    return pixels, notes


def _count_values(frame: NDArray[Any], lowest: int, highest: int) -> NDArray[np.int64]:
    """Pixel counts of each stored value, lowest first."""
    counts = np.zeros(highest - lowest + 1, np.int64)
    for rows in _list_row_blocks(frame):
        index = frame[rows].astype(np.intp).reshape(-1) - lowest
        counts += np.bincount(index, minlength=len(counts))
    return counts


def _look_up(frame: NDArray[Any], lowest: int, output: NDArray[np.float32]) -> NDArray[np.float32]:
    pixels = np.empty(frame.shape, np.float32)
    for rows in _list_row_blocks(frame):
        pixels[rows] = output[frame[rows].astype(np.intp) - lowest]
    return pixels


def _list_row_blocks(frame: NDArray[Any]) -> Iterator[slice]:
    """Rows in blocks that fit the processor's cache (indices take 8 bytes per pixel)."""
    step = max(1, BLOCK // frame.shape[1])
    return (slice(row, row + step) for row in range(0, frame.shape[0], step))


def _is_inverted(ds: Any, module: PixelModule, options: Dicom) -> bool:
    """Whether low values mean white: MONOCHROME1 or an inverse presentation LUT, never twice."""
    if options.photometric != "auto":
        return options.photometric == "monochrome1"
    inverse = read_text(ds, "PresentationLUTShape").upper() == "INVERSE"
    return module.photometric == "MONOCHROME1" or inverse


def _scope(ds: Any, frame: int) -> list[Any]:
    """Where attributes of one frame may stand: the file, then functional groups (C.7.6.16)."""
    per_frame = read_value(ds, "PerFrameFunctionalGroupsSequence")
    groups = []
    if isinstance(per_frame, Sequence) and frame < len(per_frame):
        groups.append(per_frame[frame])
    groups += read_items(ds, "SharedFunctionalGroupsSequence")[:1]
    names = ("FrameVOILUTSequence", "PixelValueTransformationSequence")
    return [ds, *(item for g in groups for name in names for item in read_items(g, name)[:1])]


def _read_colour(ds: Any, module: PixelModule, frame: NDArray[Any]) -> NDArray[np.float32]:
    """RGB or palette colour as grey; refuses real colour pictures."""
    if module.photometric == "PALETTE COLOR":
        from pydicom.pixels import apply_color_lut

        try:
            rgb = np.asarray(apply_color_lut(frame, ds))[..., :3]
        except Exception:
            raise UnreadableImage("bad_lut", "the palette is missing or malformed") from None
    else:
        rgb = frame
    fault = check_colour(rgb)
    if fault is not None:
        raise fault
    return luma(rgb)
