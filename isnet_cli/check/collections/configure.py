"""A public collection as a table of labels and a configuration."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from isnet_cli.check.collections.films import Collection, write_table
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
    notes: list[str]

    def describe(self) -> dict[str, object]:
        """All of it, JSON-able."""
        return {k: str(v) if isinstance(v, Path) else v for k, v in vars(self).items()}


def configure_collection(
    collection: Collection, folder: Path, output: Path, name: str
) -> Configured:
    """Writes ``labels-NAME.csv`` and the YAML file beside each other.

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
    if table.exists():
        raise IsnetError("usage", f"{table}: exists and is kept", fix="remove it, or -o elsewhere")
    reading = collection.read(folder)
    if not reading.films:
        raise IsnetError(
            "data",
            f"{folder}: {collection.title}, but none of the films that its tables name",
            fix="unpack the images below this folder",
        )
    clear_leftovers(output.parent, deep=False)
    columns, count = write_table(table, reading)
    official = Counter(film.set for film in reading.films if film.set)
    sets = {n: share for n, share in reading.sets.items() if share is not None or official[n]}
    near = os.path.relpath(folder, os.path.abspath(output.parent))
    text = template(
        name=name,
        images=os.path.abspath(folder) if near.startswith("..") else f"./{near}",
        file=output.name,
        count=count,
        labels=f"./{table.name}",
        matched=count,
        task=reading.task,
        columns=columns,
        why=f"{collection.title}, as its own tables say",
        repeated=reading.repeated,
        sets=sets,
        sources=sorted({film.source for film in reading.films} - {""}),
    )
    write_text(output, text)
    return Configured(
        collection.title, output, table, count, columns, reading.task,
        dict(sorted(official.items())), len({film.patient for film in reading.films} - {""}),
        list(reading.notes),
    )  # fmt: skip
