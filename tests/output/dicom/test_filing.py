"""Patient and study of DICOM outputs: nobody's, or the source's, and nothing else of it."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from isnet_cli.output.dicom.capture import overlay_capture
from isnet_cli.output.dicom.filing import (
    Filing,
    anonymous,
    join_facts,
    of_source,
    patient_orientation,
)
from tests.images.dicom.factory import dicom_bytes, image_values

SALT, FRONTAL = b"x" * 32, ("L", "F")


def source(**attributes: object) -> Dataset:
    attributes = {"StudyInstanceUID": "2.25.7", "SeriesInstanceUID": "2.25.8", **attributes}
    content = dicom_bytes(image_values(), **attributes)
    ds = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
    ds.decode()
    return ds


def written(filing: Filing) -> Dataset:
    """A small overlay, filed and read back."""
    content = overlay_capture(
        np.zeros((3, 5, 3), np.uint8), filing, series="lrp", target="a", number=1, facts=[]
    )
    return pydicom.dcmread(io.BytesIO(content))


def test_an_anonymous_study_holds_a_key_and_empty_values() -> None:
    filing = anonymous(SALT, "test/a", "0123456789ab", (0.1, 0.2), FRONTAL)
    assert not filing.kept
    assert filing.header.PatientID == "0123456789ab"
    assert filing.header.PatientIdentityRemoved == "YES"
    for keyword in ("PatientName", "PatientBirthDate", "StudyDate", "AccessionNumber"):
        assert not filing.header[keyword].value
    other = anonymous(SALT, "test/b", "0123456789ab", None, ())
    again = anonymous(SALT, "test/a", "0123456789ab", None, ())
    stranger = anonymous(b"y" * 32, "test/a", "0123456789ab", None, ())
    studies = {f.header.StudyInstanceUID for f in (filing, other, again, stranger)}
    assert len(studies) == 3
    for uid in studies:
        assert pydicom.uid.UID(uid).is_valid
        assert uid.startswith("2.25.")


def test_identifiers_are_version_8_uuids() -> None:
    import uuid

    filing = anonymous(SALT, "a", "p", None, ())
    number = int(filing.uid("sc", "x").removeprefix("2.25."))
    assert uuid.UUID(int=number).version == 8
    assert uuid.UUID(int=number).variant == uuid.RFC_4122


def test_a_kept_study_has_the_patient_and_nothing_of_the_machine() -> None:
    ds = source(
        PatientName="MÜLLER^ANNA", SpecificCharacterSet="ISO_IR 100", PatientID="P7",
        StudyDate="20200102", AccessionNumber="A1", InstitutionName="CLINIC",
        OperatorsName="SOMEBODY", PatientAddress="STREET",
    )  # fmt: skip
    filing = of_source(ds, 0, SALT, "a", None, FRONTAL)
    assert filing.kept
    assert filing.reference == (ds.SOPClassUID, ds.SOPInstanceUID, "2.25.8")
    back = written(filing)
    assert str(back.PatientName) == "MÜLLER^ANNA"
    assert (back.PatientID, back.StudyDate, back.StudyInstanceUID) == ("P7", "20200102", "2.25.7")
    assert back.SeriesInstanceUID != "2.25.8"
    for keyword in ("InstitutionName", "OperatorsName", "PatientAddress"):
        assert keyword not in back
    assert "PatientIdentityRemoved" not in back


def test_values_that_break_the_standard_are_kept_as_they_are() -> None:
    ds = source()
    for keyword, vr, value in (("PatientID", "LO", "X" * 80), ("StudyDate", "DA", "2020-1-2")):
        tag = pydicom.datadict.tag_for_keyword(keyword)
        ds[keyword] = DataElement(tag, vr, value, validation_mode=pydicom.config.IGNORE)
    filing = of_source(ds, 0, SALT, "a", None, ())
    back = written(filing)
    assert back.get_item("PatientID").value.strip() == b"X" * 80
    assert back.get_item("StudyDate").value.strip() == b"2020-1-2"


@pytest.mark.parametrize(("frames", "frame", "expected"), [(1, 0, None), (3, 2, 3)])
def test_a_frame_is_referred_to_by_its_number(
    frames: int, frame: int, expected: int | None
) -> None:
    ds = source(NumberOfFrames=frames)
    (item,) = written(of_source(ds, frame, SALT, "a", None, ())).SourceImageSequence
    assert item.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    assert item.ReferencedSOPInstanceUID == ds.SOPInstanceUID
    assert item.get("ReferencedFrameNumber") == expected


def test_geometry_is_written() -> None:
    made = written(anonymous(SALT, "a", "p", (0.1, 1 / 3), FRONTAL))
    assert [float(v) for v in made.PixelSpacing] == pytest.approx([0.1, 1 / 3])
    assert list(made.PatientOrientation) == ["L", "F"]
    assert made.NominalScannedPixelSpacing == made.PixelSpacing
    bare = written(anonymous(SALT, "a", "p", None, ()))
    assert "PixelSpacing" not in bare
    assert not bare.PatientOrientation


def test_texts_are_legal_strings() -> None:
    assert join_facts(["one", "two\\"]) == "one · two/"
    assert patient_orientation("frontal", mirrored=False) == ("L", "F")
    assert patient_orientation("frontal", mirrored=True) == ("R", "F")
    assert patient_orientation("lateral", mirrored=False) == ()
