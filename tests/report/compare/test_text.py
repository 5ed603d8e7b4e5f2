"""Words of a comparison."""

from __future__ import annotations

from isnet_cli.report.compare.text import counted, difference, figure, reasons, title
from tests.report.compare.content import cell, content, one_test


def test_figures_with_and_without_interval() -> None:
    assert figure(cell(0.7)) == "0.700 [0.650, 0.750]"
    assert difference(cell(0.01)) == "+0.010 [\N{MINUS SIGN}0.040, +0.060]"
    assert figure(cell(0.7, None)) == "0.700"
    assert figure(cell(None)) == difference(cell(None)) == "n/a"


def test_numbers_of_things() -> None:
    assert [counted(n, "run") for n in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]


def test_versions_are_named_where_there_are_any() -> None:
    plain, biased = content(), content(tests=[one_test(0.5, "biased"), one_test(0.5)])
    assert title(plain, plain["tests"][0]) == "test"
    assert [title(biased, test) for test in biased["tests"]] == ["test · biased", "test · standard"]


def test_reasons_are_told_once_with_their_places() -> None:
    assert reasons([("a", "no image"), ("b", None), ("c", "no image"), ("a", "no image")]) == [
        "No image: a; c."
    ]
    assert reasons([("a", "evaluate.background is false")]) == ["evaluate.background is false: a."]
    assert reasons([(str(i), "x") for i in range(9)]) == ["X: 0; 1; 2; 3; 4; 5; and 3 more."]
