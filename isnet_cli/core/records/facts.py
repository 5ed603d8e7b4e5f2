"""Coarse facts about an image by which scores are compared: sex, decade of age, projection, device.

None of them names a patient: ages are decades, from 90 on one group (as the Safe Harbor rule of
HIPAA, 45 CFR 164.514(b), asks), and texts of devices are cut to plain short words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from isnet_cli.core.files import write_csv
from isnet_cli.core.records.read import read_rows

TABLE = "facts.csv"  # of the ingest stage
OLDEST = 90  # years from which on all are one group
OLDEST_KNOWN = 130  # a larger number is no age
LONGEST = 40  # characters of a text
_AGE = re.compile(r"0*(\d{1,3})(?:[.,]\d+)?\s*(y|yr|yrs|years?|m|months?|w|weeks?|d|days?)?")
_SEXES = {
    **dict.fromkeys(("f", "female", "woman", "w", "weiblich", "mujer", "femenino", "0f"), "F"),
    **dict.fromkeys(("m", "male", "man", "männlich", "hombre", "masculino"), "M"),
    **dict.fromkeys(("o", "other", "divers"), "other"),
}
_ODD = re.compile(r"[^A-Za-z0-9 ._+/()-]+")


class Facts(NamedTuple):
    """Of one image; empty where unknown.

    Attributes:
        sex: ``F``, ``M`` or ``other``.
        age: Decade in years: ``40-49``; ``90+``.
        projection: ``AP``, ``PA`` or ``lateral``.
        manufacturer: Of the device.
        model: Of the device.
    """

    sex: str = ""
    age: str = ""
    projection: str = ""
    manufacturer: str = ""
    model: str = ""

    def or_else(self, other: Facts) -> Facts:
        """These, and where one is unknown the other's."""
        return Facts(*(mine or theirs for mine, theirs in zip(self, other, strict=True)))


UNKNOWN = Facts()


def read_sex(text: str) -> str:
    """``F``, ``M``, ``other``, or empty for words that say nothing."""
    return _SEXES.get(text.strip().lower(), "")


def read_decade(text: str) -> str:
    """Decade of an age such as ``58``, ``058Y``, ``18M`` or ``40-49``; empty when it is none."""
    word = text.strip().lower()
    if re.fullmatch(r"\d0-\d9|90\+", word):
        return word if word != "90-99" else f"{OLDEST}+"
    found = _AGE.fullmatch(word)
    if found is None:
        return ""
    per_year = {"y": 1, "m": 12, "w": 52, "d": 365}[(found[2] or "y")[0]]
    years = int(found[1]) // per_year
    if years > OLDEST_KNOWN:
        return ""
    start = years // 10 * 10
    return f"{OLDEST}+" if years >= OLDEST else f"{start}-{start + 9}"


def read_projection(text: str) -> str:
    """``AP``, ``PA``, ``lateral`` or empty."""
    words = set(re.split(r"[^A-Z]+", text.upper()))
    found = {"AP", "PA"} & words
    if len(found) == 1:
        return found.pop()
    if words & {"ANTEROPOSTERIOR"}:
        return "AP"
    if words & {"POSTEROANTERIOR"}:
        return "PA"
    return "lateral" if words & {"LAT", "LATERAL", "LL", "L"} and not found else ""


def shorten(text: str) -> str:
    """Plain words of a text: no sign but a few, and not long."""
    return " ".join(_ODD.sub(" ", text).split())[:LONGEST].strip()


def write_facts(
    path: Path, lines: Iterable[tuple[str, Facts, Mapping[str, str]]], groups: Sequence[str]
) -> None:
    """Writes ``facts.csv``.

    Args:
        path: The file.
        lines: Key, facts and further groups of each image.
        groups: Names of the further groups.
    """
    rows = [{"key": key, **facts._asdict(), **more} for key, facts, more in lines]
    write_csv(path, ["key", *Facts._fields, *groups], rows)


def read_facts(folder: Path) -> dict[str, dict[str, str]]:
    """Facts and further groups by key, as `write_facts` wrote them.

    Args:
        folder: Of the ingest stage.

    Raises:
        IsnetError: Kind "data": missing or another table.
    """
    columns = ("key", *Facts._fields)
    lines = read_rows(folder / TABLE, columns, fix="isnet ingest CONFIG", unique="key")
    return {line["key"]: line for line in lines}
