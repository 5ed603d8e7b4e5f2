"""Under which patient and study a DICOM output is filed, its identifiers and texts."""

from __future__ import annotations

import hashlib
import hmac
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from isnet_cli.text.forms import for_dicom

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
MAKER = "isnet"
CHEST = "CHEST"  # which is not one of a pair, so that the standard asks for no side
KEPT = (
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex",
    "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber",
    "ReferringPhysicianName", "StudyDescription",
)  # fmt: skip
REQUIRED = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
    "StudyID", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
SERIES = {
    "image": 9900,
    "sc": 9901,
    "seg": 9902,
    "sr": 9903,
    "pm": 9904,
}  # series numbers, behind those of a scanner


@dataclass(frozen=True)
class Filing:
    """Where the outputs about one image belong.

    Attributes:
        header: Attributes of patient and study (a pydicom data set).
        reference: SOP class, SOP instance and series of the image that outputs refer to.
        frame: Its frame number from 1; 0 for an image of one frame.
        kept: Whether patient and study are those of the source.
        salt: Key of the new unique identifiers; the same salt and names give the same ones.
        name: Of the image, unique in the run.
        spacing: Pixel spacing (row, column), mm, or None.
        orientation: Where rows and columns run, as PatientOrientation; empty when unknown.
    """

    header: Any
    reference: tuple[str, str, str]
    frame: int
    kept: bool
    salt: bytes
    name: str
    spacing: tuple[float, float] | None
    orientation: tuple[str, ...]

    def uid(self, *names: str) -> str:
        """A unique identifier for something about the image."""
        return _uid(self.salt, self.name, *names)

    def series(self, kind: str, method: str) -> str:
        """Series of the outputs of one kind by one method."""
        return self.uid("series", kind, method)

    def refer_to_source(self, purpose: Any) -> Any:
        """A sequence item that names the image which an output was made from.

        Args:
            purpose: Why it is named, as a `pydicom.sr.coding.Code`.
        """
        from highdicom.sr import CodedConcept
        from pydicom.dataset import Dataset

        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = self.reference[:2]
        if self.frame:
            item.ReferencedFrameNumber = self.frame
        item.PurposeOfReferenceCodeSequence = [CodedConcept.from_code(purpose)]
        return item


def anonymous(
    salt: bytes,
    name: str,
    patient: str,
    spacing: tuple[float, float] | None,
    orientation: tuple[str, ...],
) -> Filing:
    """A study of its own for one image, without anything of the source's header.

    Args:
        salt: See `Filing`.
        name: See `Filing`.
        patient: A key that says which images belong together, not who it is.
        spacing: See `Filing`.
        orientation: See `Filing`.
    """
    from pydicom.dataset import Dataset

    header = Dataset()
    for keyword in REQUIRED:
        setattr(header, keyword, "")
    header.PatientID = patient
    header.PatientIdentityRemoved = "YES"
    header.DeidentificationMethod = "Made without the header of the source"
    header.StudyInstanceUID = _uid(salt, name, "study")
    series, image = _uid(salt, name, "series", "image", ""), _uid(salt, name, "image")
    reference = (SECONDARY_CAPTURE, image, series)
    return Filing(header, reference, 0, False, salt, name, spacing, orientation)


def of_source(
    source: Any,
    frame: int,
    salt: bytes,
    name: str,
    spacing: tuple[float, float] | None,
    orientation: tuple[str, ...],
) -> Filing:
    """The study of the image itself: patient and study are copied from its header, nothing else.

    Args:
        source: The image's data set.
        frame: Frame number of the image, from 0.
        salt: See `Filing`.
        name: See `Filing`.
        spacing: See `Filing`.
        orientation: See `Filing`.
    """
    from pydicom.config import IGNORE
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

    header = Dataset()
    for keyword in REQUIRED:
        setattr(header, keyword, "")
    for keyword in KEPT:
        if keyword in source:  # as it stands there, valid or not: it must be found again
            found = source[keyword]
            header[keyword] = DataElement(found.tag, found.VR, found.value, validation_mode=IGNORE)
    reference = tuple(
        str(source[keyword].value)
        for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID")
    )
    many = int(source.get("NumberOfFrames") or 1) > 1
    number = frame + 1 if many else 0
    return Filing(header, reference, number, True, salt, name, spacing, orientation)  # type: ignore[arg-type]


def to_bytes(ds: Any) -> bytes:
    """A data set as a DICOM file."""
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def join_facts(facts: Sequence[str]) -> str:
    """Facts as one comment of at most 1024 characters."""
    return for_dicom(" · ".join(facts), 1024)


def patient_orientation(view: str, *, mirrored: bool) -> tuple[str, ...]:
    """Where rows and columns run: a frontal image shows the patient's left on the right."""
    if view != "frontal":
        return ()
    return ("R" if mirrored else "L", "F")


def _uid(salt: bytes, *names: str) -> str:
    """A UID below 2.25 (ISO/IEC 9834-8) from 122 bits that only the salt's owner can repeat."""
    content = "\0".join(names).encode("utf-8", "surrogateescape")
    digest = bytearray(hmac.new(salt, content, hashlib.sha256).digest()[:16])
    digest[6], digest[8] = digest[6] & 0x0F | 0x80, digest[8] & 0x3F | 0x80  # version 8, RFC 9562
    return f"2.25.{int.from_bytes(digest, 'big')}"
