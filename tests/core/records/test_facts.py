"""Coarse facts: what words become, and that nothing finer is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from isnet_cli.core.records.facts import (
    Facts,
    read_decade,
    read_facts,
    read_projection,
    read_sex,
    shorten,
    write_facts,
)


@pytest.mark.parametrize(
    ("text", "decade"),
    [
        *(("58", "50-59"), ("058Y", "50-59"), ("58.7", "50-59"), ("7", "0-9"), ("18M", "0-9")),
        *(("300D", "0-9"), ("120M", "10-19"), ("89", "80-89"), ("90", "90+"), ("104Y", "90+")),
        *(("40-49", "40-49"), ("90+", "90+"), ("", ""), ("old", ""), ("411", ""), ("-3", "")),
        *(("1956", ""), ("12 years", "10-19")),
    ],
)
def test_ages_are_decades(text: str, decade: str) -> None:
    assert read_decade(text) == decade


@pytest.mark.parametrize(
    ("text", "sex"),
    [("F", "F"), ("female", "F"), (" Male ", "M"), ("O", "other"), ("", ""), ("Smith", "")],
)
def test_sexes(text: str, sex: str) -> None:
    assert read_sex(text) == sex


@pytest.mark.parametrize(
    ("text", "projection"),
    [
        *(("AP", "AP"), ("AP supine", "AP"), ("PA", "PA"), ("POSTEROANTERIOR", "PA")),
        *(("AP/PA", ""), ("LL", "lateral"), ("LATERAL", "lateral"), ("frontal", ""), ("", "")),
    ],
)
def test_projections(text: str, projection: str) -> None:
    assert read_projection(text) == projection


def test_texts_of_devices_are_short_plain_words() -> None:
    assert shorten("GE\tMedical; <b>Systems</b>\n") == "GE Medical b Systems /b"
    assert len(shorten("x" * 500)) == 40


def test_a_table_of_facts_comes_back(tmp_path: Path) -> None:
    facts = Facts("F", "50-59", "PA", "Acme", "One")
    write_facts(tmp_path / "facts.csv", [("a/b", facts, {"ward": "3"})], ["ward"])
    (line,) = read_facts(tmp_path).values()
    assert line == {"key": "a/b", **facts._asdict(), "ward": "3"}


def test_what_is_not_known_is_taken_from_elsewhere() -> None:
    found = Facts(sex="F").or_else(Facts(sex="M", age="10-19"))
    assert found == Facts(sex="F", age="10-19")
