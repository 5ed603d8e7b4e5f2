"""Every public layout, as downloaded, from `isnet init` to the manifest, without a setting."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from isnet_cli.check.collections.registry import COLLECTIONS, recognise
from isnet_cli.core.files import read_csv
from isnet_cli.images.manifest import read_manifest
from isnet_cli.labels.values import decode_findings
from tests.check.collections.miniatures import MINIATURES
from tests.cli.factory import isnet

QUIET = ("--no-progress", "-j", "0")
# name -> films joined, sets of the manifest that must have films, findings or classes
EXPECTED: dict[str, tuple[int, set[str], int]] = {
    "chestxray14": (16, {"train", "test"}, 14),
    "chexpert": (11, {"train", "test"}, 14),
    "chexpert-plus": (8, {"train", "test"}, 14),
    "mimic-cxr-jpg": (16, {"train", "val", "test"}, 14),
    "padchest": (8, {"train"}, 3),
    "brax": (8, {"train"}, 14),
    "indiana": (16, {"train"}, 3),
    "vindr-cxr": (11, {"train", "test"}, 1),
    "rsna-pneumonia": (8, {"train"}, 2),
    "siim-pneumothorax": (8, {"train"}, 2),
    "tbx11k": (12, {"train", "val"}, 3),
    "covidx": (12, {"train", "test"}, 2),
    "covid-radiography": (16, {"train"}, 4),
    "cohen": (8, {"train"}, 3),
    "kermany": (28, {"train", "test"}, 2),
}


def test_every_collection_has_a_miniature() -> None:
    assert set(MINIATURES) == {one.name for one in COLLECTIONS} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_collection_is_told_from_all_others(name: str, tmp_path: Path) -> None:
    MINIATURES[name](tmp_path)
    assert [one.name for one in COLLECTIONS if one.fits(tmp_path)] == [name]


@pytest.mark.parametrize("name", EXPECTED)
def test_init_and_ingest_as_typed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    MINIATURES[name](tmp_path / "data")
    done = isnet("init", "data", "--json")
    assert done.code == 0, done.err
    films, sets, labels = EXPECTED[name]
    assert done.document["table"] == f"labels-{name}.csv"
    ingested = isnet("ingest", "isnet.yaml", "-o", "run", *QUIET)
    assert ingested.code in (0, 7), ingested.err
    rows = read_manifest(tmp_path / "run/ingest/manifest.csv")
    known = [row for row in rows if row.label]
    assert len([row for row in known if row.status == "ok" or "lateral" in row.reason]) == films
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
    assert len(read_csv(tmp_path / "labels-vindr-cxr.csv")) == 33
    assert "repeated: majority" in (tmp_path / "isnet.yaml").read_text(encoding="utf-8")


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
    assert lines["IM-0003-0001.jpeg"]["patient"] == "NORMAL-0003"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--dataset", "mnist"), 2, "expected one of none, brax"),
        (("--dataset", "kermany", "--labels", "x.csv"), 2, "expected one of them"),
        (("--dataset", "mimic-cxr-jpg"), 4, "no mimic-cxr-2*-chexpert.csv*"),
        (("--dataset", "siim-pneumothorax"), 4, "no train-rle.csv"),
    ],
)
def test_what_does_not_go_together(
    words: tuple[str, ...], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
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
