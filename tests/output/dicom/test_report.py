"""Structured Reports as pydicom and highdicom read them back."""

from __future__ import annotations

import io
import math
import time

import pydicom
import pytest
from highdicom.sr import srread

from isnet_cli.output.dicom.filing import Filing, anonymous, of_source
from isnet_cli.output.dicom.report import IN_LUNGS, PROBABILITY, measurement_report
from tests.output.dicom.test_filing import SALT, source

CLASSES, P = ["normal", "tuberculosis"], [0.123456789, 0.876543211]


def made(filing: Filing, in_lungs: float = 0.75) -> bytes:
    return measurement_report(
        CLASSES, P, filing, size=(30, 40), target="tuberculosis", in_lungs=in_lungs,
        series="lrp flex", number=2, model="0123456789abcdef",
    )  # fmt: skip


def hidden() -> Filing:
    return anonymous(SALT, "test/a", "0123456789ab", None, ("L", "F"))


def figures(content: bytes) -> dict[str, dict[str, float]]:
    """Class -> measurement -> value, by highdicom's reader."""
    report = srread(io.BytesIO(content)).content
    found = {}
    for group in report.get_image_measurement_groups():
        values = {m.name.value: float(m.value) for m in group.get_measurements()}
        found[group.tracking_identifier] = values
    return found


def test_probabilities_and_relevance_come_back() -> None:
    found = figures(made(hidden()))
    assert list(found) == CLASSES
    assert found["normal"] == {PROBABILITY[0]: pytest.approx(P[0], abs=1e-6)}
    assert found["tuberculosis"] == {
        PROBABILITY[0]: pytest.approx(P[1], abs=1e-6), IN_LUNGS[0]: 0.75
    }  # fmt: skip


def test_unknown_relevance_is_left_out() -> None:
    assert set(figures(made(hidden(), math.nan))["tuberculosis"]) == {PROBABILITY[0]}


def test_it_is_a_measurement_report_about_the_image_by_a_device() -> None:
    filing = hidden()
    ds = pydicom.dcmread(io.BytesIO(made(filing)))
    assert ds.SOPClassUID.name == "Enhanced SR Storage"
    assert ds.Modality == "SR"
    template = ds.ContentTemplateSequence[0]
    assert (template.MappingResource, template.TemplateIdentifier) == ("DCMR", "1500")
    evidence = ds.CurrentRequestedProcedureEvidenceSequence[0]
    item = evidence.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert item.ReferencedSOPInstanceUID == filing.reference[1]
    assert ds.PatientIdentityRemoved == "YES"
    assert ds.StudyInstanceUID == filing.header.StudyInstanceUID
    said = {str(e.value) for e in ds.iterall() if e.keyword in ("TextValue", "UID")}
    assert {"0123456789abcdef", "weights SHA-256 0123456789abcdef"} <= said


@pytest.mark.parametrize(("frames", "number"), [(1, None), (4, 3)])
def test_a_kept_study_is_referred_to(frames: int, number: int | None) -> None:
    ds = source(PatientName="MÜLLER^ANNA", SpecificCharacterSet="ISO_IR 100", NumberOfFrames=frames)
    filing = of_source(ds, 2 if frames > 1 else 0, SALT, "a", None, ())
    back = pydicom.dcmread(io.BytesIO(made(filing)))
    assert str(back.PatientName) == "MÜLLER^ANNA"
    assert back.StudyInstanceUID == "2.25.7"
    assert f"{ds.SOPInstanceUID}" in str(back.ContentSequence)
    frames_named = {
        str(item.value) for item in back.iterall() if item.keyword == "ReferencedFrameNumber"
    }
    assert frames_named == ({str(number)} if number else set())


@pytest.mark.parametrize("kept", [False, True])
def test_the_same_answer_gives_the_same_bytes(kept: bool) -> None:
    def one() -> bytes:
        return made(of_source(source(), 0, SALT, "a", None, ()) if kept else hidden())

    first = one()
    time.sleep(1.1)
    assert one() == first


def test_names_of_classes_may_be_anything() -> None:
    names = ["x" * 200, "ä;=\\^"]
    content = measurement_report(
        names, [0.5, 0.5], hidden(), size=(3, 4), target=names[0], in_lungs=0.5, series="s",
        number=1, model="",
    )  # fmt: skip
    assert len(figures(content)) == 2
