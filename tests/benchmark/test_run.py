"""A benchmark as a whole: cells, tables, pages; continuing, failures, other settings."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from isnet_cli.benchmark.pool import Process, Task
from isnet_cli.benchmark.run import (
    Outcome,
    describe_cells,
    plan_benchmark,
    run_benchmark,
)
from isnet_cli.core.files import read_csv
from isnet_cli.core.run_context import RunContext
from isnet_cli.errors import IsnetError
from tests.benchmark.factory import Finished, in_process, loaded, make_stages_quick, write

DATA = "  shapes: {bias.kind: shapes}\n  clean: {}\n"
COST: dict[str, Any] = {"why": "not here"}


def go(file: Path, output: Path, context: RunContext | None = None, **options: Any) -> Outcome:
    bench, grid = loaded(file, output)
    options.setdefault("launch", in_process(output, overwrite=options.get("overwrite", False)))
    options.setdefault("measure", lambda request, name: COST)
    return run_benchmark(bench, grid, file, output, context or RunContext(), **options)


@dataclass(frozen=True)
class Whole:
    """Two methods, two seeds, two data settings."""

    file: Path
    output: Path
    outcome: Outcome
    order: list[str]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    make_stages_quick(monkeypatch)


@pytest.fixture(scope="module", params=["quick", pytest.param("real", marks=pytest.mark.slow)])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    root = tmp_path_factory.mktemp("whole")
    cost = "{steps: 1, batch_size: 2, images: 2}"
    file, output, order = write(root, seeds="0, 1", data=DATA, cost=cost), root / "out", list[str]()
    launch = in_process(output, watch=lambda task: order.append(task.name))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("isnet_cli.report.compare.write.choose_draws", lambda family: 200)
        if request.param == "quick":
            make_stages_quick(patch)
            patch.setattr("isnet_cli.report.drawings.svg_text", lambda figure: "<svg/>")
        return Whole(file, output, go(file, output, launch=launch), order)


def test_all_cells_are_runs_with_scores(whole: Whole) -> None:
    content = whole.outcome.content
    assert whole.outcome.complete
    assert (content["status"], content["failed"]) == ("done", [])
    assert len(content["cells"]) == 8
    for cell in content["cells"]:
        assert cell["status"] == "done"
        assert cell["seconds"] >= 0
        assert (whole.output / cell["run"] / "evaluate" / "metrics.json").is_file()
        assert not (whole.output / cell["run"] / "heatmap").exists()
        assert not (whole.output / cell["run"] / "ingest").exists()
    assert sorted(p.name for p in (whole.output / "images").iterdir()) == [
        "shapes-seed-0", "shapes-seed-1",
    ]  # fmt: skip
    assert whole.order[:2] == ["images/shapes-seed-0", "images/shapes-seed-1"]


def test_tables_are_the_mean_of_what_the_cells_say(whole: Whole) -> None:
    titles = [table.title for table in whole.outcome.tables]
    assert titles == [
        "synthetic bias, shapes: test, i.i.d.", "shapes: test, i.i.d.", "clean: test, i.i.d.",
        "cost",
    ]  # fmt: skip
    lines = read_csv(whole.output / "tables" / "bias.csv")
    found = next(
        line for line in lines
        if (line["method"], line["version"], line["score"]) == ("isnet", "deceiving", "macro_auc")
    )  # fmt: skip
    values = []
    for seed in (0, 1):
        path = whole.output / f"cells/shapes/isnet/seed-{seed}/evaluate/metrics.json"
        values.append(json.loads(path.read_text())["sets"]["test"]["deceiving"]["macro"]["auc"])
    assert float(found["mean"]) == pytest.approx(sum(values) / 2)
    assert float(found["sd"]) == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    scores = read_csv(whole.output / "tables" / "scores.csv")
    assert {(line["data"], line["method"], line["seed"]) for line in scores} == {
        (d, m, s) for d in ("shapes", "clean") for m in ("standard", "isnet") for s in "01"
    }
    page = (whole.output / "benchmark.md").read_text()
    assert page.count("\n| standard |") == 4
    assert "not measured: not here" in page
    record = json.loads((whole.output / "benchmark.json").read_text())
    assert [table["title"] for table in record["tables"]] == titles
    assert read_csv(whole.output / "tables" / "failed.csv") == []
    assert read_csv(whole.output / "tables" / "cost.csv")[0]["why"] == "not here"


def test_pages_compare_what_stands_on_the_same_images(whole: Whole) -> None:
    expected = [
        f"compare-{data}-seed-{seed}.html" for seed in (0, 1) for data in ("shapes", "clean")
    ]
    assert whole.outcome.content["pages"] == expected
    assert all((whole.output / page).is_file() for page in expected)


def test_the_same_call_does_no_work_and_keeps_the_seconds(whole: Whole) -> None:
    def launch(task: Task) -> Process:
        raise AssertionError(task.name)

    again = go(whole.file, whole.output, launch=launch)
    assert {cell["status"] for cell in again.content["cells"]} == {"current"}
    seconds = [cell["seconds"] for cell in again.content["cells"]]
    assert seconds == [cell["seconds"] for cell in whole.outcome.content["cells"]]
    assert again.tables == whole.outcome.tables
    # and the resolved file is the benchmark, wherever it lies
    resolved = whole.output / "benchmark.yaml"
    bench, grid = loaded(resolved, whole.output)
    states = plan_benchmark(bench, grid, resolved, whole.output)
    assert {state.plan for state in states.values()} == {"current"}


def test_other_settings_of_finished_cells_are_refused_and_more_rows_are_not(whole: Whole) -> None:
    changed = whole.file.with_name("changed.yaml")
    changed.write_text(whole.file.read_text().replace("epochs: 1", "epochs: 2"))
    with pytest.raises(IsnetError, match="8 runs were finished with other settings") as caught:
        go(changed, whole.output)
    assert caught.value.kind == "config"
    assert caught.value.details[0] == "cells/shapes/standard/seed-0: changed: train.epochs"
    assert caught.value.details[-1] == "... and 3 more"
    assert "--overwrite" in caught.value.fix
    more = whole.file.with_name("more.yaml")
    more.write_text(whole.file.read_text().replace("  isnet:", "  grad_input: {}\n  isnet:"))
    states = plan_benchmark(*loaded(more, whole.output), more, whole.output)
    assert sorted(state.plan for state in states.values()) == ["current"] * 10 + ["new"] * 4


def test_settings_of_a_method_are_checked_before_anything_is_written(tmp_path: Path) -> None:
    methods = "  standard: {train.settings: {standard: {x: 1}}}\n"
    file = write(tmp_path, methods=methods, seeds="0, 1")
    with pytest.raises(
        IsnetError, match=r"b\.yaml:10: methods\.standard: train\.settings\.standard\.x"
    ):
        go(file, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_failing_cell_is_a_row_and_is_tried_again(tmp_path: Path, quick: None) -> None:
    methods = "  standard: {}\n  broken: {train.method: standard, train.optimizer.lr: 1000.0}\n"
    methods += (
        "  after: {train.method: standard, model.normalisation: none,"
        " model.pretrained: 'cell:broken/train/x.safetensors'}\n"
    )
    file, output = write(tmp_path, methods=methods), tmp_path / "out"
    found = go(file, output)
    assert found.complete
    first, second = found.content["failed"]
    assert (first["task"], first["status"], first["code"]) == (
        "cells/all/broken/seed-0", "failed", 5,
    )  # fmt: skip
    assert first["error"].startswith("error[weights]: training diverged")
    assert second["status"] == "blocked"
    assert [row[0] for row in found.tables[0].rows] == ["standard"]
    assert "cells/all/broken/seed-0" in (output / "benchmark.md").read_text()
    file.write_text(file.read_text().replace("1000.0", "0.1").replace("x.saf", "model.saf"))
    again = go(file, output)
    assert again.content["failed"] == []
    assert [cell["status"] for cell in again.content["cells"]] == ["current", "done", "done"]


def test_a_teacher_is_another_row_and_comes_first(tmp_path: Path, quick: None) -> None:
    student = '{train.settings: {distillation: {teacher: "cell:masked_mix"}}}'
    methods = f"  distillation: {student}\n  masked_mix: {{}}\n"
    file, output, order = write(tmp_path, methods=methods), tmp_path / "out", list[str]()
    found = go(file, output, launch=in_process(output, watch=lambda task: order.append(task.name)))
    assert found.content["failed"] == []
    assert [name.split("/")[2] for name in order[1:]] == ["masked_mix", "distillation"]
    wrong = write(tmp_path, methods=methods.replace("{teacher:", "{teachr: x, teacher:"))
    with pytest.raises(IsnetError, match=r"distillation\.teachr: unknown key"):
        go(wrong, output)


def test_a_stopped_benchmark_shows_what_is_there_and_goes_on(tmp_path: Path, quick: None) -> None:
    file, output = write(tmp_path), tmp_path / "out"
    done: list[str] = []
    launch = in_process(output, watch=lambda task: done.append(task.name))
    stopped = go(file, output, RunContext(stop_requested=lambda: len(done) > 1), launch=launch)
    assert not stopped.complete
    assert stopped.content["status"] == "incomplete"
    assert [cell["status"] for cell in stopped.content["cells"]] == ["done", "stopped"]
    assert [row[0] for row in stopped.tables[0].rows] == ["standard"]
    assert stopped.content["pages"] == []
    again = go(file, output, launch=launch)
    assert done == ["images/all-seed-0", "cells/all/standard/seed-0", "cells/all/isnet/seed-0"]
    assert again.complete
    assert [row[0] for row in again.tables[0].rows] == ["standard", "isnet"]


def test_the_tables_are_there_while_it_runs(tmp_path: Path, quick: None) -> None:
    file, output = write(tmp_path), tmp_path / "out"
    seen: list[tuple[str, list[str]]] = []

    def watch(task: Task) -> None:
        if (output / "benchmark.json").is_file():
            record = json.loads((output / "benchmark.json").read_text())
            shown = [line["method"] for line in record["tables"][0]["rows"]]
            seen.append((record["status"], sorted(set(shown))))
            page = (output / "benchmark.md").read_text()
            assert "1 of 2 cells have ended" in page

    found = go(file, output, launch=in_process(output, watch=watch))
    assert seen == [("incomplete", ["standard"])]
    assert "have ended" not in (output / "benchmark.md").read_text()
    line = found.tables[0].figures[0]
    assert isinstance(line["mean"], float)
    assert line["from_standard"] is False


def test_overwriting_replaces(tmp_path: Path, quick: None) -> None:
    file, output = write(tmp_path, methods="  standard: {}\n"), tmp_path / "out"
    go(file, output)
    file.write_text(file.read_text().replace("epochs: 1", "epochs: 2"))
    found = go(file, output, overwrite=True)
    assert [cell["status"] for cell in found.content["cells"]] == ["done"]
    history = read_csv(output / "cells/all/standard/seed-0/train/history.csv")
    assert len(history) == 2


def test_nothing_finished_is_a_list_of_failures(tmp_path: Path) -> None:
    file, output = write(tmp_path), tmp_path / "out"
    found = go(file, output, launch=lambda task: Finished(6))
    assert found.tables == []
    assert [one["status"] for one in found.content["failed"]] == ["failed", "blocked", "blocked"]
    assert found.content["failed"][0]["error"] == "ended with code 6"


def test_foreign_folders_and_a_second_process_are_refused(tmp_path: Path) -> None:
    from isnet_cli.core.run_folder import RunFolder

    file = write(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(IsnetError, match=r"holds other files \(thesis\.tex\)"):
        go(file, tmp_path / "mine")
    with pytest.raises(IsnetError, match="a file, expected a folder"):
        go(file, file)
    output = tmp_path / "out"
    with RunFolder(output).lock(), pytest.raises(IsnetError, match="in use"):
        go(file, output)


def test_phantoms_are_made_where_the_file_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    def make_images(folder: Path, plans: list[Any], context: RunContext) -> None:
        made.append((folder, {(p.hospital, p.side, p.seed) for p in plans}))
        raise KeyboardInterrupt

    monkeypatch.setattr("isnet_cli.benchmark.run.make_images", make_images)
    file = write(tmp_path)
    file.write_text(
        file.read_text() + "phantoms: {hospital_a: 8, hospital_b: 2, side: 96, seed: 5}\n"
    )
    with pytest.raises(KeyboardInterrupt):
        go(file, tmp_path / "out")
    assert made == [(tmp_path / "out" / "phantoms", {("A", 96, 5), ("B", 96, 5)})]


def test_cells_in_words(tmp_path: Path) -> None:
    cells = loaded(write(tmp_path, seeds="0, 1"), tmp_path)[1].cells
    assert describe_cells(cells) == "4 cells: 2 methods, 2 seeds, 1 data setting"
    assert describe_cells([replace(cells[0])]) == "1 cell: 1 method, 1 seed, 1 data setting"
