"""Cells that name several findings, in any usual spelling, and class names written in one way."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from isnet_cli.labels.values import is_missing

# of cells without brackets, from strong to weak; the last ones are common within names too
SEPARATORS = ("|", ";", "\uff1b", "\n", "\t", ",", "\uff0c", "\u3001")
WEAK = ("/", "+", "&", " and ")
_WRAPPED = re.compile(  # list(...), array(..., dtype=object), set(...)
    r"(?:np\.|numpy\.)?(?:array|list|tuple|set|frozenset)"
    r"\((.*?)(?:,\s*dtype\s*=[^()\[\]]*)?\)",
    re.S,
)
_BRACKETS = {"[": "]", "{": "}", "(": ")"}
_QUOTES = {"'": "'", '"': '"', "\u2018": "\u2019", "\u201c": "\u201d", "`": "`"}
# Where a closing quote ends an item: before a separator, a bracket, another quote, or the end.
_AFTER_ITEM = re.compile(r"\s*(?:[,;|\[\]{}]|$)|\s+[uUbBrR]?['\"\u2018\u201c`]")
_BETWEEN_QUOTED = re.compile(r"['\"\u2019\u201d`]\s*[,;|]\s*['\"\u2018\u201c`]")
_WHOLE = re.compile(r"[+-]?\d+,0+")
_NOTHING = {"none", "nan", "null"}  # items without quotes that stand for no name


def clean_name(text: str) -> str:
    """A class name with one form of composed letters and single blanks between words."""
    return " ".join(unicodedata.normalize("NFC", text).replace("\u200b", "").split())


def fold_name(text: str) -> str:
    """What two spellings of one class have in common: neither case nor compatible signs count."""
    return clean_name(unicodedata.normalize("NFKC", text)).casefold()


def split_names(cell: str, separator: str = "") -> list[str] | None:
    """The class names of one cell, each once; None when the cell is missing.

    Lists in brackets are read as Python, JSON, numpy and PostgreSQL write them; an empty list says
    that there is no finding. Other cells are cut at `separator`.

    Args:
        cell: Trimmed text.
        separator: As `find_separator` gives it; empty: a cell without brackets is one name.
    """
    if is_missing(cell):
        return None
    inner = _strip_brackets(cell)
    if inner is not None:
        items = _split_items(inner)
        if not items and re.fullmatch(r"[\s\[\]]*(?:nan|None|null|NaN)[\s\[\]]*", inner):
            return None
        names = items
    else:
        names = cell.split(separator) if separator else [cell]
    cleaned = (clean_name(name) for name in names)
    return list(dict.fromkeys(name for name in cleaned if not is_missing(name)))


def find_separator(cells: Iterable[str]) -> str:
    """The sign that joins several names in the cells of a column; empty when none does.

    A sign counts when at least half of the names that it joins occur in other cells too, alone or
    in other company: the parts of ``Mass, left`` do not. ``1,0`` is a number with a decimal comma.
    """
    distinct = {cell for cell in set(cells) if cell and _strip_brackets(cell) is None}
    for separator in SEPARATORS:
        joined = [cell for cell in distinct if separator in cell]
        if separator == "," and all(_WHOLE.fullmatch(cell) for cell in joined):
            continue
        if joined and _parts_recur(joined, distinct, separator):
            return separator
    alone = {fold_name(cell) for cell in distinct}
    for separator in WEAK:
        parts = [part for cell in distinct if separator in cell for part in cell.split(separator)]
        if parts and {fold_name(part) for part in parts} <= alone:
            return separator
    return ""


def has_lists(cells: Sequence[str]) -> bool:
    """Whether cells of a column name several findings, or are lists in brackets with none."""
    separator = find_separator(cells)
    lists = [split_names(cell, separator) for cell in set(cells)]
    return any(names is not None and len(names) != 1 for names in lists)


def is_list(cell: str) -> bool:
    """Whether a cell is a list in brackets."""
    return not is_missing(cell) and _strip_brackets(cell) is not None


def merge_spellings(found: Mapping[str, int], wanted: Sequence[str] = ()) -> dict[str, str]:
    """For each name, the spelling of its class: as wanted, else the most frequent one.

    Args:
        found: How often each name occurs.
        wanted: Names as configured; they stay as they are, however alike.
    """
    forms: dict[str, list[str]] = {}
    for name in sorted(found):
        forms.setdefault(fold_name(name), []).append(name)
    asked = Counter(fold_name(name) for name in wanted)
    best = {
        form: max(names, key=lambda name: (found[name], names.index(name) == 0))
        for form, names in forms.items()
    }
    best |= {fold_name(name): name for name in wanted if asked[fold_name(name)] == 1}
    return {name: name if name in wanted else best[fold_name(name)] for name in found}


def _parts_recur(joined: Sequence[str], distinct: Iterable[str], separator: str) -> bool:
    cells_of: Counter[str] = Counter()
    for cell in distinct:
        cells_of.update({fold_name(part) for part in cell.split(separator)} - {""})
    parts = {fold_name(part) for cell in joined for part in cell.split(separator)} - {""}
    return bool(parts) and sum(cells_of[part] > 1 for part in parts) * 2 >= len(parts)


def _strip_brackets(cell: str) -> str | None:
    """What is inside the brackets (or quotes) of a list; None for a cell that is no list."""
    text = cell.strip()
    wrapped = _WRAPPED.fullmatch(text)
    if wrapped:
        text = wrapped.group(1).strip()
        if not text:
            return ""
    first, last = text[:1], text[-1:]
    if len(text) > 1 and _BRACKETS.get(first) == last and _closes_last(text):
        inner = text[1:-1].strip()
        # "(active)" is a name
        return None if first == "(" and inner and inner[0] not in _QUOTES else inner
    quoted = first in _QUOTES and last in _QUOTES.values() and len(text) > 1
    return text if quoted and _BETWEEN_QUOTED.search(text) else None


def _closes_last(text: str) -> bool:
    """Whether the first bracket is closed by the last one: not so in ``[A] and [B]``."""
    depth = 0
    for place, sign in enumerate(text):
        depth += (sign == text[0]) - (sign == text[-1])
        if depth == 0:
            return place == len(text) - 1
    return False


def _split_items(text: str) -> list[str]:
    """Items between the separators of a list, quoted or not; inner brackets do not count."""
    items = []
    place = 0
    while place < len(text):
        sign = text[place]
        if sign in " \t\r\n,;|[]{}":
            place += 1
            continue
        start = place + (sign in "uUbBrR" and text[place + 1 : place + 2] in ("'", '"'))
        close = _QUOTES.get(text[start])
        end = _find_quote_end(text, start + 1, close) if close else -1
        if close and end >= 0:
            items.append(re.sub(r"\\(['\"\\])", r"\1", text[start + 1 : end]))
            place = end + 1
            continue
        bare = re.split(r"[,;|\[\]{}]", text[place:], maxsplit=1)[0]
        place, bare = place + len(bare), bare.strip()
        items += [] if bare.lower() in _NOTHING else [bare]
    return [item for item in items if item.strip()]


def _find_quote_end(text: str, start: int, close: str) -> int:
    """Place of the quote that ends an item, -1 without any: apostrophes inside words go on."""
    place = text.find(close, start)
    while place >= 0:
        if text[place - 1] != "\\" and _AFTER_ITEM.match(text, place + 1):
            return place
        place = text.find(close, place + 1)
    return -1
