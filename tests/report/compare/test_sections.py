"""Sections of a comparison say what its document holds."""

from __future__ import annotations

from isnet_cli.report.blocks import Fold, Grid, Notice, Table
from isnet_cli.report.compare.sections import (
    LONG,
    build_reliance_section,
    build_scores_section,
    build_seeds_section,
    format_count,
    format_difference,
    format_figure,
    list_reasons,
    name_test,
)
from isnet_cli.report.compare.sections import build_tests_section as section_of
from tests.report.compare.content import (
    cell,
    content,
    findings,
    group,
    one_test,
    pair,
    paired_cell,
    reliance,
    scores,
)
from tests.report.sections.factory import letters, only, said


def test_figures_with_and_without_interval() -> None:
    assert format_figure(cell(0.7)) == "0.700 [0.650, 0.750]"
    assert format_difference(cell(0.01)) == "+0.010 [\N{MINUS SIGN}0.040, +0.060]"
    assert format_figure(cell(0.7, None)) == "0.700"
    assert format_figure(cell(None)) == format_difference(cell(None)) == "n/a"


def test_numbers_of_things() -> None:
    assert [format_count(n, "run") for n in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]


def test_versions_are_named_where_there_are_any() -> None:
    plain, biased = content(), content(tests=[one_test(0.5, "biased"), one_test(0.5)])
    assert name_test(plain, plain["tests"][0]) == "test"
    assert [name_test(biased, test) for test in biased["tests"]] == [
        "test · biased",
        "test · standard",
    ]


def test_reasons_are_told_once_with_their_places() -> None:
    assert list_reasons([("a", "no image"), ("b", None), ("c", "no image"), ("a", "no image")]) == [
        "No image: a; c."
    ]
    assert list_reasons([("a", "evaluate.background is false")]) == [
        "evaluate.background is false: a."
    ]
    assert list_reasons([(str(i), "x") for i in range(9)]) == ["X: 0; 1; 2; 3; 4; 5; and 3 more."]


def test_every_score_of_every_run() -> None:
    section = build_scores_section(content(), "c")
    (table,) = only(section, Table)
    assert table.columns == (
        "test", "run", "images", "macro F1", "macro AUC", "macro avg. precision", "accuracy",
        "balanced accuracy", "Brier score",
    )  # fmt: skip
    assert table.rows[1] == ("test", "two", "8", *["0.800 [0.750, 0.850]"] * 6)
    assert table.notes == ["The Brier score is better when it is lower."]
    (fold,) = only(section, Fold)
    assert fold.table.rows[0][:4] == ("test", "one", "tb", "4")
    assert section.sources == ("c.json", "c_scores.csv")


def test_pictures_say_what_they_show() -> None:
    (grid,) = only(
        build_scores_section(content(tests=[one_test(0.7), one_test(0.2, "biased")]), "c"), Grid
    )
    assert ["macro F1" in letters(p) for p in grid.pictures] == [True, False]
    assert "test · biased: one 0.200 [0.150, 0.250], two 0.300" in grid.pictures[0].alt


def test_scores_without_value_give_their_reason() -> None:
    test = one_test(0.7, scores=scores(None, "no labelled image in this set"))
    (table,) = only(build_scores_section(content(tests=[test]), "c"), Table)
    assert table.rows[0][3:] == ("n/a",) * 6
    assert table.notes[1].startswith("No labelled image in this set: test, one, macro F1; ")


def test_seeds_stand_on_lines_of_their_own() -> None:
    section = build_seeds_section(content(seeds=[group()]), "c")
    (table,) = only(section, Table)
    assert table.caption == "both: seeds 3, 4"
    assert [row[1] for row in table.rows] == ["one, seed 3", "two, seed 4", "mean, s.d. of 2 seeds"]
    assert table.rows[0][2] == "0.700 [0.650, 0.750]"
    assert table.rows[2][2:] == ("0.750, s.d. 0.070",) * 3
    assert "never" not in said(section)
    assert "Neither contains the other" in said(section)


def test_without_seeds_the_section_says_so() -> None:
    (notice,) = only(build_seeds_section(content(), "c"), Notice)
    assert "No two runs differ in their seed alone" in notice.text


def test_a_spread_without_value_is_told() -> None:
    found = group()
    nothing = {"runs": 0, "mean": None, "sd": None}
    found["tests"][0]["figures"] |= {"macro_f1": nothing, "macro_auc": {"mean": 0.5, "sd": None}}
    (table,) = only(build_seeds_section(content(seeds=[found]), "c"), Table)
    assert table.rows[2][2:4] == ("n/a", "0.500, s.d. n/a")


