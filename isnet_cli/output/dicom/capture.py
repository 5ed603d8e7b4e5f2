"""DICOM Secondary Captures: an overlay in colour, and the grey image that others refer to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from isnet_cli.output.dicom.filing import (
    Filing,
    code,
    file_bytes,
    joined,
    new_object,
    source_reference,
    words,
)


def overlay_capture(
    picture: NDArray[np.uint8],
    filing: Filing,
    *,
    series: str,
    target: str,
    number: int,
    facts: Sequence[str],
) -> bytes:
    """An overlay as a DICOM file: RGB, uncompressed, on the original image's pixels.

    Args:
        picture: uint8 [H, W, 3].
        filing: Patient and study.
        series: Name of the method; the description of the series.
        target: The explained class; part of the instance's identifier.
        number: Instance number, from 1.
        facts: Said in ImageComments.
    """
    ds = new_object(filing, "sc", series, filing.uid("sc", series, target), number)
    ds.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    ds.SeriesDescription = words(f"isnet: {series}")
    ds.DerivationDescription = words(f"{series} for {target} over the image", 1024)
    ds.ImageComments = joined([*facts, "Made for research; not for diagnosis."])
    if filing.kept:
        source = source_reference(filing)
        source.PurposeOfReferenceCodeSequence = [
            code("121322", "DCM", "Source image for image processing operation")
        ]
        ds.SourceImageSequence = [source]
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.Rows, ds.Columns = picture.shape[:2]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    return file_bytes(_with_pixels(ds, np.ascontiguousarray(picture, np.uint8).tobytes()))


def image_capture(image: NDArray[np.float32], filing: Filing) -> bytes:
    """An image without identity as a DICOM file: 16-bit grey, bone bright.

    It is the image that the anonymous outputs about an image refer to.

    Args:
        image: [H, W], 0 to 1.
        filing: An anonymous one.
    """
    ds = new_object(filing, "image", "", filing.reference[1], 1)
    ds.ImageType = ["DERIVED", "SECONDARY"]
    ds.SeriesDescription = "isnet: image"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = image.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 0, 1, "US"
    ds.WindowCenter, ds.WindowWidth = 32768, 65536
    stored = np.rint(np.clip(image, 0.0, 1.0) * 65535).astype("<u2")
    return file_bytes(_with_pixels(ds, stored.tobytes()))


def _with_pixels(ds: object, content: bytes) -> object:
    ds.PixelData = content + b"\0" * (len(content) % 2)  # type: ignore[attr-defined]
    return ds
