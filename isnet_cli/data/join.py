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
from isnet_cli.data.joinkeys import FILE_KINDS, FilmName, film_values, row_values
from isnet_cli.data.labels import LabelTable
from isnet_cli.errors import IsnetError

SETTINGS: dict[str, tuple[str, ...]] = {  # data.labels.key -> kinds of key to try
    "auto": (*FILE_KINDS, "uid", "accession", "patient"),
    "file": ("path", "folders and name", "name"),
    "stem": ("stem",),
    "uid": ("uid",),
    "accession": ("accession",),
    "patient": ("patient",),
}
USUAL = {
    **dict.fromkeys(FILE_KINDS, FILE_NAMES),
    "uid": UID_NAMES,
    "accession": ACCESSION_NAMES,
    "patient": ROLE_NAMES["patient"],
}
EXAMPLES = 5


@dataclass(frozen=True)
class Attempt:
    """One way of joining and what came of it.

    Attributes:
        kind: Kind of key: ``path``, ``folders and name``, ``name``, ``stem``, ``uid``,
            ``accession`` or ``patient``.
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
    raise _refusal(attempts, films, table, labels)


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
    return SETTINGS["auto"].index(attempt.kind)


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
    exact = labels.key != "auto"  # a guess in an unnamed column must be a whole file name
    yield [
        (kind, column)
        for kind in kinds
        for column in free
        if (exact or kind in {"path", "folders and name", "name"})
        and column not in _columns(table, labels, kind)
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
    """The join by one column; for trailing folders, by as few of them as make it unambiguous."""
    if kind != "folders and name":
        return _match(films, table, kind, column, roots, 0)
    attempt = None
    for depth in (2, 3, 4, 5):
        attempt = _match(films, table, kind, column, roots, depth)
        if attempt is None or not attempt.ambiguous:
            break
    return attempt


def _match(
    films: Sequence[FilmName],
    table: LabelTable,
    kind: str,
    column: str,
    roots: Sequence[Path],
    depth: int,
) -> Attempt | None:
    by_film = film_values(films, kind, depth)
    if not any(by_film):
        return None
    by_row = row_values(table.table, column, kind, depth, roots)
    if depth > 2 and not any(by_row):
        return None
    wanted = set(by_film)
    rows_of: dict[str, list[int]] = defaultdict(list)
    for index, values in enumerate(by_row):
        for value in values:
            if value in wanted:
                rows_of[value].append(index)
    films_of: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(by_film):
        if name in rows_of:
            films_of[name].append(index)
    return _resolve(films, table, kind, column, rows_of, films_of)


def _resolve(
    films: Sequence[FilmName],
    table: LabelTable,
    kind: str,
    column: str,
    rows_of: dict[str, list[int]],
    films_of: dict[str, list[int]],
) -> Attempt:
    cells = table.table.column(column)
    shared = kind in {"accession", "patient"}  # one row may stand for several films
    claims: dict[int, set[int]] = defaultdict(set)  # row -> films; a row may reach two by path
    for value, indices in films_of.items():
        for row in rows_of[value]:
            claims[row].update(indices)
    chosen: list[int | None] = [None] * len(films)
    ambiguous, examples = 0, []
    for value, indices in films_of.items():
        rows = rows_of[value]
        meanings = {table.rows[row].says() for row in rows}
        spellings = {cells[row] for row in rows} if kind in FILE_KINDS else {value}
        several_films = not shared and any(len(claims[row]) > 1 for row in rows)
        if len(meanings) > 1 or len(spellings) > 1 or several_films:
            ambiguous += len(indices)
            examples.append(_example(table, rows, value, kind, several_films))
            continue
        for index in indices:
            chosen[index] = rows[0]
    return Attempt(kind, column, tuple(chosen), ambiguous, tuple(examples[:EXAMPLES]))


def _example(table: LabelTable, rows: list[int], value: str, kind: str, several_films: bool) -> str:
    lines = ", ".join(str(table.rows[row].line) for row in rows[:EXAMPLES])
    name = value if kind in FILE_KINDS else f"one {kind}"
    if several_films:
        return f"{name}: several films for line {lines}"
    return f"{name}: lines {lines} differ"


def _refuse_contradiction(
    best: Attempt,
    good: list[Attempt],
    table: LabelTable,
    films: Sequence[FilmName],
    attempts: list[Attempt],
) -> None:
    for other in good:
        weaker = {best.kind, other.kind} <= set(FILE_KINDS) and _strength(other) > _strength(best)
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
    attempts: list[Attempt], films: Sequence[FilmName], table: LabelTable, labels: Labels
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
    if _zeros_lost(films, table, attempts):
        details.insert(1, "they match without leading zeros: a spreadsheet may have dropped these")
    return IsnetError(
        "data",
        f"{table.table.path}: {matched} of {len(films)} films found a row, expected at least"
        f" {labels.min_match:.0%} (data.labels.min_match)",
        details=tuple(details),
        fix="data.labels.key: column:NAME   names the column that holds file names or ids;"
        f"   data.labels.min_match: {matched / len(films):.2g}   accepts fewer",
    )


def _zeros_lost(films: Sequence[FilmName], table: LabelTable, attempts: list[Attempt]) -> bool:
    for attempt in attempts:
        if attempt.kind in {"stem", "accession", "patient"} and not attempt.films:
            values = {value.lstrip("0") for value in film_values(films, attempt.kind, 0)} - {""}
            cells = {cell.lstrip("0") for cell in table.table.column(attempt.column)}
            if values & cells:
                return True
    return False