def test_differences_with_raw_and_corrected_p() -> None:
    section = section_of(content(pairs=[pair(0.02, 0.04), pair(0.04, 0.06)]), "c")
    f1, auc = only(section, Table)
    assert (f1.caption, auc.caption) == ("Differences of macro F1", "Differences of macro AUC")
    assert f1.columns == ("test", "runs", "difference", "p", "p (Holm)", "significant")
    assert f1.rows[0] == (
        "test", "two \N{MINUS SIGN} one", "+0.100 [+0.050, +0.150]", "0.020", "0.040", "yes",
    )  # fmt: skip
    assert f1.rows[1][3:] == ("0.040", "0.060", "no")
    assert [fold.title for fold in only(section, Fold)] == [
        "Differences of macro avg. precision", "Differences of accuracy",
        "Differences of balanced accuracy", "Differences of Brier score",
    ]  # fmt: skip


def test_the_family_is_said_in_words_and_number() -> None:
    words = said(section_of(content(pairs=[pair(), pair(0.9, 0.9)]), "c"))
    assert "corrected for the 2 comparisons of its score. The family: every pair." in words
    assert "not corrected for each other" in words
    assert "at 5 % after the correction: 1 of 2 in macro F1, 1 of 2 in macro AUC." in words
    assert "300 bootstrap draws" in words


def test_a_comparison_without_p_says_why() -> None:
    found = pair(macro_f1=paired_cell(None, None, "every draw gave the same value"))
    table = only(section_of(content(pairs=[found]), "c"), Table)[0]
    assert table.rows[0][3:] == ("n/a", "n/a", "no")
    assert table.notes == ["Every draw gave the same value: test, one and two."]


def test_long_tables_are_folded_and_none_is_explained() -> None:
    assert only(section_of(content(pairs=[pair()] * (LONG + 1)), "c"), Table) == []
    (notice,) = only(section_of(content(pairs=[]), "c"), Notice)
    assert notice.tone == "empty"


def test_variants_critical_figures_and_relevance() -> None:
    section = build_reliance_section(content(), "c")
    variants, changed, outside = only(section, Table)
    assert variants.columns == (
        "test", "run", "images", "whole image", "lungs only", "lungs removed", "other class",
        "same class",
    )  # fmt: skip
    assert sum(span for _, span in variants.groups) == len(variants.columns)
    assert variants.rows[0] == ("test", "one", "8", *["0.500 [0.450, 0.550]"] * 5)
    assert changed.rows[1] == (
        "test", "two", "0.500 [0.450, 0.550]", *["+0.500 [+0.450, +0.550]"] * 2,
    )  # fmt: skip
    assert outside.rows[0] == ("test", "one", "8", "25.0\xa0%", "25.0\xa0%")
    assert section.sources == ("c.json", "c_reliance.csv")


def test_what_was_not_measured_is_explained() -> None:
    why = "evaluate.background is false"
    test = one_test(0.7, reliance=reliance(None, None, why))
    section = build_reliance_section(content(tests=[test]), "c")
    assert only(section, Table) == []
    notices = [notice.text for notice in only(section, Notice)]
    assert notices == [
        "No image was cut and pasted. evaluate.background is false: test.",
        "No relevance was measured. evaluate.background is false: test.",
    ]


def test_one_run_without_figures_stands_beside_the_others() -> None:
    test = one_test(0.7)
    test["runs"]["two"]["reliance"] = reliance(None, None, "no lung mask")
    variants, _, outside = only(build_reliance_section(content(tests=[test]), "c"), Table)
    assert variants.rows[1][2:] == ("0", *["n/a"] * 5)
    assert outside.rows[1][2:] == ("0", "n/a", "n/a")
    assert outside.notes == ["No lung mask: test, two."]


def test_maps_against_findings_have_a_table_where_there_are_any() -> None:
    test = one_test(0.7)
    test["runs"]["two"]["reliance"]["findings"] = findings(0.5)
    section = build_reliance_section(content(tests=[test]), "c")
    table = only(section, Table)[-1]
    assert table.caption == "Maps against annotated findings"
    assert table.rows[0][2:] == ("0", "n/a", "n/a", "n/a", "n/a")
    assert table.rows[1][2:5] == ("5", "0.500 [0.450, 0.550]", "50.0\xa0%")
