"""Public collections as they are laid out, in miniature: `init`, `check` and `ingest` as typed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isnet_cli.check.inputs import check_inputs
from isnet_cli.check.survey import survey_folder
from isnet_cli.cli.verbs.check import make_template
from isnet_cli.config.load import load
from isnet_cli.core.run_context import RunContext
from isnet_cli.dataset.evaluation_sets import choose_sets
from isnet_cli.errors import IsnetError
from isnet_cli.images.types import Row
from tests.ingest.factory import Messages, config, dicom, labels, png, rows, run_ingest

PATIENTS = range(1, 9)


def mimic(folder: Path) -> Path:
    """MIMIC-CXR-JPG: findings by subject and study, images in folders of these."""
    table = []
    for n in PATIENTS:
        subject, study = 10000000 + n * 1111111 // 2, 50000000 + n * 13
        png(folder / f"files/p{str(subject)[:2]}/p{subject}/s{study}/{n:08x}-ab.jpg", n)
        png(folder / f"files/p{str(subject)[:2]}/p{subject}/s{study}/{n:08x}-cd.jpg", 50 + n)
        table.append(f"{subject},{study},{n % 2}.0,{'' if n == 3 else n % 4 // 3},{-1 * (n > 2)}.0")
    header = "subject_id,study_id,Atelectasis,Cardiomegaly,Edema"
    labels(folder / "mimic-cxr-2.0.0-chexpert.csv", *table, header=header)
    return folder


def chexpert(folder: Path) -> Path:
    """CheXpert: paths that begin with the folder's own name, patients named by them alone."""
    top, table = folder / "CheXpert-v1.0-small", []
    for n in PATIENTS:
        for study, view in ((1, "frontal"), (2, "frontal"), (2, "lateral")):
            path = f"train/patient{n:05}/study{study}/view1_{view}.jpg"
            png(top / path, n * 10 + study + 5 * (view == "lateral"))
            cells = f"{view.title()},{'AP' if view == 'frontal' else ''},{n % 2}.0"
            table.append(
                f"CheXpert-v1.0-small/{path},Female,60,{cells},{'1.0' * (n > 6)},{-1 * (n > 2)}.0"
            )
    header = "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Edema,Fracture"
    labels(top / "train.csv", *table, header=header)
    return top


def padchest(folder: Path) -> Path:
    """PadChest: lists as Python writes them, the folder in a column of its own."""
    table = []
    for n in PATIENTS:
        png(folder / f"{n % 3}/2053668_{n:03}.png", n)
        cell = ("['normal']", "\"['COPD signs', 'pleural effusion']\"", "['pleural effusion']")
        side = ("PA", "L", "AP_horizontal")[n % 3 if n > 6 else 0]
        table.append(f"2053668_{n:03}.png,{n % 3},{n},98{n},{side},DX,{cell[n % 3]}")
    header = "ImageID,ImageDir,PatientID,StudyID,Projection,Modality_DICOM,Labels"
    labels(folder / "PADCHEST_chest_x_ray_images_labels.csv", *table, header=header)
    return folder


def vindr(folder: Path) -> Path:
    """VinDr-CXR: a row per finding and reader."""
    table = []
    for n in PATIENTS:
        dicom(folder / f"train/{n:032x}.dicom", n, PatientID="")
        for reader in ("R1", "R2"):
            if n % 2:
                table.append(f"{n:032x},No finding,14,{reader},,,,")
            else:
                table.append(f"{n:032x},Cardiomegaly,3,{reader},69.5,18.25,121.0,93.75")
        if n == 4:
            table.append(f"{n:032x},Aortic enlargement,0,R3,6.0,18.0,12.0,93.5")
    header = "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max"
    labels(folder / "train.csv", *table, header=header)
    return folder


def rsna(folder: Path) -> Path:
    """RSNA pneumonia: a row per box, files called after patients."""
    table = []
    for n in PATIENTS:
        name = f"00{n}-4cbd-aa"
        dicom(folder / f"stage_2_train_images/{name}.dcm", n, PatientID=name)
        boxes = ["264.0,152.0,213.0,379.0", "562.0,152.5,256.0,453.0"] if n % 2 else [",,,"]
        table += [f"{name},{box},{n % 2}" for box in boxes]
    header = "patientId,x,y,width,height,Target"
    labels(folder / "stage_2_train_labels.csv", *table, header=header)
    return folder


