"""Paired tests: differences, both p-values, the family in words."""

from __future__ import annotations

from isnet_cli.report.compare.tests import LONG
from isnet_cli.report.compare.tests import tests_section as section_of
from isnet_cli.report.document import Fold, Notice, Table
from tests.report.compare.content import content, difference, pair
from tests.report.sections.factory import only, said


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
    found = pair(macro_f1=difference(None, None, "every draw gave the same value"))
    table = only(section_of(content(pairs=[found]), "c"), Table)[0]
    assert table.rows[0][3:] == ("n/a", "n/a", "no")
    assert table.notes == ["Every draw gave the same value: test, one and two."]


def test_long_tables_are_folded_and_none_is_explained() -> None:
    assert only(section_of(content(pairs=[pair()] * (LONG + 1)), "c"), Table) == []
    (notice,) = only(section_of(content(pairs=[]), "c"), Notice)
    assert notice.tone == "empty"
