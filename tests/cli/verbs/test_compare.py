"""`isnet compare` from its words to its files, on runs that the command itself made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.factory import isnet, tree, write_inputs
from tests.report.compare.factory import compared_run, edit_predictions, images


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trained runs on the same images."""
    folder = tmp_path_factory.mktemp("compare")
    config = write_inputs(folder)
    first = folder / "runs/isnet"
    words = ("--set", "evaluate.intervals.draws=1000", "--set", "evaluate.intervals.bootstrap=200")
    assert isnet("run", config, "-o", first, *words).code == 0
    other = ("--set", f"upstream={first}", "--set", "train.method=standard")
    assert isnet("run", config, "-o", folder / "runs/standard", *other, *words).code == 0
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
    content = json.loads((tmp_path / "compare.json").read_text(encoding="utf-8"))
    found = content["tests"][0]["runs"]["standard"]
    assert found["reliance"]["n"] == 6
    assert found["reliance"]["auc"]["lungs_removed"]["low"] is not None
    assert [run["method"] for run in content["runs"]] == ["isnet", "standard"]
    assert {one["run"] for one in content["maps"]} == {"isnet", "standard"}
    assert tree(made) == before
    again = isnet("compare", made / "runs/isnet", made / "runs/standard")
    assert again.code == 2
    assert "compare.html: exists, expected a new file" in again.err
    assert isnet("compare", made / "runs/isnet", made / "runs/standard", "--overwrite").code == 0


def test_one_json_document(tmp_path: Path) -> None:
    runs = [compared_run(tmp_path / name, noise=i) for i, name in enumerate("ab")]
    done = isnet("compare", *(run.path for run in runs), "-o", tmp_path / "x.html", "--json")
    assert done.code == 0, done.err
    found = done.document
    assert (found["schema"], found["verb"], found["exit_code"]) == (1, "compare", 0)
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
