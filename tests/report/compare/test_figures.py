"""The document holds the figures of the runs' files; the tables hold those of the document."""

from __future__ import annotations

import json
from typing import Any

import pytest

from isnet_cli.report.compare.common_tests import LeftOut, find_common_tests, pair_tests
from isnet_cli.report.compare.figures import (
    TABLES,
    build_document,
    collect_reliance,
    collect_scores,
    list_pair_rows,
    list_reliance_rows,
    list_score_rows,
    list_seed_rows,
)
from isnet_cli.report.compare.seeds import group_by_seed
from isnet_cli.report.results import RunResults
from isnet_cli.stats.comparison import SCORES, compare_models, correct_comparisons
from tests.report.compare.factory import compared_run, read

TEST = ("test", "standard")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[RunResults]:
    root = tmp_path_factory.mktemp("runs")
    return [read(compared_run(root / f"a-{i}", noise=i, seed=i, skill=i)) for i in range(3)]


@pytest.fixture(scope="module")
def content(runs: list[RunResults]) -> dict[str, Any]:
    common = find_common_tests(runs)
    tables = common.tables[TEST]
    found = correct_comparisons(compare_models(TEST, pair_tests(runs, tables), 300, 0))
    left_out = [LeftOut(("x", "standard"), "absent", "not evaluated by a-1")]
    described = [{"name": run.name} for run in runs]
    return build_document(
        runs, described, common.tables, found, group_by_seed(runs), left_out, {"draws": 300}
    )


def test_scores_are_those_of_evaluate(content: dict[str, Any], runs: list[RunResults]) -> None:
    (test,) = content["tests"]
    assert (test["images"], test["labelled"], test["patients"]) == (24, 24, 12)
    for run in runs:
        metrics = run.scores(TEST)
        found = test["runs"][run.name]["scores"]
        assert found["macro_auc"]["value"] == metrics["macro"]["auc"]
        assert found["macro_auc"]["low"] == metrics["intervals"]["macro"]["auc"]["low"]
        assert found["accuracy"]["value"] == metrics["accuracy"]
        assert found["brier"]["value"] == metrics["calibration"]["brier"]
        entry = test["runs"][run.name]["per_class"]["tb"]
        assert entry["positives"] == 12
        assert entry["recall"]["high"] == metrics["intervals"]["per_class"]["tb"]["recall"]["high"]
    json.dumps(content, allow_nan=False)


def test_pairs_seeds_and_what_is_left_out(content: dict[str, Any]) -> None:
    pairs = content["comparisons"]["pairs"]
    assert [(p["first"], p["second"]) for p in pairs] == [
        ("a-0", "a-1"), ("a-0", "a-2"), ("a-1", "a-2"),
    ]  # fmt: skip
    assert content["comparisons"]["family_size"] == 3
    assert "every pair of runs" in content["comparisons"]["family"]
    (group,) = content["seeds"]
    assert (group["name"], group["seeds"]) == ("a", [0, 1, 2])
    values = [own["scores"]["macro_f1"]["value"] for own in content["tests"][0]["runs"].values()]
    found = group["tests"][0]["figures"]["macro_f1"]
    mean = sum(values) / 3
    assert found["mean"] == pytest.approx(mean)
    assert found["sd"] == pytest.approx((sum((v - mean) ** 2 for v in values) / 2) ** 0.5)
    assert content["left_out"][0]["why"] == "not evaluated by a-1"


def test_every_cell_of_the_tables_is_one_of_the_document(content: dict[str, Any]) -> None:
    for rows, columns in TABLES.values():
        lines = rows(content)
        assert lines
        assert all(set(line) == set(columns) for line in lines)
    assert len(list_score_rows(content)) == 3 * (len(SCORES) + 2 * 6)
    line = next(r for r in list_pair_rows(content) if r["score"] == "macro_auc")
    cell = content["comparisons"]["pairs"][0]["differences"]["macro_auc"]
    assert float(line["p_holm"]) == cell["p_holm"]
    assert float(line["value"]) == cell["value"]
    assert line["method"] == "delong"
    assert len(list_reliance_rows(content)) == 3 * (5 + 3 + 2)
    assert len(list_seed_rows(content)) == 10


def test_reliance_that_was_measured_and_that_was_not(runs: list[RunResults]) -> None:
    found = collect_reliance(runs[0], TEST)
    assert (found["n"], found["why"]) == (0, "evaluate.background is false")
    assert found["auc"]["full"]["value"] is None
    assert found["outside"]["mean"] == pytest.approx(0.215)
    cell = {"value": 0.4, "low": 0.3, "high": 0.5, "sd": 0.1, "method": "delong"}
    variant = {"macro": {"auc": 0.4}, "intervals": {"macro": {"auc": cell}}}
    rate = {"rate": 0.25, "low": 0.1, "high": 0.4, "method": "beta", "n": 8, "count": 2}
    names = ("full", "lungs_only", "lungs_removed", "other_class", "same_class")
    cut = {
        "n": 8, "variants": dict.fromkeys(names, variant), "flips": rate,
        "gap": {"n": 8, "f1": cell, "auc": cell},
    }  # fmt: skip
    metrics = {"sets": {"test": {"standard": {"background": cut}}}}
    run = RunResults("x", metrics=metrics)
    measured = collect_reliance(run, TEST)
    assert measured["auc"]["lungs_removed"] == {**cell, "why": None}
    assert measured["flips"] == {
        "value": 0.25, "low": 0.1, "high": 0.4, "sd": None, "method": "beta", "why": None,
    }  # fmt: skip
    assert measured["gap_f1"]["value"] == 0.4
    assert measured["outside"]["why"] == "not measured"


def test_scores_of_an_older_run_have_no_intervals(runs: list[RunResults]) -> None:
    metrics = {"sets": {"test": {"standard": {"accuracy": 0.5, "macro": {"f1": 0.4}}}}}
    run = RunResults("x", metrics=metrics)
    found = collect_scores(run, TEST)
    assert (found["macro_f1"]["value"], found["macro_f1"]["low"]) == (0.4, None)
    assert found["brier"]["value"] is None


def test_maps_against_findings_are_part_of_reliance() -> None:
    cell = {"value": 0.75, "low": 0.5, "high": 0.9, "method": "beta"}
    own = {"n": 8, "chance": 0.3, "pointing": cell, "inside_share": cell, "ratio": cell}
    run = RunResults("x", metrics={"sets": {"test": {"standard": {"localisation": own}}}})
    found = collect_reliance(run, TEST)["findings"]
    assert (found["n"], found["chance"]) == (8, 0.3)
    assert found["pointing"] == {**cell, "sd": None, "why": None}
    none = collect_reliance(RunResults("y"), TEST)["findings"]
    assert (none["n"], none["pointing"]["why"]) == (0, "not measured")
    test = {
        "set": "test", "version": "standard",
        "runs": {name: {"reliance": collect_reliance(r, TEST)} for name, r in
                 (("x", run), ("y", RunResults("y")))},
    }  # fmt: skip
    rows = list_reliance_rows({"tests": [test]})
    figures = {(row["run"], row["figure"]): row["value"] for row in rows}
    assert figures["x", "pointing"] == "0.75"
    assert figures["x", "chance"] == "0.3"
    assert ("y", "pointing") not in figures
