"""Segmentations as pydicom and SimpleITK read them back."""

from __future__ import annotations

import io
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK

from isnet_cli.output.dicom.filing import Filing, anonymous, of_source
from isnet_cli.output.dicom.segmentation import segmentation
from tests.output.dicom.test_filing import SALT, source

REGION = np.zeros((30, 40), bool)
REGION[5:12, 7:30] = True


def made(filing: Filing, region: np.ndarray = REGION) -> bytes:
    return segmentation(
        region, filing, series="lrp flex", target="tuberculosis", number=2,
        meaning="smallest region with 50 % of what speaks for it", model="0123456789abcdef",
    )  # fmt: skip


def test_a_region_comes_back_pixel_by_pixel(tmp_path: Path) -> None:
    filing = anonymous(SALT, "test/a", "0123456789ab", (0.2, 0.1), ("L", "F"))
    path = tmp_path / "a.dcm"
    path.write_bytes(made(filing))
    ds = pydicom.dcmread(path)
    assert ds.SOPClassUID.name == "Segmentation Storage"
    assert np.array_equal(ds.pixel_array, REGION)
    assert ds.SegmentSequence[0].SegmentLabel == "tuberculosis: lrp flex"
    assert ds.DeviceSerialNumber == "0123456789abcdef"
    assert ds.PatientIdentityRemoved == "YES"
    assert ds.StudyInstanceUID == filing.header.StudyInstanceUID
    assert ds.SourceImageSequence[0].ReferencedSOPInstanceUID == filing.reference[1]
    assert np.array_equal(
        SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))[0] > 0, REGION
    )


@pytest.mark.parametrize(("frames", "number"), [(1, None), (4, 3)])
def test_a_kept_study_is_referred_to(frames: int, number: int | None) -> None:
    ds = source(PatientName="MÜLLER^ANNA", SpecificCharacterSet="ISO_IR 100", NumberOfFrames=frames)
    back = pydicom.dcmread(
        io.BytesIO(made(of_source(ds, 2 if frames > 1 else 0, SALT, "a", None, ())))
    )
    assert str(back.PatientName) == "MÜLLER^ANNA"
    assert back.StudyInstanceUID == "2.25.7"
    assert back.ReferencedSeriesSequence[0].SeriesInstanceUID == "2.25.8"
    group = back.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0]
    for item in (back.SourceImageSequence[0], group.SourceImageSequence[0]):
        assert item.ReferencedSOPInstanceUID == ds.SOPInstanceUID
        assert item.get("ReferencedFrameNumber") == number


def test_sizes_that_fill_no_whole_byte_come_back() -> None:
    region = np.zeros((31, 41), bool)
    region[3:9, 5:40] = True
    filing = anonymous(SALT, "test/a", "p", None, ())
    back = pydicom.dcmread(io.BytesIO(made(filing, region)))
    assert np.array_equal(back.pixel_array, region)


def test_an_empty_region_is_written_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    filing = anonymous(SALT, "test/a", "p", None, ())
    written = made(filing, np.zeros_like(REGION))
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == []
    assert not pydicom.dcmread(io.BytesIO(written)).pixel_array.any()
    assert not logging.getLogger("highdicom").disabled


def test_threads_leave_the_log_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    filing = anonymous(SALT, "test/a", "p", None, ())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: made(filing, np.zeros_like(REGION)), range(12)))
    logger = logging.getLogger("highdicom")
    assert not logger.disabled
    assert logger.filters == []
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("kept", [False, True])
def test_the_same_region_gives_the_same_bytes(kept: bool) -> None:
    """Whatever highdicom would draw at random or read from the clock."""
    ds = source(StudyDate="20240102", StudyTime="0304")
    filing = of_source(ds, 0, SALT, "a", None, ()) if kept else anonymous(SALT, "a", "b", None, ())
    first = made(filing)
    time.sleep(0.002)  # highdicom's times have microseconds
    assert made(filing) == first
    back = pydicom.dcmread(io.BytesIO(first))
    expected = ("20240102", "0304") if kept else ("19000101", "000000")
    assert (back.ContentDate, back.ContentTime) == expected
    assert first.count(b"ISO_IR 192") == 1
