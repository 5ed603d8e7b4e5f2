"""Scores with intervals, and seeds beside them."""

from __future__ import annotations

from isnet_cli.report.compare.scores import scores_section, seeds_section
from isnet_cli.report.document import Fold, Grid, Notice, Table
from tests.report.compare.content import content, group, one_test, scores
from tests.report.sections.factory import letters, only, said


def test_every_score_of_every_run() -> None:
    section = scores_section(content(), "c")
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
        scores_section(content(tests=[one_test(0.7), one_test(0.2, "biased")]), "c"), Grid
    )
    assert ["macro F1" in letters(p) for p in grid.pictures] == [True, False]
    assert "test · biased: one 0.200 [0.150, 0.250], two 0.300" in grid.pictures[0].alt


def test_scores_without_value_give_their_reason() -> None:
    test = one_test(0.7, scores=scores(None, "no labelled image in this set"))
    (table,) = only(scores_section(content(tests=[test]), "c"), Table)
    assert table.rows[0][3:] == ("n/a",) * 6
    assert table.notes[1].startswith("No labelled image in this set: test, one, macro F1; ")


def test_seeds_stand_on_lines_of_their_own() -> None:
    section = seeds_section(content(seeds=[group()]), "c")
    (table,) = only(section, Table)
    assert table.caption == "both: seeds 3, 4"
    assert [row[1] for row in table.rows] == ["one, seed 3", "two, seed 4", "mean, s.d. of 2 seeds"]
    assert table.rows[0][2] == "0.700 [0.650, 0.750]"
    assert table.rows[2][2:] == ("0.750, s.d. 0.070",) * 3
    assert "never" not in said(section)
    assert "Neither contains the other" in said(section)


def test_without_seeds_the_section_says_so() -> None:
    (notice,) = only(seeds_section(content(), "c"), Notice)
    assert "No two runs differ in their seed alone" in notice.text


def test_a_spread_without_value_is_told() -> None:
    found = group()
    nothing = {"runs": 0, "mean": None, "sd": None}
    found["tests"][0]["figures"] |= {"macro_f1": nothing, "macro_auc": {"mean": 0.5, "sd": None}}
    (table,) = only(seeds_section(content(seeds=[found]), "c"), Table)
    assert table.rows[2][2:4] == ("n/a", "0.500, s.d. n/a")
