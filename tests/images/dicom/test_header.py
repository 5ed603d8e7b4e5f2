from __future__ import annotations

from typing import Any

import pytest
from pydicom.dataset import Dataset

from isnet_cli.errors import UnreadableImage
from isnet_cli.images.dicom.header import (
    read_identity,
    read_notes,
    read_spacing,
    read_view,
    refuse_unfit,
)

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR")  # odd values on purpose
STORAGE = "1.2.840.10008.5.1.4.1.1."


def header(**attributes: Any) -> Dataset:
    ds = Dataset()
    ds.PixelData = b"\0\0"
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def code(meaning: str) -> list[Dataset]:
    item = Dataset()
    item.CodeMeaning = meaning
    return [item]


@pytest.mark.parametrize("modality", ["CR", "DX", "RG", "RF", "OT", "SC", "dx", "", None])
def test_projection_images_pass(modality: str | None) -> None:
    refuse_unfit(header(Modality=modality, BodyPartExamined="CHEST"))


@pytest.mark.parametrize(
    "tail", ["1", "1.1", "1.1.1", "7", "7.2", "12.2"], ids=lambda tail: f"class {tail}"
)
def test_projection_classes_pass(tail: str) -> None:
    refuse_unfit(header(SOPClassUID=STORAGE + tail))


def test_unknown_and_private_classes_pass() -> None:
    refuse_unfit(header(SOPClassUID="1.2.3.4"))
    refuse_unfit(header(SOPClassUID=STORAGE + "999"))


@pytest.mark.parametrize(
    ("attributes", "reason", "words"),
    [
        ({"Modality": "CT"}, "modality", "CT (computed tomography)"),
        ({"Modality": "MG"}, "modality", "MG (mammography)"),
        ({"Modality": "CANARY"}, "modality", "another modality"),
        ({"SOPClassUID": STORAGE + "2"}, "modality", "CT Image Storage"),
        ({"Modality": "OT", "SOPClassUID": STORAGE + "66.4"}, "modality", "Segmentation Storage"),
        ({"Modality": "SR"}, "modality", "SR (structured report)"),
        ({"BodyPartExamined": "KNEE"}, "body_part", "KNEE"),
        ({"BodyPartExamined": "Left Hand"}, "body_part", "HAND"),
        ({"BodyPartExamined": "LSPINE"}, "body_part", "LSPINE"),
    ],
)
def test_others_are_refused_with_the_reason(attributes, reason: str, words: str) -> None:
    with pytest.raises(UnreadableImage) as caught:
        refuse_unfit(header(**attributes))
    assert caught.value.reason == reason
    assert words in caught.value.detail


def test_an_object_without_pixels_is_refused() -> None:
    ds = header(Modality="DX")
    del ds.PixelData
    with pytest.raises(UnreadableImage) as caught:
        refuse_unfit(ds)
    assert caught.value.reason == "no_pixels"


@pytest.mark.parametrize(
    "part",
    ["CHEST", "Thorax", "TORAX", "PORT CHEST", "LUNGS", "CHEST ABDOMEN", "UNKNOWN", "", "HANDSOME"],
)
def test_chest_and_undecided_body_parts_pass(part: str) -> None:
    refuse_unfit(header(BodyPartExamined=part))


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, "unknown"),
        ({"ViewPosition": "PA"}, "frontal"),
        ({"ViewPosition": "ap"}, "frontal"),
        ({"ViewPosition": "LL"}, "lateral"),
        ({"ViewPosition": "LATERAL"}, "lateral"),
        ({"ViewPosition": "LLD"}, "unknown"),
        ({"ViewPosition": "RLO"}, "unknown"),
        ({"ViewPosition": "LLD", "SeriesDescription": "Thorax pa"}, "unknown"),
        ({"ViewPosition": "", "SeriesDescription": "Thorax pa"}, "frontal"),
        ({"ViewCodeSequence": code("postero-anterior")}, "frontal"),
        ({"ViewCodeSequence": code("Antero-posterior")}, "frontal"),
        ({"ViewCodeSequence": code("left lateral")}, "lateral"),
        ({"PatientOrientation": ["L", "F"]}, "frontal"),
        ({"PatientOrientation": ["R", "F"]}, "frontal"),
        ({"PatientOrientation": ["P", "F"]}, "lateral"),
        ({"PatientOrientation": ["LA", "F"]}, "unknown"),
        ({"PatientOrientation": ["L", "P"]}, "unknown"),
        ({"PatientOrientation": ["P", "F"], "ViewPosition": "PA"}, "frontal"),
        ({"SeriesDescription": "W033 Thorax a.p."}, "frontal"),
        ({"SeriesDescription": "CHEST_PA"}, "frontal"),
        ({"SeriesDescription": "Chest lat."}, "lateral"),
        ({"SeriesDescription": "Chest PA and LAT"}, "unknown"),
        ({"SeriesDescription": "AP lateral decubitus"}, "unknown"),
        ({"SeriesDescription": "Capacity"}, "unknown"),
        ({"SeriesDescription": "x", "ProtocolName": "Thorax seitlich"}, "lateral"),
        ({"AcquisitionDeviceProcessingDescription": "CHEST, FRN"}, "frontal"),
    ],
)
def test_view(attributes: dict[str, Any], expected: str) -> None:
    assert read_view(header(**attributes)) == expected


def test_identity_keeps_leading_zeros_and_is_empty_when_unknown() -> None:
    found = read_identity(header(PatientID="007 ", AccessionNumber="A1", SOPInstanceUID="1.2.3"))
    assert (found.patient, found.accession, found.uid) == ("007", "A1", "1.2.3")
    nothing = read_identity(header(PatientID=None))
    assert (nothing.patient, nothing.accession, nothing.uid) == ("", "", "")


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"PixelSpacing": ["0.2", "0.3"]}, (0.2, 0.3)),
        ({"PixelSpacing": [0.2, 0.3], "ImagerPixelSpacing": [1, 1]}, (0.2, 0.3)),
        ({"ImagerPixelSpacing": [0.143, 0.143]}, (0.143, 0.143)),
        ({"PixelSpacing": [0, 0], "NominalScannedPixelSpacing": [0.1, 0.1]}, (0.1, 0.1)),
        ({"PixelSpacing": 0.2}, None),
        ({}, None),
    ],
)
def test_spacing(attributes: dict[str, Any], expected) -> None:
    assert read_spacing(header(**attributes)) == expected


def test_notes_name_doubts() -> None:
    found = read_notes(
        header(
            PresentationIntentType="FOR PROCESSING",
            PatientOrientation=["R", "F"],
            BurnedInAnnotation="YES",
        )
    )
    assert found == (
        "for processing, not for display",
        "mirrored by its patient orientation",
        "burned-in annotation",
    )
    assert read_notes(header(PatientOrientation=["L", "F"], BurnedInAnnotation="NO")) == ()
