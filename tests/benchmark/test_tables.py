"""The tables of a benchmark by hand: layout, marks, notes, Markdown and numbers behind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from isnet_cli.benchmark.scores import RowSummary, SeedScore
from isnet_cli.benchmark.tables import (
    COST_COLUMNS,
    FIGURE_COLUMNS,
    ON_BIASED,
    ONE_SEED,
    POINTS,
    SEEDS,
    TWO_CLASSES,
    build_cost_table,
    build_score_tables,
    explain_marks,
    find_standard_row,
    format_summary,
    render_markdown,
)
from isnet_cli.config.schema import Config
from tests.benchmark.factory import figure, results

STANDARD = Config.model_validate({"train": {"method": "standard"}})
ISNET = Config()
COST: dict[str, Any] = {
    "step_ms_median": 20.4, "step_ms_min": 18.0, "step_ms_max": 31.0, "ratio": 2.5,
    "ratio_min": 2.0, "ratio_max": 3.0, "images_per_second": 120.0, "parameters": 1234567,
    "trainable": 1234000, "step_memory_mb": 77.2, "steps": 20, "batch_size": 16, "device": "cpu",
    "threads": 2,
}  # fmt: skip


def biased(*seeds: int) -> dict[tuple[str, str, str, str, str], list[SeedScore]]:
    """maF1 of two rows in three versions; `standard` falls."""
    values = {
        "standard": {"biased": 0.9, "standard": 0.6, "deceiving": 0.1},
        "isnet": {"biased": 0.8, "standard": 0.8, "deceiving": 0.8},
    }
    found = {}
    for method, own in values.items():
        for version, value in own.items():
            found["d", method, "test", version, "macro_f1"] = [
                figure(s, value + s / 100, value - 0.05, value + 0.05) for s in seeds
            ]
            found["d", method, "test", version, "macro_auc"] = [figure(s, 0.7) for s in seeds]
        found["d", method, "test", "biased", "relevance_outside"] = [figure(s, 0.3) for s in seeds]
    return found


def test_the_table_of_the_synthetic_bias_with_one_seed() -> None:
    found = results(biased(0), {"standard": STANDARD, "isnet": ISNET})
    bias, domains = build_score_tables(found, ["standard", "isnet"], 1)
    assert bias.title == "synthetic bias, d: test, i.i.d."
    assert bias.head == [
        "method", "maF1 biased", "maF1 standard", "maF1 deceiving", "AUC biased", "AUC standard",
        "AUC deceiving", "outside lungs",
    ]  # fmt: skip
    assert bias.rows[0] == [
        "standard", "0.900 [0.850, 0.950]", "0.600 [0.550, 0.650]‡", "0.100 [0.050, 0.150]‡",
        "0.700", "**0.700**", "**0.700**", "0.300",
    ]  # fmt: skip
    assert bias.rows[1][:4] == [
        "isnet", "0.800 [0.750, 0.850]", "**0.800 [0.750, 0.850]**†", "**0.800 [0.750, 0.850]**†",
    ]  # fmt: skip
    assert bias.brief[1][2] == "0.800 [0.750, 0.850]†"
    assert bias.notes == [ONE_SEED, explain_marks("standard", several=False), ON_BIASED]
    assert domains.notes == [ONE_SEED, explain_marks("standard", several=False), TWO_CLASSES]
    assert domains.title == "d: test, i.i.d."
    assert domains.rows[1] == ["isnet", "**0.800 [0.750, 0.850]**†", "0.700", "-", "-", "-"]
    line = bias.figures[5]
    assert tuple(line) == FIGURE_COLUMNS
    assert (line["method"], line["version"], line["score"]) == (
        "standard",
        "deceiving",
        "macro_auc",
    )


def test_several_seeds_have_a_spread_and_missing_ones_are_counted() -> None:
    figures = biased(0, 2)
    for place in list(figures):
        if place[1] == "isnet":
            figures[place] = figures[place][:1]
    found = results(figures, {"standard": STANDARD, "isnet": ISNET})
    table = build_score_tables(found, ["standard", "isnet"], 2)[0]
    assert table.rows[0][1] == "0.910 ± 0.014"  # 0.90 and 0.92
    assert table.rows[1][0] == "isnet (1 of 2 seeds)"
    assert table.rows[1][3] == "**0.800 [0.750, 0.850]**†"
    assert table.notes == [ONE_SEED, SEEDS, explain_marks("standard", several=True), ON_BIASED]
    figures = {place: found for place, found in figures.items() if place[1] == "standard"}
    alone = build_score_tables(results(figures, {"standard": STANDARD}), ["standard"], 2)[0]
    assert alone.notes[0] == SEEDS


def test_other_sets_are_out_of_domain_and_have_no_table_of_bias() -> None:
    figures = {
        ("d", "isnet", name, "standard", "macro_f1"): [figure(0, 0.5)] for name in ("near", "far")
    }
    found = build_score_tables(results(figures, {"isnet": ISNET}), ["isnet", "late"], 1)
    assert [one.title for one in found] == ["d: near, i.i.d.", "d: far, o.o.d."]
    assert [len(one.rows) for one in found] == [1, 1]


def test_a_single_data_setting_is_not_named() -> None:
    found = results(biased(0), {})
    lone = replace(found, tests={"all": found.tests["d"]}, reference={"all": "test"})
    titles = [one.title for one in build_score_tables(lone, [], 1)]
    assert titles == ["synthetic bias: test, i.i.d.", "test, i.i.d."]


def test_the_marks_name_the_row_that_they_are_about() -> None:
    assert explain_marks("plain", several=False).startswith(
        "† interval does not overlap that of `plain`,"
    )
    assert "†" not in explain_marks(None, several=False)
    assert explain_marks(None, several=True).startswith(
        "‡ interval does not overlap that of the row"
    )
    assert "seeds" in explain_marks(None, several=True)


def test_the_plain_row() -> None:
    found = results(biased(0), {"isnet": ISNET, "a": STANDARD, "standard": STANDARD})
    assert find_standard_row(found, "d", ["isnet", "a", "standard"]) == "standard"
    assert find_standard_row(found, "d", ["isnet", "a"]) == "a"
    assert find_standard_row(found, "d", ["isnet"]) is None


def test_texts_of_cells() -> None:
    assert format_summary(RowSummary(None, None, 0)) == "-"
    one = RowSummary(0.5, None, 1, 0.4, 0.6, from_standard=True, from_best=True)
    assert format_summary(one) == "0.500 [0.400, 0.600]†‡"
    assert format_summary(one, brief=True) == "0.500†‡"
    assert format_summary(RowSummary(0.5, 0.1, 2, best=True), bold=False) == "0.500 ± 0.100"


def test_the_table_of_costs() -> None:
    table = build_cost_table(
        {"isnet": COST, "broken": {"why": "no rule"}}, ["broken", "isnet", "late"]
    )
    assert table.rows == [
        ["broken", "-", "-", "-", "-", "-", "-"],
        ["isnet", "20 [18, 31]", "2.50", "120", "1,234,567", "1,234,000", "77"],
    ]
    assert table.notes[0].startswith("on cpu, 2 threads; step: median [least, largest] of 20 steps")
    assert table.notes[1] == "broken: not measured: no rule"
    assert tuple(table.figures[1]) == COST_COLUMNS
    assert table.figures[0]["why"] == "no rule"
    assert table.figures[1]["parameters"] == 1234567
    assert build_cost_table({"a": {**COST, "step_memory_mb": None}}, ["a"]).rows[0][-1] == "-"


def test_the_page_is_a_page_of_tables() -> None:
    table = build_cost_table({"is|net": COST}, ["is|net"])
    page = render_markdown("my bench", [table], [{"task": "cells/x", "error": "error[data]: gone"}])
    lines = page.splitlines()
    assert lines[:3] == ["# my bench", "", "## cost"]
    assert render_markdown("x", [], [], "1 of 2").splitlines() == ["# x", "", "1 of 2"]
    assert "| is\\|net | 20 [18, 31] | 2.50 | 120 | 1,234,567 | 1,234,000 | 77 |" in lines
    assert lines[-1] == "| cells/x | error\\[data\\]: gone |"
    widths = {line.replace("\\|", "").count("|") for line in lines[4:7]}
    assert widths == {8}


def test_pointing_is_a_column_where_findings_are_annotated() -> None:
    found = biased(0)
    found["d", "isnet", "test", "standard", "pointing"] = [figure(0, 0.75, 0.5, 0.9)]
    tables = build_score_tables(
        results(found, {"standard": STANDARD, "isnet": ISNET}), ["isnet"], 1
    )
    for table in tables:
        assert table.head[-1] == "pointing"
        assert table.rows[0][-1].startswith("0.750")
        assert POINTS in table.notes
    assert (
        POINTS
        not in build_score_tables(results(biased(0), {"isnet": ISNET}), ["isnet"], 1)[0].notes
    )
