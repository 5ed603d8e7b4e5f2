"""DICOM Segmentations: a region of an image, written by highdicom."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isnet_cli import __version__
from isnet_cli.output.dicom.derived import finish, make_source, name_instance, refer_to_frame
from isnet_cli.output.dicom.filing import MAKER, Filing
from isnet_cli.text.forms import for_dicom


@dataclass(frozen=True)
class Kind:
    """What a segment is, in DICOM's codes.

    Attributes:
        category: Value, scheme and meaning of the category.
        type: The same of the type.
        content: Label of the object's content, upper case.
    """

    category: tuple[str, str, str]
    type: tuple[str, str, str]
    content: str


REGION = Kind(
    ("309825002", "SCT", "Spatial and Relational Concept"),
    ("111030", "DCM", "Image Region"),
    "RELEVANCE",
)
LUNGS = Kind(("123037004", "SCT", "Anatomical Structure"), ("39607008", "SCT", "Lung"), "LUNGS")


def segmentation(
    region: NDArray[np.bool_],
    filing: Filing,
    *,
    series: str,
    target: str,
    number: int,
    meaning: str,
    model: str,
    kind: Kind = REGION,
) -> bytes:
    """A region as a DICOM file: one binary segment on the original image's pixels.

    Args:
        region: [H, W].
        filing: Patient, study, and the image that the segment refers to.
        series: Name of the method; the description of the series.
        target: The explained class, or what is segmented; label of the segment.
        number: Instance number, from 1.
        meaning: What the region is, in a sentence.
        model: Serial number of the device: which weights.
        kind: What the segment is.
    """
    import highdicom
    from pydicom.sr.coding import Code

    description = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label=for_dicom(f"{target}: {series}"),
        segmented_property_category=Code(*kind.category),
        segmented_property_type=Code(*kind.type),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=MAKER, version=__version__, family=Code("123109", "DCM", "Artificial Intelligence")
        ),
    )
    with _silent("highdicom"):  # it reports empty regions, which are no fault
        ds = highdicom.seg.Segmentation(
            source_images=[make_source(filing, region.shape)],
            pixel_array=region[None],
            segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[description],
            **name_instance(filing, "seg", series, target, number),
            manufacturer_model_name=MAKER,
            software_versions=__version__,
            device_serial_number=model,
            series_description=for_dicom(f"isnet: {series}"),
            content_label=kind.content,
            content_description=for_dicom(meaning),
            omit_empty_frames=False,
        )
    ds.PatientOrientation = list(filing.orientation) or ""  # in place of a plane in space
    refer_to_frame(ds, filing)
    return finish(ds, filing)


@contextlib.contextmanager
def _silent(name: str) -> Iterator[None]:
    """Drops what this thread logs under `name`; other threads may do the same at the same time."""
    logger, own = logging.getLogger(name), threading.get_ident()

    def of_others(record: logging.LogRecord) -> bool:
        return record.thread != own

    logger.addFilter(of_others)
    try:
        yield
    finally:
        logger.removeFilter(of_others)
