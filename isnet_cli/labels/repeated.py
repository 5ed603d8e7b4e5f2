"""Several rows of one image (a row per box, per finding, per reader) as one statement."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from isnet_cli.labels.lists import fold_name
from isnet_cli.labels.values import decode_findings, encode_findings

if TYPE_CHECKING:
    from isnet_cli.labels.tables import LabelRow

Repeated = Literal["refuse", "any", "majority", "all"]
CHOICES: tuple[Repeated, ...] = ("any", "majority", "all")
HEALTHY = {  # names of the class that says: none of the others
    *("no finding", "no findings", "nofinding", "normal", "healthy", "negative", "none", "0", "no"),
    *("false", "control", "well", "unremarkable", "without finding", "no abnormality"),
}


class ConflictError(ValueError):
    """Rows of one image that cannot be one statement; the message says in what they differ."""


def merge_rows(rows: Sequence[LabelRow], task: str, repeated: Repeated) -> LabelRow:
    """One statement from all rows of an image; the first row's line stands for all.

    What a row does not state, another may. Rows that agree are one. Labels that differ are merged
    as `repeated` says: ``any``: a finding is yes when a row says so; ``all``: when all that state
    it do; ``majority``: when most of these do, unknown when they are even. Of classes, where an
    image has one, ``any`` prefers another class over the healthy one, ``all`` the healthy one.

    Raises:
        ConflictError: The rows differ in something else, or `repeated` does not settle it.
    """
    first = rows[0]
    if len(rows) == 1:
        return first
    merged = replace(
        first,
        source=_agree(rows, "source"),
        patient=_agree(rows, "patient"),
        set=_agree(rows, "set"),
        view=_agree(rows, "view", "unknown"),
        masks=_agree(rows, "masks", ()),
        fault=next((row.fault for row in rows if row.fault), None),
    )
    found = [row.label for row in rows if row.label]
    if len(set(found)) <= 1:
        return replace(merged, label=found[0] if found else "")
    if repeated == "refuse":
        raise ConflictError("label")
    merge = _merge_findings if task == "multilabel" else _merge_classes
    return replace(merged, label=merge(found, repeated))


def _agree(rows: Sequence[LabelRow], name: str, unknown: object = "") -> Any:
    found = {getattr(row, name) for row in rows} - {unknown}
    if len(found) > 1:
        raise ConflictError(name)
    return found.pop() if found else unknown


def _merge_classes(found: Sequence[str], repeated: Repeated) -> str:
    count = Counter(found)
    if repeated == "majority":
        best = max(count.values())
        winners = [name for name, n in count.items() if n == best]
        return winners[0] if len(winners) == 1 else ""
    healthy = [name for name in count if fold_name(name) in HEALTHY]
    others = [name for name in count if name not in healthy]
    if repeated == "all" and healthy:
        return healthy[0]
    if repeated == "any" and len(others) == 1:
        return others[0]
    raise ConflictError("label")


def _merge_findings(found: Sequence[str], repeated: Repeated) -> str:
    rows = [decode_findings(text) for text in found]
    merged: dict[str, float | None] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row[name] for row in rows if name in row and not math.isnan(row[name])]
        yes, no = values.count(1.0), values.count(0.0)
        if not values or (repeated == "majority" and yes == no):
            merged[name] = None
        else:
            limit = {"any": yes > 0, "all": no == 0, "majority": yes > no}[repeated]
            merged[name] = float(limit)
    ill = any(value == 1.0 and fold_name(name) not in HEALTHY for name, value in merged.items())
    for name, value in merged.items():
        if ill and value == 1.0 and fold_name(name) in HEALTHY:
            # one reader's "no finding" does not stand beside another's finding
            merged[name] = float(all(row.get(name) != 0.0 for row in rows))
    return encode_findings(merged)
