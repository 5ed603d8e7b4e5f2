"""Figures of cells over seeds: means, spread, and which intervals lie apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from isnet_cli.benchmark.cells import Cell
from isnet_cli.benchmark.scores import (
    COLUMNS,
    RowSummary,
    are_apart,
    format_number,
    list_score_rows,
    read_results,
    summarise,
)
from isnet_cli.core.run_folder import RunFolder
from tests.benchmark.factory import figure
from tests.report.compare.factory import compared_run, images, opened


def cell(folder: RunFolder, data: str, method: str, seed: int) -> Cell:
    return Cell(data, method, seed, opened(folder)[1])


def test_figures_are_those_of_the_cells(tmp_path: Path) -> None:
    cells = []
    for seed in (0, 1):
        run = compared_run(
            tmp_path / "cells" / "d" / "m" / f"seed-{seed}",
            {name: images(12, head=name) for name in ("train", "val", "near", "far")},
            noise=seed,
        )
        cells.append(cell(run, "d", "m", seed))
    found = read_results(cells, tmp_path)
    assert found.tests == {"d": [("near", "standard"), ("far", "standard")]}
    assert found.reference == {"d": "near"}
    assert found.classes == 2
    assert found.configs["d", "m"] == cells[0].config
    for place, one in zip(cells, found.of("d", "m", ("far", "standard"), "macro_f1"), strict=True):
        path = tmp_path / "cells" / place.name / "evaluate" / "metrics.json"
        metrics = json.loads(path.read_text())["sets"]["far"]["standard"]
        assert one.seed == place.seed
        assert one.cell["value"] == metrics["macro"]["f1"]
        assert one.cell["low"] == metrics["intervals"]["macro"]["f1"]["low"]
    assert found.of("d", "m", ("none", "standard"), "macro_f1") == []
    lines = list_score_rows(found)
    assert {line["score"] for line in lines} >= {"macro_f1", "macro_auc", "macro_specificity"}
    assert all(tuple(line) == COLUMNS for line in lines)
    assert {line["set"] for line in lines} == {"train", "val", "near", "far"}


def test_a_reference_may_be_asked_for_and_training_sets_count_where_there_is_no_other(
    tmp_path: Path,
) -> None:
    run = compared_run(tmp_path / "cells/d/m/seed-0", {"a": images(8), "b": images(8, head="g")},
                       evaluate={"reference": "b"})  # fmt: skip
    assert read_results([cell(run, "d", "m", 0)], tmp_path).reference == {"d": "b"}
    run = compared_run(tmp_path / "cells/d/n/seed-0", {"val": images(8)})
    found = read_results([cell(run, "d", "n", 0)], tmp_path)
    assert found.tests == {"d": [("val", "standard")]}


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ((0.1, 0.2), (0.3, 0.4), True),
        ((0.3, 0.4), (0.1, 0.2), True),
        ((0.1, 0.3), (0.3, 0.4), False),
        ((0.1, 0.4), (0.2, 0.3), False),
        ((None, None), (0.2, 0.3), False),
    ],
)
def test_intervals_apart(left: tuple, right: tuple, expected: bool) -> None:
    assert figure(0, 0.5, *left).is_apart(figure(0, 0.5, *right)) is expected


def test_apart_with_every_seed_that_both_have() -> None:
    high = [figure(s, 0.9, 0.8, 1.0) for s in (0, 1, 2)]
    low = [figure(s, 0.5, 0.4, 0.6) for s in (0, 1)]
    assert are_apart(high, low)
    assert not are_apart(high, [low[0], figure(1, 0.8, 0.7, 0.9)])
    assert not are_apart(high, [figure(7, 0.5, 0.4, 0.6)])
    assert not are_apart([], low)


def test_a_column_by_hand() -> None:
    column = {
        "standard": [figure(0, 0.4, 0.3, 0.5), figure(1, 0.6, 0.3, 0.5)],
        "isnet": [figure(0, 0.8, 0.7, 0.9), figure(1, 0.9, 0.7, 0.9)],
        "other": [figure(0, 0.7, 0.6, 0.8)],
        "none": [figure(0, None)],
    }
    found = summarise(column, "standard")
    assert found["standard"].mean == pytest.approx(0.5)
    assert found["standard"].sd == pytest.approx(0.02**0.5)  # ((0.1² + 0.1²) / 1) ** 0.5
    assert (found["standard"].from_standard, found["standard"].from_best) == (False, True)
    assert (found["isnet"].best, found["isnet"].from_standard) == (True, True)
    assert found["isnet"].low is None
    assert (found["other"].low, found["other"].high, found["other"].sd) == (0.6, 0.8, None)
    assert (found["other"].from_standard, found["other"].from_best) == (True, False)
    assert found["none"] == RowSummary(None, None, 0)


def test_without_a_plain_row_or_a_direction_nothing_is_marked() -> None:
    column = {"a": [figure(0, 0.4, 0.3, 0.5)], "b": [figure(0, 0.8, 0.7, 0.9)]}
    assert not summarise(column, None)["b"].from_standard
    found = summarise(column, "a", rising=False)
    assert not any(one.best or one.from_best for one in found.values())
    assert found["b"].from_standard
    assert not summarise({"a": column["a"]}, None)["a"].best


def test_numbers_as_text() -> None:
    assert [format_number(v) for v in (None, 0.1, 3, "x", True)] == ["", "0.1", "3", "x", "True"]
