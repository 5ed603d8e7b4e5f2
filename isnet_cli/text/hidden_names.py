"""Names of the input that no text may show: found in whatever is printed, and taken out.

A message may quote a name in another spelling: with other slashes, in other case, with or without
its ending, in quotes, cut. So names are compared word by word, without what stands between.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

HIDDEN = "(hidden)"
_WORD = re.compile(r"(?:[^\W_]|[\u0300-\u036f])+")  # with accents that stand alone
_MOST = 60  # words of a name that are compared
_SHORTEST = 3  # letters; a shorter name is found in too many words of ours
_LONG_NUMBER = 5  # digits from which a number may be an identifier
_USUAL = frozenset(  # single words that name nobody, and that messages need
    (
        *("absent", "ap", "chest", "class", "classes", "csv", "data", "dcm", "dicom", "false"),
        *("female", "file", "files", "film", "films", "finding", "findings", "folder", "found"),
        *("frontal", "header", "image", "images", "jpeg", "jpg", "key", "label", "labels"),
        *("lateral", "left", "lung", "lungs", "male", "mask", "masks", "name", "names", "nan"),
        *("none", "normal", "null", "other", "path", "patient", "patients", "png", "present"),
        *("right", "row", "rows", "scan", "series", "set", "sets", "source", "study", "table"),
        *("test", "tif", "tiff", "train", "true", "unknown", "val", "value", "values", "view"),
        *("views", "xray", "xrays", "yes"),
    )
)
Words = tuple[str, ...]


class HiddenNames:
    """The names of one input.

    Args:
        names: Names, paths and cells that may not be shown.
        shown: What may be shown although names are in it: settings as typed, classes, sets.
    """

    def __init__(self, names: Iterable[str] = (), shown: Iterable[str] = ()) -> None:
        known: dict[Words, bool] = {
            words: True for name in names if _tells(words := _split(name))
        }  # words -> whether they are hidden
        if known:
            known |= {words: False for name in shown if (words := _split(name))}
        self._known: dict[str, dict[Words, bool]] = {}
        for words, hidden in known.items():
            self._known.setdefault(words[0], {})[words] = hidden
        self._sizes = {
            first: sorted({len(words) for words in found}, reverse=True)
            for first, found in self._known.items()
        }

    def __bool__(self) -> bool:
        return bool(self._known)

    def hide(self, text: str) -> str:
        """`text` with `HIDDEN` in the place of each name; of names within names, the longest."""
        if not self._known:
            return text
        places = [found.span() for found in _WORD.finditer(text)]
        words = [_fold(text[start:end]) for start, end in places]
        parts: list[str] = []
        at = done = 0
        while at < len(words):
            size, hidden = self._find(words, at)
            decimals = text[max(0, places[at][0] - 2) : places[at][0]]
            if hidden and not (size == 1 and decimals[-1:] == "." and decimals[:1].isdigit()):
                parts += [text[done : places[at][0]], HIDDEN]
                done = places[at + size - 1][1]
            at += size
        return "".join([*parts, text[done:]])

    def _find(self, words: list[str], at: int) -> tuple[int, bool]:
        """How many words from `at` on are known together, and whether they are a name."""
        known = self._known.get(words[at], {})
        for size in self._sizes.get(words[at], ()):
            part = tuple(words[at : at + size])
            found = known.get(part)
            if found is not None and len(part) == size:
                return size, found
        return 1, False

    def hide_all(self, content: Any) -> Any:
        """JSON-able `content` with every text in it passed through `hide`; keys stay distinct."""
        if isinstance(content, str):
            return self.hide(content)
        if isinstance(content, Mapping):
            found: dict[str, Any] = {}
            for key, value in content.items():
                name, number = self.hide(str(key)), 2
                while name in found:
                    name, number = f"{self.hide(str(key))} {number}", number + 1
                found[name] = self.hide_all(value)
            return found
        if isinstance(content, (list, tuple)):
            return [self.hide_all(item) for item in content]
        if isinstance(content, PurePath):
            return self.hide(str(content))
        return content


def _split(name: str) -> Words:
    return tuple(_fold(word) for word in _WORD.findall(name)[:_MOST])


def _fold(word: str) -> str:
    if word.isascii() and word.islower():
        return word
    return unicodedata.normalize("NFKC", word).casefold()


def _tells(words: Words) -> bool:
    """Whether a name can be told from the words and counts of a message."""
    letters = "".join(words)
    if letters.isdigit():
        return len(letters) >= (2 if letters.startswith("0") else _LONG_NUMBER)
    return len(letters) >= _SHORTEST and not (len(words) == 1 and letters in _USUAL)
