"""A list of the finished parts of a stage, so that a killed run continues where it stopped."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from isnet_cli.core.files import is_inside, sha256_file, write_text
from isnet_cli.guard.opening import read_text

NAME = ".unfinished.jsonl"
_FIELDS = {"part", "content", "files"}


def name_part(*words: str) -> str:
    """Name of a part from what it is: different words always give different names."""
    return json.dumps(words)


class Journal:
    """Parts that are done, one JSON line each; valid for one fingerprint of the stage.

    A part counts only when its line is whole and every file it made still has its hash. Lines of
    another fingerprint are dropped, and their files removed. Leaving the ``with`` block without an
    exception after `complete` removes the journal.

    Args:
        folder: The stage's folder; created when missing.
        fingerprint: Of the stage; results made from anything else are not used.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self._folder = folder
        self._path = folder / NAME
        self._complete = False
        folder.mkdir(parents=True, exist_ok=True)
        self._parts = self._load(fingerprint)
        start = [{"fingerprint": fingerprint}, *self._parts.values()]
        write_text(self._path, "".join(json.dumps(entry) + "\n" for entry in start))
        self._file = self._path.open("a", encoding="utf-8")

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        if kind is None and self._complete:
            self._path.unlink(missing_ok=True)

    def get(self, part: str) -> Any:
        """The recorded result of `part`, or None when it has to be done."""
        entry = self._parts.get(part)
        return None if entry is None else entry["content"]

    def add(self, part: str, content: Any, files: Iterable[Path] = ()) -> None:
        """Records that `part` is done.

        Args:
            part: Name, unique in the stage.
            content: JSON-able result; floats come back exactly.
            files: Files inside the stage's folder that belong to it, already written.
        """
        hashes = {path.relative_to(self._folder).as_posix(): sha256_file(path) for path in files}
        entry = {"part": part, "content": content, "files": hashes}
        self._parts[part] = entry
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()

    def complete(self) -> None:
        """Declares the stage's outputs written: the journal is no longer needed."""
        self._complete = True

    def _load(self, fingerprint: str) -> dict[str, dict[str, Any]]:
        lines = _lines(self._path)
        entries = [line for line in lines if "part" in line]
        if not lines or lines[0].get("fingerprint") != fingerprint:
            for entry in entries:
                remove_files(self._folder, entry["files"])
            return {}
        return {entry["part"]: entry for entry in entries if self._intact(entry["files"])}

    def _intact(self, files: dict[str, str]) -> bool:
        return all(
            is_inside(name)
            and (self._folder / name).is_file()
            and sha256_file(self._folder / name) == digest
            for name, digest in files.items()
        )


def remove_files(folder: Path, names: Iterable[str]) -> None:
    """Deletes files by their names relative to `folder`; names that lead outside are left alone.

    Subfolders that become empty are removed too.
    """
    root = folder.resolve()
    for name in names:
        if not is_inside(name):
            continue
        path = (folder / name).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            continue
        path.unlink()
        for parent in path.parents:
            if parent == root or any(parent.iterdir()):
                break
            parent.rmdir()


def _lines(path: Path) -> list[dict[str, Any]]:
    """Whole lines of a journal; a line cut short by a kill ends it."""
    if not path.is_file():
        return []
    found = []
    for line in read_text(path, errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not isinstance(entry, dict) or not ("fingerprint" in entry or entry.keys() >= _FIELDS):
            break
        found.append(entry)
    return found