def siim(folder: Path) -> Path:
    """SIIM pneumothorax: run lengths, in folders of studies."""
    table = []
    for n in PATIENTS:
        uid = f"1.2.276.0.7230010.3.1.4.83.{n}"
        dicom(folder / f"dicom-images-train/{uid}1/{uid}2/{uid}.dcm", n, PatientID=f"x{n}")
        masks = ["175349 7 1013 12", "30 4"] if n % 2 else ["-1"]
        table += [f"{uid}, {mask}" for mask in masks]
    labels(folder / "train-rle.csv", *table, header="ImageId, EncodedPixels")
    return folder


def chestxray14(folder: Path) -> Path:
    """NIH ChestX-ray14: commas without quotes in the header, findings joined by bars."""
    table = []
    for n in PATIENTS:
        for k in range(2):
            png(folder / f"images_00{k + 1}/images/{n:08}_00{k}.png", n * 10 + k)
            finding = ("No Finding", "Cardiomegaly", "Cardiomegaly|Effusion")[n % 3]
            table.append(f"{n:08}_00{k}.png,{finding},{k},{n},058Y,M,PA,2682,2749,0.143,0.{n}68,")
    header = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,"
        "View Position,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
    )
    labels(folder / "Data_Entry_2017.csv", *table, header=header)
    return folder


