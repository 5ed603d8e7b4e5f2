"""A public collection as a table of labels and a configuration."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from isnet_cli.check.collections.drawn import Drawn, write_drawn
from isnet_cli.check.collections.films import Collection, Film, write_table
from isnet_cli.config.template import template
from isnet_cli.core.files import write_text
from isnet_cli.errors import IsnetError
from isnet_cli.guard.leftovers import clear_leftovers


@dataclass(frozen=True)
class Configured:
    """What was written for a collection.

    Attributes:
        title: Of the collection.
        config: The YAML file.
        table: The table of labels.
        films: Rows of the table.
        labels: Its label columns.
        task: ``multiclass`` or ``multilabel``.
        sets: Films of each official set.
        patients: Number of patients; 0: unknown.
        annotations: The file of boxes or masks, or None.
        drawn: Findings in it.
        notes: What was decided.
    """

    title: str
    config: Path
    table: Path
    films: int
    labels: list[str]
    task: str
    sets: dict[str, int]
    patients: int
    annotations: Path | None
    drawn: int
    notes: list[str]

    def describe(self) -> dict[str, object]:
        """All of it, JSON-able."""
        return {k: str(v) if isinstance(v, Path) else v for k, v in vars(self).items()}


def configure_collection(
    collection: Collection, folder: Path, output: Path, name: str
) -> Configured:
    """Writes ``labels-NAME.csv``, the YAML file, and ``annotations-NAME`` where there are any.

    The images of the run are those of the table: what else lies in the folder is left alone.

    Args:
        collection: What the folder holds.
        folder: The collection as downloaded.
        output: The YAML file.
        name: Of the run.

    Raises:
        IsnetError: Kind "usage": the table is there already; "data": a part of the collection is
            missing, or its tables name none of the films.
    """
    table = output.with_name(f"labels-{collection.name}.csv")
    stem = output.with_name(f"annotations-{collection.name}")
    for path in (table, *(Path(f"{stem}{ending}") for ending in (".csv", ".json"))):
        if path.exists():
            raise IsnetError(
                "usage", f"{path}: exists and is kept", fix="remove it, or -o elsewhere"
            )
    try:
        reading = collection.read(folder)
    except KeyError as error:
        raise IsnetError(
            "data",
            f"{folder}: no column '{error.args[0]}' in a table, expected those of"
            f" {collection.title}",
            fix="--dataset none looks at the files alone",
        ) from error
    if not reading.films:
        raise IsnetError(
            "data",
            f"{folder}: {collection.title}, but none of the films that its tables name",
            fix="unpack the images below this folder",
        )
    clear_leftovers(output.parent, deep=False)
    near = os.path.relpath(folder, os.path.abspath(output.parent))
    place = os.path.abspath(folder) if near.startswith("..") else near
    columns, count = write_table(table, reading, place)
    drawn = _choose_drawn(reading.drawn, reading.films)
    annotations = write_drawn(stem, drawn) if drawn else None
    official = Counter(film.set for film in reading.films if film.set)
    sets = {n: share for n, share in reading.sets.items() if share is not None or official[n]}
    films = len({film.file for film in reading.films})
    text = template(
        name=name,
        images=f"./{table.name}",
        file=output.name,
        count=films,
        of=f"films of {place}, by column file",
        labels=f"./{table.name}",
        matched=films,
        task=reading.task,
        columns=columns,
        why=f"{collection.title}, as its own tables say",
        repeated=reading.repeated,
        sets=sets,
        sources=sorted({film.source for film in reading.films} - {""}),
        annotations=f"./{annotations.name}" if annotations else None,
        drawn=len(drawn),
    )
    write_text(output, text)
    return Configured(
        collection.title, output, table, count, columns, reading.task,
        dict(sorted(official.items())), len({film.patient for film in reading.films} - {""}),
        annotations, len(drawn), list(reading.notes),
    )  # fmt: skip


def _choose_drawn(drawn: Sequence[Drawn], films: Sequence[Film]) -> list[Drawn]:
    """Findings in films that are there, named as the run names them: below their common folder.

    None at all where the official test films have none: nothing could be measured against them.
    """
    own = {film.file: film.set for film in films}
    found = [one for one in drawn if one.file in own]
    if "test" in own.values() and not any(own[one.file] == "test" for one in found):
        return []
    top = os.path.commonpath([os.path.dirname(file) for file in own])
    return [replace(one, file=os.path.relpath(one.file, top or ".")) for one in found]
