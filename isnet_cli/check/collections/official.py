"""Collections with findings by report: ChestX-ray14, CheXpert, MIMIC-CXR-JPG and others."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from isnet_cli.check.collections.films import (
    Cells,
    Film,
    Reading,
    count_findings,
    find_first,
    iterate_pictures,
    list_files,
    read_lines,
    read_text,
    require,
)

NIH_FINDINGS = (
    *("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema"),
    *("Fibrosis", "Hernia", "Infiltration", "Mass", "Nodule", "Pleural_Thickening"),
    *("Pneumonia", "Pneumothorax"),
)
STANFORD_FINDINGS = (
    *("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion"),
    *("Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion"),
    *("Pleural Other", "Fracture", "Support Devices"),
)
TRAINED = {"train": 0.875, "val": 0.125, "test": None}  # where the test films are official
MOST_FINDINGS, FEWEST_FILMS = 20, 2  # of free lists of findings: classes, and films of each
NO_FINDING = {"", "exclude", "unchanged", "suboptimal study"}  # words that name none


def read_chestxray14(folder: Path) -> Reading:
    """ChestX-ray14: one table, the official test list, patients; ``No Finding`` is no label."""
    files = list_files(folder)
    test = set(read_text(require(folder, ["test_list.txt"])).split())
    films = []
    for line in read_lines(require(folder, ["Data_Entry_2017*.csv"])):
        name = line["Image Index"]
        if name not in files:
            continue
        found = line["Finding Labels"].split("|")
        films.append(
            Film(
                files[name], count_findings([found], NIH_FINDINGS)[0], line["Patient ID"],
                view=line.get("View Position", ""), set="test" if name in test else "",
                sex=line.get("Patient Gender", ""), age=line.get("Patient Age", ""),
            )
        )  # fmt: skip
    note = "test films are those of test_list.txt; train and val share the rest by patient"
    return Reading(films, "multilabel", TRAINED, notes=[note])


def read_chexpert(folder: Path) -> Reading:
    """CheXpert, small or not: ``train.csv`` and ``valid.csv``, whose paths begin with a name."""
    return _read_stanford(folder, [("train.csv", ""), ("valid.csv", "test"), ("test.csv", "test")])


def read_chexpert_plus(folder: Path) -> Reading:
    """CheXpert Plus: one table of films and reports; findings in a table of their own."""
    table = require(folder, ["df_chexpert_plus*.csv*"])
    labels = find_first(folder, ["chexpert_plus_labels*.csv*", "*labels*.csv*"])
    findings = {} if labels is None else {_place(x): x for x in read_lines(labels)}
    files = {_view(path): path for path in iterate_pictures(folder)}
    films = []
    for line in read_lines(table):
        path = _place(line)
        file = files.get(_view(path))
        own = {**line, **findings.get(path, {})}
        if file is not None:
            films.append(_stanford_film(file, own, "test" if line.get("split") == "valid" else ""))
    note = "the official validation films are the test set; train and val share the rest"
    return Reading(films, "multilabel", TRAINED, notes=[note])


def _read_stanford(folder: Path, tables: list[tuple[str, str]]) -> Reading:
    has_test = (folder / "test.csv").is_file()
    files = {path for name in ("train", "valid", "test") for path in _below(folder, name)}
    films = []
    for name, part in tables:
        if not (folder / name).is_file():
            continue
        official = "val" if has_test and name == "valid.csv" else part
        for line in read_lines(folder / name):
            file = next(_endings(line["Path"], files), None)
            if file is not None:
                films.append(_stanford_film(file, line, official))
    if has_test:
        return Reading(films, "multilabel", {"train": 1.0, "val": None, "test": None})
    note = "the official validation films are the test set; train and val share the rest"
    return Reading(films, "multilabel", TRAINED, notes=[note])


def _below(folder: Path, name: str) -> list[str]:
    return [f"{name}/{path}" for path in _walk(folder / name)]


def _walk(folder: Path) -> list[str]:
    return list(iterate_pictures(folder)) if folder.is_dir() else []


def _view(path: str) -> str:
    """Patient, study and view of a path, whatever the folder above and the format."""
    return "/".join(path.rsplit(".", 1)[0].split("/")[-3:])


def _place(line: Cells) -> str:
    return line.get("path_to_image") or line.get("Path") or line.get("path") or ""


def _endings(path: str, files: set[str]) -> Iterator[str]:
    """Parts of a written path that are files below the folder: tables begin above or below it."""
    parts = path.replace("\\", "/").split("/")
    for start in range(len(parts)):
        inner = "/".join(parts[start:])
        if inner in files:
            yield inner


def _stanford_film(file: str, line: Cells, part: str) -> Film:
    patient = next((p for p in file.split("/") if p.startswith("patient")), "")
    view = line.get("AP/PA") or line.get("ap_pa") or ""
    side = line.get("Frontal/Lateral") or line.get("frontal_lateral") or ""
    return Film(
        file, {name: _finding(line.get(name, "")) for name in STANFORD_FINDINGS if name in line},
        patient, view=side if side.lower() == "lateral" else view or side, set=part,
        sex=line.get("Sex") or line.get("sex") or "", age=line.get("Age") or line.get("age") or "",
    )  # fmt: skip


def _finding(cell: str) -> str:
    """1, 0, -1 or empty, however the number is written."""
    try:
        return str(int(float(cell)))
    except ValueError:
        return ""


def read_mimic(folder: Path) -> Reading:
    """MIMIC-CXR-JPG: findings by study, views and the split by image, in three tables."""
    findings = {
        (line["subject_id"], line["study_id"]): line
        for line in read_lines(
            require(folder, ["mimic-cxr-2*-chexpert.csv*", "mimic-cxr-2*-negbio.csv*"])
        )
    }
    table = require(folder, ["mimic-cxr-2*-split.csv*"])
    split = {line["dicom_id"]: line["split"] for line in read_lines(table)}
    files = list_files(folder)
    films = []
    for line in read_lines(require(folder, ["mimic-cxr-2*-metadata.csv*"])):
        file = files.get(f"{line['dicom_id']}.jpg")
        found = findings.get((line["subject_id"], line["study_id"]))
        if file is None or found is None:
            continue
        labels = {name: _finding(found.get(name, "")) for name in STANFORD_FINDINGS}
        part = {"validate": "val"}.get(split.get(line["dicom_id"], ""), split.get(line["dicom_id"]))
        films.append(
            Film(
                file, labels, line["subject_id"], view=line.get("ViewPosition", ""), set=part or ""
            )
        )
    return Reading(films, "multilabel", notes=["the official split: train, validate, test"])


def read_padchest(folder: Path) -> Reading:
    """PadChest: findings as Python writes lists; the commonest of them are classes."""
    files = list_files(folder)
    lines = [
        line
        for line in read_lines(require(folder, ["PADCHEST_chest_x_ray_images_labels*.csv*"]))
        if line.get("ImageID") in files
    ]
    found = [_read_list(line.get("Labels", "")) for line in lines]
    names = choose_findings(found)
    films = [
        Film(
            files[line["ImageID"]], cells, line.get("PatientID", ""),
            view=line.get("Projection", ""), sex=line.get("PatientSex_DICOM", ""),
            age=_years(line), manufacturer=line.get("Manufacturer_DICOM", ""),
        )
        for line, cells in zip(lines, count_findings(found, names), strict=True)
    ]  # fmt: skip
    note = f"the {len(names)} commonest of its findings are classes; films that cannot be read are"
    return Reading(films, "multilabel", notes=[f"{note} skipped with a reason by isnet ingest"])


def _read_list(text: str) -> list[str]:
    """Findings of a cell such as ``['a', ' b ']``; none where it is not one."""
    try:
        values = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    words = [str(value).strip().lower() for value in values] if isinstance(values, list) else []
    return [word for word in words if word not in NO_FINDING]


def _years(line: Cells) -> str:
    """Age from the year of birth and the day of the study."""
    born, done = line.get("PatientBirth", "")[:4], line.get("StudyDate_DICOM", "")[:4]
    known = born.isdigit() and done.isdigit() and int(done) >= int(born)
    return str(int(done) - int(born)) if known else ""


def choose_findings(found: list[list[str]]) -> list[str]:
    """The commonest findings, sorted; those of one film alone are none."""
    count = Counter(name for names in found for name in set(names))
    common = [name for name, n in count.most_common(MOST_FINDINGS) if n >= FEWEST_FILMS]
    return sorted(common)


def read_brax(folder: Path) -> Reading:
    """BRAX: one table, CheXpert's findings."""
    files = set(_walk(folder))
    films = []
    for line in read_lines(require(folder, ["master_spreadsheet*.csv"])):
        written = (line.get("PngPath", ""), line.get("DicomPath", ""))
        file = next((f for path in written for f in _endings(path, files)), None)
        if file is None:
            continue
        labels = {name: _finding(line.get(name, "")) for name in STANFORD_FINDINGS if name in line}
        films.append(
            Film(
                file, labels, line.get("PatientID", ""), view=line.get("ViewPosition", ""),
                sex=line.get("PatientSex", ""), age=line.get("PatientAge", ""),
                manufacturer=line.get("Manufacturer", ""),
            )
        )  # fmt: skip
    return Reading(films, "multilabel")


def read_indiana(folder: Path) -> Reading:
    """Indiana (OpenI): projections and reports, of which the problems are the findings."""
    files = list_files(folder)
    reports = {x["uid"]: x for x in read_lines(require(folder, ["indiana_reports.csv"]))}
    lines = [
        line
        for line in read_lines(require(folder, ["indiana_projections.csv"]))
        if line["filename"] in files and line["uid"] in reports
    ]
    found = [
        [word.strip() for word in reports[line["uid"]].get("Problems", "").split(";") if word]
        for line in lines
    ]
    names = choose_findings(found)
    films = [
        Film(files[line["filename"]], cells, line["uid"], view=line.get("projection", ""))
        for line, cells in zip(lines, count_findings(found, names), strict=True)
    ]
    return Reading(films, "multilabel", notes=[f"the {len(names)} commonest problems are classes"])
