from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isnet_cli.labels.values import (
    MISSING,
    NEGATIVE,
    POSITIVE,
    UNCERTAIN,
    UnknownValueError,
    decode_findings,
    encode_findings,
    is_finding,
    is_missing,
    parse_finding,
    parse_label,
    parse_set,
    parse_view,
)


@pytest.mark.parametrize("policy", ["ignore", "zero", "one"])
def test_every_word_has_one_meaning(policy: str) -> None:
    words = [POSITIVE, NEGATIVE, UNCERTAIN, MISSING]
    assert sum(map(len, words)) == len(set().union(*words))
    for word in POSITIVE:
        assert parse_finding(word.upper(), policy) == 1.0
    for word in NEGATIVE:
        assert parse_finding(word.title(), policy) == 0.0
    for word in MISSING:
        assert parse_finding(word, policy) is None
    expected = {"ignore": None, "zero": 0.0, "one": 1.0}[policy]
    for word in UNCERTAIN:
        assert parse_finding(word, policy) == expected


@pytest.mark.parametrize("cell", ["2", "0.5", "maybe-not", "-2", "10", "normal", " "])
def test_anything_else_is_unknown(cell: str) -> None:
    with pytest.raises(UnknownValueError):
        parse_finding(cell, "ignore")


def test_finding_columns_are_told_from_others() -> None:
    assert is_finding(["1", "0", "", "-1"])
    assert is_finding(["yes", "No"])
    assert is_finding(["1,0", "0,0", "-1,0"])
    assert not is_finding(["", "nan"])
    assert not is_finding(["-1", "-1"])
    assert not is_finding(["1", "2"])
    assert not is_finding(["1", "normal"])


NAMES = st.text(st.characters(exclude_characters=";="), min_size=1, max_size=8)


@settings(deadline=None)
@given(st.dictionaries(NAMES, st.sampled_from([0.0, 1.0, None]), min_size=1, max_size=6))
def test_manifest_text_round_trip(values: dict[str, float | None]) -> None:
    text = encode_findings(values)
    if all(value is None for value in values.values()):
        assert text == ""
        return
    back = decode_findings(text)
    assert list(back) == list(values)
    for name, value in values.items():
        assert math.isnan(back[name]) if value is None else back[name] == value


def test_manifest_text_is_as_documented() -> None:
    assert encode_findings({"a": 1.0, "b": 0.0, "c": None}) == "a=1;b=0;c=?"
    assert decode_findings("") == {}
    assert decode_findings("T>=2=1") == {"T>=2": 1.0}


def test_a_label_is_read_by_its_task() -> None:
    assert parse_label("a=1;b=0", "multilabel") == {"a": 1.0, "b": 0.0}
    assert parse_label("a=1;b=0", "multiclass") == {"a=1;b=0": 1.0}
    assert parse_label("", "multiclass") == parse_label("", "multilabel") == {}


@pytest.mark.parametrize("text", ["normal", "a=2", "=1", "a=1;;b=0", "a=1;b"])
def test_other_texts_are_no_findings(text: str) -> None:
    with pytest.raises(UnknownValueError):
        decode_findings(text)


@pytest.mark.parametrize(
    ("cell", "view"),
    [
        ("PA", "frontal"), ("ap", "frontal"), ("AP supine", "frontal"), ("Frontal", "frontal"),
        ("postero-anterior", "frontal"), ("posteroanterior", "frontal"), ("L", "lateral"),
        ("LATERAL", "lateral"), ("LL", "lateral"), ("", "unknown"), ("oblique", "unknown"),
        ("apical", "unknown"), ("plate", "unknown"),
    ],
)  # fmt: skip
def test_views(cell: str, view: str) -> None:
    assert parse_view(cell) == view


def test_set_names_and_missing_cells() -> None:
    cells = ("Training", "VALID", "dev", "hold-out", "hospitalB", "nan")
    assert [parse_set(cell) for cell in cells] == ["train", "val", "val", "test", "hospitalB", ""]
    assert is_missing("N/A")
    assert not is_missing("none")  # a class of this name is common
