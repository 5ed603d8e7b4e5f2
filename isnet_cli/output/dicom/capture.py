"""DICOM Secondary Captures: an overlay in colour, and the grey image that others refer to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isnet_cli import __version__
from isnet_cli.output.dicom.filing import CHEST, MAKER, SERIES, Filing, join_facts, to_bytes
from isnet_cli.text.forms import for_dicom

# What highdicom stamps with the time of writing: the same input must give the same bytes.
_TIMES = (
    "InstanceCreationDate", "InstanceCreationTime", "DateOfSecondaryCapture",
    "TimeOfSecondaryCapture", "ContentDate", "ContentTime",
)  # fmt: skip


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
        facts: Go into ImageComments.
    """
    from pydicom.sr.codedict import codes

    ds = _capture(
        np.ascontiguousarray(picture, np.uint8), filing, "sc", series,
        filing.uid("sc", series, target), number, f"isnet: {series}",
    )  # fmt: skip
    ds.DerivationDescription = for_dicom(f"{series} for {target} over the image", 1024)
    ds.ImageComments = join_facts([*facts, "Made for research; not for diagnosis."])
    if filing.kept:
        ds.SourceImageSequence = [
            filing.refer_to_source(codes.DCM.SourceImageForImageProcessingOperation)
        ]
    return to_bytes(ds)


def image_capture(image: NDArray[np.float32], filing: Filing) -> bytes:
    """An image without identity as a DICOM file: 16-bit grey, bone bright.

    It is the image that the anonymous outputs about an image refer to.

    Args:
        image: [H, W], 0 to 1.
        filing: An anonymous one.
    """
    stored = np.rint(np.clip(image, 0.0, 1.0) * 65535).astype(np.uint16)
    ds = _capture(stored, filing, "image", "", filing.reference[1], 1, "isnet: image")
    ds.ImageType = ["DERIVED", "SECONDARY"]
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 0, 1, "US"
    ds.WindowCenter, ds.WindowWidth = 32768, 65536
    return to_bytes(ds)


def _capture(
    pixels: NDArray[Any],
    filing: Filing,
    kind: str,
    method: str,
    instance: str,
    number: int,
    description: str,
) -> Any:
    """A Secondary Capture by highdicom, filed under the patient and study of `filing`."""
    import highdicom

    ds = highdicom.sc.SCImage(
        pixels,
        photometric_interpretation="RGB" if pixels.ndim == 3 else "MONOCHROME2",
        bits_allocated=8 * pixels.itemsize,
        coordinate_system="PATIENT",
        study_instance_uid=filing.header.StudyInstanceUID,
        series_instance_uid=filing.series(kind, method),
        series_number=SERIES[kind],
        series_description=for_dicom(description),
        sop_instance_uid=instance,
        instance_number=number,
        manufacturer=MAKER,
        manufacturer_model_name=MAKER,
        software_versions=__version__,
        patient_orientation=filing.orientation or ("L", "F"),  # empty ones are set below
        pixel_spacing=filing.spacing,
        specific_character_set="ISO_IR 192",
    )
    ds.update(filing.header)  # values of a source that break the standard stay as they are
    ds.ConversionType, ds.PatientOrientation = "SYN", list(filing.orientation) or ""
    ds.BodyPartExamined = CHEST
    if filing.spacing is not None:
        ds.NominalScannedPixelSpacing = ds.PixelSpacing
    for keyword in _TIMES:
        if keyword in ds:
            delattr(ds, keyword)
    for equipment in ds.ContributingEquipmentSequence:
        del equipment.ContributionDateTime
    return ds
