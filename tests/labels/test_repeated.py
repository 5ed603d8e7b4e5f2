"""Rows of one image as one statement."""

from __future__ import annotations

from typing import get_args

import pytest

from isnet_cli.labels.repeated import CHOICES, ConflictError, Repeated, merge_rows
from isnet_cli.labels.tables import LabelRow


def merged(repeated: Repeated, *labels: str, task: str = "multiclass") -> str:
    rows = [LabelRow(line, label) for line, label in enumerate(labels, start=2)]
    return merge_rows(rows, task, repeated).label


@pytest.mark.parametrize("repeated", get_args(Repeated))
def test_rows_that_agree_are_one(repeated: Repeated) -> None:
    assert merged(repeated, "x", "x", "") == "x"
    assert merged(repeated, "", "") == ""
    rows = [LabelRow(2, "x", source="A"), LabelRow(3, "x", patient="7", view="frontal")]
    assert merge_rows(rows, "multiclass", repeated) == LabelRow(2, "x", "A", "7", "frontal")


@pytest.mark.parametrize(
    ("repeated", "labels", "label"),
    [
        ("any", ("normal", "sick"), "sick"),
        ("any", ("0", "1", "0"), "1"),
        ("all", ("normal", "sick"), "normal"),
        ("majority", ("sick", "normal", "sick"), "sick"),
        ("majority", ("sick", "normal"), ""),
        ("majority", ("a", "b", "b"), "b"),
    ],
)
def test_classes(repeated: Repeated, labels: tuple[str, ...], label: str) -> None:
    assert merged(repeated, *labels) == label


@pytest.mark.parametrize(
    ("repeated", "labels"),
    [("any", ("a", "b")), ("all", ("a", "b")), ("any", ("normal", "a", "b")), ("refuse", "ab")],
)
def test_what_no_rule_settles_is_a_conflict(repeated: Repeated, labels: tuple[str, ...]) -> None:
    with pytest.raises(ConflictError, match="label"):
        merged(repeated, *labels)


@pytest.mark.parametrize(
    ("repeated", "label"),
    [("any", "a=1;b=1;c=?"), ("all", "a=1;b=0;c=?"), ("majority", "a=1;b=?;c=?")],
)
def test_findings(repeated: Repeated, label: str) -> None:
    assert merged(repeated, "a=1;b=0;c=?", "a=?;b=1;c=?", task="multilabel") == label


def test_no_finding_of_one_reader_does_not_stand_beside_a_finding_of_another() -> None:
    labels = ("Mass=0;No finding=1", "Mass=1;No finding=0")
    assert merged("any", *labels, task="multilabel") == "Mass=1;No finding=0"
    assert merged("any", "Mass=?;No finding=1", labels[0], task="multilabel") == labels[0]


@pytest.mark.parametrize(
    "other",
    [LabelRow(3, "x", source="B"), LabelRow(3, "x", patient="8"), LabelRow(3, "x", set="test")],
)
@pytest.mark.parametrize("repeated", CHOICES)
def test_other_statements_must_agree(other: LabelRow, repeated: Repeated) -> None:
    with pytest.raises(ConflictError):
        merge_rows([LabelRow(2, "x", "A", "7", set="train"), other], "multiclass", repeated)
