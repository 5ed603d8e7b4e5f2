"""DICOM Segmentations: a region of an image, written by highdicom."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isnet_cli import __version__
from isnet_cli.output.dicom.filing import MAKER, SERIES, Filing, to_bytes
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
NO_DATE, NO_TIME = "19000101", "000000"  # of an image without identity: the standard wants some
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
            series_instance_uid=filing.series("seg", series),
            series_number=SERIES["seg"],
            sop_instance_uid=filing.uid("seg", series, target),
            instance_number=number,
            manufacturer=MAKER,
            manufacturer_model_name=MAKER,
            software_versions=__version__,
            device_serial_number=model,
            series_description=for_dicom(f"isnet: {series}"),
            content_label=kind.content,
            content_description=for_dicom(meaning),
            omit_empty_frames=False,
        )
    ds.PatientOrientation = list(filing.orientation) or ""  # in place of a plane in space
    complete(ds, filing)
    make_repeatable(ds, filing)
    return to_bytes(ds)


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


def make_source(filing: Filing, size: tuple[int, ...]) -> Any:
    """What highdicom has to know of the image: whose it is, which one, how large."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    ds = Dataset()
    ds.update(filing.header)
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID, ds.SOPInstanceUID, ds.SeriesInstanceUID = filing.reference
    ds.Modality = "OT"
    ds.Rows, ds.Columns = size
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def complete(ds: Any, filing: Filing) -> None:
    """What highdicom does not copy: the removal of the identity, the frame referred to.

    Args:
        ds: A segmentation or map, which is changed.
        filing: Of the image it refers to.

    A segmentation has no pixel measures: a projection has no plane in space, and readers that find
    measures without a plane refuse the file. Its pixels are those of the image it refers to.
    """
    for keyword in ("PatientIdentityRemoved", "DeidentificationMethod"):
        if keyword in filing.header:
            ds[keyword] = filing.header[keyword]
    if filing.frame:
        made_from = [item for group in ds.PerFrameFunctionalGroupsSequence
                     for item in group.DerivationImageSequence]  # fmt: skip
        for item in (ds, *made_from):
            item.SourceImageSequence[0].ReferencedFrameNumber = filing.frame


def make_repeatable(ds: Any, filing: Filing) -> None:
    """Replaces what highdicom draws at random or takes from the clock: same input, same bytes.

    Date and time of the content, which the standard requires, are those of the study.
    """
    ds.ContentDate = filing.header.get("StudyDate") or NO_DATE
    ds.ContentTime = filing.header.get("StudyTime") or NO_TIME
    for keyword in ("InstanceCreationDate", "InstanceCreationTime"):
        if keyword in ds:
            del ds[keyword]
    for item in ds.get("ContributingEquipmentSequence", ()):
        if "ContributionDateTime" in item:
            del item.ContributionDateTime
    dimensions = ("DimensionOrganizationSequence", "DimensionIndexSequence")
    for item in (item for name in dimensions for item in ds.get(name, ())):
        item.DimensionOrganizationUID = filing.uid("dimensions", ds.SOPInstanceUID)
