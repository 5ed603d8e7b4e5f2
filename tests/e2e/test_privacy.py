"""A whole run on images full of names, without a network: nothing of them comes out."""

from __future__ import annotations

import gzip
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.cli.factory import CONFIG, isnet
from tests.images.dicom.factory import dicom_bytes
from tests.support.runs import image

NAME, IDENTITY, BIRTH, STUDY = "CANARY^JANE", "CANARY-ID", "19340203", "20191224"
FORMATS = "[png, npz, nifti, dicom-sc, dicom-seg]"
SECRETS = [b"CANARY", BIRTH.encode(), STUDY.encode(), b"2.25.9876543"]


def write_images(folder: Path, count: int = 16) -> Path:
    """DICOM images of known patients, joined with their labels by the patients' identifiers."""
    (folder / "xrays").mkdir()
    rows = ["PatientID;diagnosis"]
    for number in range(count):
        stored = np.rint(image(number, number % 2 == 1, 80) * 4095).astype(np.int64)
        content = dicom_bytes(
            stored,
            PatientName=NAME,
            PatientID=f"{IDENTITY}-{number:03}",
            PatientBirthDate=BIRTH,
            StudyDate=STUDY,
            AccessionNumber=f"CANARY{number}",
            SOPInstanceUID=f"2.25.9876543{number}",
            SeriesInstanceUID=f"2.25.98765431{number}",
            StudyInstanceUID=f"2.25.98765432{number}",
            InstitutionName="CANARY CLINIC",
            syntax="rle" if number % 3 == 0 else "explicit",
        )
        (folder / "xrays" / f"{number:02}").write_bytes(content)
        rows.append(f"{IDENTITY}-{number:03};{'sick' if number % 2 else 'well'}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "xrays/torn").write_bytes(content[:-2000])
    text = CONFIG.replace("labels.csv}", "labels.csv, key: patient}").replace(
        "masks: {files: masks}", "masks: {on_suspect: keep}"
    )
    path = folder / "c.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def contents(path: Path) -> bytes:
    """A file's bytes; of an archive, those of its members too; of a compressed file, its own."""
    if path.suffix == ".gz":
        return path.read_bytes() + gzip.decompress(path.read_bytes())
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return path.read_bytes() + b"".join(map(archive.read, archive.namelist()))
    return path.read_bytes()


def leaks(folder: Path) -> list[tuple[str, bytes]]:
    return [
        (path.relative_to(folder).as_posix(), secret)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        for secret in SECRETS
        if secret in contents(path) or secret.decode() in path.name
    ]


@pytest.mark.slow  # tests/cli/verbs/test_predict.py has a shorter one
@pytest.mark.parametrize("rename", [False, True])
def test_no_identity_comes_out_and_no_socket_is_opened(
    rename: bool, tmp_path: Path, child_environment: dict[str, str]
) -> None:
    config = write_images(tmp_path)
    words = ["run", str(config), "-o", str(tmp_path / "out"), "-vv"]
    words += ["--set", f"data.privacy.rename={str(rename).lower()}", "--set", "train.epochs=1"]
    words += ["--set", f"heatmap.formats={FORMATS}"]
    done = subprocess.run(
        [sys.executable, "-m", "isnet_cli.cli.app", *words],
        env=child_environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 7, done.stderr  # one image is torn
    assert "NETWORK USED" not in done.stderr
    printed = (done.stdout + done.stderr).encode()
    assert [secret for secret in SECRETS if secret in printed] == []
    assert len(list((tmp_path / "out").rglob("*"))) > 40
    for ending in ("nii.gz", "sc.dcm", "seg.dcm", "image.dcm"):
        assert list((tmp_path / "out/heatmap").rglob(f"*.{ending}"))
    assert leaks(tmp_path / "out") == []


@pytest.mark.slow
def test_kept_identity_is_in_the_files_for_the_viewer_and_nowhere_else(tmp_path: Path) -> None:
    config = write_images(tmp_path)
    words = ["run", str(config), "-o", str(tmp_path / "out"), "--set", "train.epochs=1", "--json"]
    words += ["--set", f"heatmap.formats={FORMATS}", "--set", "heatmap.identity=keep"]
    done = isnet(*words)
    assert done.code == 7, done.err
    assert [secret for secret in SECRETS if secret in (done.out + done.err).encode()] == []
    found = {name for name, _ in leaks(tmp_path / "out")}
    files = {
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.dcm")
    }
    assert found == files
    assert {name.partition(".")[2] for name in files} == {"sc.dcm", "seg.dcm"}


def test_the_search_can_find(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", name=np.array(b"CANARY"))
    (tmp_path / "19340203.txt").touch()
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(b"CANARY"))
    assert [name for name, _ in leaks(tmp_path)] == ["19340203.txt", "a.npz", "b.nii.gz"]
