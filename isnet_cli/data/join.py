"""Which row of a label file belongs to which film: every usual key is tried, doubt is refused.

A join is accepted only when each matched key value names one film (or one examination, one
patient) and one meaning; otherwise the attempt counts as ambiguous and is not used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from isnet_cli.config.schema import Labels
from isnet_cli.data.columns import (
    ACCESSION_NAMES,
    FILE_NAMES,
    INDEX_NAMES,
    ROLE_NAMES,
    UID_NAMES,
    plain,
    require_column,
)
from isnet_cli.data.joinkeys import ALONE, FILE_KINDS, ID_KINDS, FilmName, fitting_rows, stem
from isnet_cli.data.labels import LabelTable
from isnet_cli.errors import IsnetError

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
EXAMPLES = 5


@dataclass(frozen=True)
class Attempt:
    """One way of joining and what came of it.

    Attributes:
        kind: Kind of key, one of `ORDER` (see `joinkeys.fitting_rows`).
        column: Column of the label file.
        rows: Row index for each film, None where there is none.
        ambiguous: Films whose key value names several films or several meanings.
        examples: Up to five such values, for messages; empty for values that identify a patient.
    """

    kind: str
    column: str
    rows: tuple[int | None, ...]
    ambiguous: int
    examples: tuple[str, ...] = ()

    @property
    def films(self) -> int:
        """How many films found their row."""
        return sum(row is not None for row in self.rows)

    @property
    def used_rows(self) -> int:
        """How many rows found a film."""
        return len({row for row in self.rows if row is not None})


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
    """Whether identifiers inside the films' headers may be needed to join `table`."""
    if labels.key in {"file", "stem"}:
        return False
    if labels.key != "auto":
        return True
    return any(_columns(table, labels, kind) for kind in ("uid", "accession", "patient"))


def join(
    films: Sequence[FilmName], table: LabelTable, labels: Labels, roots: Sequence[Path]
) -> Join:
    """Finds the row of each film.

    Args:
        films: What can be known of each film, in the order of the result.
        table: The label file.
        labels: The way to join (`Labels.key`) and the least share of films that must match.
        roots: Folders, besides the label file's own, that relative paths may start from.

    Returns:
        The join with most matched films among those without any ambiguity.

    Raises:
        IsnetError: Kind "data", with the match table: nothing matches, fewer films than
            `Labels.min_match`, ambiguous keys, or two ways of joining that contradict each other.
    """
    attempts: list[Attempt] = []
    for group in _groups(table, labels):
        tried = [
            attempt
            for kind, column in group
            if (attempt := _attempt(films, table, kind, column, roots)) is not None
        ]
        attempts += tried
        good = [a for a in tried if not a.ambiguous and a.films >= _least(films, labels)]
        if good:
            best = max(good, key=lambda a: (a.films, -_strength(a)))
            _refuse_contradiction(best, good, table, films, attempts)
            return Join(best, tuple(attempts), match_table(attempts, films, table))
    raise _refusal(attempts, films, table, labels, roots)


