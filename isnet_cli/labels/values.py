"""What a cell of a label file means, and how labels are written into the manifest."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping

from isnet_cli.images.dicom import header

MISSING = {"", "nan", "na", "n/a", "null", "#n/a"}
POSITIVE = {"1", "1.0", "1,0", "pos", "positive", "yes", "y", "true", "t", "present"}
NEGATIVE = {"0", "0.0", "0,0", "neg", "negative", "no", "n", "false", "f", "absent"}
UNCERTAIN = {"-1", "-1.0", "-1,0", "?", "u", "unc", "uncertain", "unclear", "equivocal", "possible"}
FRONTAL = {"posteroanterior", "anteroposterior"}  # besides the words of DICOM headers
LATERAL = {"l", "llat", "rlat", "llateral", "rlateral"}
SETS = {
    "train": ("train", "training", "tr"),
    "val": ("val", "valid", "validation", "validate", "dev", "development"),
    "test": ("test", "testing", "te", "holdout"),
}
_RUNS = re.compile(r"\d+ \d+(?: \d+ \d+)*")
POLICIES: dict[str, float | None] = {"ignore": None, "zero": 0.0, "one": 1.0}


class UnknownValueError(ValueError):
    """A cell that is none of the words for yes, no, uncertain and missing."""


def is_missing(cell: str) -> bool:
    """Whether a cell is empty or one of the usual words for 'not available'."""
    return cell.lower() in MISSING


def parse_finding(cell: str, uncertain: str) -> float | None:
    """One 0/1 cell: 1.0, 0.0, or None when missing.

    Args:
        cell: Trimmed text; any spelling of `POSITIVE`, `NEGATIVE`, `UNCERTAIN`, `MISSING`.
        uncertain: Policy for uncertain cells: ``ignore`` (missing), ``zero`` or ``one``.

    Raises:
        UnknownValueError: When the cell is none of these.
    """
    word = cell.lower()
    if word in MISSING:
        return None
    if word in POSITIVE:
        return 1.0
    if word in NEGATIVE:
        return 0.0
    if word in UNCERTAIN:
        return POLICIES[uncertain]
    raise UnknownValueError(cell)


def is_finding(cells: Iterable[str]) -> bool:
    """Whether a column holds nothing but 0/1 cells, at least one of them yes or no."""
    words = {cell.lower() for cell in set(cells)}
    return words <= MISSING | POSITIVE | NEGATIVE | UNCERTAIN and bool(
        words & (POSITIVE | NEGATIVE)
    )


def encode_findings(values: Mapping[str, float | None]) -> str:
    """Multi-label text of the manifest: ``name=1;name=0;name=?``; empty when all are missing."""
    if all(value is None for value in values.values()):
        return ""
    signs = {None: "?", 0.0: "0", 1.0: "1"}
    return ";".join(f"{name}={signs[value]}" for name, value in values.items())


def decode_findings(text: str) -> dict[str, float]:
    """Reads what `encode_findings` wrote: 1.0, 0.0, or NaN where missing.

    Raises:
        UnknownValueError: When the text has another form.
    """
    values: dict[str, float] = {}
    for part in text.split(";") if text else ():
        name, _, sign = part.rpartition("=")
        if not name or sign not in {"0", "1", "?"}:
            raise UnknownValueError(part)
        values[name] = math.nan if sign == "?" else float(sign)
    return values


def parse_label(label: str, task: str) -> dict[str, float]:
    """Reads a manifest label: class -> 1.0; multi-label also 0.0 and NaN; no label: empty.

    Args:
        label: `Row.label`.
        task: ``multiclass`` or ``multilabel``.

    Raises:
        UnknownValueError: When a multi-label text has another form.
    """
    if task == "multilabel":
        return decode_findings(label)
    return {label: 1.0} if label else {}


def parse_view(cell: str) -> str:
    """``frontal``, ``lateral`` or ``unknown`` from words such as PA, AP supine, LL, Lateral.

    As in DICOM headers: words for both, and oblique and decubitus views, decide nothing.
    """
    found = header.parse_view(cell)
    if found != "unknown":
        return found
    words = set(re.split(r"[^a-z]+", cell.lower())) - {""}
    if words & FRONTAL:
        return "frontal"
    return "lateral" if words and words <= LATERAL else "unknown"


def read_run_lengths(cells: Collection[str]) -> list[str] | None:
    """Cells of run-length masks as 1 (there is one) and 0 (``-1``); None for other columns."""
    distinct = {cell for cell in set(cells) if not is_missing(cell)}
    masks = distinct - {"-1"}
    if not masks or not all(_RUNS.fullmatch(cell) for cell in masks):
        return None
    return [cell if is_missing(cell) else "0" if cell == "-1" else "1" for cell in cells]


def parse_set(cell: str) -> str:
    """Name of a set: usual words for train, val and test become these, others stay."""
    word = re.sub(r"[\s_-]", "", cell.lower())
    for name, words in SETS.items():
        if word in words:
            return name
    return "" if is_missing(cell) else cell
