"""Reliance on the background, side by side, or why it is not known."""

from __future__ import annotations

from isnet_cli.report.compare.reliance import reliance_section
from isnet_cli.report.document import Notice, Table
from tests.report.compare.content import content, one_test, reliance
from tests.report.sections.factory import only


def test_variants_critical_figures_and_relevance() -> None:
    section = reliance_section(content(), "c")
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
    section = reliance_section(content(tests=[test]), "c")
    assert only(section, Table) == []
    notices = [notice.text for notice in only(section, Notice)]
    assert notices == [
        "No image was cut and pasted. evaluate.background is false: test.",
        "No relevance was measured. evaluate.background is false: test.",
    ]


def test_one_run_without_figures_stands_beside_the_others() -> None:
    test = one_test(0.7)
    test["runs"]["two"]["reliance"] = reliance(None, None, "no lung mask")
    variants, _, outside = only(reliance_section(content(tests=[test]), "c"), Table)
    assert variants.rows[1][2:] == ("0", *["n/a"] * 5)
    assert outside.rows[1][2:] == ("0", "n/a", "n/a")
    assert outside.notes == ["No lung mask: test, two."]
