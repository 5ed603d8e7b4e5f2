"""With renaming on, no message, table, log or file shows a name, a cell or a header of the input.

Every canary holds the letters of `MARK`, which nothing else does. Each case is a success or a
failure somewhere on the way; all that comes out is searched, whatever its form.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from isnet_cli.ingest import reading
from tests.cli.factory import CONFIG, SIZE, Done, isnet
from tests.e2e.test_privacy import contents
from tests.images.dicom.factory import dicom_bytes
from tests.support.runs import image, lungs

MARK = re.compile(rb"quonzex", re.IGNORECASE)
DATE = "19340203"
PLAIN = {  # texts that decide how the image is read; they hold terms of the standard
    *("Modality", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"),
    *("PhotometricInterpretation", "BodyPartExamined", "ViewPosition", "PatientOrientation"),
    *("PresentationIntentType", "PresentationLUTShape", "VOILUTFunction", "PixelData"),
    *("SpecificCharacterSet", "BurnedInAnnotation", "LossyImageCompression", "ImageType"),
    *("PlanarConfiguration", "RescaleType", "ModalityLUTType", "NumberOfFrames"),
}
Change = Callable[[Path, list[str]], None]


def name_of(number: int) -> str:
    return f"ward quonzex{number % 3}/Quonzex_Anna_{number:02}"


def write_named(folder: Path, count: int = 10) -> list[str]:
    """Images, masks and a table full of canaries; returns the rows of the table."""
    rows = ["file,PatientID,hospital,label,note"]
    for number in range(count):
        path = folder / "xrays" / name_of(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = image(number, number % 2 == 1, SIZE)
        if number % 2:
            Image.fromarray((pixels * 255).astype(np.uint8)).save(path.with_suffix(".png"))
        else:
            stored = np.rint(pixels * 4095).astype(np.int64)
            content = dicom_bytes(stored, **every_text(number))
            path.with_suffix(".dcm").write_bytes(add_private(content))
        mask = folder / "masks" / f"{name_of(number)}.png"
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(lungs(SIZE).astype(np.uint8) * 255).save(mask)
        label = "sick" if number % 3 == 0 else "well"
        file = name_of(number) + (".png" if number % 2 else ".dcm")
        rows.append(
            f"{file},quonzexid{number},Clinic Quonzex{number % 2},{label},=quonzex free {number}"
        )
    return rows


def every_text(number: int) -> dict[str, Any]:
    """A canary in texts of all groups that DICOM defines; in all texts for the first image."""
    from pydicom.datadict import DicomDictionary

    often = number > 0
    lengths = {"LO": 60, "SH": 16, "ST": 90, "LT": 90, "UT": 90, "UC": 90, "PN": 60}
    found: dict[str, Any] = {"SOPInstanceUID": f"2.25.98765{number}"}
    for tag, (vr, _, _, retired, keyword) in DicomDictionary.items():
        wanted = tag >> 16 > 7 and tag >> 16 not in {0x28, 0x7FE0} and not retired
        if often and tag >> 16 not in {8, 0x10}:
            continue
        if wanted and keyword and keyword not in PLAIN and (vr in lengths or vr == "DA"):
            found[keyword] = DATE if vr == "DA" else f"Quonzex{number}{keyword}"[: lengths[vr]]
    return found


def add_private(content: bytes) -> bytes:
    """The file with canaries where no dictionary of DICOM looks.

    Private elements of odd groups, in a sequence too, elements of the file's meta group, the
    preamble, and the padding at the end.
    """
    ds = pydicom.dcmread(io.BytesIO(content))
    for group in (0x0009, 0x0019, 0x0029, 0x7FE1):
        block = ds.private_block(group, "QUONZEX WARD", create=True)
        block.add_new(0x10, "LO", "Quonzex^Anna")
        block.add_new(0x11, "UN", b"Quonzex\0Anna")
        block.add_new(0x12, "OB", b"Quonzex!")
        item = Dataset()
        item.private_block(group, "QUONZEX", create=True).add_new(0x01, "PN", "Quonzex^Anna")
        block.add_new(0x13, "SQ", [item])
    ds.file_meta.SourceApplicationEntityTitle = "QUONZEX"
    ds.file_meta.PrivateInformationCreatorUID = "1.2.3"
    ds.file_meta.PrivateInformation = b"Quonzex!"
    ds.preamble = b"Quonzex".ljust(128, b"\0")
    ds.add_new(0xFFFCFFFC, "OB", b"Quonzex!")  # Data Set Trailing Padding
    file = io.BytesIO()
    ds.save_as(file, enforce_file_format=True)
    return file.getvalue()


def write_config(folder: Path, rows: list[str], changes: str = "") -> Path:
    (folder / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    path = folder / "c.yaml"
    text = CONFIG.replace("data:", "data:\n  privacy: {rename: true}")
    path.write_text(text + changes, encoding="utf-8")
    return path


def search(done: Done, folder: Path) -> list[str]:
    """Everything that shows a canary: lines printed, files, names of files."""
    said = [line for line in (done.out + done.err).splitlines() if tells(line.encode())]
    files = [path for path in folder.rglob("*") if path.is_file()]
    return said + [
        str(path)
        for path in files
        if tells(contents(path)) or tells(str(path.relative_to(folder)).encode())
    ]


def tells(content: bytes) -> bool:
    return MARK.search(content) is not None or DATE.encode() in content


def lose_names(folder: Path, rows: list[str]) -> None:
    rows[1:] = [f"other{row}" for row in rows[1:]]


def repeat_rows(folder: Path, rows: list[str]) -> None:
    rows += [row.replace(",well,", ",sick,") for row in rows[1:]]


def tear_files(folder: Path, rows: list[str]) -> None:
    for path in sorted((folder / "xrays").rglob("*.*"))[::2]:
        path.write_bytes(path.read_bytes()[:900])
    (folder / "xrays/quonzex empty.png").touch()
    (folder / "xrays/quonzex.dcm").write_text("Quonzex")


def lose_all_files(folder: Path, rows: list[str]) -> None:
    for path in (folder / "xrays").rglob("*.*"):
        path.write_bytes(b"Quonzex")


def lose_masks(folder: Path, rows: list[str]) -> None:
    rows[0] += ",mask"
    rows[1:] = [f"{row},masks/quonzex{i}.png" for i, row in enumerate(rows[1:])]


def double_masks(folder: Path, rows: list[str]) -> None:
    for path in (folder / "masks").rglob("*.png"):
        (path.with_name(f"{path.stem}_mask.png")).write_bytes(path.read_bytes())


def tear_table(folder: Path, rows: list[str]) -> None:
    rows[3] = f'"{rows[3]}'


def lengthen_row(folder: Path, rows: list[str]) -> None:
    rows[3] += ",Quonzex,Quonzex"


def drop_header(folder: Path, rows: list[str]) -> None:
    del rows[0]


def mark_findings(folder: Path, rows: list[str]) -> None:
    rows[0] = rows[0].replace("note", "odd")
    rows[1:] = [row.replace(",well,", ",0,").replace(",sick,", ",1,") for row in rows[1:]]


def share_patients(folder: Path, rows: list[str]) -> None:
    rows[0] += ",set"
    rows[1:] = [
        re.sub("quonzexid\\d+", "quonzexid", row) + f",{('train', 'val')[i % 2]}"
        for i, row in enumerate(rows[1:])
    ]


def copy_files(folder: Path, rows: list[str]) -> None:
    """Copies of each image, with another label."""
    for path in sorted((folder / "xrays").rglob("*.png")):
        copy = path.with_name(f"{path.stem}_copy.png")
        copy.write_bytes(path.read_bytes())
        rows.append(f"{copy.relative_to(folder / 'xrays')},quonzexid,Quonzex,sick,quonzex")


def list_files(folder: Path, rows: list[str]) -> None:
    files = sorted((folder / "xrays").rglob("*.*"))
    lines = [*map(str, files), "gone/quonzex.dcm", "# quonzex"]
    (folder / "list.txt").write_text("\n".join(lines), encoding="utf-8")
    (folder / "list.csv").write_text("odd\nquonzex.png\n", encoding="utf-8")


def close_file(folder: Path, rows: list[str]) -> None:
    next((folder / "xrays").rglob("*.png")).chmod(0)
    (folder / "xrays/quonzex loop.png").symlink_to("quonzex loop.png")


CASES: dict[str, tuple[Change | None, str]] = {
    "sound": (None, ""),
    "no join": (lose_names, ""),
    "no column": (None, "data.labels.columns=[x]"),
    "duplicate rows": (repeat_rows, ""),
    "torn files": (tear_files, ""),
    "no usable file": (lose_all_files, ""),
    "missing masks": (lose_masks, ""),
    "two masks": (double_masks, ""),
    "torn table": (tear_table, ""),
    "long row": (lengthen_row, ""),
    "no header": (drop_header, ""),
    "cells that are no findings": (
        mark_findings,
        "data.labels.task=multilabel data.labels.columns=[label,odd]"
        " train.settings.isnet.variant=stochastic",
    ),
    "free column as findings": (None, "data.labels.columns=[note,hospital]"),
    "wrong key": (None, "data.labels.key=column:PatientID"),
    "accession": (None, "data.labels.key=accession"),
    "shared patients": (share_patients, ""),
    "copies": (copy_files, ""),
    "closed files": (close_file, ""),
    "unknown class": (None, "data.labels.classes=[sick,other]"),
    "unknown source": (None, "data.sets.test.source=elsewhere"),
    "a list": (list_files, "data.images=list.txt"),
    "a list without paths": (list_files, "data.images=list.csv"),
    "a glob": (None, "data.images=xrays/*/*.png"),
}


TELLING = (
    *("no join", "duplicate rows", "two masks", "no usable file", "missing masks", "no header"),
    *("cells that are no findings", "free column as findings"),
)
OFTEN = ("sound", "no join", "duplicate rows", "torn files")


@pytest.mark.parametrize(
    "case", [c if c in OFTEN else pytest.param(c, marks=pytest.mark.slow) for c in CASES]
)
def test_no_message_and_no_file_names_an_input(case: str, tmp_path: Path) -> None:
    change, setting = CASES[case]
    rows = write_named(tmp_path)
    if change is not None:
        change(tmp_path, rows)
    config = write_config(tmp_path, rows)
    words = [word for one in setting.split() for word in ("--set", one)]
    for verb in (["check", "--limit", "4"], ["masks", "-o", tmp_path / "out", "-j", "0"]):
        form = ["--json"] if (verb[0] == "check") == (len(case) % 2 > 0) else []
        done = isnet(verb[0], config, *verb[1:], *words, *form, "-vv")
        assert "error[bug]" not in done.err
        assert search(done, tmp_path / "out") == []
    if case in TELLING:  # so the case has something to hide
        shown = isnet("ingest", config, *words, "--set", "data.privacy.rename=false",
                      "-o", tmp_path / "shown", "-j", "0", "-v")  # fmt: skip
        assert tells((shown.out + shown.err).encode())


def test_a_bug_names_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = write_config(tmp_path, write_named(tmp_path))

    def fail(task: reading.ReadTask) -> None:
        raise ValueError(f"{task.path}") from KeyError(task.path.name)

    monkeypatch.setattr(reading, "read_file", fail)
    for form in ("-vv", "--json"):
        done = isnet("ingest", config, "-o", tmp_path / "out", "-j", "0", form)
        assert done.code == 1
        assert search(done, tmp_path / "out") == []
        assert "ValueError" in (tmp_path / "out/crash.txt").read_text(encoding="utf-8")


def test_a_fault_of_the_system_names_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config(tmp_path, write_named(tmp_path))

    def fail(task: reading.ReadTask) -> None:
        raise PermissionError(13, "Permission denied", str(task.path))

    monkeypatch.setattr(reading, "read_file", fail)
    done = isnet("ingest", config, "-o", tmp_path / "out", "-j", "0", "-vv")
    assert (done.code, search(done, tmp_path / "out")) == (6, [])
    assert "(hidden): permission denied" in done.err
    assert "data.privacy.rename=false   shows the hidden names" in done.err


def test_without_renaming_files_are_named_and_headers_are_not(tmp_path: Path) -> None:
    """File names may be shown then; what only a header says may not."""
    rows = ["number,label"]
    for number in range(8):
        stored = np.rint(image(number, number % 2 == 1, SIZE) * 4095).astype(np.int64)
        path = tmp_path / f"xrays/f{number}.dcm"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(add_private(dicom_bytes(stored, **every_text(number))))
        rows.append(f"f{number},{'sick' if number % 2 else 'well'}")
    config = write_config(tmp_path, rows)
    words = ["--set", "data.privacy.rename=false", "--set", "masks.on_suspect=keep", "-vv"]
    words += ["--set", "masks.files=auto", "--set", "masks.formats=[png,dicom-seg,nifti]"]
    for verb in (["check", config], ["masks", config, "-o", tmp_path / "out", "-j", "0"]):
        done = isnet(*verb, *words)
        assert search(done, tmp_path / "out") == []
        os.remove(tmp_path / "xrays/f0.dcm") if verb[0] == "check" else None
        (tmp_path / "xrays/f1.dcm").write_bytes(b"Quonzex")


@pytest.mark.slow
def test_the_whole_way_names_nobody(tmp_path: Path) -> None:
    rows = write_named(tmp_path, 24)
    config = write_config(tmp_path, rows)
    tear = next((tmp_path / "xrays").rglob("*.png"))
    tear.write_bytes(tear.read_bytes()[:500])
    run = tmp_path / "out/a"
    words = ["--set", "train.epochs=1", "-vv"]
    formats = "heatmap.formats=[png,npz,nifti,dicom-sc,dicom-seg]"
    commands: list[list[Any]] = [
        ["run", config, "-o", run, "--set", formats, *words],
        ["evaluate", run, *words],
        ["heatmap", run, "--target", "all", "--overwrite", *words],
        ["report", run, "-o", tmp_path / "out/r.html"],
        ["train", config, "-o", tmp_path / "out/b", "--method", "standard",
         "--set", f"upstream={run}", *words],
        ["evaluate", tmp_path / "out/b", "-vv"],
        ["compare", run, tmp_path / "out/b", "-o", tmp_path / "out/compare.html"],
        ["predict", tmp_path / "xrays", "--model", run, "-o", tmp_path / "out/p",
         "--set", "data.privacy.rename=true", "--maps", "png,dicom-sc", *words[2:]],
        ["masks", config, "-o", run, "--truth", tmp_path / "masks", "-vv"],
    ]  # fmt: skip
    for command in commands:
        done = isnet(*command)
        assert done.code in ({4} if "--truth" in command else {0, 7}), (command, done.err)
        assert search(done, tmp_path / "out") == [], command
