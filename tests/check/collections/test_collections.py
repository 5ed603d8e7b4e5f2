"""Every public layout, as downloaded, from `isnet init` to the manifest, without a setting."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from isnet_cli.annotations.read import read_all_annotations
from isnet_cli.check.collections.drawn import read_runs
from isnet_cli.check.collections.registry import COLLECTIONS, recognise
from isnet_cli.config.load import load
from isnet_cli.core.files import read_csv
from isnet_cli.errors import IsnetError
from isnet_cli.images.manifest import read_manifest
from isnet_cli.images.types import Row
from isnet_cli.labels.values import decode_findings
from tests.check.collections.miniatures import MINIATURES, chexpert_batches, table, vinbigdata
from tests.cli.factory import isnet

QUIET = ("--no-progress", "-j", "0")
# name -> films joined, sets of the manifest that must have films, findings or classes, findings
# that are drawn into films
EXPECTED: dict[str, tuple[int, set[str], int, int]] = {
    "chestxray14": (16, {"train", "test"}, 14, 2),
    "chexpert": (11, {"train", "test"}, 14, 0),
    "chexpert-plus": (8, {"train", "test"}, 14, 0),
    "mimic-cxr-jpg": (16, {"train", "val", "test"}, 14, 0),
    "padchest": (6, {"train"}, 3, 0),
    "brax": (8, {"train"}, 14, 0),
    "indiana": (12, {"train"}, 4, 0),
    "vindr-cxr": (12, {"train", "test"}, 3, 12),
    "rsna-pneumonia": (8, {"train"}, 2, 9),
    "siim-pneumothorax": (8, {"train"}, 2, 8),
    "tbx11k": (12, {"train", "test"}, 3, 4),
    "covidx": (12, {"train", "test"}, 2, 0),
    "covid-radiography": (16, {"train"}, 4, 0),
    "cohen": (8, {"train"}, 3, 0),
    "kermany": (28, {"train", "test"}, 2, 0),
}


def count_findings(rows: list[Row], folder: Path) -> int:
    """Findings of the annotations that `init` wrote, joined to images; none may be left out."""
    config = load(folder / "isnet.yaml")
    if config.evaluate.annotations is None:
        return 0
    own = {"all": [replace(row, width=1024, height=1024) for row in rows]}
    found = read_all_annotations(config, None, own, own["all"])["all"]
    assert not found.left_out
    return sum(map(len, found.findings.values()))


def test_every_collection_has_a_miniature() -> None:
    assert set(MINIATURES) == {one.name for one in COLLECTIONS} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_collection_is_told_from_all_others(name: str, tmp_path: Path) -> None:
    MINIATURES[name](tmp_path)
    assert [one.name for one in COLLECTIONS if one.fits(tmp_path)] == [name]


@pytest.mark.parametrize(
    ("name", "layout"), [("chexpert", chexpert_batches), ("vindr-cxr", vinbigdata)]
)
def test_other_layouts_are_recognised(
    name: str, layout: Callable[[Path], None], tmp_path: Path
) -> None:
    layout(tmp_path)
    assert [one.name for one in COLLECTIONS if one.fits(tmp_path)] == [name]


@pytest.mark.parametrize("name", EXPECTED)
def test_init_and_ingest_as_typed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    MINIATURES[name](tmp_path / "data")
    done = isnet("init", "data", "--json")
    assert done.code == 0, done.err
    films, sets, labels, drawn = EXPECTED[name]
    assert done.document["table"] == f"labels-{name}.csv"
    ingested = isnet("ingest", "isnet.yaml", "-o", "run", *QUIET)
    rows = read_manifest(tmp_path / "run/ingest/manifest.csv")
    known = [row for row in rows if row.label]
    assert len(known) == len(rows) == films  # nothing else of the folder is an image of the run
    lateral = [row for row in rows if "lateral" in row.reason]
    assert all(row.status == "ok" for row in rows if row not in lateral)
    assert ingested.code == (7 if lateral else 0), ingested.err
    assert done.document["drawn"] == drawn == count_findings(rows, tmp_path)
    found = {row.set for row in known if row.status == "ok"}
    assert sets <= found, Counter(row.set for row in known)
    if done.document["task"] == "multilabel":
        assert len(decode_findings(known[0].label)) == labels
    else:
        assert len({row.label for row in known}) == labels
    patients = {row.patient for row in known} - {""}
    assert bool(patients) == (done.document["patients"] > 0)


def ingest(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, str]]:
    """The table that `init` made, by the name of the file."""
    monkeypatch.chdir(folder)
    MINIATURES[name](folder / "data")
    done = isnet("init", "data", "--dataset", name)
    assert done.code == 0, done.err
    lines = read_csv(folder / f"labels-{name}.csv")
    return {Path(line["file"]).name: line for line in lines}


def test_the_official_test_list_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ingest("chestxray14", tmp_path, monkeypatch)
    assert {n for n, line in lines.items() if line["set"] == "test"} == {
        "00000007_000.png", "00000007_001.png", "00000008_000.png", "00000008_001.png",
    }  # fmt: skip
    line = lines["00000001_001.png"]
    assert (line["Cardiomegaly"], line["Effusion"], line["Mass"]) == ("1", "1", "0")
    assert (line["patient"], line["view"], line["sex"], line["age"]) == ("1", "AP", "F", "051Y")


def test_uncertain_findings_stay_uncertain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ingest("mimic-cxr-jpg", tmp_path, monkeypatch)
    assert Counter(line["Edema"] for line in lines.values()) == {"-1": 12, "": 4}
    assert Counter(line["set"] for line in lines.values()) == {"train": 10, "val": 2, "test": 4}


def test_each_reader_has_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ingest("vindr-cxr", tmp_path, monkeypatch)
    lines = read_csv(tmp_path / "labels-vindr-cxr.csv")
    assert len(lines) == 3 * 8 + 4
    assert {n for n in lines[0] if n not in ("file", "set")} == {
        "Cardiomegaly", "Tuberculosis", "Other diseases",
    }  # fmt: skip
    assert "repeated: majority" in (tmp_path / "isnet.yaml").read_text(encoding="utf-8")


def test_readers_of_the_competition_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MINIATURES, "vindr-cxr", vinbigdata)
    lines = ingest("vindr-cxr", tmp_path, monkeypatch)
    assert len(lines) == 8  # not the test films, which have no labels
    assert "set" not in next(iter(lines.values()))
    assert "sets" not in (tmp_path / "isnet.yaml").read_text(encoding="utf-8").split("# Sets")[0]


def test_batches_and_the_late_test_set_of_chexpert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MINIATURES, "chexpert", chexpert_batches)
    monkeypatch.chdir(tmp_path)
    chexpert_batches(tmp_path / "data")
    assert isnet("init", "data").code == 0
    lines = read_csv(tmp_path / "labels-chexpert.csv")
    assert Counter(line["set"] for line in lines) == {"": 8, "val": 2, "test": 2}
    assert lines[0]["file"].startswith("data/CheXpert-v1.0 batch 2 (train 1)/patient00001/")
    views = {line["view"] for line in lines if line["set"] == "test"}
    assert views == {"", "Lateral"}


def test_reports_of_chexpert_plus_are_lines_of_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    MINIATURES["chexpert-plus"](tmp_path / "data")
    done = isnet("init", "data")
    assert "impression_fixed.json" in done.out
    lines = read_csv(tmp_path / "labels-chexpert-plus.csv")
    assert [line["No Finding"] for line in lines[:3]] == ["1", "0", "1"]
    assert [line["Edema"] for line in lines[:3]] == ["", "", "-1"]
    assert [line["patient"] for line in lines[:2]] == ["1", "2"]


def test_a_film_without_findings_in_words_is_not_healthy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ingest("padchest", tmp_path, monkeypatch)
    said = [[name for name in ("copd signs", "normal", "pleural effusion") if x[name] == "1"]
            for x in lines.values()]  # fmt: skip
    assert sorted(said) == [
        ["copd signs", "pleural effusion"], ["copd signs", "pleural effusion"],
        ["normal"], ["normal"], ["pleural effusion"], ["pleural effusion"],
    ]  # fmt: skip
    assert [name for name in lines if " " in name] == []  # its table writes blanks into one


def test_headings_stand_in_for_problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ingest("indiana", tmp_path, monkeypatch)
    assert {n for n in lines["2_IM-0002-4001.dcm.png"] if n[:1].isupper()} == {
        "Cardiomegaly", "Lung", "Pulmonary Atelectasis"
    }  # fmt: skip
    assert lines["2_IM-0002-4001.dcm.png"]["Lung"] == "1"
    assert "3_IM-0003-4001.dcm.png" not in lines  # nobody indexed it


def test_the_mapping_of_the_rsna_tells_patients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ingest("rsna-pneumonia", tmp_path, monkeypatch)
    assert len({line["patient"] for line in lines.values()}) == 8
    (tmp_path / "b/data").mkdir(parents=True)
    mapping = [
        {"subset_img_id": Path(name).stem, "img_id": f"0000000{i // 2}_00{i % 2}.png"}
        for i, name in enumerate(lines)
    ]
    path = tmp_path / "b/data/pneumonia-challenge-dataset-mappings_2018.json"
    path.write_text(json.dumps(mapping))
    known = ingest("rsna-pneumonia", tmp_path / "b", monkeypatch)
    assert len({line["patient"] for line in known.values()}) == 4
    path.write_text("[[1]]")
    monkeypatch.chdir(tmp_path / "b/data")
    done = isnet("init", ".", "-o", "x.yaml")
    assert (done.code, "not the mapping" in done.err) == (4, True)


def test_files_with_blanks_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ingest("covidx", tmp_path, monkeypatch)["COVID-19 (3).jpeg"]["label"] == "positive"


def test_boxes_of_the_old_name_are_of_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest("chestxray14", tmp_path, monkeypatch)
    lines = read_csv(tmp_path / "annotations-chestxray14.csv")
    assert [line["class"] for line in lines] == ["Cardiomegaly", "Infiltration"]
    assert lines[0] == {
        "image": "images_007/images/00000007_000.png", "class": "Cardiomegaly",
        "x": "2.5", "y": "1.25", "width": "8", "height": "6",
    }  # fmt: skip


def test_boxes_of_training_films_alone_are_not_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    MINIATURES["tbx11k"](tmp_path / "data")
    (tmp_path / "data/annotations/json/TBX11K_val.json").unlink()
    assert isnet("init", "data").code == 0
    assert load(tmp_path / "isnet.yaml").evaluate.annotations is None
    assert not list(tmp_path.glob("annotations-*"))


def test_runs_of_masks_go_down_the_columns() -> None:
    assert read_runs("3 2 4 1", (4, 3)) == (3, 2, 4, 1, 2)
    for code in ("3 2 4", "3 2 4 9", "a b"):
        with pytest.raises(IsnetError, match="expected pairs of numbers of 4 x 3 pixels"):
            read_runs(code, (4, 3))


def test_films_without_a_finding_have_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ingest("cohen", tmp_path, monkeypatch)
    assert "unsure.jpeg" not in lines
    assert {line["label"] for line in lines.values()} == {"COVID-19", "Pneumonia", "No Finding"}
    assert {line["source"] for line in lines.values()} == {"Hannover"}


def test_sources_of_workbooks_need_openpyxl_and_nothing_else_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ingest("covid-radiography", tmp_path, monkeypatch)
    assert {x["source"] for x in lines.values()} == {"sirm.org", "github.com/armiro"}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "b").mkdir()
    plain = ingest("covid-radiography", tmp_path / "b", monkeypatch)
    assert set(plain) == set(lines)
    assert "source" not in next(iter(plain.values()))


def test_patients_of_children_are_in_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ingest("kermany", tmp_path, monkeypatch)
    assert lines["person3_bacteria_3.jpeg"]["patient"] == "PNEUMONIA-person3"
    # the test films' numbers begin anew: another child
    assert lines["person3_virus_23.jpeg"]["patient"] == "test-PNEUMONIA-person3"
    assert lines["IM-0003-0001.jpeg"]["patient"] == "NORMAL-0003"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--dataset", "mnist"), 2, "expected one of none, brax"),
        (("--dataset", "kermany", "--labels", "x.csv"), 2, "expected one of them"),
        (("--dataset", "mimic-cxr-jpg"), 4, "no mimic-cxr-2*-chexpert.csv*"),
        (("--dataset", "siim-pneumothorax"), 4, "no train-rle.csv"),
        (("--dataset", "padchest"), 4, "no column 'ImageID'"),
    ],
)
def test_what_does_not_go_together(
    words: tuple[str, ...], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    table(tmp_path / "data/PADCHEST_chest_x_ray_images_labels.csv", "a,b", "1,2")
    done = isnet("init", "data", *words)
    assert (done.code, said in done.err) == (code, True), done.err


def test_none_looks_at_the_files_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    MINIATURES["kermany"](tmp_path / "data")
    assert recognise(tmp_path / "data") is not None
    done = isnet("init", "data", "--dataset", "none", "--json")
    assert done.code == 0
    assert "table" not in done.document
    assert not list(tmp_path.glob("labels-*"))


def test_a_table_that_is_there_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    MINIATURES["kermany"](tmp_path / "data")
    (tmp_path / "labels-kermany.csv").write_text("mine")
    done = isnet("init", "data")
    assert (done.code, "is kept" in done.err) == (2, True)
    assert (tmp_path / "labels-kermany.csv").read_text() == "mine"
    assert not (tmp_path / "isnet.yaml").exists()
