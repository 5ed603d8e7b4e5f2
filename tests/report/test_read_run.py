"""Reading of runs: what is there is read, what is not is told, what is damaged is refused."""

import json
from pathlib import Path

import pytest

from isnet_cli.core.run_folder import RunFolder
from isnet_cli.errors import IsnetError
from isnet_cli.report.read_run import missing, read_cohort, read_run, run_names
from tests.report.factory import make_report_run

SCORED = ("ingest", "masks", "train", "evaluate")


def test_names_are_as_short_as_they_can_be() -> None:
    def names(*paths: str) -> list[str]:
        return run_names([RunFolder(Path(path)) for path in paths])

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
    assert "someone" not in facts.config_text
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
    told = missing(RunFolder(tmp_path), {"evaluate": {"model": "/runs/other"}})
    assert "another run" in told["train"]


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
    assert len(cohort.rows) == 33
    assert len(cohort.images) == len(cohort.qc) == 30
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
        ("evaluate/test/standard/predictions.csv", "key,label,p_normal,p_tb\n1,tb,x,y\n"),
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


@pytest.mark.parametrize("file", ["ingest/manifest.csv", "masks/qc.csv"])
def test_damaged_cohort_is_named(tmp_path: Path, file: str) -> None:
    folder = make_report_run(tmp_path / "run", stages=SCORED)
    (tmp_path / "run" / file).write_bytes(b"key\xff\xfe\n\xff")
    with pytest.raises(IsnetError, match="missing or damaged"):
        read_cohort(folder, "c", ["c"])
