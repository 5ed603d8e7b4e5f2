"""DICOM files of made-up patients: digital X-ray images (DX, for presentation).

They carry an identity, as real files do, so that what becomes of it can be watched; every
name, number and date is invented.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Photometric = Literal["MONOCHROME1", "MONOCHROME2"]

DX_FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.1"
_FAMILIES = ("MUSTER", "ESEMPIO", "EXEMPLE", "PROVA", "SPECIMEN", "BEISPIEL", "SAMPLE", "MALLI")
_GIVEN = ("ALEX", "ROBIN", "KIM", "SASCHA", "JO", "CHARLIE", "NIKI", "TONI", "LOU", "SAM")


@dataclass(frozen=True)
class Person:
    """Identity of an invented patient.

    Attributes:
        name: DICOM person name.
        number: Patient ID.
        birth: Date of birth, YYYYMMDD.
        sex: ``F``, ``M`` or ``O``.
    """

    name: str
    number: str
    birth: str
    sex: Literal["F", "M", "O"]


def invent_person(patient: int, hospital: str) -> Person:
    """The made-up patient number `patient` of a hospital; the same every time."""
    rng = np.random.default_rng(int.from_bytes(_hash_parts("person", hospital, patient), "big"))
    family, given = rng.choice(_FAMILIES), rng.choice(_GIVEN)
    return Person(
        name=f"{family}{patient:03d}^{given}",
        number=f"{hospital}{rng.integers(10**6):06d}{patient:03d}",
        birth=f"{rng.integers(1935, 2004)}{rng.integers(1, 13):02d}{rng.integers(1, 29):02d}",
        sex="F" if rng.random() < 0.5 else "M",
    )


def write_dicom(
    path: Path,
    pixels: NDArray[np.float32],
    *,
    person: Person,
    bits: Literal[12, 16] = 12,
    photometric: Photometric = "MONOCHROME2",
    rle: bool = False,
    view: Literal["PA", "AP"] = "PA",
    spacing: float = 0.8,
    institution: str = "",
    image: int = 0,
) -> None:
    """Writes one image as a DX image.

    Args:
        path: File to write; its folder exists.
        pixels: [H, W] float32, 0 to 1, bone bright.
        person: Whose image it is.
        bits: Bits stored; 16 are allocated.
        photometric: ``MONOCHROME1`` stores the image inverted (bone dark).
        rle: Compress losslessly (RLE) instead of storing native pixels.
        view: View position.
        spacing: Imager pixel spacing, mm.
        institution: Name of the hospital.
        image: Number of the image of this patient; part of the accession number and the UIDs, which
            depend on nothing else but `person` and `institution`.

    Raises:
        ValueError: When `pixels` is not a 2-D array within 0 to 1.
    """
    from pydicom.uid import ExplicitVRLittleEndian, RLELossless

    if pixels.ndim != 2 or pixels.min() < 0 or pixels.max() > 1:
        raise ValueError("pixels: expected [H, W] with values from 0 to 1")
    top = (1 << bits) - 1
    bright = 1 - pixels if photometric == "MONOCHROME1" else pixels
    stored = np.rint(bright.astype(np.float64) * top).astype("<u2")
    ds = _describe_object(person, institution, view, image)
    _add_pixel_module(ds, stored, bits, photometric, spacing)
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if rle:
        ds.compress(RLELossless, generate_instance_uid=False)
    ds.save_as(path, enforce_file_format=True)


def _describe_object(person: Person, institution: str, view: str, image: int) -> Any:
    """Everything but the pixels."""
    from pydicom.dataset import Dataset, FileMetaDataset

    source = (person.number, institution, image)
    instance = _make_uid("instance", *source)
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = DX_FOR_PRESENTATION
    ds.file_meta.MediaStorageSOPInstanceUID = instance
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID, ds.SOPInstanceUID = DX_FOR_PRESENTATION, instance
    ds.PatientName, ds.PatientID = person.name, person.number
    ds.PatientBirthDate, ds.PatientSex = person.birth, person.sex
    _add_study(ds, source, institution, image)
    ds.SeriesInstanceUID, ds.SeriesNumber, ds.InstanceNumber = _make_uid("series", *source), 1, 1
    ds.Modality, ds.PresentationIntentType = "DX", "FOR PRESENTATION"
    ds.Manufacturer, ds.ManufacturerModelName = "Phantom", "Synthetic images"
    ds.ImageType = ["DERIVED", "PRIMARY"]
    ds.ImageLaterality, ds.BodyPartExamined, ds.ViewPosition = "U", "CHEST", view
    ds.PatientOrientation = ["L", "F"]
    ds.AnatomicRegionSequence = [_make_code("51185008", "SCT", "Chest")]
    code = ("399348003", "postero-anterior") if view == "PA" else ("399173006", "antero-posterior")
    ds.ViewCodeSequence = [_make_code(code[0], "SCT", code[1])]
    ds.ViewCodeSequence[0].ViewModifierCodeSequence = []
    ds.AcquisitionContextSequence = []
    ds.BurnedInAnnotation, ds.LossyImageCompression = "YES", "00"
    ds.DetectorType, ds.KVP = "SCINTILLATOR", 120
    return ds


def _add_study(ds: Any, source: tuple[Any, ...], institution: str, image: int) -> None:
    number = int.from_bytes(_hash_parts("study", *source)[:4], "big")
    ds.StudyInstanceUID = _make_uid("study", *source)
    ds.StudyID, ds.AccessionNumber = str(image + 1), f"ACC{number % 10**8:08d}"
    day = f"20{number % 6 + 18}{number // 7 % 12 + 1:02d}{number // 89 % 28 + 1:02d}"
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = ds.AcquisitionDate = day
    ds.StudyTime = ds.ContentTime = f"{number % 12 + 7:02d}{number // 13 % 60:02d}00"
    ds.ReferringPhysicianName, ds.InstitutionName = "REFERRER^INVENTED", institution
    ds.StudyDescription = "Chest frontal"


def _add_pixel_module(
    ds: Any, stored: NDArray[np.uint16], bits: int, photometric: Photometric, spacing: float
) -> None:
    ds.Rows, ds.Columns = stored.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, photometric
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, bits, bits - 1, 0
    ds.ImagerPixelSpacing = [round(spacing, 4), round(spacing, 4)]
    inverse = photometric == "MONOCHROME1"
    ds.PixelIntensityRelationship = "LOG"
    ds.PixelIntensityRelationshipSign = 1 if inverse else -1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 0, 1, "US"
    ds.PresentationLUTShape = "INVERSE" if inverse else "IDENTITY"
    ds.WindowCenter, ds.WindowWidth = 1 << (bits - 1), 1 << bits
    ds.PixelData = stored.tobytes()


def _make_code(value: str, scheme: str, meaning: str) -> Any:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _hash_parts(*parts: Any) -> bytes:
    text = "\0".join(str(part) for part in parts)
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _make_uid(*parts: Any) -> str:
    """A UID below 2.25 (ISO/IEC 9834-8) that depends on `parts` alone."""
    return f"2.25.{int.from_bytes(_hash_parts(*parts), 'big')}"
