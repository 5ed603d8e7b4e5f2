"""Figures as text: ranges, signs, p, and notes on how intervals came about or why there is none."""

import pytest

from isnet_cli.report.results import RunResults
from isnet_cli.report.wording import (
    ShownScore,
    explain_intervals,
    format_change,
    format_interval,
    format_p,
    format_percent,
    format_score,
    format_share,
    has_versions,
    list_test_cells,
    list_test_heads,
    list_tests,
    name_tests,
)

CELL = {"value": 0.5, "low": 0.4, "high": 0.61, "method": "delong"}
GAP, MINUS = "\N{NO-BREAK SPACE}", "\N{MINUS SIGN}"


def test_a_figure_with_and_without_its_interval() -> None:
    assert format_interval(0.5, CELL) == "0.500 [0.400, 0.610]"
    assert format_interval(0.5, {}) == format_interval(0.5, {"low": None, "high": 0.6}) == "0.500"
    assert format_interval(None, CELL) == "n/a"
    assert (
        format_interval(-0.1, {"low": -0.2, "high": 0}, format_change)
        == f"{MINUS}0.100 [{MINUS}0.200, 0.000]"
    )
    assert format_share(0.123, {"low": 0.1, "high": 0.2}) == f"12.3{GAP}% [10.0, 20.0]"
    assert format_share(None, {}) == "n/a"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.000"), (-0.0001, "0.000"), (0.25, "+0.250"), (-0.25, f"{MINUS}0.250"), (None, "n/a")],
)
def test_signs(value: float | None, text: str) -> None:
    assert format_change(value) == text


@pytest.mark.parametrize(
    ("p", "text"), [(0.0004, "<0.001"), (0.001, "0.001"), (1.0, "1.000"), (None, "n/a")]
)
def test_p(p: float | None, text: str) -> None:
    assert format_p({"p": p}) == text


def test_notes_name_methods_and_reasons_once() -> None:
    lacking = {"value": 0.3, "low": None, "high": None, "why": "one image"}
    shown = [
        ShownScore("t", "AUC", CELL),
        ShownScore("u", "AUC", CELL),
        ShownScore("t", "F1", lacking),
    ]
    assert explain_intervals(shown) == [
        f"In brackets: 95{GAP}% intervals (AUC: DeLong).",
        "No interval for F1 (t): one image.",
    ]
    many = [ShownScore(where, "F1", lacking) for where in "abcd"]
    assert explain_intervals(many) == ["No interval for F1 (4 rows): one image."]
    assert (
        explain_intervals(
            [ShownScore("t", "F1", {}), ShownScore("t", "F1", {**lacking, "value": None})]
        )
        == []
    )


def run(**versions: list[str]) -> RunResults:
    sets = {name: {v: {"macro": {"f1": 0.5}} for v in names} for name, names in versions.items()}
    return RunResults("r", metrics={"sets": sets})


def test_tests_come_set_by_set_and_in_the_order_of_versions() -> None:
    runs = [run(b=["deceiving", "biased", "standard"]), run(a=["standard"], b=["standard"])]
    assert list_tests(runs) == [
        ("b", "biased"),
        ("b", "standard"),
        ("b", "deceiving"),
        ("a", "standard"),
    ]


def test_names_of_tests_tell_versions_only_where_there_are_some() -> None:
    several, single = [("a", "biased"), ("a", "standard")], [("a", "standard"), ("b", "standard")]
    assert has_versions(several)
    assert not has_versions(single)
    assert name_tests(several) == ["a · biased", "a · standard"]
    assert name_tests(single) == ["a", "b"]
    assert list_test_cells(single) == [("a",), ("b",)]
    assert len(list_test_heads(several)) == len(list_test_cells(several)[0]) == 2


def test_figures_as_words() -> None:
    assert format_score(0.12345) == "0.123"
    assert format_score(None) == format_percent(None) == "n/a"
    assert format_percent(0.0512) == "5.1\N{NO-BREAK SPACE}%"
