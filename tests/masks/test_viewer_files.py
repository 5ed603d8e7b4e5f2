"""Masks for viewers: the same pixels in every format, nobody's name unless asked."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK

from isnet_cli.core.files import read_csv, sha256_file, write_csv
from isnet_cli.core.pipeline import run_stage
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.errors import IsnetError
from isnet_cli.images.mask_files import load_mask
from isnet_cli.masks import stage as masks
from tests.images.dicom.factory import dicom_bytes
from tests.masks.factory import SIZES, given_masks, ingested, settings

ALL = ["png", "nifti", "dicom-seg"]


def run_of_dicom(path: Path) -> RunFolder:
    """Given masks; ``three`` came from a DICOM file of a known patient, 0.2 x 0.1 mm."""
    folder = ingested(path / "run", given_masks(path / "given"))
    source = path / "three.dcm"
    source.write_bytes(
        dicom_bytes(
            np.zeros(SIZES["three"], np.int64),
            PatientName="CANARY^JANE",
            PatientID="CANARY-7",
            StudyInstanceUID="2.25.71",
            SeriesInstanceUID="2.25.72",
            SOPInstanceUID="2.25.73",
        )
    )
    manifest = folder.stage_dir("ingest") / "manifest.csv"
    rows = read_csv(manifest)
    for row in rows:
        if row["key"] == "three":
            row |= {"path": str(source), "sha256": sha256_file(source), "spacing": "0.2;0.1"}
            row |= {"format": "dicom:Explicit", "view": "frontal"}
    write_csv(manifest, list(rows[0]), rows)
    folder.finish("ingest", "x", [manifest], {})
    return folder


@pytest.fixture(scope="module")
def viewed(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Finished masks in all formats; tests read them."""
    folder = run_of_dicom(tmp_path_factory.mktemp("viewed"))
    run_stage(masks, settings(formats=ALL), folder, RunContext())
    return folder


def test_all_formats_hold_the_same_pixels(viewed: RunFolder) -> None:
    root = viewed.stage_dir("masks")
    for key, size in SIZES.items():
        mask = load_mask(root / f"{key}.png")
        volume = SimpleITK.ReadImage(str(root / f"{key}.nii.gz"))
        assert volume.GetPixelID() == SimpleITK.sitkUInt8
        assert np.array_equal(SimpleITK.GetArrayFromImage(volume)[0], mask.astype(np.uint8))
        spacing = (0.1, 0.2) if key == "three" else (1.0, 1.0)
        assert volume.GetSpacing()[:2] == pytest.approx(spacing)
        ds = pydicom.dcmread(root / f"{key}.seg.dcm")
        assert (ds.Rows, ds.Columns) == size
        assert np.array_equal(ds.pixel_array > 0, mask)
        (segment,) = ds.SegmentSequence
        assert segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Lung"
        assert (ds.ContentLabel, segment.SegmentLabel) == ("LUNGS", "Lungs: lung masks")


def test_by_default_nobody_is_named_and_the_image_comes_along(viewed: RunFolder) -> None:
    root = viewed.stage_dir("masks")
    for path in root.rglob("*.dcm"):
        assert b"CANARY" not in path.read_bytes()
    image, seg = (pydicom.dcmread(root / f"three.{kind}.dcm") for kind in ("image", "seg"))
    assert seg.SourceImageSequence[0].ReferencedSOPInstanceUID == image.SOPInstanceUID
    assert seg.StudyInstanceUID == image.StudyInstanceUID != "2.25.71"


def test_kept_identity_files_the_mask_under_the_images_study(tmp_path: Path) -> None:
    folder = run_of_dicom(tmp_path)
    run_stage(masks, settings(formats=["dicom-seg"], identity="keep"), folder, RunContext())
    root = folder.stage_dir("masks")
    seg = pydicom.dcmread(root / "three.seg.dcm")
    assert (str(seg.PatientName), seg.StudyInstanceUID) == ("CANARY^JANE", "2.25.71")
    assert seg.SourceImageSequence[0].ReferencedSOPInstanceUID == "2.25.73"
    assert not (root / "three.image.dcm").exists()
    assert (root / "a/one.image.dcm").exists()  # was no DICOM file: has no identity to keep
    assert (root / "three.png").exists()  # png is always written


def test_identity_cannot_be_kept_when_the_file_is_another(tmp_path: Path) -> None:
    folder = run_of_dicom(tmp_path)
    (tmp_path / "three.dcm").write_bytes(b"another")
    with pytest.raises(IsnetError, match="has changed since it was ingested"):
        run_stage(masks, settings(formats=["dicom-seg"], identity="keep"), folder, RunContext())


def test_formats_that_are_no_longer_asked_for_go(viewed: RunFolder, tmp_path: Path) -> None:
    folder = RunFolder(shutil.copytree(viewed.path, tmp_path / "run"))
    run_stage(masks, settings(formats=["nifti"]), folder, RunContext())
    endings = {"".join(p.suffixes) for p in folder.stage_dir("masks").rglob("three*")}
    assert endings == {".png", ".nii.gz"}


def test_the_same_run_again_gives_the_same_bytes(tmp_path: Path) -> None:
    folder, found = run_of_dicom(tmp_path), []
    for _ in range(2):
        run_stage(masks, settings(formats=["nifti"]), folder, RunContext(), force=True)
        root = folder.stage_dir("masks")
        found.append({p.name: sha256_file(p) for p in root.rglob("*.*") if p.is_file()})
    assert found[0] == found[1]
