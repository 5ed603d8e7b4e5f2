"""Collections with findings by report: ChestX-ray14, CheXpert, MIMIC-CXR-JPG and others."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from isnet_cli.check.collections.drawn import Drawn, read_box
from isnet_cli.check.collections.films import (
    Cells,
    Film,
    Reading,
    count_findings,
    find_first,
    iterate_pictures,
    list_files,
    read_json_lines,
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
VALID_IS_TEST = "the official validation films are the test set; train and val share the rest"
NOT_INDEXED = {"no indexing", "technical quality of image unsatisfactory"}
INDIANA_REPORTS = ["indiana_reports.csv", "*/indiana_reports.csv"]
INDIANA_PROJECTIONS = ["indiana_projections.csv", "*/indiana_projections.csv"]
PLUS_TABLE = ["df_chexpert_plus*.csv*", "*/df_chexpert_plus*.csv*"]
MOST_FINDINGS, FEWEST_FILMS = 20, 2  # of free lists of findings: classes, and films of each
NO_FINDING = {"exclude", "unchanged", "suboptimal study"}  # words that name none


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
    return Reading(films, "multilabel", TRAINED, notes=[note], drawn=_read_nih_boxes(folder, files))


def _read_nih_boxes(folder: Path, files: Mapping[str, str]) -> list[Drawn]:
    """``BBox_List_2017.csv``, whose header has the form ``Bbox [x,y,w,h]`` without quotes."""
    table = find_first(folder, ["BBox_List_2017*.csv"])
    found = []
    for line in read_lines(table) if table else ():
        label = {"Infiltrate": "Infiltration"}.get(line["Finding Label"], line["Finding Label"])
        box = read_box(line, ("Bbox [x", "y", "w", "h]"))
        if box and line["Image Index"] in files:
            found.append(Drawn(files[line["Image Index"]], label, box))
    return found


def read_chexpert(folder: Path) -> Reading:
    """CheXpert, small or in batches; paths of its tables begin above or below the folder."""
    parts = {
        "train": ["train.csv"],
        "valid": ["valid.csv"],
        "test": ["test.csv", "test_labels.csv"],
    }
    tables = {n: find_first(folder, [*p, *(f"*/{one}" for one in p)]) for n, p in parts.items()}
    files = {_view(path): path for path in iterate_pictures(folder)}
    official = {"train": "", "valid": "val" if tables["test"] else "test", "test": "test"}
    films = [
        _stanford_film(files[_view(line["Path"])], line, official[name])
        for name, table in tables.items()
        for line in (read_lines(table) if table else ())
        if _view(line["Path"]) in files
    ]
    if tables["test"]:
        return Reading(films, "multilabel", {"train": 1.0, "val": None, "test": None})
    return Reading(films, "multilabel", TRAINED, notes=[VALID_IS_TEST])


def read_chexpert_plus(folder: Path) -> Reading:
    """CheXpert Plus: one table of films and reports; findings of the reports as lines of JSON."""
    names = ("impression_fixed.json", "report_fixed.json", "findings_fixed.json")
    labels = require(folder, [place + name for name in names for place in ("", "*/", "*/*/")])
    findings = {_view(line["path_to_image"]): line for line in read_json_lines(labels)}
    files = {_view(path): path for path in iterate_pictures(folder)}
    films = []
    for line in read_lines(require(folder, PLUS_TABLE)):
        path = _view(line["path_to_image"])
        if path in files and path in findings:
            part = "test" if line["path_to_image"].startswith("valid") else ""
            films.append(_stanford_film(files[path], {**line, **findings[path]}, part))
    note = f"findings are those of {labels.name}; {VALID_IS_TEST}"
    return Reading(films, "multilabel", TRAINED, notes=[note])


def _walk(folder: Path) -> list[str]:
    return list(iterate_pictures(folder)) if folder.is_dir() else []


def _view(path: str) -> str:
    """Patient, study and view of a path, whatever the folder above and the format."""
    return "/".join(path.rsplit(".", 1)[0].split("/")[-3:])


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
    patient = line.get("deid_patient_id") or patient
    side = line.get("Frontal/Lateral") or line.get("frontal_lateral") or ""
    if not side and file.rsplit(".", 1)[0].endswith("lateral"):  # tables of the test set
        side = "Lateral"
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
    """PadChest: findings as Python writes lists; the commonest of them are classes.

    Films without findings in words (``exclude``, ``unchanged``, none) have no label, and none of
    them is taken for a healthy one. Blanks in names of files do not count: the table has some.
    """
    files = {_squeeze(name): path for name, path in list_files(folder).items()}
    lines, found = [], []
    for line in read_lines(require(folder, ["PADCHEST_chest_x_ray_images_labels*.csv*"])):
        findings = _read_list(line.get("Labels", ""))
        if _squeeze(line["ImageID"]) in files and findings and "exclude" not in findings:
            lines.append(line)
            found.append([name for name in findings if name not in NO_FINDING])
    names = choose_findings(found)
    films = [
        Film(
            files[_squeeze(line["ImageID"])], cells, line.get("PatientID", ""),
            view=line.get("Projection", ""), sex=line.get("PatientSex_DICOM", ""),
            age=_years(line), manufacturer=line.get("Manufacturer_DICOM", ""),
        )
        for line, cells, findings in zip(lines, count_findings(found, names), found, strict=True)
        if findings
    ]  # fmt: skip
    notes = [
        f"the {len(names)} commonest of its findings are classes",
        "films whose report names no finding (exclude, unchanged, suboptimal study) are left out",
    ]
    return Reading(films, "multilabel", notes=notes)


def _squeeze(name: str) -> str:
    return "".join(name.split())


def _read_list(text: str) -> list[str]:
    """Findings of a cell such as ``['a', ' b ']``; none where it is not one."""
    try:
        values = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    words = [str(value).strip().lower() for value in values] if isinstance(values, list) else []
    return [word for word in words if word]


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
    for line in read_lines(
        require(folder, ["master_spreadsheet_update*.csv", "master_spreadsheet*.csv"])
    ):
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
    """Indiana (OpenI): projections and reports; problems are findings, else the MeSH headings."""
    files = list_files(folder)
    reports = {x["uid"]: _read_problems(x) for x in read_lines(require(folder, INDIANA_REPORTS))}
    lines = [
        line
        for line in read_lines(require(folder, INDIANA_PROJECTIONS))
        if line["filename"] in files and reports.get(line["uid"])
    ]
    found = [reports[line["uid"]] for line in lines]
    names = choose_findings(found)
    films = [
        Film(files[line["filename"]], cells, line["uid"], view=line.get("projection", ""))
        for line, cells in zip(lines, count_findings(found, names), strict=True)
    ]
    notes = [
        f"the {len(names)} commonest problems are classes",
        "films of reports that nobody indexed are left out",
    ]
    return Reading(films, "multilabel", notes=notes)


def _read_problems(line: Cells) -> list[str]:
    """Findings of a report: ``Problems``, else headings of ``MeSH`` without their qualifiers."""
    words = [word.strip() for word in line.get("Problems", "").split(";")]
    if not any(words):
        words = [word.split("/")[0].strip() for word in line.get("MeSH", "").split(";")]
    return list(dict.fromkeys(word for word in words if word and word.lower() not in NOT_INDEXED))
