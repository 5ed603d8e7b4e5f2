"""Collections of boxes, masks and classes: VinDr-CXR, RSNA, SIIM, TBX11K, COVIDx and others."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from urllib.parse import urlsplit

from isnet_cli.check.collections.films import (
    Film,
    Reading,
    find_first,
    iterate_pictures,
    list_files,
    read_lines,
    read_text,
    require,
)
from isnet_cli.errors import IsnetError

TRAINED = {"train": 0.875, "val": 0.125, "test": None}
NOTHING = "No finding"  # VinDr-CXR's class of films without one
LABEL = "label"  # column of a class


def read_vindr(folder: Path) -> Reading:
    """VinDr-CXR: three readers a film; a row for each reader, so that ``repeated`` decides."""
    films: list[Film] = []
    files = {Path(name).stem: path for name, path in list_files(folder).items()}
    for part in ("train", "test"):
        table = find_first(
            folder,
            [f"annotations/annotations_{part}.csv", f"annotations_{part}.csv", f"{part}.csv"],
        )
        if table is None:
            continue
        found: dict[tuple[str, str], set[str]] = defaultdict(set)
        for line in read_lines(table):
            found[line["image_id"], line.get("rad_id", "")].add(line["class_name"])
        names = sorted({name for own in found.values() for name in own} - {NOTHING})
        films += [
            Film(files[image], {name: str(int(name in own)) for name in names}, set=_part(part))
            for (image, _), own in found.items()
            if image in files
        ]
    labels = list(dict.fromkeys(name for film in films for name in film.labels))
    whole = [
        Film(f.file, {name: f.labels.get(name, "0") for name in labels}, set=f.set) for f in films
    ]
    note = "a finding counts where most of the readers state it (repeated: majority)"
    return Reading(whole, "multilabel", TRAINED, repeated="majority", notes=[note])


def _part(name: str) -> str:
    return "test" if name == "test" else ""


def read_rsna(folder: Path) -> Reading:
    """RSNA pneumonia challenge: a row per box; a film is its target."""
    files = {Path(name).stem: path for name, path in list_files(folder).items()}
    target: dict[str, str] = {}
    for line in read_lines(require(folder, ["stage_2_train_labels.csv*"])):
        film = line["patientId"]
        target[film] = max(target.get(film, "0"), line["Target"])
    names = {"1": "pneumonia", "0": "no pneumonia"}
    films = [
        Film(files[film], {LABEL: names[value]}, film)
        for film, value in target.items()
        if film in files and value in names
    ]
    note = "no official split of labelled films: train, val and test are split by patient"
    return Reading(films, "multiclass", notes=[note])


def read_siim(folder: Path) -> Reading:
    """SIIM-ACR pneumothorax: run lengths of a mask, -1 for none."""
    table = require(folder, ["train-rle.csv", "stage_2_train.csv"])
    files = {Path(name).stem: path for name, path in list_files(folder).items()}
    found: dict[str, bool] = {}
    for line in read_lines(table):
        cells = {name.strip(): cell for name, cell in line.items()}
        code = cells.get("EncodedPixels", "").strip()
        film = cells["ImageId"]
        found[film] = found.get(film, False) or code not in ("", "-1")
    films = [
        Film(files[film], {LABEL: "pneumothorax" if yes else "no pneumothorax"})
        for film, yes in found.items()
        if film in files
    ]
    return Reading(films, "multiclass", notes=["masks of the pneumothorax are not lung masks"])


def read_tbx11k(folder: Path) -> Reading:
    """TBX11K: a folder per class, the official lists of films."""
    names = {"health": "healthy", "sick": "sick but no TB", "tb": "TB"}
    lists = {"train": "train", "val": "val", "test": "test"}
    of: dict[str, str] = {}
    for part, name in lists.items():
        table = find_first(folder, [f"lists/TBX11K_{name}.txt", f"lists/*_{name}.txt"])
        if table is not None:
            of |= dict.fromkeys(read_text(table).split(), part)
    films = []
    for path in iterate_pictures(folder):
        parts = path.split("/")
        if len(parts) >= 3 and parts[0] == "imgs" and parts[1] in names:
            place = of.get("/".join(parts[1:]), "")
            films.append(Film(path, {LABEL: names[parts[1]]}, set=place))
    note = "the official lists: train and val; labels of the test films are not public"
    return Reading(films, "multiclass", notes=[note])


def read_covidx(folder: Path) -> Reading:
    """COVIDx: lines of patient, file, class, source; a list for each set."""
    films = []
    for part in ("train", "val", "test"):
        table = find_first(folder, [f"{part}.txt", f"{part}_*.txt", f"{part}_split*.txt"])
        if table is None:
            continue
        for text in read_text(table).splitlines():
            words = text.split()
            if len(words) < 3:
                continue
            patient, name, label = words[:3]
            source = words[3] if len(words) > 3 else ""
            file = next((f for f in (f"{part}/{name}", name) if (folder / f).is_file()), None)
            if file is not None:
                owner = f"{source}:{patient}" if source else patient
                films.append(Film(file, {LABEL: label}, owner, source, set=part))
    if any(film.set == "val" for film in films):
        return Reading(films, "multiclass", notes=["the official lists"])
    trained = [Film(**{**vars(f), "set": "test" if f.set == "test" else ""}) for f in films]
    note = "test films are the official ones; train and val share the rest by patient"
    return Reading(trained, "multiclass", TRAINED, notes=[note])


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
        patient = f"{parts[1]}-{number}" if number else ""
        films.append(Film(path, {LABEL: parts[1].lower()}, patient, set=parts[0]))
    if sum(film.set == "val" for film in films) < 100:  # 16 films in the published form
        joined = [Film(**{**vars(f), "set": "test" if f.set == "test" else ""}) for f in films]
        note = "its validation films are too few: train and val share them and the training films"
        return Reading(joined, "multiclass", TRAINED, notes=[note])
    return Reading(films, "multiclass", notes=["the official folders"])
