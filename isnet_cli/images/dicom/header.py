"""What a DICOM header states besides the pixels: fit for use, view, identity, spacing.

Messages built here quote only terms that the standard defines, never a free text of the file.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from isnet_cli.core.records.facts import Facts, read_decade, read_projection, read_sex, shorten
from isnet_cli.errors import UnreadableImage
from isnet_cli.images.dicom.attributes import read_items, read_numbers, read_text, read_value
from isnet_cli.images.types import Identity

PROJECTION = frozenset({"CR", "DX", "DR", "RG", "RF", "XR", "OT", "SC", "HC", ""})
MIRRORED = "mirrored by its patient orientation"  # the note of such images
MODALITIES = {
    "CT": "computed tomography",
    "MR": "magnetic resonance",
    "US": "ultrasound",
    "NM": "nuclear medicine",
    "PT": "positron emission tomography",
    "MG": "mammography",
    "XA": "angiography",
    "IO": "intra-oral radiography",
    "PX": "panoramic radiography",
    "BMD": "bone densitometry",
    "SEG": "segmentation",
    "SR": "structured report",
    "PR": "presentation state",
    "KO": "key object selection",
    "DOC": "document",
    "ECG": "electrocardiography",
    "ES": "endoscopy",
    "GM": "general microscopy",
    "SM": "slide microscopy",
    "OP": "ophthalmic photography",
    "OPT": "ophthalmic tomography",
    "RTIMAGE": "radiotherapy image",
    "RTDOSE": "radiotherapy dose",
    "RTPLAN": "radiotherapy plan",
    "RTSTRUCT": "radiotherapy structure set",
    "REG": "registration",
    "AU": "audio",
}
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_PROJECTION_CLASSES = frozenset(
    _STORAGE + tail
    for tail in ("1", "1.1", "1.1.1", "12.2", "7", "7.1", "7.2", "7.3", "7.4", "12.2.1")
)  # CR, DX for presentation and processing, fluoroscopy, secondary captures
_CHEST = re.compile(r"CHEST|THOR|TORAX|TÓRAX|LUNG|PULM|CXR|HEART|RIB|STERNUM|BABYGRAM|TRUNK")
_ELSEWHERE = re.compile(
    r"\b(ABDOMEN|ANKLE|ARM|BREAST|CALCANEUS|CLAVICLE|COCCYX|C-?SPINE|CERVICAL SPINE|ELBOW|FEMUR"
    r"|FINGER|FOOT|FOREARM|HAND|HEAD|HIP|HUMERUS|JAW|KNEE|L-?SPINE|LUMBAR SPINE|LEG|MANDIBLE"
    r"|MAXILLA|NECK|PATELLA|PELVIS|SHOULDER|SKULL|SACRUM|TIBIA|TIBIA FIBULA|TOE|TOOTH|WRIST)\b"
)
_FRONTAL = re.compile(
    r"(?<![A-Z])(PA|AP|FRONTAL|FRN)(?![A-Z])|POSTERO-?\s?ANTERIOR|ANTERO-?\s?POST"
)
_LATERAL = re.compile(r"(?<![A-Z])(LAT|LATERAL|LL|RL|SEITLICH|PROFIL|PERFIL)(?![A-Z])")
_PLANE = re.compile(r"\b(AXIAL|TRANSAXIAL|TRANSVERSE|CORONAL|SAGITTAL)\b")
_OTHER = re.compile(r"OBL|DECUB|APICAL|LORDO|TANGENT|(?<![A-Z])(LAO|RAO|LPO|RPO|LLD|RLD)(?![A-Z])")


def refuse_unfit(ds: Any) -> None:
    """Refuses what cannot be a chest projection image by its header.

    Missing and unknown statements pass: only a stated other modality, kind of object or body
    part is a reason.

    Raises:
        UnreadableImage: ``modality``, ``depth``, ``truncated``, ``no_pixels`` or ``body_part``.
    """
    from pydicom.uid import UID

    refuse_modality(read_text(ds, "Modality"))
    refuse_plane(read_text(ds, "ViewPosition"))
    kind = UID(read_text(ds, "SOPClassUID"))
    if kind.startswith(_STORAGE) and kind.name != kind and kind not in _PROJECTION_CLASSES:
        raise UnreadableImage(
            "modality", f"{kind.name}, expected the storage of a projection image"
        )
    if "FloatPixelData" in ds or "DoubleFloatPixelData" in ds:
        raise UnreadableImage("depth", "floating-point pixel data, expected 1 to 16 bits")
    if "PixelData" not in ds and read_numbers(ds, "Rows"):
        raise UnreadableImage("truncated", "an image is described, but its pixel data are cut off")
    if "PixelData" not in ds:
        raise UnreadableImage("no_pixels", "a DICOM object without pixel data, expected an image")
    refuse_body_part(read_text(ds, "BodyPartExamined"))


def refuse_modality(stated: str) -> None:
    """Refuses a stated modality that makes no projection image; none stated passes.

    Raises:
        UnreadableImage: ``modality``.
    """
    modality = stated.strip().upper()
    if modality not in PROJECTION:
        words = MODALITIES.get(modality)
        name = f"{modality} ({words})" if words else "another modality"
        raise UnreadableImage("modality", f"{name}, expected a projection image (CR, DX, RG, ...)")


def refuse_plane(stated: str) -> None:
    """Refuses a stated view that is a plane of sections (CT, MR); ``AP axial`` is a projection.

    Raises:
        UnreadableImage: ``modality``.
    """
    upper = stated.upper()
    match = _PLANE.search(upper)
    if match and not _FRONTAL.search(upper) and not _LATERAL.search(upper):
        raise UnreadableImage(
            "modality", f"view {match.group(1)}, a plane of sections, expected a projection image"
        )


def refuse_body_part(stated: str) -> None:
    """Refuses a stated body part that is not the chest; unknown words pass.

    Raises:
        UnreadableImage: ``body_part``.
    """
    part = stated.upper().replace("_", " ")
    match = _ELSEWHERE.search(part)
    if match and not _CHEST.search(part):
        raise UnreadableImage("body_part", f"body part {match.group(1)}, expected chest")


def read_view(ds: Any) -> str:
    """``frontal``, ``lateral`` or ``unknown``, by the first statement that decides.

    In this order: ViewPosition, the meaning of ViewCodeSequence, PatientOrientation (rows
    towards left or right: frontal; towards front or back: lateral), then descriptions of the
    series. A description that names both or an oblique or decubitus view decides nothing.
    """
    stated = [read_text(ds, "ViewPosition")]
    codes = read_items(ds, "ViewCodeSequence")[:1]
    stated += [read_text(code, "CodeMeaning") for code in codes]
    for words in stated:
        if words:
            found = parse_view(words)
            if found != "unknown" or _OTHER.search(words.upper()):
                return found
    orientation = _read_orientation(ds)
    if len(orientation) == 2 and orientation[1] in ("F", "H"):
        if orientation[0] in ("L", "R"):
            return "frontal"
        if orientation[0] in ("A", "P"):
            return "lateral"
    for keyword in ("SeriesDescription", "ProtocolName", "AcquisitionDeviceProcessingDescription"):
        found = parse_view(read_text(ds, keyword))
        if found != "unknown":
            return found
    return "unknown"


def parse_view(words: str) -> str:
    """``frontal``, ``lateral`` or ``unknown`` by words such as PA, AP supine, LL, Lateral."""
    upper = words.upper().replace("_", " ").replace(".", "")
    if _OTHER.search(upper):
        return "unknown"
    frontal, lateral = bool(_FRONTAL.search(upper)), bool(_LATERAL.search(upper))
    if frontal == lateral:
        return "unknown"
    return "frontal" if frontal else "lateral"


def _read_orientation(ds: Any) -> list[str]:
    value = read_value(ds, "PatientOrientation") or []
    several = hasattr(value, "__iter__") and not isinstance(value, (str, bytes))
    return [str(part).strip().upper() for part in (value if several else [value])]


def read_identity(ds: Any) -> Identity:
    """Facts for joining labels and grouping patients; memory only."""
    return Identity(
        patient=read_text(ds, "PatientID"),
        accession=read_text(ds, "AccessionNumber"),
        uid=read_text(ds, "SOPInstanceUID"),
    )


def read_facts(ds: Any) -> Facts:
    """Sex, decade of age, projection and device; each empty when it is not stated.

    The age is the stated one, else the years between birth and study.
    """
    age = read_decade(read_text(ds, "PatientAge"))
    dates = [read_text(ds, name) for name in ("PatientBirthDate", "StudyDate")]
    if not age and all(re.fullmatch(r"\d{8}", date) for date in dates):
        born, done = (int(date) for date in dates)
        age = read_decade(str((done - born) // 10_000)) if done >= born else ""
    return Facts(
        sex=read_sex(read_text(ds, "PatientSex")),
        age=age,
        projection=read_projection(read_text(ds, "ViewPosition")),
        manufacturer=shorten(read_text(ds, "Manufacturer")),
        model=shorten(read_text(ds, "ManufacturerModelName")),
    )


def read_spacing(ds: Any) -> tuple[float, float] | None:
    """Pixel spacing (row, column) in mm: calibrated, else at the detector, else of the scanner."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        found = read_numbers(ds, keyword)
        if len(found) == 2 and np.isfinite(found).all() and min(found) > 0:
            return found[0], found[1]
    return None


def read_notes(ds: Any) -> tuple[str, ...]:
    """Warnings that follow from the header, in short words."""
    found = []
    if read_text(ds, "PresentationIntentType").upper() == "FOR PROCESSING":
        found.append("for processing, not for display")
    if _read_orientation(ds)[:1] == ["R"]:
        found.append(MIRRORED)
    if read_text(ds, "BurnedInAnnotation").upper() == "YES":
        found.append("burned-in annotation")
    return tuple(found)
