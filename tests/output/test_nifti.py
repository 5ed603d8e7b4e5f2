"""NIfTI files as SimpleITK reads them back: values, spacing, and how they lie in the patient."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from isnet_cli.output.nifti import NOTE, nifti_bytes

VALUES = np.arange(12, dtype=np.float32).reshape(3, 4) - 5.5


def read(path: Path, content: bytes) -> SimpleITK.Image:
    path = path / "a.nii.gz"
    path.write_bytes(content)
    return SimpleITK.ReadImage(str(path))


def test_values_and_spacing_come_back(tmp_path: Path) -> None:
    image = read(tmp_path, nifti_bytes(VALUES, (0.2, 0.1), "frontal", tmp_path))
    assert np.array_equal(SimpleITK.GetArrayFromImage(image)[0], VALUES)
    assert image.GetSpacing() == pytest.approx((0.1, 0.2, 0.1))
    assert image.GetOrigin() == (0, 0, 0)
    assert image.GetMetaData("descrip") == ""


@pytest.mark.parametrize(
    ("view", "mirrored", "right", "down"),
    [
        ("frontal", False, (3, 0, 0), (0, 0, -2)),  # the patient's left is on the right
        ("unknown", False, (3, 0, 0), (0, 0, -2)),
        ("frontal", True, (-3, 0, 0), (0, 0, -2)),
        ("lateral", False, (0, 3, 0), (0, 0, -2)),
    ],
)
def test_rows_run_to_the_feet_and_columns_to_the_patient_s_left(
    tmp_path: Path, view: str, mirrored: bool, right: tuple[int, ...], down: tuple[int, ...]
) -> None:
    """Places in the patient are in DICOM's axes: left, back, head."""
    image = read(tmp_path, nifti_bytes(VALUES, (1.0, 1.0), view, tmp_path, mirrored=mirrored))
    assert image.TransformIndexToPhysicalPoint((3, 0, 0)) == pytest.approx(right)
    assert image.TransformIndexToPhysicalPoint((0, 2, 0)) == pytest.approx(down)
    assert np.linalg.det(np.reshape(image.GetDirection(), (3, 3))) == pytest.approx(1.0)


def test_an_unknown_spacing_is_one_millimetre_and_said(tmp_path: Path) -> None:
    image = read(tmp_path, nifti_bytes(VALUES, None, "frontal", tmp_path))
    assert image.GetSpacing() == (1, 1, 1)
    assert image.GetMetaData("descrip") == NOTE


def test_the_same_map_gives_the_same_bytes_without_a_name(tmp_path: Path) -> None:
    content = nifti_bytes(VALUES, (0.2, 0.1), "frontal", tmp_path)
    assert content == nifti_bytes(VALUES.copy(), (0.2, 0.1), "frontal", tmp_path)
    assert content[3] == 0  # gzip: neither name nor comment
    assert b"tmp" not in gzip.decompress(content)[:352]
