"""Files that appear whole or not at all: written beside, flushed, then renamed."""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

from isnet_cli.errors import IsnetError
from isnet_cli.guard.leftovers import is_temporary, name_temporary
from isnet_cli.guard.opening import open_regular, open_text
from isnet_cli.text.forms import for_csv, format_json, from_csv

LOCK, HOLDER = ".lock", ".holder.json"  # of an output folder while a process works in it


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it is flushed and renamed to `path`.

    The temporary name keeps the suffix (writers that look at it work) and starts with a dot.
    After an exception the temporary file is removed and `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = name_temporary(path)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes `content` to `path` by rename."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_once(path: Path, content: bytes) -> None:
    """Writes a secret that only its owner may read, unless another process was quicker."""
    path.parent.mkdir(parents=True, exist_ok=True)
    own = name_temporary(path)
    try:
        own.write_bytes(content)
        own.chmod(0o600)
        os.link(own, path)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        os.replace(own, path)  # a file system without second names
    finally:
        own.unlink(missing_ok=True)


def write_text(path: Path, content: str) -> None:
    """Writes `content` as UTF-8 with Unix line ends to `path` by rename."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Writes `content` as indented JSON by rename; NaN is refused."""
    write_text(path, format_json(content, allow_nan=False) + "\n")


def without_nan(figures: Mapping[str, float]) -> dict[str, float | None]:
    """The figures with None for NaN, which JSON does not have."""
    return {name: None if math.isnan(value) else value for name, value in figures.items()}


def write_csv(path: Path, columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes `rows` under a header of `columns` by rename (comma, UTF-8, Unix line ends).

    Texts have the form of `for_csv`, so that no spreadsheet runs them.
    """
    names = list(columns)
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(map(for_csv, names))
        for row in rows:
            if unknown := set(row) - set(names):
                raise ValueError(f"cells without a column: {unknown}")
            writer.writerow(_csv_cell(row.get(name, "")) for name in names)


def read_csv(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV that `write_csv` wrote; every value is a string."""
    with open_text(path, newline="") as file:
        lines = csv.reader(file)
        names = [from_csv(name) for name in next(lines, ())]
        return [dict(zip(names, map(from_csv, cells), strict=False)) for cells in lines if cells]


def _csv_cell(value: Any) -> Any:
    return for_csv(value) if isinstance(value, str) else value


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hex digits."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def fingerprint(*parts: Any) -> str:
    """SHA-256 of the canonical JSON of `parts`; equal exactly when the parts are equal."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def refuse_foreign(output: Path, mark: str, own: Set[str], what: str) -> None:
    """Makes sure that an output folder is new or our own, so that no file is in the way.

    Args:
        output: The folder.
        mark: File that only a folder of ours has.
        own: Names that may lie in a folder without it, besides the lock and what a process that
            was killed left half written.
        what: ``run`` or ``benchmark``, for messages.

    Raises:
        IsnetError: Kind "usage", when it is a file or holds anything else.
    """
    if not output.exists() or (output / mark).is_file():
        return
    if not output.is_dir():
        raise IsnetError("usage", f"{output}: a file, expected a folder for the {what}")
    names = {path.name for path in output.iterdir()} - own - {LOCK, HOLDER}
    foreign = sorted(n for n in names if not (is_temporary(n) or n.startswith(f"{LOCK}-")))
    if foreign:
        raise IsnetError(
            "usage",
            f"{output}: holds other files ({foreign[0]}), expected a new folder or one of a {what}",
            fix=f"-o {output}-{what}" if output.name else f"-o {what}",  # inputs may lie in it
        )
