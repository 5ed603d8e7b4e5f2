"""Which row of a label file belongs to which image: every usual key is tried, doubt is refused.

A join is accepted only when each matched key value names one image (or one examination, one
patient) and one meaning; otherwise the attempt counts as ambiguous and is not used.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from isnet_cli.config.schema import Labels
from isnet_cli.errors import IsnetError
from isnet_cli.labels.columns import (
    ACCESSION_NAMES,
    FILE_NAMES,
    INDEX_NAMES,
    ROLE_NAMES,
    UID_NAMES,
    plain,
    require_column,
)
from isnet_cli.labels.join_keys import ALONE, FILE_KINDS, ID_KINDS, ImageName, fitting_rows
from isnet_cli.labels.join_table import (
    EXAMPLES,
    OF_FILES,
    Attempt,
    match_table,
    refusal,
    strength,
)
from isnet_cli.labels.tables import LabelTable

SETTINGS: dict[str, tuple[str, ...]] = {  # data.labels.key -> kinds of key to try
    "auto": (*FILE_KINDS, *ID_KINDS),
    "file": ("path", "name", "name alone"),
    "stem": ("stem", "stem alone"),
    "uid": ("uid",),
    "accession": ("accession",),
    "patient": ("patient",),
}
USUAL = {
    **dict.fromkeys((*FILE_KINDS, *ALONE), FILE_NAMES),
    "uid": UID_NAMES,
    "accession": ACCESSION_NAMES,
    "patient": ROLE_NAMES["patient"],
}


@dataclass(frozen=True)
class Join:
    """The accepted join.

    Attributes:
        chosen: The attempt whose rows are used.
        attempts: All that were tried, in order.
        table: The match table as lines of text.
    """

    chosen: Attempt
    attempts: tuple[Attempt, ...]
    table: tuple[str, ...]


def needs_headers(table: LabelTable, labels: Labels) -> bool:
    """Whether identifiers inside the images' headers may be needed to join `table`."""
    if labels.key in {"file", "stem"}:
        return False
    if labels.key != "auto":
        return True
    return any(_columns(table, labels, kind) for kind in ("uid", "accession", "patient"))


def join(
    images: Sequence[ImageName], table: LabelTable, labels: Labels, roots: Sequence[Path]
) -> Join:
    """Finds the row of each image.

    Args:
        images: What can be known of each image, in the order of the result.
        table: The label file.
        labels: The way to join (`Labels.key`) and the least share of images that must match.
        roots: Folders, besides the label file's own, that relative paths may start from.

    Returns:
        The join with most matched images among those without any ambiguity.

    Raises:
        IsnetError: Kind "data", with the match table: no images, nothing matches, fewer images than
            `Labels.min_match`, ambiguous keys, or two ways of joining that contradict each other.
    """
    if not images:
        raise IsnetError(
            "data",
            f"{table.table.path}: no image to label, expected at least one",
            fix="check data.images",
        )
    attempts: list[Attempt] = []
    for group in _groups(table, labels):
        tried = [
            attempt
            for kind, column in group
            if (attempt := _attempt(images, table, kind, column, roots)) is not None
        ]
        attempts += tried
        good = [a for a in tried if not a.ambiguous and a.images >= _least(images, labels)]
        if good:
            best = max(good, key=lambda a: (a.images, -strength(a)))
            _refuse_contradiction(best, good, table, images, attempts)
            return Join(best, tuple(attempts), match_table(attempts, images, table))
    raise refusal(attempts, images, table, labels, roots)


def _least(images: Sequence[ImageName], labels: Labels) -> float:
    return max(1.0, labels.min_match * len(images) - 1e-9)


def _groups(table: LabelTable, labels: Labels) -> Iterator[list[tuple[str, str]]]:
    """(kind, column) pairs to try together; a later group only when an earlier one fails."""
    if labels.key.startswith("column:"):
        name = labels.key[len("column:") :]
        column = require_column(table.table, name, "data.labels.key: column:")
        yield [(kind, column) for kind in SETTINGS["auto"]]
        return
    if labels.key not in SETTINGS:
        raise IsnetError(
            "config",
            f"data.labels.key: '{labels.key}', expected {', '.join(SETTINGS)} or column:NAME",
            fix="data.labels.key: auto",
        )
    kinds = SETTINGS[labels.key]
    yield [(kind, column) for kind in kinds for column in _columns(table, labels, kind)]
    taken = table.roles.used()
    free = [
        name
        for name in table.table.columns
        if name not in taken and not INDEX_NAMES.fullmatch(plain(name))
    ]
    asked = labels.key != "auto"  # else a guess: no stems, no columns of numbers
    yield [
        (kind, column)
        for kind in kinds
        for column in free
        if asked or (kind in {"path", "name"} and _is_text(table.table.column(column)))
        if column not in _columns(table, labels, kind)
    ]


