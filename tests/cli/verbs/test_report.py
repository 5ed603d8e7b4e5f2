"""`isnet compare` from its words to its files, on runs that the command itself made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from isnet_cli.cli.verbs.report import MOST, format_comparison
from tests.cli.factory import isnet, tree
from tests.report.compare.content import (
    content,
    group,
    one_test,
    pair,
    paired_cell,
    reliance,
    scores,
)
from tests.report.compare.factory import compared_run, edit_predictions, images
from tests.support.trained import TrainedRun


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory,
    finished_run: TrainedRun,
    finished_standard_run: TrainedRun,
) -> Path:
    """Two finished runs on the same images, named by their folders."""
    folder = tmp_path_factory.mktemp("compare")
    finished_run.copy(folder / "runs/isnet")
    finished_standard_run.copy(folder / "runs/standard")
    return folder


def test_real_runs(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = tree(made)
    done = isnet("compare", made / "runs/isnet", made / "runs/standard")
    assert done.code == 0, done.err
    assert done.out.endswith("page: compare.html\n")
    assert "p (Holm)" in done.out
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "compare.html", "compare.json", "compare_reliance.csv", "compare_scores.csv",
        "compare_seeds.csv", "compare_tests.csv",
    ]  # fmt: skip
    written = json.loads((tmp_path / "compare.json").read_text(encoding="utf-8"))
    found = written["tests"][0]["runs"]["standard"]
    assert found["reliance"]["n"] == 6
    assert found["reliance"]["auc"]["lungs_removed"]["low"] is not None
    assert [run["method"] for run in written["runs"]] == ["isnet", "standard"]
    assert {one["run"] for one in written["maps"]} == {"isnet", "standard"}
    assert tree(made) == before
    whole = (tmp_path / "compare.html").read_bytes()
    assert isnet("compare", made / "runs/isnet", made / "runs/standard").code == 0
    assert (tmp_path / "compare.html").read_bytes() == whole
    (tmp_path / "compare.html").write_text("mine", encoding="utf-8")
    again = isnet("compare", made / "runs/isnet", made / "runs/standard")
    assert again.code == 2
    assert "compare.html: exists and is no page of these runs" in again.err
    assert isnet("compare", made / "runs/isnet", made / "runs/standard", "--overwrite").code == 0


def test_one_json_document(tmp_path: Path) -> None:
    runs = [compared_run(tmp_path / name, noise=i) for i, name in enumerate("ab")]
    done = isnet("compare", *(run.path for run in runs), "-o", tmp_path / "x.html", "--json")
    assert done.code == 0, done.err
    found = done.document
    assert (found["schema"], found["verb"], found["exit_code"]) == (2, "compare", 0)
    assert found["files"][0] == str(tmp_path / "x.html")
    written = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    assert found["comparisons"] == written["comparisons"]


def test_exit_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sets = {"test": images(8), "far": images(6, head="g")}
    compared_run(tmp_path / "a", sets)
    compared_run(tmp_path / "b", {"test": images(8)}, noise=1)
    assert isnet("compare", "a", "b", "-o", "absent.html").code == 0
    compared_run(tmp_path / "c", {**sets, "far": images(5, head="g")}, noise=1)
    differs = isnet("compare", "a", "c", "-o", "differs.html")
    assert differs.code == 7
    assert "warning[data]: far / standard is left out: the images of c and a differ" in differs.err
    assert isnet("compare", "a").code == 2
    assert isnet("compare", "a", "a").code == 2
    assert isnet("compare", "a", "nowhere").code == 5
    compared_run(tmp_path / "d", {"else": images(4)})
    assert isnet("compare", "a", "d").code == 4
    edit_predictions(compared_run(tmp_path / "e", {"test": images(8)}), "f/01,tb", "f/01,x")
    assert isnet("compare", "a", "e").code == 4
    assert not list(tmp_path.glob("compare*"))


def test_tables_of_scores_tests_and_seeds() -> None:
    found = format_comparison(content(seeds=[group()], pairs=[pair(0.0001, 0.0002)]), "c.html")
    first, tests, seeds, page = found.split("\n\n")
    lines = first.splitlines()
    assert lines[0].split()[:4] == ["set", "version", "run", "images"]
    assert "0.700 [0.650, 0.750]" in lines[1]
    assert lines[2].endswith("0.500   50 %    0.500           25 %")
    assert "two - one" in tests
    assert "+0.100 [+0.050, +0.150]    <0.001" in tests
    assert tests.endswith("corrected for the 1 comparison of each score")
    assert "0.750, 0.070" in seeds
    assert page == "page: c.html"


def test_what_has_no_value_is_a_dash() -> None:
    empty = one_test(0.5, scores=scores(None), reliance=reliance(None, None, "x"))
    text = format_comparison(content(tests=[empty], pairs=[]), "c.html")
    assert text.splitlines()[1].split()[4:] == ["-"] * 7
    assert len(text.split("\n\n")) == 2
    nothing = paired_cell(None, None)
    lone = pair(macro_f1=nothing | {"value": None}, macro_auc=nothing)
    row = format_comparison(content(pairs=[lone]), "c").split("\n\n")[1].splitlines()[1]
    assert row.split()[5:] == ["-", "-", "+0.100", "[+0.050,", "+0.150]", "-"]


def test_many_tests_are_counted() -> None:
    text = format_comparison(content(pairs=[pair()] * (MOST + 1)), "c.html")
    assert f"{MOST + 1} paired comparisons: see the page and its table of tests" in text
    assert "two - one" not in text
