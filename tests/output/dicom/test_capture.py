"""Secondary Captures as pydicom and SimpleITK read them back."""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK

from isnet_cli.output.dicom.capture import image_capture, overlay_capture
from isnet_cli.output.dicom.filing import anonymous

FILING = anonymous(b"x" * 32, "test/a", "0123456789ab", (0.2, 0.1), ("L", "F"))


@pytest.mark.parametrize("size", [(30, 40), (31, 41)])
def test_an_overlay_comes_back_pixel_by_pixel(tmp_path: Path, size: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    path = tmp_path / "a.dcm"
    facts = ["Relevance for sick (probability 0.95)", "80 % in the lungs"]
    path.write_bytes(
        overlay_capture(picture, FILING, series="lrp flex", target="sick", number=2, facts=facts)
    )
    ds = pydicom.dcmread(path)
    assert np.array_equal(ds.pixel_array, picture)
    assert ds.SOPClassUID.name == "Secondary Capture Image Storage"
    assert ds.SeriesDescription == "isnet: lrp flex"
    assert ds.ImageComments.startswith("Relevance for sick (probability 0.95) · 80 %")
    assert "SourceImageSequence" not in ds
    assert (ds.SeriesNumber, ds.InstanceNumber, ds.ConversionType) == (9901, 2, "SYN")
    assert list(ds.PatientOrientation) == ["L", "F"]
    assert isinstance(highdicom.imread(path), highdicom.Image)
    assert np.array_equal(highdicom.imread(path).pixel_array, picture)
    image = SimpleITK.ReadImage(str(path))
    assert np.array_equal(SimpleITK.GetArrayFromImage(image)[0], picture)
    assert image.GetSpacing()[:2] == (0.1, 0.2)


def test_an_image_comes_back_with_its_grey_values(tmp_path: Path) -> None:
    image = np.linspace(0, 1, 35 * 20, dtype=np.float32).reshape(35, 20)
    path = tmp_path / "a.dcm"
    path.write_bytes(image_capture(image, FILING))
    ds = pydicom.dcmread(path)
    np.testing.assert_allclose(ds.pixel_array / 65535, image, atol=1e-5)
    assert ds.SOPInstanceUID == FILING.reference[1]
    assert ds.SeriesInstanceUID == FILING.reference[2]
    read = SimpleITK.ReadImage(str(path))
    assert np.array_equal(SimpleITK.GetArrayFromImage(read)[0], ds.pixel_array)
    assert read.GetSpacing()[:2] == (0.1, 0.2)
    assert image_capture(image, FILING) == path.read_bytes()
    assert ds.SeriesNumber == 9900


def test_the_time_of_writing_is_not_in_the_file() -> None:
    content = overlay_capture(
        np.zeros((8, 8, 3), np.uint8), FILING, series="lrp", target="a", number=1, facts=[]
    )
    ds = pydicom.dcmread(pydicom.filebase.DicomBytesIO(content))
    dated = [e.keyword for e in ds.iterall() if e.VR in ("DA", "DT", "TM") and e.value]
    assert dated == []


def test_classes_and_methods_are_told_apart() -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    found = {
        pydicom.dcmread(pydicom.filebase.DicomBytesIO(content)).SOPInstanceUID
        for content in (
            overlay_capture(picture, FILING, series=s, target=t, number=1, facts=[])
            for s in ("lrp flex", "gradcam")
            for t in ("a", "b")
        )
    }
    assert len(found) == 4
