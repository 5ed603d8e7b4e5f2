"""Runs are read with every cell checked; what cannot be compared is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isnet_cli.errors import IsnetError
from isnet_cli.report.compare.read_run import (
    Evaluated,
    paired_tests,
    read_evaluated,
    read_predictions,
)
from tests.report.compare.factory import compared_run, edit_predictions, images, opened, read

TEST = ("test", "standard")


def refusal(run: Evaluated, test: tuple[str, str] = TEST) -> IsnetError:
    with pytest.raises(IsnetError) as caught:
        read_predictions(run, test, run.classes)
    assert caught.value.fix
    return caught.value


def test_reads_scores_images_and_predictions(tmp_path: Path) -> None:
    run = read(compared_run(tmp_path / "a"))
    assert (run.name, run.classes, run.task, run.tests) == (
        "a", ["normal", "tb"], "multiclass", [TEST],
    )  # fmt: skip
    table = read_predictions(run, TEST, ["tb", "normal"])
    assert list(table.labels)[:2] == ["f/00", "f/01"]
    straight = read_predictions(run, TEST, ["normal", "tb"])
    np.testing.assert_array_equal(table.p, straight.p[:, ::-1])
    np.testing.assert_array_equal(straight.ordered(["f/03", "f/00"]), straight.p[[3, 0]])


def test_a_run_without_evaluate_is_refused(tmp_path: Path) -> None:
    folder = compared_run(tmp_path / "a")
    folder.begin("evaluate", "again")
    with pytest.raises(IsnetError, match="stage 'evaluate' is not finished") as caught:
        read(folder)
    assert caught.value.kind == "data"
    assert "isnet evaluate" in caught.value.fix


PART = '{"n": 1, "macro": {}, "per_class": {"x": {}}, "files": ["a/b/predictions.csv"]}'
WHOLE = f'{{"sets": {{"a": {{"b": {PART}}}}}, "classes": ["x"], "task": "multiclass"}}'


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", WHOLE.replace(PART, "{}"), WHOLE.replace('["x"]', '["x", "y"]')),
        *(WHOLE.replace("predictions", "others"), WHOLE.replace("1", "NaN"), WHOLE[:-1]),
    ],
)
def test_damaged_metrics_are_refused(tmp_path: Path, text: str) -> None:
    folder = compared_run(tmp_path / "a")
    path = folder.stage_dir("evaluate") / "metrics.json"
    path.write_text(text)
    with pytest.raises(IsnetError, match=r"metrics\.json: missing or damaged"):
        read(folder)
    path.write_text(WHOLE)  # which is sound, so that each of the above has one fault
    with pytest.raises(IsnetError, match="changed since"):
        read(folder)


def test_files_changed_after_evaluate_are_refused(tmp_path: Path) -> None:
    folder = compared_run(tmp_path / "a")
    edit_predictions(folder, "outside_share", "outside_share ", record=False)
    assert "changed since isnet evaluate" in refusal(read(folder)).message
    path = folder.stage_dir("evaluate") / "metrics.json"
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(IsnetError, match="changed since isnet evaluate"):
        read(folder)


@pytest.mark.parametrize(
    ("cell", "kind"), [("nan", "weights"), ("inf", "weights"), ("x", "weights"), ("1.5", "data")]
)
def test_impossible_probabilities_are_refused(tmp_path: Path, cell: str, kind: str) -> None:
    folder = compared_run(tmp_path / "a")
    path = folder.stage_dir("evaluate") / "test/standard/predictions.csv"
    value = path.read_text(encoding="utf-8").splitlines()[2].split(",")[3]
    edit_predictions(folder, value, cell)
    error = refusal(read(folder))
    assert error.kind == kind
    assert f"predictions.csv:3: p_normal is '{cell}'" in error.message


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("f/01,tb", "f/01,covid", "label 'covid' is no class of the model, expected normal, tb"),
        ("f/01,", "f/00,", "found 'f/00' twice"),
        ("f/01,", "g/01,", "found 'g/01' not in ingest"),
        ("p_tb", "p_other", "expected columns key, label, p_normal, p_tb"),
    ],
)
def test_wrong_cells_are_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    folder = compared_run(tmp_path / "a")
    edit_predictions(folder, old, new)
    error = refusal(read(folder))
    assert error.kind == "data"
    assert words in error.message


def test_missing_predictions_are_refused(tmp_path: Path) -> None:
    folder = compared_run(tmp_path / "a")
    run = read(folder)
    (folder.stage_dir("evaluate") / "test/standard/predictions.csv").unlink()
    assert "missing or damaged" in refusal(run).message


@pytest.mark.parametrize("multilabel", [False, True])
def test_scores_of_the_tables_are_those_of_evaluate(tmp_path: Path, multilabel: bool) -> None:
    options: dict[str, Any] = {}
    sets = {"test": images(20)}
    if multilabel:
        sets = {"test": {f"f/{i}": f"normal={i % 2};tb={'?' if i % 5 == 0 else i % 3 % 2}"
                         for i in range(20)}}  # fmt: skip
        options = {"data": {"labels": {"task": "multilabel"}}, "train": {"method": "standard"}}
    one = read(compared_run(tmp_path / "a", sets, **options))
    reverse = ("tb", "normal")
    other = read(compared_run(tmp_path / "b", sets, classes=reverse, noise=1, **options))
    tables = [read_predictions(run, TEST, one.classes) for run in (one, other)]
    found = paired_tests([one, other], tables)
    for test, run in zip(found, (one, other), strict=True):
        for rate in ("f1", "auc", "ap"):
            expected = run.scores(TEST)["macro"][rate]
            assert test.metrics["macro"][rate] == pytest.approx(expected, abs=1e-12)
        assert test.sample.clusters == 10  # two images of each patient
    np.testing.assert_array_equal(found[0].sample.truth, found[1].sample.truth)


def test_patients_come_from_a_run_that_knows_them(tmp_path: Path) -> None:
    folders = [compared_run(tmp_path / name, noise=i) for i, name in enumerate("ab")]
    path = folders[0].stage_dir("ingest") / "manifest.csv"
    text = path.read_text(encoding="utf-8")
    for i in range(12):
        text = text.replace(f"{i:012x}", "")
    path.write_text(text, encoding="utf-8")
    runs = [read_evaluated(*opened(folder), "x") for folder in folders]
    tables = [read_predictions(run, TEST, run.classes) for run in runs]
    assert paired_tests(runs, tables)[0].sample.clusters == 12
    assert paired_tests(runs[:1], tables[:1])[0].sample.clusters == 24


def test_unlabelled_images_take_no_part(tmp_path: Path) -> None:
    sets = {"test": {**images(10), "f/90": "", "f/91": ""}}
    run = read(compared_run(tmp_path / "a", sets))
    (found,) = paired_tests([run], [read_predictions(run, TEST, run.classes)])
    assert len(found.sample) == found.metrics["n"] == 10
