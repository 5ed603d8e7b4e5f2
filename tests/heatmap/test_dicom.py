"""Maps for the viewer: whose they are, what they refer to, and where things lie in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st

from isnet_cli.core.files import read_csv, sha256_file
from isnet_cli.core.pipeline import run_stage
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.errors import IsnetError
from isnet_cli.heatmap import stage as heatmap
from isnet_cli.heatmap.dicom import find_region, region_threshold
from isnet_cli.images.resize import Frame
from isnet_cli.inference.explainers import METHODS
from isnet_cli.output.dicom.writer import prepare_dicom
from tests.evaluate.factory import edit_rows, make_trained
from tests.heatmap.test_files import KEPT, NETWORK, ORIGINAL, blob, image_map
from tests.images.dicom.factory import dicom_bytes
from tests.support.runs import image, small_config

BOTH = ["dicom-sc", "dicom-seg"]
STUDY, SERIES, INSTANCE = "2.25.71", "2.25.72", "2.25.73"


def run_of_dicom(path: Path, **attributes: Any) -> RunFolder:
    """A trained run of one image that came from a DICOM file of a known patient, 600 x 480 px."""
    folder = make_trained(path / "run", sets={"test": 1})
    stored = np.rint(np.kron(image(0, False, 48), np.ones((12, 10))) * 4095).astype(np.int64)
    source = path / "image.dcm"
    source.write_bytes(
        dicom_bytes(
            stored,
            PatientName="CANARY^JANE",
            PatientID="CANARY-7",
            StudyInstanceUID=STUDY,
            SeriesInstanceUID=SERIES,
            SOPInstanceUID=INSTANCE,
            **attributes,
        )
    )
    edit_rows(
        folder,
        lambda row: {
            "path": str(source), "sha256": sha256_file(source), "format": "dicom:Explicit",
            "height": 576, "width": 480, "view": "frontal", "spacing": "0.2;0.1",
        },
    )  # fmt: skip
    return folder


def made(folder: RunFolder, **heat: Any) -> dict[str, pydicom.Dataset]:
    run_stage(heatmap, small_config(heatmap={"formats": BOTH, **heat}), folder, RunContext())
    (line,) = read_csv(folder.path / "heatmap" / "index.csv")
    kinds = [kind for kind in (*BOTH, "dicom-image") if line[kind]]
    return {kind: pydicom.dcmread(folder.path / "heatmap" / line[kind]) for kind in kinds}


def test_by_default_the_three_form_a_study_of_nobody(tmp_path: Path) -> None:
    folder = run_of_dicom(tmp_path)
    found = made(folder)
    assert set(found) == {*BOTH, "dicom-image"}
    assert len({ds.StudyInstanceUID for ds in found.values()}) == 1
    assert len({ds.SeriesInstanceUID for ds in found.values()}) == 3
    assert len({ds.SOPInstanceUID for ds in found.values()}) == 3
    for ds in found.values():
        assert ds.PatientIdentityRemoved == "YES"
        assert not {STUDY, SERIES, INSTANCE} & {str(e.value) for e in ds.iterall()}
        assert (ds.Rows, ds.Columns) == (576, 480)
    seg = found["dicom-seg"].SourceImageSequence[0]
    assert seg.ReferencedSOPInstanceUID == found["dicom-image"].SOPInstanceUID
    for path in (folder.path / "heatmap").rglob("*.dcm"):
        assert b"CANARY" not in path.read_bytes()


def test_kept_identity_files_them_under_the_image_s_study(tmp_path: Path) -> None:
    found = made(run_of_dicom(tmp_path), identity="keep")
    assert set(found) == set(BOTH)
    for ds in found.values():
        assert (str(ds.PatientName), ds.StudyInstanceUID) == ("CANARY^JANE", STUDY)
        assert ds.SourceImageSequence[0].ReferencedSOPInstanceUID == INSTANCE
        assert ds.SeriesInstanceUID != SERIES
        assert "PatientIdentityRemoved" not in ds


def test_both_readers_find_the_same_pixels_and_spacing(tmp_path: Path) -> None:
    folder = run_of_dicom(tmp_path)
    found = made(folder)
    for kind, ds in found.items():
        (path,) = (folder.path / "heatmap").rglob(
            f"*{ {'dicom-sc': 'sc', 'dicom-seg': 'seg', 'dicom-image': 'image'}[kind] }.dcm"
        )
        image = SimpleITK.ReadImage(str(path))
        pixels = SimpleITK.GetArrayFromImage(image)[0]
        if kind == "dicom-seg":
            assert np.array_equal(pixels > 0, ds.pixel_array > 0)
            assert ds.pixel_array.any()
        else:
            assert np.array_equal(pixels, ds.pixel_array)
            assert image.GetSpacing()[:2] == (0.1, 0.2)
            assert list(ds.PatientOrientation) == ["L", "F"]


def test_images_that_were_no_dicom_have_no_identity_to_keep(tmp_path: Path) -> None:
    folder = make_trained(tmp_path / "run", sets={"test": 1})
    found = made(folder, identity="keep")
    assert found["dicom-sc"].PatientIdentityRemoved == "YES"
    assert "PixelSpacing" not in found["dicom-sc"]


def test_identity_cannot_be_kept_when_the_file_is_another(tmp_path: Path) -> None:
    folder = run_of_dicom(tmp_path)
    (tmp_path / "image.dcm").write_bytes(b"another")
    with pytest.raises(IsnetError, match="has changed since it was ingested") as caught:
        made(folder, identity="keep")
    assert caught.value.kind == "data"
    assert set(made(folder)) == {*BOTH, "dicom-image"}  # without identity the file is not needed


def test_a_header_that_no_segmentation_can_carry_is_told(tmp_path: Path) -> None:
    folder = run_of_dicom(tmp_path, StudyDate="20200101")
    source = tmp_path / "image.dcm"
    source.write_bytes(source.read_bytes().replace(b"20200101", b"20209999"))
    edit_rows(folder, lambda row: {"sha256": sha256_file(source)})
    with pytest.raises(IsnetError, match="no segmentation can refer") as caught:
        made(folder, identity="keep")
    assert "20209999" not in caught.value.render()
    assert str(made(folder, identity="keep", formats=["dicom-sc"])["dicom-sc"].PatientID) == (
        "CANARY-7"
    )


def test_the_region_lies_where_the_map_is_high() -> None:
    frame = Frame(ORIGINAL, NETWORK)
    top, left, height, width = frame.inner
    spot = blob(NETWORK, (top + 0.25 * height, left + 0.7 * width), 4.0)
    against = blob(NETWORK, (top + 0.7 * height, left + 0.3 * width), 4.0)
    found = find_region(image_map(spot - 2 * against), 0.5)
    assert found.shape == ORIGINAL
    y, x = np.argwhere(found).mean(axis=0)
    assert (y / ORIGINAL[0], x / ORIGINAL[1]) == pytest.approx((0.25, 0.7), abs=0.02)
    # Half of a Gaussian's mass lies within r² = 2 ln 2 · variance.
    scale = ORIGINAL[0] / height
    variance = (4.0**2 + 1.5**2) * scale**2
    assert found.sum() == pytest.approx(np.pi * 2 * np.log(2) * variance, rel=0.1)
    assert find_region(image_map(spot), 0.9).sum() > 2 * find_region(image_map(spot), 0.5).sum()
    assert not find_region(image_map(-spot), 0.5).any()
    assert find_region(image_map(spot, method=METHODS["gradcam"]), 0.5).sum() < found.sum()
    assert KEPT != ORIGINAL


def test_the_salt_is_made_once_and_for_dicom_alone(tmp_path: Path) -> None:
    prepare_dicom(["png", "npz"], tmp_path)
    assert not list(tmp_path.iterdir())
    prepare_dicom(["dicom-sc"], tmp_path)
    first = (tmp_path / ".salt").read_bytes()
    prepare_dicom(["dicom-seg"], tmp_path)
    assert (tmp_path / ".salt").read_bytes() == first


@pytest.mark.parametrize(("share", "expected"), [(0.3, 4.0), (0.4, 4.0), (0.5, 3.0), (0.99, 1.0)])
def test_a_case_by_hand(share: float, expected: float) -> None:
    values = np.array([[4.0, -9.0, 1.0], [3.0, 0.0, 2.0]], np.float32)  # 4 + 3 + 2 + 1 = 10
    assert region_threshold(values, share) == expected


@given(st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=40), st.floats(0.01, 0.99))
def test_enough_is_inside_and_one_value_less_is_not(values: list[float], share: float) -> None:
    found = np.array(values, np.float32)
    t = region_threshold(found, share)
    whole = found[found > 0].sum(dtype=np.float64)
    assert found[found >= t].sum(dtype=np.float64) >= share * whole * (1 - 1e-9)
    assert found[found > t].sum(dtype=np.float64) < share * whole or whole == 0


def test_nothing_positive_is_an_empty_region() -> None:
    values = np.array([-1.0, 0.0], np.float32)
    assert not (values >= region_threshold(values, 0.5)).any()
