"""Collections of boxes, masks and classes: VinDr-CXR, RSNA, SIIM, TBX11K, COVIDx and others."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from isnet_cli.annotations.coco import read_coco_findings
from isnet_cli.check.collections.drawn import Drawn, read_box, read_runs
from isnet_cli.check.collections.films import (
    Cells,
    Film,
    Reading,
    find_first,
    iterate_pictures,
    list_files,
    read_lines,
    read_text,
    require,
)
from isnet_cli.config.schema import Limits
from isnet_cli.errors import IsnetError
from isnet_cli.guard.opening import parse_json, read_bytes

TRAINED = {"train": 0.875, "val": 0.125, "test": None}
NOTHING = "No finding"  # VinDr-CXR's class of films without one
LABEL = "label"  # column of a class
SIIM_SIZE = (1024, 1024)  # px, of its masks
COVIDX_CLASSES = {"positive", "negative", "normal", "pneumonia", "covid-19"}


def read_vindr(folder: Path) -> Reading:
    """VinDr-CXR: three readers a film; a row for each reader, so that ``repeated`` decides.

    Findings are those of ``image_labels``, else of the boxes; of the test films there is one row.
    """
    files = {Path(name).stem: path for name, path in list_files(folder).items()}
    films: list[Film] = []
    drawn: list[Drawn] = []
    for part in ("train", "test"):
        names = [f"annotations_{part}.csv", f"{part}.csv"]
        boxes = find_first(folder, [p + name for name in names for p in ("annotations/", "")])
        whole = [f"{p}image_labels_{part}.csv" for p in ("annotations/", "")]
        lines = read_lines(boxes) if boxes else []
        table = find_first(folder, whole)
        rows = _list_global(read_lines(table)) if table else _list_readers(lines)
        films += [
            Film(files[image], found, set="test" if part == "test" else "")
            for image, found in rows
            if image in files
        ]
        for line in lines:
            box = read_box(line, ("x_min", "y_min", "x_max", "y_max"))
            if box and line["image_id"] in files:
                x, y, right, bottom = box
                at = x, y, right - x, bottom - y
                drawn.append(Drawn(files[line["image_id"]], _name(line["class_name"]), at))
    labels = list(dict.fromkeys(name for film in films for name in film.labels))
    films = [replace(f, labels={name: f.labels.get(name, "0") for name in labels}) for f in films]
    note = "a finding counts where most of the readers state it (repeated: majority)"
    sets = TRAINED if any(film.set for film in films) else {}
    return Reading(films, "multilabel", sets, repeated="majority", notes=[note], drawn=drawn)


def _name(finding: str) -> str:
    """The training table calls one class otherwise than the test table."""
    return {"Other disease": "Other diseases"}.get(finding, finding)


def _list_global(lines: Sequence[Cells]) -> list[tuple[str, Cells]]:
    other = {"image_id", "rad_id", NOTHING}
    return [
        (line["image_id"], {_name(name): cell for name, cell in line.items() if name not in other})
        for line in lines
    ]


def _list_readers(lines: Sequence[Cells]) -> list[tuple[str, Cells]]:
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for line in lines:
        found[line["image_id"], line.get("rad_id", "")].add(_name(line["class_name"]))
    names = sorted({name for own in found.values() for name in own} - {NOTHING})
    return [
        (image, {name: str(int(name in own)) for name in names})
        for (image, _), own in found.items()
    ]


def read_rsna(folder: Path) -> Reading:
    """RSNA pneumonia challenge: a row per box; a film is its target.

    Several films are of one patient of ChestX-ray14, which only the mapping of the RSNA tells.
    """
    files = {Path(name).stem: path for name, path in list_files(folder).items()}
    target: dict[str, str] = {}
    drawn = []
    names = {"1": "pneumonia", "0": "no pneumonia"}
    for line in read_lines(require(folder, ["stage_2_train_labels.csv*"])):
        film = line["patientId"]
        target[film] = max(target.get(film, "0"), line["Target"])
        if (box := read_box(line, ("x", "y", "width", "height"))) and film in files:
            drawn.append(Drawn(files[film], names["1"], box))
    mapping = find_first(folder, ["pneumonia-challenge-dataset-mappings*.json", "*mappings*.json"])
    patients = _read_mapping(mapping) if mapping else {}
    films = [
        Film(files[film], {LABEL: names[value]}, patients.get(film, film))
        for film, value in target.items()
        if film in files and value in names
    ]
    notes = ["no official split of labelled films: train, val and test are split by patient"]
    if not patients:
        notes.append(
            "each film counts as a patient: pneumonia-challenge-dataset-mappings_2018.json of the"
            " RSNA, put beside the table, tells which films are of one"
        )
    return Reading(films, "multiclass", notes=notes, drawn=drawn)


def _read_mapping(path: Path) -> dict[str, str]:
    """Film of the challenge -> patient of ChestX-ray14, whose number begins the film's name there.

    Raises:
        IsnetError: Kind "data": another file.
    """
    try:
        lines = parse_json(read_bytes(path, Limits().table_bytes))
        return {one["subset_img_id"]: one["img_id"].partition("_")[0] for one in lines}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise IsnetError(
            "data", f"{path}: not the mapping of the RSNA", fix="download it again"
        ) from error


def read_siim(folder: Path) -> Reading:
    """SIIM-ACR pneumothorax: run lengths of a mask, -1 for none."""
    table = require(folder, ["train-rle.csv", "stage_2_train.csv"])
    files = {Path(name).stem: path for name, path in list_files(folder).items()}
    found: dict[str, bool] = {}
    drawn = []
    for line in read_lines(table):
        code = line.get("EncodedPixels", "").strip()
        film, ill = line["ImageId"], code not in ("", "-1")
        found[film] = found.get(film, False) or ill
        if ill and film in files:
            runs = read_runs(code, SIIM_SIZE)
            drawn.append(Drawn(files[film], "pneumothorax", runs=runs, size=SIIM_SIZE))
    films = [
        Film(files[film], {LABEL: "pneumothorax" if yes else "no pneumothorax"})
        for film, yes in found.items()
        if film in files
    ]
    note = "masks of the pneumothorax are annotations, not lung masks"
    return Reading(films, "multiclass", notes=[note], drawn=drawn)


def read_tbx11k(folder: Path) -> Reading:
    """TBX11K: a folder per class, the official lists of films, boxes in COCO files.

    Labels of its test films are not public, so the official validation films are the test set.
    """
    names = {"health": "healthy", "sick": "sick but no TB", "tb": "TB"}
    table = require(folder, ["lists/TBX11K_val.txt", "lists/*_val.txt"])
    held = {Path(line).name for line in read_text(table).split()}
    parts = [path.split("/") for path in iterate_pictures(folder)]
    films = [
        Film("/".join(p), {LABEL: names[p[1]]}, set="test" if p[-1] in held else "")
        for p in parts
        if len(p) >= 3 and p[0] == "imgs" and p[1] in names
    ]
    drawn = []
    for part in ("train", "val"):
        places = [f"annotations/json/{name}_{part}.json" for name in ("TBX11K", "all")]
        if (coco := find_first(folder, places)) is not None:
            drawn += [
                Drawn(f"imgs/{one.file}", label, (box[0], box[1], box[2] - box[0], box[3] - box[1]))
                for one in read_coco_findings(coco)
                for label, box in one.findings
                if isinstance(box, tuple)
            ]
    note = "labels of its test films are not public: the official validation films are the test set"
    return Reading(films, "multiclass", TRAINED, notes=[note], drawn=drawn)


def read_covidx(folder: Path) -> Reading:
    """COVIDx: lines of patient, file, class, source; a list for each set."""
    films = []
    for part in ("train", "val", "test"):
        table = find_first(folder, [f"{part}.txt", f"{part}_*.txt", f"{part}_split*.txt"])
        if table is None:
            continue
        for text in read_text(table).splitlines():
            patient, name, label, source = _split_covidx(text)
            places = (f"{part}/{name}", name)
            file = next((f for f in places if name and (folder / f).is_file()), None)
            if file is not None:
                owner = f"{source}:{patient}" if source else patient
                films.append(Film(file, {LABEL: label}, owner, source, set=part))
    if any(film.set == "val" for film in films):
        return Reading(films, "multiclass", notes=["the official lists"])
    trained = [replace(f, set="test" if f.set == "test" else "") for f in films]
    note = "test films are the official ones; train and val share the rest by patient"
    return Reading(trained, "multiclass", TRAINED, notes=[note])


def _split_covidx(text: str) -> tuple[str, str, str, str]:
    """Patient, file, class and source of a line; names of some files have blanks."""
    words = text.split()
    place = next((i for i in range(2, len(words)) if words[i].lower() in COVIDX_CLASSES), 0)
    if not place:
        return "", "", "", ""
    return words[0], " ".join(words[1:place]), words[place], " ".join(words[place + 1 :])


def read_radiography(folder: Path) -> Reading:
    """COVID-19 Radiography: a folder per class; workbooks name where films came from."""
    films = []
    for name in ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia"):
        sources = _read_origins(folder, name)
        inner = folder / name
        for path in iterate_pictures(inner) if inner.is_dir() else ():
            if not path.startswith("masks/"):
                stem = Path(path).stem.upper()
                films.append(Film(f"{name}/{path}", {LABEL: name}, source=sources.get(stem, "")))
    note = "its masks are smaller than its images and are not used; the lung U-Net makes others"
    known = any(film.source for film in films)
    more = "" if known else "sources are unknown: they are in its workbooks (isnet[excel])"
    return Reading(films, "multiclass", notes=[note, *([more] if more else [])])


def _read_origins(folder: Path, name: str) -> dict[str, str]:
    """Stem of a film -> site that it came from, where the workbook can be read."""
    book = find_first(folder, [f"{name}.metadata.xlsx", f"{name}*.xlsx"])
    if book is None:
        return {}
    try:
        lines = read_lines(book)
    except IsnetError as error:
        if error.kind == "usage":  # without openpyxl, films just have no source
            return {}
        raise
    found = {}
    for line in lines:
        cells = {key.strip().upper(): cell for key, cell in line.items()}
        place = urlsplit(cells.get("URL", ""))
        first = place.path.strip("/").split("/")[0]
        site = f"{place.netloc}/{first}" if first and "github" in place.netloc else place.netloc
        found[cells.get("FILE NAME", "").upper()] = site
    return found


def read_cohen(folder: Path) -> Reading:
    """The ieee8023 collection: ``metadata.csv``; hospitals by place; CT rows are left out."""
    files = list_files(folder)
    films = []
    for line in read_lines(require(folder, ["metadata.csv"])):
        name, finding = line["filename"], line["finding"].strip()
        usual = line.get("modality", "X-ray").lower() in ("", "x-ray")
        label = "COVID-19" if "COVID-19" in finding else finding.split("/")[0]
        if name not in files or not usual or label.lower() in ("", "todo", "unknown"):
            continue
        films.append(
            Film(
                files[name], {LABEL: label}, line.get("patientid", ""),
                " ".join(line.get("location", "").split(",")[:1]), line.get("view", ""),
                sex=line.get("sex", ""), age=line.get("age", ""),
            )
        )  # fmt: skip
    return Reading(
        films, "multiclass", notes=["no official split; classes differ in their sources"]
    )


PERSON = re.compile(r"(person\d+)_|(?:NORMAL\d?-)?IM-(\d+)-|(?:BACTERIA|VIRUS|NORMAL)-(\d+)-", re.I)


def read_kermany(folder: Path) -> Reading:
    """Kermany's children: folders of set and class, patients in the names of files."""
    films = []
    for path in iterate_pictures(folder):
        parts = path.split("/")
        if len(parts) != 3 or parts[0] not in ("train", "val", "test"):
            continue
        found = PERSON.match(parts[2])
        number = next(filter(None, found.groups()), "") if found else ""
        # numbers of persons begin anew in the test films, which are of other children
        patient = f"{'test-' * (parts[0] == 'test')}{parts[1]}-{number}" if number else ""
        films.append(Film(path, {LABEL: parts[1].lower()}, patient, set=parts[0]))
    if sum(film.set == "val" for film in films) < 100:  # 16 films in the published form
        joined = [replace(f, set="test" if f.set == "test" else "") for f in films]
        note = "its validation films are too few: train and val share them and the training films"
        return Reading(joined, "multiclass", TRAINED, notes=[note])
    return Reading(films, "multiclass", notes=["the official folders"])
