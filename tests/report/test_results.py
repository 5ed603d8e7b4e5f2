"""Reading of runs: what is there is read, what is not is named, what is damaged is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isnet_cli.config.schema import Config, Evaluate
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.errors import IsnetError
from isnet_cli.report.compare.common_tests import pair_tests
from isnet_cli.report.results import (
    Cohort,
    RunResults,
    explain_missing,
    name_runs,
    read_cohort,
    read_evaluated,
    read_predictions,
    read_run,
)
from tests.report.compare.factory import compared_run, edit_predictions, images, opened, read
from tests.report.factory import make_report_run

SCORED = ("ingest", "masks", "train", "evaluate")
TEST = ("test", "standard")
PART = '{"n": 1, "macro": {}, "per_class": {"x": {}}, "files": ["a/b/predictions.csv"]}'
WHOLE = f'{{"sets": {{"a": {{"b": {PART}}}}}, "classes": ["x"], "task": "multiclass"}}'


def test_names_are_as_short_as_they_can_be() -> None:
    def names(*paths: str) -> list[str]:
        return name_runs([RunFolder(Path(path)) for path in paths])

    assert names("/a/isnet") == ["isnet"]
    assert names("/a/isnet", "/a/standard") == ["isnet", "standard"]
    assert names("/a/run", "/b/run") == ["a/run", "b/run"]
    assert len(set(names("/a/run", "/a/run"))) == 2


def test_a_whole_run_is_read(tmp_path: Path) -> None:
    folder = make_report_run(tmp_path / "run", stages=SCORED)
    facts = read_run(folder, "one")
    assert facts.name == "one"
    assert facts.setting("train.method") == "isnet"
    assert len(facts.history) == 6
    assert facts.card["epoch"] == 5
    assert set(facts.metrics["sets"]) == {"test", "montgomery"}
    assert set(facts.missing) == {"heatmap"}
    curves = facts.rocs["test", "deceiving"]
    assert [curve.name for curve in curves] == ["normal", "tb"]
    area = facts.metrics["sets"]["test"]["deceiving"]["per_class"]["tb"]["auc"]
    assert curves[1].auc == area
    drawn = sum(
        (b - a) * (c + d) / 2
        for a, b, c, d in zip(
            curves[1].fpr, curves[1].fpr[1:], curves[1].tpr, curves[1].tpr[1:], strict=False
        )
    )
    assert drawn == pytest.approx(area)  # the curve is of the predictions that were scored


def test_folders_of_the_machine_are_shortened(tmp_path: Path) -> None:
    folder = make_report_run(tmp_path / "run", stages=SCORED)
    assert "/home/someone/xrays" in (tmp_path / "run" / "isnet.yaml").read_text()
    facts = read_run(folder, "one")
    assert "someone" not in facts.settings_text
    assert facts.setting("data.images") == "…/xrays"


def test_missing_stages_tell_how_to_make_them(tmp_path: Path) -> None:
    folder = make_report_run(tmp_path / "run", stages=("ingest",))
    folder.begin("masks", "x")
    facts = read_run(folder, "one")
    assert set(facts.missing) == {"masks", "train", "evaluate", "heatmap"}
    assert "was started" in facts.missing["masks"]
    assert "isnet train CONFIG -o run" in facts.missing["train"]
    assert (facts.history, facts.card, facts.metrics, facts.rocs) == ([], {}, {}, {})


def test_a_borrowed_model_is_no_missing_training(tmp_path: Path) -> None:
    found = explain_missing(RunFolder(tmp_path), Config(evaluate=Evaluate(model="/runs/other")))
    assert "another run" in found["train"]


def test_an_interrupted_training_shows_its_history(tmp_path: Path) -> None:
    folder = make_report_run(tmp_path / "run", stages=SCORED)
    folder.begin("train", "again")
    facts = read_run(folder, "one")
    assert len(facts.history) == 6
    assert facts.card == {}


def test_cohort_comes_from_the_run_that_made_it(tmp_path: Path) -> None:
    make_report_run(tmp_path / "first", stages=("ingest", "masks"))
    config = {"upstream": str(tmp_path / "first")}
    second = make_report_run(tmp_path / "second", config=config, stages=SCORED)
    assert not (tmp_path / "second" / "ingest").exists()
    cohort = read_cohort(second.owner("ingest"), "first", ["first", "second"])
    assert len(cohort.rows) == 19
    assert len(cohort.images) == len(cohort.qc) == 16
    assert set(read_run(second, "second").missing) == {"heatmap"}


def test_multilabel_curves_leave_unknown_labels_out(tmp_path: Path) -> None:
    folder = make_report_run(tmp_path / "run", biased=False, stages=SCORED)
    root = folder.stage_dir("evaluate")
    metrics = json.loads((root / "metrics.json").read_text())
    metrics["task"] = "multilabel"
    (root / "metrics.json").write_text(json.dumps(metrics))
    lines = ["key,label,predicted,p_normal,p_tb", "1,tb=1;normal=?,tb,0.1,0.9",
             "2,tb=0;normal=1,normal,0.8,0.1", "3,tb=?;normal=0,tb,0.2,0.5",
             "4,,tb,0.2,0.5"]  # fmt: skip
    for name in ("test", "montgomery"):
        (root / name / "standard" / "predictions.csv").write_text("\n".join(lines))
    folder.finish("evaluate", "again", [root / "metrics.json"], {})
    curves = read_run(folder, "one").rocs["test", "standard"]
    assert [(c.name, c.fpr[-1], c.tpr[-1]) for c in curves] == [("normal", 1, 1), ("tb", 1, 1)]
    assert all(0.0 in c.fpr and 1.0 in c.tpr for c in curves)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("evaluate/metrics.json", "{"),
        ("evaluate/metrics.json", "[]"),
        ("evaluate/metrics.json", None),
        ("train/model.json", "no json"),
        ("evaluate/test/standard/predictions.csv", "key,label\n1,tb\n"),
    ],
)
def test_damaged_files_of_finished_stages_are_named(
    tmp_path: Path, file: str, content: str | None
) -> None:
    folder = make_report_run(tmp_path / "run", stages=SCORED)
    path = tmp_path / "run" / file
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(IsnetError, match="missing or damaged") as caught:
        read_run(folder, "one")
    assert path.name in caught.value.message
    assert caught.value.fix


@pytest.mark.parametrize("cell", ["x", "inf", "nan", "1.5", ""])
def test_curves_are_drawn_of_probabilities_alone(tmp_path: Path, cell: str) -> None:
    """sklearn would refuse some of them in words of its own, and take others."""
    folder = make_report_run(tmp_path / "run", stages=SCORED)
    path = tmp_path / "run/evaluate/test/standard/predictions.csv"
    path.write_text(f"key,label,p_normal,p_tb\n1,tb,0.5,0.5\n2,tb,{cell},0.5\n")
    with pytest.raises(IsnetError, match=rf"predictions\.csv:3: p_normal is '{cell}'") as caught:
        read_run(folder, "one")
    assert "isnet evaluate CONFIG --overwrite" in caught.value.fix


@pytest.mark.parametrize("file", ["ingest/manifest.csv", "masks/qc.csv"])
def test_damaged_cohort_is_named(tmp_path: Path, file: str) -> None:
    folder = make_report_run(tmp_path / "run", stages=SCORED)
    (tmp_path / "run" / file).write_bytes(b"key\xff\xfe\n\xff")
    with pytest.raises(IsnetError, match="missing or damaged"):
        read_cohort(folder, "c", ["c"])


def refusal(run: RunResults, test: tuple[str, str] = TEST) -> IsnetError:
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
    np.testing.assert_array_equal(straight.reorder(["f/03", "f/00"]), straight.p[[3, 0]])


def test_a_run_without_evaluate_is_refused(tmp_path: Path) -> None:
    folder = compared_run(tmp_path / "a")
    folder.begin("evaluate", "again")
    with pytest.raises(IsnetError, match="stage 'evaluate' is not finished") as caught:
        read(folder)
    assert caught.value.kind == "data"
    assert "isnet evaluate" in caught.value.fix


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
    found = pair_tests([one, other], tables)
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
    with pytest.raises(IsnetError, match=r"ingest/manifest\.csv was changed"):
        read_evaluated(*opened(folders[0]), "x")
    folders[0].finish("ingest", "ingest", [path], {})
    root = folders[0].stage_dir("evaluate")
    outputs = [root / "metrics.json", root / "test/standard/predictions.csv"]
    folders[0].finish("evaluate", "evaluate", outputs, {})
    runs = [read_evaluated(*opened(folder), "x") for folder in folders]
    tables = [read_predictions(run, TEST, run.classes) for run in runs]
    assert pair_tests(runs, tables)[0].sample.clusters == 12
    assert pair_tests(runs[:1], tables[:1])[0].sample.clusters == 24


def test_unlabelled_images_take_no_part(tmp_path: Path) -> None:
    sets = {"test": {**images(10), "f/90": "", "f/91": ""}}
    run = read(compared_run(tmp_path / "a", sets))
    (found,) = pair_tests([run], [read_predictions(run, TEST, run.classes)])
    assert len(found.sample) == found.metrics["n"] == 10


def test_missing_scores_are_none() -> None:
    found = RunResults("r", metrics={"sets": {"a": {"standard": {"macro": {"f1": 0.5}}}}})
    assert found.macro(("a", "standard"), "f1") == 0.5
    assert found.macro(("a", "standard"), "auc") is None
    assert found.macro(("x", "standard"), "f1") is None
    assert found.outside(("a", "standard")) is None


def test_settings_by_dotted_name() -> None:
    found = RunResults("r", settings={"train": {"method": "isnet", "seed": None}})
    assert found.setting("train.method") == "isnet"
    assert found.setting("train.seed") == "unknown"
    assert found.setting("train.method.more") == "unknown"


def test_the_evaluated_model_counts_before_the_trained_and_the_configured() -> None:
    config = {"train": {"method": "isnet"}, "model": {"arch": "small", "input": [9, 9]}, "seed": 3}
    assert RunResults("r", settings=config).model["method"] == "isnet"
    card = {"method": "standard", "arch": "vgg19"}
    assert RunResults("r", settings=config, card=card).model["arch"] == "vgg19"
    other = RunResults("r", settings=config, card=card, metrics={"model": {"arch": "resnet18"}})
    assert other.model["arch"] == "resnet18"
    assert other.model["seed"] == "3"


def test_area_outside_is_over_sound_masks() -> None:
    qc = [
        {"area": "0.2", "verdict": "ok"},
        {"area": "0.4", "verdict": "ok"},
        {"area": "0.9", "verdict": "suspect"},
        {"area": "", "verdict": "missing"},
    ]
    area = Cohort("c", ["r"], qc=qc).outside_area
    assert area is not None
    assert abs(area - 0.7) < 1e-12
    assert Cohort("c", ["r"]).outside_area is None
