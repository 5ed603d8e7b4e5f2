"""A comparison on the terminal."""

from __future__ import annotations

from isnet_cli.cli.verbs.compare_text import MOST, comparison_text
from tests.report.compare.content import (
    content,
    difference,
    group,
    one_test,
    pair,
    reliance,
    scores,
)


def test_tables_of_scores_tests_and_seeds() -> None:
    found = comparison_text(content(seeds=[group()], pairs=[pair(0.0001, 0.0002)]), "c.html")
    first, tests, seeds, page = found.split("\n\n")
    lines = first.splitlines()
    assert lines[0].split()[:4] == ["set", "version", "run", "images"]
    assert "0.700 [0.650, 0.750]" in lines[1]
    assert lines[2].endswith("0.500   50 %    0.500           25 %")
    assert "two - one" in tests
    assert "+0.100 [+0.050, +0.150]    <0.001" in tests
    assert tests.endswith("corrected for the 1 comparison of each score")
    assert "0.750, 0.070" in seeds
    assert page == "page: c.html"


def test_what_has_no_value_is_a_dash() -> None:
    empty = one_test(0.5, scores=scores(None), reliance=reliance(None, None, "x"))
    text = comparison_text(content(tests=[empty], pairs=[]), "c.html")
    assert text.splitlines()[1].split()[4:] == ["-"] * 7
    assert len(text.split("\n\n")) == 2
    nothing = difference(None, None)
    lone = pair(macro_f1=nothing | {"value": None}, macro_auc=nothing)
    row = comparison_text(content(pairs=[lone]), "c").split("\n\n")[1].splitlines()[1]
    assert row.split()[5:] == ["-", "-", "+0.100", "[+0.050,", "+0.150]", "-"]


def test_many_tests_are_counted() -> None:
    text = comparison_text(content(pairs=[pair()] * (MOST + 1)), "c.html")
    assert f"{MOST + 1} paired comparisons: see the page and its table of tests" in text
    assert "two - one" not in text
