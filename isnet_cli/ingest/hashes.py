"""Hashes of input files, so that a file that nobody touched is not read again to know it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from isnet_cli.config.schema import Config
from isnet_cli.core.files import read_csv, write_csv
from isnet_cli.core.pseudonyms import pseudonym, read_salt
from isnet_cli.errors import IsnetError
from isnet_cli.ingest.catalogue import hash_content, stamp_file

TABLE = ".inputs.csv"  # of the stage's folder
COLUMNS = ("stamp", "sha256")
SALT = ".salt"


class InputHashes:
    """Content hashes of input files by their stamp: path, size and times, under a pseudonym.

    A stamp that is known stands for its hash; any other file is read. So what counts is content: a
    time that changed alone, or a clock that was set back, changes nothing.

    Args:
        table: Where stamps and hashes are kept.
        salt: Of the run; None: nothing is known.
    """

    def __init__(self, table: Path, salt: bytes | None) -> None:
        self._table = table
        self._salt = salt
        known = table.is_file() and salt is not None
        self._known = {x["stamp"]: x["sha256"] for x in read_csv(table)} if known else {}

    def of(self, path: Path) -> str:
        """SHA-256 of a file, or ``missing``."""
        return self._known.get(self._stamp(path)) or hash_content(path)

    def note(self, found: Iterable[tuple[Path, str]]) -> None:
        """Keeps the hashes of files that have just been read; an empty one is looked up."""
        self._known = {self._stamp(path): digest or self.of(path) for path, digest in found}
        lines = [{"stamp": k, "sha256": v} for k, v in self._known.items() if v != "missing"]
        write_csv(self._table, COLUMNS, lines)

    def _stamp(self, path: Path) -> str:
        state = "\0".join(map(str, stamp_file(path)))
        return "" if self._salt is None else pseudonym(self._salt, state, 32)


def open_hashes(config: Config, root: Path) -> InputHashes:
    """The hashes that a run has of its input files; reads only.

    Args:
        config: The configuration.
        root: Folder of the stage `ingest`.
    """
    chosen = config.data.privacy.salt_file
    try:
        salt = read_salt(root / SALT if chosen is None else Path(chosen))
    except IsnetError:
        salt = None
    return InputHashes(root / TABLE, salt)


def listed(entry: str | Sequence[str] | None) -> list[str]:
    """Paths that a key names."""
    if entry is None:
        return []
    return [entry] if isinstance(entry, str) else list(entry)


def is_there(path: str) -> bool:
    """Whether a path, or the folder that a pattern starts at, exists."""
    stem = next((i for i, sign in enumerate(path) if sign in "*?["), None)
    return os.path.exists(path if stem is None else os.path.dirname(path[:stem]) or ".")