def _is_text(cells: Sequence[str]) -> bool:
    """Whether most cells contain a letter, as file names do and measurements do not."""
    filled = [cell for cell in cells if cell]
    return sum(any(c.isalpha() for c in cell) for cell in filled) * 2 > len(filled)


def _columns(table: LabelTable, labels: Labels, kind: str) -> list[str]:
    """Columns whose names say that they hold this kind of key."""
    if kind == "patient":
        return [table.roles.patient] if table.roles.patient else []
    taken = table.roles.used()
    return [
        name for name in table.table.columns if plain(name) in USUAL[kind] and name not in taken
    ]


def _attempt(
    images: Sequence[ImageName],
    table: LabelTable,
    kind: str,
    column: str,
    roots: Sequence[Path],
) -> Attempt | None:
    """The join by one column; None when no image has this kind of key."""
    found = fitting_rows(images, table.table, column, kind, roots)
    if found is None:
        return None
    by_end = found
    if kind == "path" and any(found):
        # a bare name in the table may mean an image in a subfolder that has no row of its own
        by_end = fitting_rows(images, table.table, column, "name", roots) or found
    claims = _claims([rows or others for rows, others in zip(found, by_end, strict=True)])
    judged: dict[int, str] = {}  # by identity: images that fit the same rows share one list
    chosen: list[int | None] = []
    examples: list[str] = []
    ambiguous = 0
    for image, rows in zip(images, found, strict=True):
        if id(rows) not in judged:
            judged[id(rows)] = _doubt(table, rows, column, kind, claims) if rows else ""
        doubt = judged[id(rows)]
        chosen.append(rows[0] if rows and not doubt else None)
        if doubt:
            ambiguous += 1
            name = image.shown if kind in OF_FILES else f"one {kind}"
            examples += [f"{name}: {doubt}"] if len(examples) < EXAMPLES else []
    return Attempt(kind, column, tuple(chosen), ambiguous, tuple(examples))


def _claims(found: Sequence[list[int]]) -> dict[int, int]:
    """How many images each row fits."""
    images = Counter(map(id, found))
    claims: dict[int, int] = defaultdict(int)
    for rows in {id(rows): rows for rows in found}.values():
        for row in rows:
            claims[row] += images[id(rows)]
    return claims


def _doubt(
    table: LabelTable,
    rows: Sequence[int],
    column: str,
    kind: str,
    claims: dict[int, int],
) -> str:
    """Why the rows that fit an image do not settle what it is; empty when they do."""
    shared = kind in {"accession", "patient"}  # one row may stand for several images
    lines = ", ".join(str(table.rows[row].line) for row in rows[:EXAMPLES])
    if not shared and any(claims[row] > 1 for row in rows):
        return f"line {lines} fits other images too"
    if len({table.rows[row].says() for row in rows}) > 1:
        return f"lines {lines} differ"
    place = table.table.columns.index(column)
    if kind in OF_FILES and len({table.table.rows[row][place] for row in rows}) > 1:
        return f"lines {lines} name different files"
    return ""


def _refuse_contradiction(
    best: Attempt,
    good: list[Attempt],
    table: LabelTable,
    images: Sequence[ImageName],
    attempts: list[Attempt],
) -> None:
    for other in good:
        weaker = {best.kind, other.kind} <= OF_FILES and strength(other) > strength(best)
        if other is best or weaker:
            continue
        differ = [
            image
            for image, a, b in zip(images, best.rows, other.rows, strict=True)
            if a is not None and b is not None and table.rows[a].says() != table.rows[b].says()
        ]
        if differ:
            raise IsnetError(
                "data",
                f"{table.table.path}: joining by {best.kind} ('{best.column}') and by {other.kind}"
                f" ('{other.column}') gives {len(differ)} images different rows",
                details=(
                    f"first: {differ[0].shown}",
                    *match_table(attempts, images, table),
                ),
                fix=f"data.labels.key: column:{best.column}   or mend the label file",
            )