Layout = tuple[Callable[[Path], Path], str, dict[str, Any]]
LAYOUTS: dict[str, Layout] = {
    "mimic": (mimic, "multilabel", {"images": 16, "patients": 8, "skipped": 0}),
    "chexpert": (chexpert, "multilabel", {"images": 24, "patients": 8, "skipped": 8}),
    "padchest": (padchest, "multilabel", {"images": 8, "patients": 7, "skipped": 1}),
    "vindr": (vindr, "multilabel", {"images": 8, "patients": 0, "skipped": 0}),
    "rsna": (rsna, "multiclass", {"images": 8, "patients": 8, "skipped": 0}),
    "siim": (siim, "multiclass", {"images": 8, "patients": 8, "skipped": 0}),
    "chestxray14": (chestxray14, "multilabel", {"images": 16, "patients": 8, "skipped": 0}),
}
EXPECTED: dict[str, Callable[[dict[str, Row]], object]] = {
    "mimic": lambda found: {row.label for row in found.values()} >= {
        "Atelectasis=1;Cardiomegaly=0;Edema=0", "Atelectasis=1;Cardiomegaly=?;Edema=?",
    },
    "chexpert": lambda found: found["train/patient00003/study1/view1_frontal"].label
    == "No Finding=1;Edema=?;Fracture=?",
    "padchest": lambda found: found["1/2053668_001"].label
    == "COPD signs=1;normal=0;pleural effusion=1",
    "vindr": lambda found: found[f"train/{4:032x}"].label
    == "Aortic enlargement=1;Cardiomegaly=1;No finding=0",
    "rsna": lambda found: [row.label for row in found.values()] == list("10101010"),
    "siim": lambda found: [row.label for row in found.values()] == list("10101010"),
    "chestxray14": lambda found: found["images_001/images/00000002_000"].label
    == "Cardiomegaly=1;Effusion=1;No Finding=0",
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_public_layout_needs_no_setting(tmp_path: Path, name: str) -> None:
    make, task, wanted = LAYOUTS[name]
    folder = make(tmp_path / "in")
    found = survey_folder(folder)
    file = tmp_path / "isnet.yaml"
    file.write_text(make_template(found, folder, file), encoding="utf-8")
    settings = load(file, ["machine.workers=0"], [])
    assert settings.data.labels.task == task
    facts = check_inputs(settings, RunContext())
    assert facts["ok"], facts["problems"]
    assert facts["images"]["found"] == wanted["images"]
    assert facts["patients"]["known"] == wanted["patients"]
    messages = Messages()
    run_ingest(tmp_path / "run", settings, messages)
    table = rows(tmp_path / "run")
    assert len(table) == wanted["images"]
    assert sum(row.status == "skipped" for row in table.values()) == wanted["skipped"]
    assert all(row.label for row in table.values())
    assert EXPECTED[name](table), {key: row.label for key, row in table.items()}
    sets: dict[str, set[str]] = {}
    for row in table.values():
        if row.patient and row.set:
            sets.setdefault(row.patient, set()).add(row.set)
    assert all(len(names) == 1 for names in sets.values())


def test_what_the_table_states_leaves_images_out(tmp_path: Path) -> None:
    states = ["PA,X-ray", "AP,DX", "Axial,CT", "Coronal,X-ray", "L,X-ray", "AP Supine,"] * 3
    for n in range(len(states)):
        png(tmp_path / f"xrays/f{n:02}.png", n)
    table = (f"f{n:02}.png,{'xy'[n % 7 // 4]},{state}" for n, state in enumerate(states))
    labels(tmp_path / "labels.csv", *table, header="filename,finding,view,modality")
    run_ingest(tmp_path / "run", config(tmp_path))
    found = [row.reason.partition(":")[0] for row in rows(tmp_path / "run").values()]
    assert found == ["", "", "modality", "modality", "lateral", ""] * 3
    run_ingest(tmp_path / "any", config(tmp_path, view="any", columns={"modality": "none"}))
    found = [row.reason.partition(":")[0] for row in rows(tmp_path / "any").values()]
    assert found == ["", "", "modality", "modality", "", ""] * 3


def test_a_patient_of_the_path_is_in_one_set_and_written_nowhere(tmp_path: Path) -> None:
    for n in range(24):
        png(tmp_path / f"xrays/subject{n // 3:02}/{'xy'[n % 2]}{n}.png", n)
    names = (f"{'xy'[n % 2]}{n}.png,{'xy'[n % 2]}" for n in range(24))
    labels(tmp_path / "labels.csv", *names)
    messages = Messages()
    run_ingest(tmp_path / "bare", config(tmp_path), messages)
    assert any(r"data.columns.patient: 'path:subject\d+'" in text for text in messages.warned)
    settings = config(tmp_path, columns={"patient": r"path:subject\d+"}, privacy={"rename": True})
    messages = Messages()
    run_ingest(tmp_path / "run", settings, messages)
    found = list(rows(tmp_path / "run").values())
    assert len({row.patient for row in found}) == 8
    assert len({(row.patient, row.set) for row in found}) == 8
    written = (tmp_path / "run/ingest/manifest.csv").read_text() + repr(messages)
    assert "subject" not in written
    wrong = config(tmp_path, columns={"patient": r"path:person\d+"})
    with pytest.raises(IsnetError, match="is in none of 24 paths") as caught:
        run_ingest(tmp_path / "wrong", wrong)
    assert caught.value.fix == r"data.columns.patient: 'path:subject\d+'"


def test_rows_and_images_that_stay_alone_are_listed(tmp_path: Path) -> None:
    for n in range(8):
        png(tmp_path / f"xrays/{n}.png", n)
    labels(tmp_path / "labels.csv", *(f"{n}.png,{'xy'[n % 2]}" for n in range(2, 11)))
    messages = Messages()
    run_ingest(tmp_path / "run", config(tmp_path), messages)
    assert "  2 images have no row" in messages.lines
    assert "  3 rows have no image (line 8, 9, 10)" in messages.lines
    assert (tmp_path / "run/ingest/unmatched.csv").read_text().split() == [
        "set,what,line,key", ",image,,0", ",image,,1", ",row,8,", ",row,9,", ",row,10,",
    ]  # fmt: skip


def test_few_patients_leave_no_test_image_and_that_is_said(tmp_path: Path) -> None:
    for n in range(24):
        png(tmp_path / f"xrays/{n}.png", n)
    table = (f"{n}.png,{'xy'[n % 2]},{n // 8}" for n in range(24))
    labels(tmp_path / "labels.csv", *table, header="file,label,patient")
    messages = Messages()
    run_ingest(tmp_path / "run", config(tmp_path), messages)
    assert {row.set for row in rows(tmp_path / "run").values()} == {"train", "val"}
    (text,) = messages.warned
    assert text.startswith("data.sets.test: no image, expected at least one (24 images of 3")
    with pytest.raises(IsnetError, match="no image outside the sets train and val"):
        choose_sets(list(rows(tmp_path / "run").values()), None, "evaluate.sets")
