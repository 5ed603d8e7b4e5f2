"""The section on subgroups: its figures, what is not shown, and that it is left out without any."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from isnet_cli.config.schema import Intervals
from isnet_cli.evaluate.subgroup_scores import Predicted, score_subgroups
from isnet_cli.report.blocks import Table, Text
from isnet_cli.report.compare.subgroups import build_subgroup_sections as build_compared
from isnet_cli.report.compare.subgroups import collect_subgroups
from isnet_cli.report.results import RunResults
from isnet_cli.report.subgroups import build_subgroup_sections
from isnet_cli.stats.scores import scores

CLASSES = ["sick", "well"]


def make_run(name: str, noise: float = 1.0) -> RunResults:
    """A run with 120 images of two sexes, three of them of no known one."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 120)
    odds = np.where(labels == 0, 1.5, -1.5) + rng.normal(0, noise, 120)
    p = np.stack([1 / (1 + np.exp(-odds)), 1 / (1 + np.exp(odds))], 1)
    sexes = ["FM"[i % 2] for i in range(110)] + ["other"] * 7 + [""] * 3
    predicted = Predicted(p, labels, [""] * 120, CLASSES, None)
    columns = {"sex": sexes, "age": [""] * 120}
    found = score_subgroups(predicted, columns, Intervals(draws=1000, bootstrap=200), 20, 0)
    entry: dict[str, Any] = {**scores(p, labels, CLASSES), "subgroups": found, "files": ["a"]}
    metrics = {"classes": CLASSES, "task": "multiclass", "sets": {"test": {"standard": entry}}}
    return RunResults(name, metrics=metrics)


def test_a_table_and_a_forest_for_each_column() -> None:
    run = make_run("a")
    (section,) = build_subgroup_sections([run])
    (table,) = [block for block in section.blocks if isinstance(block, Table)]
    assert [row[0] for row in table.rows] == ["F", "M"]
    groups = run.scores(("test", "standard"))["subgroups"]["sex"]["groups"]
    auc = groups["F"]["macro"]["auc"]
    assert table.rows[0][1:3] == ("55", "55")
    assert table.rows[0][3].startswith(f"{auc:.3f} [")
    assert any("1 groups with 7 images" in note for note in table.notes)
    assert any("group of 3 images is not known" in note for note in table.notes)
    texts = [block.text for block in section.blocks if isinstance(block, Text)]
    assert "test, by age: no group has 20 labelled images." in texts


def test_without_subgroups_there_is_no_section() -> None:
    run = make_run("a")
    sets = {"test": {"standard": {**run.scores(("test", "standard")), "subgroups": {}}}}
    plain = dataclasses.replace(run, metrics={**run.metrics, "sets": sets})
    assert build_subgroup_sections([plain]) == []
    assert build_compared({"subgroups": collect_subgroups([plain], plain.tests)}, "c") == []


def test_a_comparison_names_the_worst_group_of_each_run() -> None:
    runs = [make_run("a"), make_run("b", noise=3.0)]
    entries = collect_subgroups(runs, [("test", "standard")])
    assert {entry["group"] for entry in entries} == {"F", "M"}
    (section,) = build_compared({"subgroups": entries}, "c")
    auc = next(block for block in section.blocks if isinstance(block, Table))
    assert auc.columns == ("test", "by", "group", "a", "b")
    last = auc.rows[-1]
    values = {entry["group"]: entry["runs"]["b"]["macro_auc"]["value"] for entry in entries}
    worst = min(values, key=lambda group: values[group])
    assert last[2] == "worst and range"
    assert last[4] == f"{worst}: {min(values.values()):.3f} to {max(values.values()):.3f}"
