"""What segmentations, maps and reports of an image share: names, source, end; by highdicom."""

from __future__ import annotations

from typing import Any

from isnet_cli.output.dicom.filing import MAKER, SERIES, Filing, to_bytes

SCHEME = "99ISNET"  # of codes of our own: the standard's vocabularies have none for relevance
NO_DATE, NO_TIME = "19000101", "000000"  # of an image without identity: the standard wants some


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


def name_instance(
    filing: Filing, kind: str, series: str, target: str, number: int
) -> dict[str, Any]:
    """Arguments of highdicom's classes that say which object it is, and whose work.

    Args:
        filing: Of the image that it is about.
        kind: Key of `SERIES`.
        series: Name of the method.
        target: The explained class.
        number: Instance number, from 1.
    """
    return {
        "series_instance_uid": filing.series(kind, series),
        "series_number": SERIES[kind],
        "sop_instance_uid": filing.uid(kind, series, target),
        "instance_number": number,
        "manufacturer": MAKER,
    }


def refer_to_frame(ds: Any, filing: Filing) -> None:
    """Names the frame of a segmentation's or map's image, which highdicom does not copy.

    A segmentation has no pixel measures: a projection has no plane in space, and readers that find
    measures without a plane refuse the file. Its pixels are those of the image it refers to.
    """
    if filing.frame:
        made_from = [item for group in ds.PerFrameFunctionalGroupsSequence
                     for item in group.DerivationImageSequence]  # fmt: skip
        for item in (ds, *made_from):
            item.SourceImageSequence[0].ReferencedFrameNumber = filing.frame


def finish(ds: Any, filing: Filing) -> bytes:
    """The bytes of an object; the removal of the identity is stated, as for the image."""
    for keyword in ("PatientIdentityRemoved", "DeidentificationMethod"):
        if keyword in filing.header:
            ds[keyword] = filing.header[keyword]
    _make_repeatable(ds, filing)
    return to_bytes(ds)


def _make_repeatable(ds: Any, filing: Filing) -> None:
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