def match_table(
    attempts: Sequence[Attempt], films: Sequence[FilmName], table: LabelTable
) -> tuple[str, ...]:
    """The attempts as an aligned text table: key, column, films, rows, ambiguous films."""
    head = ("key", "column", "films matched", "rows matched", "ambiguous")
    rows = [
        (
            attempt.kind,
            attempt.column,
            f"{attempt.films} of {len(films)}",
            f"{attempt.used_rows} of {len(table.rows)}",
            str(attempt.ambiguous),
        )
        for attempt in attempts
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return tuple(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    )


def _least(films: Sequence[FilmName], labels: Labels) -> float:
    return max(1.0, labels.min_match * len(films) - 1e-9)


def _strength(attempt: Attempt) -> int:
    return ORDER.index(attempt.kind)


def _groups(table: LabelTable, labels: Labels) -> Iterator[list[tuple[str, str]]]:
    """(kind, column) pairs to try together; a later group only when an earlier one fails."""
    if labels.key.startswith("column:"):
        column = require_column(
            table.table, labels.key[len("column:") :], "data.labels.key: column"
        )
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
    exact = labels.key != "auto"  # a guess in any other column must be a whole file name
    yield [
        (kind, column)
        for kind in kinds
        for column in free
        if (exact or kind in {"path", "name"}) and column not in _columns(table, labels, kind)
    ]


def _columns(table: LabelTable, labels: Labels, kind: str) -> list[str]:
    """Columns whose names say that they hold this kind of key."""
    if kind == "patient":
        return [table.roles.patient] if table.roles.patient else []
    taken = table.roles.used()
    return [
        name for name in table.table.columns if plain(name) in USUAL[kind] and name not in taken
    ]


def _attempt(
    films: Sequence[FilmName], table: LabelTable, kind: str, column: str, roots: Sequence[Path]
) -> Attempt | None:
    """The join by one column; None when no film has this kind of key."""
    found = fitting_rows(films, table.table, column, kind, roots)
    if found is None:
        return None
    claims: dict[int, int] = defaultdict(int)  # how many films a row fits
    for rows in found:
        for row in rows:
            claims[row] += 1
    shared = kind in {"accession", "patient"}  # one row may stand for several films
    chosen: list[int | None] = []
    examples: list[str] = []
    ambiguous = 0
    for film, rows in zip(films, found, strict=True):
        doubt = _doubt(table, rows, column, kind, claims, shared) if rows else ""
        chosen.append(rows[0] if rows and not doubt else None)
        if doubt:
            ambiguous += 1
            name = film.shown if kind in OF_FILES else f"one {kind}"
            examples.append(f"{name}: {doubt}")
    return Attempt(kind, column, tuple(chosen), ambiguous, tuple(examples[:EXAMPLES]))


def _doubt(
    table: LabelTable,
    rows: Sequence[int],
    column: str,
    kind: str,
    claims: dict[int, int],
    shared: bool,
) -> str:
    """Why the rows that fit a film do not settle what it is; empty when they do."""
    lines = ", ".join(str(table.rows[row].line) for row in rows[:EXAMPLES])
    if not shared and any(claims[row] > 1 for row in rows):
        return f"line {lines} fits other films too"
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
    films: Sequence[FilmName],
    attempts: list[Attempt],
) -> None:
    for other in good:
        weaker = {best.kind, other.kind} <= OF_FILES and _strength(other) > _strength(best)
        if other is best or weaker:
            continue
        differ = [
            film
            for film, a, b in zip(films, best.rows, other.rows, strict=True)
            if a is not None and b is not None and table.rows[a].says() != table.rows[b].says()
        ]
        if differ:
            raise IsnetError(
                "data",
                f"{table.table.path}: joining by {best.kind} ('{best.column}') and by {other.kind}"
                f" ('{other.column}') gives {len(differ)} films different rows",
                details=(
                    f"first: {differ[0].shown}",
                    *match_table(attempts, films, table),
                ),
                fix=f"data.labels.key: column:{best.column}   or mend the label file",
            )


def _refusal(
    attempts: list[Attempt],
    films: Sequence[FilmName],
    table: LabelTable,
    labels: Labels,
    roots: Sequence[Path],
) -> IsnetError:
    best = max(attempts, key=lambda a: (a.films + a.ambiguous, -_strength(a)), default=None)
    details = [*match_table(attempts, films, table)]
    if best is not None and best.ambiguous:
        return IsnetError(
            "data",
            f"{table.table.path}: joining labels by {best.kind} ('{best.column}') is ambiguous for"
            f" {best.ambiguous} of {len(films)} films, expected one film and one meaning per key",
            details=(*(f"e.g. {text}" for text in best.examples), *details),
            fix="write each film's path relative to the label file into a column 'file'"
            "   or name another column: data.labels.key: column:NAME",
        )
    matched = best.films if best is not None else 0
    missing = films[0] if best is None else films[best.rows.index(None)]
    details.insert(0, f"first film without a row: {missing.shown}")
    hint = _hint(films, table, attempts, roots)
    if hint:
        details.insert(1, hint)
    return IsnetError(
        "data",
        f"{table.table.path}: {matched} of {len(films)} films found a row, expected at least"
        f" {labels.min_match:.0%} (data.labels.min_match)",
        details=tuple(details),
        fix="data.labels.key: column:NAME   names the column that holds file names or ids;"
        f"   data.labels.min_match: {matched / max(1, len(films)):.2g}   accepts fewer",
    )


def _hint(
    films: Sequence[FilmName],
    table: LabelTable,
    attempts: Sequence[Attempt],
    roots: Sequence[Path],
) -> str:
    """What would make films and rows meet: names without folders, or zeros that were lost."""
    for attempt in attempts:
        if attempt.kind == "name" and not attempt.films:
            alone = fitting_rows(films, table.table, attempt.column, "name alone", roots)
            if alone is not None and any(alone):
                return (
                    f"column '{attempt.column}' has the names in other folders;"
                    " data.labels.key: file   joins by name alone"
                )
    for attempt in attempts:
        if attempt.kind in {"stem", "accession", "patient"} and not attempt.films:
            names = [
                stem(film.path.name)
                if attempt.kind == "stem"
                else getattr(film.identity, attempt.kind)
                for film in films
            ]
            cells = {cell.lstrip("0") for cell in table.table.column(attempt.column)}
            if ({name.lstrip("0") for name in names} - {""}) & cells:
                return (
                    f"column '{attempt.column}' matches without leading zeros:"
                    " a spreadsheet may have dropped them"
                )
    return ""
