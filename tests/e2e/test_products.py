"""What a run shows is always of its present results: pages made again, refused, or kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from isnet_cli.config.load import load
from isnet_cli.core.pipeline import open_run
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.errors import IsnetError
from isnet_cli.report.results import find_faults, read_evaluated, read_run
from tests.cli.factory import isnet, write_inputs
from tests.support.trained import TrainedRun


@pytest.fixture(autouse=True)
def _no_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isnet_cli.report.drawings.svg_text", lambda figure: "<svg/>")


@pytest.fixture
def run(finished_run: TrainedRun, tmp_path: Path) -> TrainedRun:
    return finished_run.copy(tmp_path / "run")


def edit_record(path: Path, stage: str, **changes: Any) -> None:
    record = json.loads((path / "run.json").read_text(encoding="utf-8"))
    record["stages"][stage] |= changes
    (path / "run.json").write_text(json.dumps(record), encoding="utf-8")


def test_the_report_is_a_product_like_any_other(run: TrainedRun) -> None:
    page = run.path / "report.html"
    command = ("run", run.yaml, "-o", run.path, "--no-progress", "--json")
    assert isnet(*command).document["report"] == str(page)
    first, made = page.read_bytes(), page.stat().st_mtime_ns
    assert isnet(*command).code == 0
    assert page.stat().st_mtime_ns == made  # up to date
    page.write_text("an older page", encoding="utf-8")
    assert isnet(*command).code == 0
    assert page.read_bytes() == first
    edit_record(run.path, "heatmap", finished="2001-01-01T00:00:00+00:00")  # done again
    assert isnet(*command).code == 0
    assert page.stat().st_mtime_ns != made
    edit_record(run.path, "report", status="running")  # killed before its end
    page.unlink()
    assert isnet(*command).code == 0
    assert page.is_file()


def test_results_of_an_earlier_training_are_never_shown(run: TrainedRun) -> None:
    edit_record(run.path, "train", outputs={"model.json": "0" * 64})
    folder = RunFolder(run.path)
    faults = find_faults(folder)
    for stage in ("evaluate", "heatmap"):
        assert faults[stage] == "was made from an earlier result of stage 'train'"
    with pytest.raises(IsnetError, match="stage 'evaluate' was made from an earlier result"):
        read_evaluated(folder, run.config, "run")


def test_results_of_other_settings_than_the_page_would_name_are_never_shown(
    run: TrainedRun,
) -> None:
    text = (run.path / "isnet.yaml").read_text(encoding="utf-8")
    assert find_faults(RunFolder(run.path)) == {}
    (run.path / "isnet.yaml").write_text(text.replace("epochs: 2", "epochs: 9"), encoding="utf-8")
    found = read_run(RunFolder(run.path), "run")
    assert "other settings" in found.missing["train"]
    assert found.card == {}


@pytest.mark.parametrize(
    ("stage", "file"),
    [
        ("evaluate", "metrics.json"), ("evaluate", "test/standard/roc.svg"),
        ("masks", "contact_sheet.png"), ("train", "curves.svg"), ("heatmap", "index.csv"),
    ],
)  # fmt: skip
def test_every_file_of_a_stage_counts(run: TrainedRun, stage: str, file: str) -> None:
    folder = RunFolder(run.path)
    assert folder.find_damage(stage) == ""
    path = run.path / stage / file
    path.write_bytes(path.read_bytes() + b" ")
    assert folder.find_damage(stage) == f"{stage}/{file} was changed since it was written"
    path.unlink()
    assert folder.find_damage(stage) == f"{stage}/{file} is gone"


def test_maps_and_masks_count_too(run: TrainedRun) -> None:
    for stage, pattern in (
        ("heatmap", "**/*.npz"),
        ("masks", "**/x*.png"),
        ("ingest", "**/x*.png"),
    ):
        next((run.path / stage).glob(pattern)).unlink()
        assert "is gone" in RunFolder(run.path).find_damage(stage)


def test_an_upstream_run_is_found_where_it_was_moved_to(tmp_path: Path) -> None:
    up = RunFolder(tmp_path / "old/up")
    out = up.stage_dir("ingest") / "manifest.csv"
    out.parent.mkdir(parents=True)
    out.write_text("x", encoding="utf-8")
    up.finish("ingest", "f", [out], {})
    config = load(None, [f"upstream={up.path}"])
    own = tmp_path / "old/run/train/model.json"
    own.parent.mkdir(parents=True)
    own.write_text("x", encoding="utf-8")
    open_run(tmp_path / "old/run", config).finish("train", "f", [own], {})
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    out.write_text("y", encoding="utf-8")
    up.finish("ingest", "g", [out], {})  # done again since
    found = open_run(tmp_path / "new/run", config).upstream
    assert found is not None
    assert found.path == tmp_path / "new/up"
    shutil.rmtree(tmp_path / "old")
    (tmp_path / "link").symlink_to(tmp_path / "new/run")
    linked = open_run(tmp_path / "link", config).upstream
    assert linked is not None
    assert linked.path == tmp_path / "new/up"
    shutil.rmtree(tmp_path / "new/up")
    with pytest.raises(IsnetError, match="no such run folder, expected the run that has"):
        open_run(tmp_path / "new/run", config)


@pytest.mark.slow
def test_a_moved_run_works_from_its_own_images(tmp_path: Path) -> None:
    config = write_inputs(tmp_path / "in")
    assert isnet("run", config, "-o", tmp_path / "made").code == 0
    shutil.rmtree(tmp_path / "in")
    run = (tmp_path / "made").rename(tmp_path / "moved")
    for words in (
        ["heatmap", "--model", run, "--limit", 1, "--overwrite"],
        ["evaluate", "--model", run],
        ["predict", "--model", run],
        ["run", run, "--set", "heatmap.limit=1"],
        ["report", run],
    ):
        done = isnet(*words)
        assert done.code == 0, (words, done.err)
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    for verb in ("heatmap", "evaluate", "predict"):
        done = isnet(verb, "--model", run, "-o", tmp_path / verb)
        assert done.code == 0, (verb, done.err)
    done = isnet("report", run, "-o", tmp_path / "page.html")
    assert done.code == 0, done.err
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before
    done = isnet("run", run, "--set", "data.max_side=512", "--overwrite")
    assert done.code == 4
    assert str(tmp_path / "in") in done.err
