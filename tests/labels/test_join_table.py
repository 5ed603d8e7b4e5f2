from __future__ import annotations

from pathlib import Path

from isnet_cli.config.schema import Labels
from isnet_cli.labels.columns import Roles
from isnet_cli.labels.csv_table import Table
from isnet_cli.labels.join_keys import ImageName
from isnet_cli.labels.join_table import Attempt, match_table, refusal, strength
from isnet_cli.labels.tables import LabelRow, LabelTable

TABLE = LabelTable(
    Table(Path("l.csv"), ("file", "label"), (("q", "x"), ("r", "y")), (2, 3), ",", "utf-8"),
    Roles(label=("label",)),
    (LabelRow(2, "x"), LabelRow(3, "y")),
    ("x", "y"),
)
IMAGES = [ImageName(Path(f"/d/{name}.png"), name) for name in "abc"]


def test_attempts_count_images_and_rows() -> None:
    attempt = Attempt("accession", "acc", (0, 0, None), 1)
    assert (attempt.images, attempt.used_rows) == (2, 1)


def test_the_table_is_aligned() -> None:
    attempts = [Attempt("path", "file", (0, 1, None), 0), Attempt("stem", "a long name", (), 12)]
    assert match_table(attempts, IMAGES, TABLE) == (
        "key   column       images matched  rows matched  ambiguous",
        "path  file         2 of 3          2 of 2        0",
        "stem  a long name  0 of 3          0 of 2        12",
    )


def test_stronger_kinds_come_first() -> None:
    order = ("path", "name", "name alone", "stem", "stem alone", "uid", "accession", "patient")
    assert [strength(Attempt(kind, "", (), 0)) for kind in order] == list(range(8))


def test_a_refusal_speaks_of_the_best_attempt() -> None:
    attempts = [
        Attempt("path", "file", (None, 0, None), 0),
        Attempt("stem", "file", (None,) * 3, 0),
    ]
    error = refusal(attempts, IMAGES, TABLE, Labels(min_match=0.8), [Path("/d")])
    assert error.message == (
        "l.csv: 1 of 3 images found a row, expected at least 80% (data.labels.min_match)"
    )
    assert error.details[0] == "first image without a row: a"
    assert "data.labels.min_match: 0.33" in error.fix


def test_a_refusal_without_any_attempt_lists_the_columns() -> None:
    error = refusal([], IMAGES, TABLE, Labels(), [])
    assert "none of the columns 'file', 'label'" in error.details[1]
    assert "min_match:" not in error.fix


def test_an_ambiguous_attempt_shows_examples() -> None:
    attempts = [Attempt("stem", "file", (None,) * 3, 2, ("a: lines 2, 3 differ",))]
    error = refusal(attempts, IMAGES, TABLE, Labels(), [])
    assert "ambiguous for 2 of 3 images" in error.message
    assert error.details[0] == "e.g. a: lines 2, 3 differ"
