"""All names in the input of a configuration, for messages that may not show them.

With ``data.privacy.rename`` nothing may show an input's name. What is collected here depends on no
reader's success: a table that cannot be understood still has cells.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from isnet_cli.config.load import plain
from isnet_cli.config.schema import Config
from isnet_cli.errors import IsnetError
from isnet_cli.guard.opening import read_bytes
from isnet_cli.images.find import collect_images, make_printable, strip_suffix
from isnet_cli.ingest.catalogue import LISTS, Catalogue
from isnet_cli.ingest.label_sources import Collection
from isnet_cli.labels.tables import read_folder_labels, read_labels
from isnet_cli.text.hidden_names import HiddenNames

_CELLS = re.compile(r'[,;\t|"\r\n]+')
_MOST_BYTES = 500_000_000  # of a table


def find_input_names(configs: Sequence[Config], more: Iterable[Path] = ()) -> HiddenNames:
    """Names of files and folders below the input folders, and cells of lists and label files.

    Shown all the same: what the configuration says, the classes, the sets.

    Args:
        configs: The configurations.
        more: Further folders of input files.
    """
    names: set[str] = set()
    shown: set[str] = set()
    for folder in more:
        names.update(_walk(folder))
    for config in configs:
        shown.update(_list_settings(plain(config)))
        if config.masks.files is not None:
            names.update(_walk(Path(config.masks.files)))
        drawn = config.evaluate.annotations
        for place in drawn.values() if isinstance(drawn, dict) else [drawn] if drawn else []:
            names.update(_walk(Path(place)) if Path(place).is_dir() else _list_cells(Path(place)))
        with contextlib.suppress(IsnetError):  # then nothing of the input was read
            for collection in Catalogue(config).collections:
                _add_images(collection, names, shown)
                if collection.labels.file is not None:
                    _add_labels(collection, names, shown)
    return HiddenNames(names, shown)


def _add_images(collection: Collection, names: set[str], shown: set[str]) -> None:
    images = collection.images
    for entry in [images] if isinstance(images, str) else images:
        place = Path(entry)
        if place.is_dir():
            names.update(_walk(place))
        elif place.suffix.lower() in LISTS:
            names.update(_list_cells(place))
        else:
            for match in glob.iglob(entry, recursive=True):
                names.update(_list_forms(os.path.basename(match)))
    with contextlib.suppress(IsnetError, OSError, ValueError):
        found = collect_images(images)
        root = os.path.abspath(found.root)
        for key, _ in found.images:
            names.update(_list_forms(key))
        if collection.labels.file is None:
            inner = [os.path.relpath(os.path.abspath(path), root) for _, path in found.images]
            paths = [PurePosixPath(Path(path).as_posix()) for path in inner]
            rows = read_folder_labels(paths, collection.labels.classes or None)
            shown.update(row.label for row in rows or ())


def _add_labels(collection: Collection, names: set[str], shown: set[str]) -> None:
    names.update(_list_cells(Path(collection.labels.file or "")))
    with contextlib.suppress(IsnetError, OSError, ValueError):
        table = read_labels(collection.labels, collection.columns, outside=True)
        shown.update(table.classes)
        shown.update(table.csv.columns)
        shown.update(row.set for row in table.rows)


def _walk(folder: Path) -> Iterator[str]:
    for top, below, files in os.walk(folder, followlinks=False):
        inner = os.path.relpath(top, folder)
        for name in (*below, *files):
            yield from _list_forms(name if inner == "." else os.path.join(inner, name))


def _list_forms(path: str) -> Iterator[str]:
    """A path in the forms that a message may have: whole, its parts, with and without ending."""
    for text in {path, make_printable(path)}:
        parts = [part for part in re.split(r"[/\\]+", text) if part not in {"", ".", ".."}]
        yield from (text, strip_suffix(text))
        for part in parts:
            yield from (part, strip_suffix(part), os.path.splitext(part)[0])


def _list_cells(table: Path) -> Iterator[str]:
    """All cells of a table, in whatever form it is."""
    try:
        if table.stat().st_size > _MOST_BYTES or not table.is_file():
            return
        content = read_bytes(table)
    except OSError:
        return
    encodings = (
        ("utf-16",) if content[:2] in {b"\xff\xfe", b"\xfe\xff"} else ("utf-8-sig", "latin-1")
    )
    for encoding in encodings:
        text = content.decode(encoding, "replace")
        for cell in set(_CELLS.split(text)) | set(re.split(r"[,;\t\r\n]+", text)):
            if cell.strip():
                yield from _list_forms(cell.strip())


def _list_settings(value: Any) -> Iterator[str]:
    """Every text of a configuration, its keys included."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from _list_settings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _list_settings(item)
    elif isinstance(value, str):
        yield from (value, os.path.basename(value), os.path.dirname(value))
