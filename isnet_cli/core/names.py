"""Names of files and folders made from any text: valid everywhere, and never the same for two."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

LONGEST = 60  # bytes of a made name; with a key and an ending before and behind it fits 200
SEPARATOR = "--"  # between a key and a made name, which never starts with "-" nor holds "--"
TAG = "~"  # before the digits of a hash; in no name that has none
OWN_ENDINGS = re.compile(
    r"\.(png|npz|gz|dcm|csv|json|jsonl|svg|html|md|yaml|txt|ckpt|safetensors|lock)", re.IGNORECASE
)  # of files that we write: a folder called so could be in the way of one
_RESERVED = re.compile(r"(con|prn|aux|nul|clock\$|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # Windows
_DIGITS = (8, 16, 64)  # of the hash; more where fewer are not enough


def make_names(texts: Iterable[str]) -> dict[str, str]:
    """A name for each text: different texts get names that every file system tells apart.

    A plain word stays as it is. Characters that some system refuses become ``_``, and what is too
    long is cut. Whatever was changed so, and texts that differ in nothing but case or the way
    Unicode writes a character, end with ``~`` and a hash of the text. No name starts with a dot or
    a dash, ends with a dot, holds `SEPARATOR`, is reserved on Windows, or ends like our own files.

    Args:
        texts: Such as all classes of a model, or all sets of a run.

    Returns:
        Text -> name of at most `LONGEST` bytes, in NFKC.
    """
    plain = {text: _make_plain(text) for text in texts}
    count = Counter(fold_name(name) for name in plain.values())
    for digits in _DIGITS:
        made = {
            text: name
            if name == text and count[fold_name(name)] == 1
            else _add_tag(name, text, digits)
            for text, name in plain.items()
        }
        if len({fold_name(name) for name in made.values()}) == len(made):
            break
    return made


def make_name(text: str) -> str:
    """As `make_names`, for a text that stands alone."""
    return make_names([text])[text]


def fold_name(name: str) -> str:
    """The same for names that some file system takes for one: without case, in one normal form."""
    once = unicodedata.normalize("NFKC", unicodedata.normalize("NFD", name).casefold())
    return unicodedata.normalize("NFKC", once.casefold())


def is_reserved(name: str) -> bool:
    """Whether Windows takes the name for a device, whatever its ending."""
    return _RESERVED.fullmatch(name.rstrip(". ")) is not None


def _make_plain(text: str) -> str:
    """`text` of letters, digits, marks and ``_ . + -`` alone, not longer than `LONGEST`."""
    whole = unicodedata.normalize("NFKC", text)
    name = "".join(sign if _is_safe(sign) else "_" for sign in whole)
    name = re.sub("-{2,}", "-", name).lstrip("-.").rstrip(".-") or "_"
    if is_reserved(name):
        name = f"_{name}"
    stem, dot, ending = name.rpartition(".")
    if dot and OWN_ENDINGS.fullmatch(f".{ending}"):
        name = f"{stem}_{ending}"
    return unicodedata.normalize("NFKC", _cut(name, LONGEST))


def _is_safe(sign: str) -> bool:
    return sign in "_.+-" or unicodedata.category(sign)[0] in "LMN"


def _add_tag(name: str, text: str, digits: int) -> str:
    content = text.encode("utf-8", "surrogatepass")
    tag = TAG + hashlib.sha256(content).hexdigest()[:digits]
    return _cut(name, LONGEST - len(tag)) + tag if len(tag) < LONGEST else tag


def _cut(name: str, longest: int) -> str:
    """The first `longest` bytes, whole characters; no dot or dash at the end."""
    return name.encode()[:longest].decode(errors="ignore").rstrip(".-") or "_"


def is_onnx(path: str | None) -> bool:
    """Whether a path names an ONNX file, by its ending."""
    return path is not None and path.lower().endswith(".onnx")
