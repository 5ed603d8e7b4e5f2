"""Settings of methods are chosen by validation images, within a budget, and said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from isnet_cli.benchmark import tuning
from isnet_cli.benchmark.cells import make_grid
from isnet_cli.benchmark.pool import Ended, Task
from isnet_cli.benchmark.run import Outcome, run_benchmark
from isnet_cli.benchmark.tuning import Trial, choose_settings, describe_settings
from isnet_cli.config.benchmark import list_trials, load_benchmark
from isnet_cli.core.files import read_csv
from isnet_cli.core.run_context import RunContext
from isnet_cli.errors import IsnetError
from tests.benchmark.factory import in_process, loaded, make_stages_quick, write

METHODS = """\
  standard: {}
  rrr: {tune: {train.settings.rrr.gradient_weight: [0.001, 0.1, 1.0]}}
"""
VALUES = {0.001: 0.7, 0.1: 0.9, 1.0: 0.8}  # what the validation images say of each weight


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    make_stages_quick(monkeypatch)
    monkeypatch.setattr("isnet_cli.report.drawings.svg_text", lambda figure: "<svg/>")
    monkeypatch.setattr("isnet_cli.report.compare.write.choose_draws", lambda family: 200)

    def read(path: Path) -> dict[str, float | None]:
        from isnet_cli.config.load import load

        config = load(path.parents[1] / "isnet.yaml")
        return {"val_swapped_auc": VALUES[config.train.settings_of("rrr").gradient_weight]}

    monkeypatch.setattr(tuning, "read_validation", read)


def go(file: Path, output: Path, done: list[str]) -> Outcome:
    bench, grid = loaded(file, output)
    launch = in_process(output, watch=lambda task: done.append(f"{task.name} {task.until}"))
    return run_benchmark(bench, grid, file, output, RunContext(), launch=launch)


def test_the_best_by_validation_is_evaluated_and_trained_with_all_seeds(tmp_path: Path) -> None:
    file, output, done = write(tmp_path, methods=METHODS, seeds="0, 1"), tmp_path / "out", []
    found = go(file, output, done)
    cells = [one for one in done if one.startswith("cells/all/rrr")]
    assert cells == [
        "cells/all/rrr~1/seed-0 train", "cells/all/rrr~2/seed-0 train",
        "cells/all/rrr~3/seed-0 train", "cells/all/rrr~2/seed-0 evaluate",
        "cells/all/rrr~2/seed-1 evaluate",
    ]  # fmt: skip
    assert found.complete
    for trial, tested in ((1, False), (2, True), (3, False)):
        place = output / f"cells/all/rrr~{trial}/seed-0/evaluate/metrics.json"
        assert place.is_file() == tested
    scores = read_csv(output / "tables" / "scores.csv")
    assert {(line["method"], line["seed"]) for line in scores} == {
        (method, seed) for method in ("standard", "rrr") for seed in "01"
    }
    lines = read_csv(output / "tables" / "tuning.csv")
    assert [(x["trial"], float(x["value"]), x["chosen"]) for x in lines] == [
        ("1", 0.7, "False"), ("2", 0.9, "True"), ("3", 0.8, "False"),
    ]  # fmt: skip
    assert lines[1]["settings"] == "gradient_weight: 0.1"
    page = (output / "benchmark.md").read_text()
    assert "| rrr | gradient_weight: 0.1 | 0.900 | chosen |" in page
    assert "at most 6 settings a row" in page
    assert "nothing tried: standard" in page
    record = json.loads((output / "benchmark.json").read_text())
    chosen = [(c.get("trial"), c.get("chosen"), c["seed"]) for c in record["cells"]]
    assert chosen.count((2, True, 0)) == chosen.count((2, True, 1)) == 1
    assert chosen.count((None, None, 0)) == 1

    done.clear()
    again = go(file, output, done)
    assert done == []
    assert again.tables == found.tables


def test_a_setting_that_fails_is_left_out_and_said(tmp_path: Path) -> None:
    methods = METHODS.replace("0.001, 0.1, 1.0", "1.0")
    methods = methods.replace("tune: {", "tune: {train.optimizer.lr: [0.1, 1000.0], ")
    file, output = write(tmp_path, methods=methods), tmp_path / "out"
    found = go(file, output, [])
    table = next(one for one in found.tables if one.kind == tuning.TUNING)
    assert [row[-1] for row in table.rows] == ["chosen", ""]
    assert "training diverged" in str(table.rows[1])
    assert [one["task"] for one in found.content["failed"]] == ["cells/all/rrr~2/seed-0"]


def test_ties_and_gaps() -> None:
    bench, cells = _bench(), [Task(f"cells/{i}", None, "train") for i in range(4)]  # type: ignore[arg-type]

    def trial(number: int, value: float | None) -> Trial:
        cell: Any = type("C", (), {"trial": number, "name": str(number - 1)})
        return Trial(cell, value)

    tried = {("all", "rrr"): [trial(1, None), trial(2, 0.5), trial(3, 0.5), trial(4, 0.1)]}
    done = {task.name: Ended("done") for task in cells}
    assert choose_settings(bench, tried, done) == {("all", "rrr"): 2}
    loss = bench.model_copy(update={"tune": bench.tune.model_copy(update={"by": "loss"})})
    assert choose_settings(loss, tried, done) == {("all", "rrr"): 4}
    assert choose_settings(bench, tried, {**done, "cells/3": Ended("stopped")}) == {}
    assert choose_settings(bench, {("all", "rrr"): [trial(1, None)]}, done) == {}


def _bench() -> Any:
    from isnet_cli.config.benchmark import Benchmark

    return Benchmark.model_validate({"base": "c.yaml", "methods": {"rrr": {}}})


def test_every_combination_is_tried_in_order() -> None:
    row = {"tune": {"a.x": [1, 2], "b.x": ["u", "v"]}}
    assert [describe_settings(one) for one in list_trials(row)] == [
        "a.x: 1, b.x: u", "a.x: 1, b.x: v", "a.x: 2, b.x: u", "a.x: 2, b.x: v",
    ]  # fmt: skip
    assert describe_settings({"a.x": [1, 2.5], "b.y": False}) == "x: [1, 2.5], y: false"
    assert list_trials({}) == list_trials(None) == []


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        ("  rrr: {tune: {train.epochs: [1, 2, 3, 4, 5, 6, 7]}}\n", "7 settings, expected 1 to"),
        ("  rrr: {tune: {train.epochs: 3}}\n", "expected KEY"),
        ("  rrr: {tune: {}}\n", "expected KEY"),
        ("  rrr: {train.epochs: 2, tune: {train.epochs: [1]}}\n", "set in the row, too"),
        ("  rrr: {tune: {train.epoch: [1]}}\n", r"methods\.rrr\.tune.*did you mean"),
        (
            "  rrr: {tune: {train.epochs: [1, 2]}}\n"
            "  standard: {model.pretrained: 'cell:rrr/train/model.safetensors'}\n",
            "tries several settings",
        ),
    ],
)
def test_impossible_tunings_are_refused_before_anything_runs(
    methods: str, said: str, tmp_path: Path
) -> None:
    file = write(tmp_path, methods=methods)
    with pytest.raises(IsnetError, match=said):
        make_grid(load_benchmark(file), file, tmp_path / "out")
