"""What came of trying to join labels: attempts, the match table, and words for a refusal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from isnet_cli.config.schema import Labels
from isnet_cli.errors import IsnetError
from isnet_cli.images.find import stem
from isnet_cli.labels.columns import listed
from isnet_cli.labels.join_keys import ALONE, FILE_KINDS, ID_KINDS, ImageName, fitting_rows
from isnet_cli.labels.tables import LabelTable

ORDER = ("path", "name", "name alone", "stem", "stem alone", *ID_KINDS)  # from strong to weak
OF_FILES = frozenset({*FILE_KINDS, *ALONE})
EXAMPLES = 5


@dataclass(frozen=True)
class Attempt:
    """One way of joining and what came of it.

    Attributes:
        kind: Kind of key, one of `ORDER` (see `joinkeys.fitting_rows`).
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


def match_table(
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
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return tuple(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    )


def strength(attempt: Attempt) -> int:
    """Rank of the kind of key, 0 for the strongest."""
    return ORDER.index(attempt.kind)


def refusal(
    attempts: list[Attempt],
    images: Sequence[ImageName],
    table: LabelTable,
    labels: Labels,
    roots: Sequence[Path],
) -> IsnetError:
    """The error that says why none of the attempts is good enough, with the match table."""
    best = max(attempts, key=lambda a: (a.images + a.ambiguous, -strength(a)), default=None)
    details = match_table(attempts, images, table) if attempts else ()
    if best is not None and best.ambiguous:
        return IsnetError(
            "data",
            f"{table.table.path}: joining labels by {best.kind} ('{best.column}') is ambiguous for"
            f" {best.ambiguous} of {len(images)} images, expected one image per key",
            details=(*(f"e.g. {text}" for text in best.examples), *details),
            fix="write each image's path relative to the label file into a column 'file'"
            "   or name another column: data.labels.key: column:NAME",
        )
    matched = best.images if best is not None else 0
    missing = images[0] if best is None else images[best.rows.index(None)]
    head = [f"first image without a row: {missing.shown}", _hint(images, table, attempts, roots)]
    fewer = f";   data.labels.min_match: {matched / len(images):.2g}   accepts fewer"
    return IsnetError(
        "data",
        f"{table.table.path}: {matched} of {len(images)} images found a row, expected at least"
        f" {labels.min_match:.0%} (data.labels.min_match)",
        details=tuple(line for line in (*head, *details) if line),
        fix="data.labels.key: column:NAME   names the column that holds file names or ids"
        + (fewer if matched else ""),
    )


def _hint(
    images: Sequence[ImageName],
    table: LabelTable,
    attempts: Sequence[Attempt],
    roots: Sequence[Path],
) -> str:
    """What would make images and rows meet: names without folders, or zeros that were lost."""
    if not attempts:
        columns = listed(table.table.columns)
        return f"none of the columns {columns} is named like one of file names or identifiers"
    for attempt in attempts:
        if attempt.kind == "name" and not attempt.images:
            alone = fitting_rows(images, table.table, attempt.column, "name alone", roots)
            if alone is not None and any(alone):
                return (
                    f"column '{attempt.column}' has the names in other folders;"
                    " data.labels.key: file   joins by name alone"
                )
    for attempt in attempts:
        if attempt.kind in {"stem", "accession", "patient"} and not attempt.images:
            names = [
                stem(image.path.name)
                if attempt.kind == "stem"
                else getattr(image.identity, attempt.kind)
                for image in images
            ]
            cells = {cell.lstrip("0") for cell in table.table.column(attempt.column)}
            if ({name.lstrip("0") for name in names} - {""}) & cells:
                return (
                    f"column '{attempt.column}' matches without leading zeros:"
                    " a spreadsheet may have dropped them"
                )
    return ""
