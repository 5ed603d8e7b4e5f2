"""Which row of a label file belongs to which image: every usual key is tried, ambiguity is refused.

A join is accepted only when each matched key value names one image (or one examination, one
patient) and one meaning; otherwise the attempt counts as ambiguous and is not used.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from isnet_cli.config.schema import Labels
from isnet_cli.errors import IsnetError
from isnet_cli.images.find import strip_suffix
from isnet_cli.labels.columns import (
    ACCESSION_NAMES,
    FILE_NAMES,
    INDEX_NAMES,
    ROLE_NAMES,
    UID_NAMES,
    list_names,
    plain,
    require_column,
)
from isnet_cli.labels.join_keys import (
    ALONE,
    FILE_KINDS,
    ID_KINDS,
    ImageName,
    Matches,
    find_rows,
    find_rows_by_end,
)
from isnet_cli.labels.tables import LabelTable
from isnet_cli.text.tables import format_table

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
ORDER = ("path", "name", "name alone", "stem", "stem alone", *ID_KINDS)  # from strong to weak
OF_FILES = frozenset({*FILE_KINDS, *ALONE})
SHARED = frozenset({"accession", "patient"})  # one row may belong to several images
EXAMPLES = 5


@dataclass(frozen=True)
class Attempt:
    """One way of joining and what came of it.

    Attributes:
        kind: Kind of key, one of `ORDER` (see `join_keys.find_rows`).
        column: Column of the label file.
        rows: Row index for each image, None where there is none.
        ambiguous: Images whose key value names several images or several meanings.
        examples: Up to five such values, for messages; empty for values that identify a patient.
    """

    kind: str
    column: str
    rows: tuple[int | None, ...]
    ambiguous: int
    examples: tuple[str, ...] = ()

    @property
    def images(self) -> int:
        """How many images found their row."""
        return sum(row is not None for row in self.rows)

    @property
    def used_rows(self) -> int:
        """How many rows found an image."""
        return len({row for row in self.rows if row is not None})

    @property
    def rank(self) -> int:
        """Rank of the kind of key, 0 for the strongest."""
        return ORDER.index(self.kind)


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
    return any(_find_usual_columns(table, kind) for kind in ID_KINDS)


def join_labels(
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
            f"{table.csv.path}: no image to label, expected at least one",
            fix="check data.images",
        )
    least = max(1.0, labels.min_match * len(images) - 1e-9)
    attempts: list[Attempt] = []
    for pairs in _list_pairs(table, labels):
        tried = [_try_column(images, table, kind, column, roots) for kind, column in pairs]
        found = [attempt for attempt in tried if attempt is not None]
        attempts += found
        good = [a for a in found if not a.ambiguous and a.images >= least]
        if good:
            best = max(good, key=lambda a: (a.images, -a.rank))
            _refuse_contradiction(best, good, table, images, attempts)
            return Join(best, tuple(attempts), format_match_table(attempts, images, table))
    raise build_refusal(attempts, images, table, labels, roots)


def _list_pairs(table: LabelTable, labels: Labels) -> Iterator[list[tuple[str, str]]]:
    """(kind, column) pairs to try together; a later list only when an earlier one fails."""
    if labels.key.startswith("column:"):
        name = labels.key[len("column:") :]
        column = require_column(table.csv, name, "data.labels.key: column:")
        yield [(kind, column) for kind in SETTINGS["auto"]]
        return
    if labels.key not in SETTINGS:
        raise IsnetError(
            "config",
            f"data.labels.key: '{labels.key}', expected {', '.join(SETTINGS)} or column:NAME",
            fix="data.labels.key: auto",
        )
    kinds = SETTINGS[labels.key]
    usual = [(kind, column) for kind in kinds for column in _find_usual_columns(table, kind)]
    yield usual
    guess = labels.key == "auto"  # then no stems and no columns of numbers
    yield [
        (kind, column)
        for kind in kinds
        for column in _find_free_columns(table)
        if not guess or (kind in {"path", "name"} and _is_text(table.csv.column(column)))
        if (kind, column) not in usual
    ]


def _find_usual_columns(table: LabelTable, kind: str) -> list[str]:
    """Columns whose names say that they hold this kind of key."""
    if kind == "patient":
        return [table.roles.patient] if table.roles.patient else []
    taken = table.roles.used()
    return [name for name in table.csv.columns if plain(name) in USUAL[kind] and name not in taken]


def _find_free_columns(table: LabelTable) -> list[str]:
    """Columns without a meaning of their own, but for numbers of rows."""
    taken = table.roles.used()
    return [
        name
        for name in table.csv.columns
        if name not in taken and not INDEX_NAMES.fullmatch(plain(name))
    ]


def _is_text(cells: Sequence[str]) -> bool:
    """Whether most cells contain a letter, as file names do and measurements do not."""
    filled = [cell for cell in cells if cell]
    return sum(any(c.isalpha() for c in cell) for cell in filled) * 2 > len(filled)


def _try_column(
    images: Sequence[ImageName],
    table: LabelTable,
    kind: str,
    column: str,
    roots: Sequence[Path],
) -> Attempt | None:
    """Tries the join by one column; None when no image has this kind of key."""
    found = find_rows(images, table.csv, column, kind, roots)
    if found is None:
        return None
    claimed = found
    if kind in FILE_KINDS and any(found):
        # a name in the table may mean an image in a subfolder that has no row of its own
        by_end = find_rows_by_end(images, table.csv, column, kind, roots)
        claimed = [rows or others for rows, others in zip(found, by_end, strict=True)]
    claims = _count_claims(claimed)
    judged: dict[int, str] = {}  # by identity: images that fit the same rows share one list
    chosen: list[int | None] = []
    examples: list[str] = []
    ambiguous = 0
    for image, rows in zip(images, found, strict=True):
        if id(rows) not in judged:
            judged[id(rows)] = _explain_ambiguity(table, rows, column, kind, claims) if rows else ""
        why = judged[id(rows)]
        chosen.append(rows[0] if rows and not why else None)
        if why:
            ambiguous += 1
            name = image.shown if kind in OF_FILES else f"one {kind}"
            examples += [f"{name}: {why}"] if len(examples) < EXAMPLES else []
    return Attempt(kind, column, tuple(chosen), ambiguous, tuple(examples))


def _count_claims(found: Matches) -> dict[int, int]:
    """How many images each row fits."""
    images = Counter(map(id, found))
    claims: dict[int, int] = defaultdict(int)
    for rows in {id(rows): rows for rows in found}.values():
        for row in rows:
            claims[row] += images[id(rows)]
    return claims


def _explain_ambiguity(
    table: LabelTable, rows: Sequence[int], column: str, kind: str, claims: Mapping[int, int]
) -> str:
    """Why the rows that fit an image do not settle what it is; empty when they do."""
    lines = ", ".join(str(table.rows[row].line) for row in rows[:EXAMPLES])
    if kind not in SHARED and any(claims[row] > 1 for row in rows):
        return f"line {lines} fits other images too"
    if len({table.rows[row].meaning for row in rows}) > 1:
        return f"lines {lines} differ"
    place = table.csv.columns.index(column)
    if kind in OF_FILES and len({table.csv.rows[row][place] for row in rows}) > 1:
        return f"lines {lines} name different files"
    return ""


def _refuse_contradiction(
    best: Attempt,
    good: Sequence[Attempt],
    table: LabelTable,
    images: Sequence[ImageName],
    attempts: Sequence[Attempt],
) -> None:
    """Raises when another good attempt gives an image another meaning; weaker file names do not."""
    for other in good:
        weaker = {best.kind, other.kind} <= OF_FILES and other.rank > best.rank
        if other is best or weaker:
            continue
        differ = [
            image
            for image, a, b in zip(images, best.rows, other.rows, strict=True)
            if a is not None and b is not None and table.rows[a].meaning != table.rows[b].meaning
        ]
        if differ:
            raise IsnetError(
                "data",
                f"{table.csv.path}: joining by {best.kind} ('{best.column}') and by {other.kind}"
                f" ('{other.column}') gives {len(differ)} images different rows",
                details=(
                    f"first: {differ[0].shown}",
                    *format_match_table(attempts, images, table),
                ),
                fix=f"data.labels.key: column:{best.column}   or mend the label file",
            )


def format_match_table(
    attempts: Sequence[Attempt], images: Sequence[ImageName], table: LabelTable
) -> tuple[str, ...]:
    """The attempts as an aligned text table: key, column, images, rows, ambiguous images."""
    head = ("key", "column", "images matched", "rows matched", "ambiguous")
    rows = [
        (
            attempt.kind,
            attempt.column,
            f"{attempt.images} of {len(images)}",
            f"{attempt.used_rows} of {len(table.rows)}",
            str(attempt.ambiguous),
        )
        for attempt in attempts
    ]
    return tuple(format_table(head, rows, left=len(head)).splitlines())


def build_refusal(
    attempts: Sequence[Attempt],
    images: Sequence[ImageName],
    table: LabelTable,
    labels: Labels,
    roots: Sequence[Path],
) -> IsnetError:
    """The error that says why none of the attempts is good enough, with the match table."""
    best = max(attempts, key=lambda a: (a.images + a.ambiguous, -a.rank), default=None)
    details = format_match_table(attempts, images, table) if attempts else ()
    if best is not None and best.ambiguous:
        return IsnetError(
            "data",
            f"{table.csv.path}: joining labels by {best.kind} ('{best.column}') is ambiguous for"
            f" {best.ambiguous} of {len(images)} images, expected one image per key",
            details=(*(f"e.g. {text}" for text in best.examples), *details),
            fix="write each image's path relative to the label file into a column 'file'"
            "   or name another column: data.labels.key: column:NAME",
        )
    matched = best.images if best is not None else 0
    missing = images[0] if best is None else images[best.rows.index(None)]
    hint = _suggest_remedy(images, table, attempts, roots)
    fewer = f";   data.labels.min_match: {matched / len(images):.2g}   accepts fewer"
    return IsnetError(
        "data",
        f"{table.csv.path}: {matched} of {len(images)} images found a row, expected at least"
        f" {labels.min_match:.0%} (data.labels.min_match)",
        details=(
            f"first image without a row: {missing.shown}",
            *([hint] if hint else []),
            *details,
        ),
        fix="data.labels.key: column:NAME   names the column that holds file names or ids"
        + (fewer if matched else ""),
    )


def _suggest_remedy(
    images: Sequence[ImageName],
    table: LabelTable,
    attempts: Sequence[Attempt],
    roots: Sequence[Path],
) -> str:
    """What would make images and rows meet: names without folders, or zeros that were lost."""
    if not attempts:
        columns = list_names(table.csv.columns)
        return f"none of the columns {columns} is named like one of file names or identifiers"
    fruitless = [attempt for attempt in attempts if not attempt.images]
    for attempt in fruitless:
        if attempt.kind == "name":
            alone = find_rows(images, table.csv, attempt.column, "name alone", roots)
            if alone is not None and any(alone):
                return (
                    f"column '{attempt.column}' has the names in other folders;"
                    " data.labels.key: file   joins by name alone"
                )
    for attempt in fruitless:
        if attempt.kind in {"stem", *SHARED} and _match_without_zeros(images, table, attempt):
            return (
                f"column '{attempt.column}' matches without leading zeros:"
                " a spreadsheet may have dropped them"
            )
    return ""


def _match_without_zeros(images: Sequence[ImageName], table: LabelTable, attempt: Attempt) -> bool:
    """Whether an image's key is in the attempt's column when leading zeros do not count."""
    names = [
        strip_suffix(image.path.name)
        if attempt.kind == "stem"
        else getattr(image.identity, attempt.kind)
        for image in images
    ]
    cells = {cell.lstrip("0") for cell in table.csv.column(attempt.column)}
    return bool(({name.lstrip("0") for name in names} - {""}) & cells)
