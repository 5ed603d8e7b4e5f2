"""Names of files: any text gets one that all systems accept, and no two texts the same."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isnet_cli.core.names import LONGEST, SEPARATOR, fold_name, is_reserved, make_name, make_names

ALIKE = (
    *("finding", "Finding", "FINDING", "\ufb01nding", "finding.", ".finding", "-finding"),
    *("finding ", "\u00e9", "e\u0301", "\u00c9", "a/b", "a_b", "a:b", "a\\b", "a--b", "a-b"),
    *(
        "",
        ".",
        "..",
        "-",
        "_",
        "x" * 300,
        "x" * 301,
        "\u00df",
        "ss",
        "K",
        "\u212a",
        "\ud800",
        "a\0",
    ),
    *("CON", "con", "nul.txt", "index.csv", "index_csv", "p1~0123abcd", "\u0130", "i\u0307"),
    *("\u017f", "s", "ss", "\u00bd", "1\u20442", "1_2"),
)
TEXTS = st.one_of(st.sampled_from(ALIKE), st.text(), st.text("aAbB.-_~ é", max_size=4))


def check_names(names: dict[str, str]) -> None:
    for way in (
        fold_name,
        lambda name: unicodedata.normalize("NFKC", name.casefold()),
        lambda name: unicodedata.normalize("NFKC", name).casefold(),
        lambda name: unicodedata.normalize("NFD", name.upper()),
    ):
        assert len({way(name) for name in names.values()}) == len(names)
    for name in names.values():
        assert 0 < len(name.encode()) <= LONGEST
        assert not is_reserved(name)
        assert name[0] not in ".-"
        assert name[-1] not in ". -"
        assert SEPARATOR not in name
        assert not set(name) & set('/\\:*?"<>| ')
        assert name.isprintable()


@settings(deadline=None)
@given(st.lists(TEXTS, unique=True, max_size=30))
def test_different_texts_get_names_that_all_systems_tell_apart(texts: list[str]) -> None:
    names = make_names(texts)
    assert list(names) == texts
    check_names(names)


@settings(deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS), unique=True, max_size=20))
def test_a_key_and_a_name_are_joined_without_doubt(pairs: list[tuple[str, str]]) -> None:
    targets = make_names(target for _, target in pairs)
    assert len({f"{key}{SEPARATOR}{targets[target]}" for key, target in pairs}) == len(pairs)


def test_all_that_is_alike_is_told_apart() -> None:
    check_names(make_names(ALIKE))


@pytest.mark.parametrize(
    "text",
    ["finding", "no_finding", "Pneumonia", "COVID-19", "hospital_b", "v1.2", "Kraków", "肺炎"],
)
def test_ordinary_names_stay_as_they_are(text: str) -> None:
    assert make_name(text) == text


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("lung opacity", "lung_opacity~"),
        ("CON", "_CON~"),
        ("..", "_~"),
        ("a.csv", "a_csv~"),
    ],
)
def test_what_is_changed_has_a_hash(text: str, start: str) -> None:
    assert make_name(text).startswith(start)


def test_only_what_meets_has_a_hash() -> None:
    names = make_names(["sick", "Sick", "well"])
    assert names["well"] == "well"
    assert names["sick"].startswith("sick~")
    assert names["Sick"].startswith("Sick~")
