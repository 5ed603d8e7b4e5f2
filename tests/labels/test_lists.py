"""Cells of several findings, in the spellings that people's tools write."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isnet_cli.labels.lists import (
    clean_name,
    find_separator,
    has_lists,
    merge_spellings,
    split_names,
)

TWO = ["COPD signs", "pleural effusion"]


@pytest.mark.parametrize(
    "cell",
    [
        "['COPD signs', 'pleural effusion']",
        '["COPD signs", "pleural effusion"]',
        '["COPD signs","pleural effusion"]',
        "['COPD signs' 'pleural effusion']",
        "['COPD signs'\n 'pleural effusion']",
        "[COPD signs, pleural effusion]",
        "[ COPD  signs ;pleural effusion ]",
        "[COPD signs | pleural effusion]",
        "('COPD signs', 'pleural effusion')",
        "{'COPD signs', 'pleural effusion'}",
        '{"COPD signs","pleural effusion"}',
        "array(['COPD signs', 'pleural effusion'], dtype=object)",
        "[u'COPD signs', u'pleural effusion',]",
        "[['COPD signs'], ['pleural effusion']]",
        "'COPD signs', 'pleural effusion'",
        "[\u2018COPD signs\u2019, \u2018pleural effusion\u2019]",
        "['COPD signs', 'pleural effusion', 'COPD signs', '']",
    ],
)
def test_lists_in_brackets(cell: str) -> None:
    assert split_names(cell) == TWO


@pytest.mark.parametrize("cell", ["[]", "['']", "()", "{}", "set()", "array([], dtype=object)"])
def test_an_empty_list_is_no_finding(cell: str) -> None:
    assert split_names(cell) == []


@pytest.mark.parametrize("cell", ["", "nan", "N/A", "[nan]", "[None]", "[null]"])
def test_missing_cells_are_no_lists(cell: str) -> None:
    assert split_names(cell) is None


@pytest.mark.parametrize("name", ["TB (active)", "(active)", "Mass, left", "[A] and [B]", "none"])
def test_names_stay_names(name: str) -> None:
    assert split_names(name) == [name]


def test_apostrophes_and_commas_belong_to_names() -> None:
    assert split_names("['Crohn's disease', \"b's\"]") == ["Crohn's disease", "b's"]
    assert split_names("['x, y', 'TB (active)']") == ["x, y", "TB (active)"]
    assert split_names(r"['it\'s', 'b']") == ["it's", "b"]


@pytest.mark.parametrize(
    ("cells", "separator"),
    [
        (["A", "A|B", "B"], "|"),
        (["A ; B", "B", "A"], ";"),
        (["Lung Opacity, Nodule", "Nodule", "Lung Opacity"], ","),
        (["Mass, left", "Mass, right", "x"], ""),
        (["Pneumonia/Viral", "Pneumonia"], ""),
        (["A B", "A", "B"], ""),
        (["['A', 'B']", "['A']"], ""),
        ([], ""),
        (["edema\uff1bmass", "mass", "edema"], "\uff1b"),
        (["edema\u3001mass", "mass"], "\u3001"),
        (["edema\tmass", "mass"], "\t"),
        (["edema / mass", "mass", "edema"], "/"),
        (["edema + mass", "mass", "edema"], "+"),
        (["edema & mass", "mass", "Edema"], "&"),
        (["edema and mass", "mass", "edema"], " and "),
        (["edema / mass", "mass", "nodule"], ""),  # one of them is no name elsewhere
        (["signs of COPD and CHF", "CHF"], ""),
        (["n/a or 1/2", "normal"], ""),
    ],
)
def test_a_sign_joins_names_when_they_occur_elsewhere(cells: list[str], separator: str) -> None:
    assert find_separator(cells) == separator


def test_columns_of_lists_are_recognised() -> None:
    assert has_lists(["['a']", "['a', 'b']"])
    assert has_lists(["['a']", "[]"])
    assert not has_lists(["1,0", "0,0", "-1,0"])
    assert has_lists(["1,0", "0", "1", "1,0,2", "2"])
    assert not has_lists(["['a']", "['b']"])
    assert not has_lists(["a", "b", ""])


def test_spellings_of_a_class_are_one() -> None:
    found = {"Normal": 5, "normal": 1, "TB": 2}
    assert merge_spellings(found) == {"Normal": "Normal", "normal": "Normal", "TB": "TB"}
    assert merge_spellings(found, ["normal"])["Normal"] == "normal"
    assert merge_spellings(found, ["normal", "Normal"])["Normal"] == "Normal"
    assert clean_name(" u\u0308ber  all\u200b ") == "\u00fcber all"


WORDS = st.lists(
    st.text("abcXYZ 'é", min_size=1, max_size=8).map(clean_name).filter(lambda x: x.strip("' ")),
    max_size=4,
    unique=True,
).map(lambda names: [name for name in names if name.lower() not in {"na", "nan", "n/a", "null"}])


@settings(deadline=None)
@given(WORDS)
def test_what_python_writes_is_read_again(names: list[str]) -> None:
    assert split_names(repr(names)) == names


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_text_gives_clean_names(cell: str) -> None:
    for name in split_names(cell, "|") or []:
        assert name == clean_name(name) != ""
