"""A list of the finished parts of a stage, so that a killed run continues where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from isnet_cli.core.files import sha256_file, write_text
from isnet_cli.core.parallel.shares import WHOLE, Share, parse_name
from isnet_cli.core.records.read import find_name_fault
from isnet_cli.guard.opening import read_text

NAME = ".unfinished.jsonl"
SHARE_NAME = ".unfinished-{}.jsonl"  # of one of several commands or processes
SHARE = "share"  # part of a journal that says that its share is done
_FIELDS = {"part", "content", "files"}
Entry = dict[str, Any]


def name_part(*words: str) -> str:
    """Name of a part from what it is: different words always give different names."""
    return json.dumps(words)


class Journal:
    """Parts that are done, one JSON line each; valid for one fingerprint of the stage.

    A part counts only when its line is as it was written (each has a hash, of the fingerprint too)
    and every file it made still has its hash; any other is done again. Lines of another fingerprint
    are dropped, and their files removed. Leaving the ``with`` block without an exception after
    `complete` removes the journal.

    Several commands or processes that each do a share have a journal each; that of the whole takes
    their parts over.

    Args:
        folder: The stage's folder; created when missing.
        fingerprint: Of the stage; results made from anything else are not used.
        share: What is to be done.
    """

    def __init__(self, folder: Path, fingerprint: str, share: Share = WHOLE) -> None:
        self._folder, self._share = folder, share
        self._path = folder / (NAME if share.whole else SHARE_NAME.format(share.name))
        self._complete = False
        self._fingerprint = fingerprint
        self._before: dict[str, str] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self._parts = self._load()
        start = [json.dumps({"fingerprint": fingerprint}) + "\n"]
        write_text(self._path, "".join([*start, *self._parts.values()]))
        for other in list_shares(folder) if share.whole else ():
            other.unlink()
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
        line = self._parts.get(part) or self._before.get(part)
        return None if line is None else json.loads(line)["content"]

    def add(self, part: str, content: Any, files: Iterable[Path] = ()) -> None:
        """Records that `part` is done.

        Args:
            part: Name, unique in the stage.
            content: JSON-able result; floats come back exactly.
            files: Files inside the stage's folder that belong to it, already written.
        """
        hashes = {path.relative_to(self._folder).as_posix(): sha256_file(path) for path in files}
        entry = {"part": part, "content": content, "files": hashes}
        line = _line(entry, self._fingerprint)
        self._parts[part] = line  # as text: of 100,000 parts, objects would take a quarter GB
        self._file.write(line)
        self._file.flush()

    def end_share(self) -> None:
        """Records that nothing of the share is left to do."""
        part = name_part(SHARE, self._share.name)
        if part not in self._parts:  # a command that went on after a kill finds it there
            self.add(part, None)

    def complete(self) -> None:
        """Declares the stage's outputs written: the journal is no longer needed."""
        self._complete = True

    def _load(self) -> dict[str, str]:
        """Lines of parts that are intact, by part."""
        found, foreign, ours = dict[str, str](), list[Entry](), set[str]()
        for path in [self._path, *(list_shares(self._folder) if self._share.whole else ())]:
            fingerprint, entries = _read(path)
            if fingerprint != self._fingerprint:
                foreign += entries
                continue
            for entry in entries:
                if self._intact(entry["files"]):
                    found[entry["part"]] = _line(entry, fingerprint)
                    ours |= entry["files"].keys()
        for entry in foreign:
            remove_files(self._folder, entry["files"].keys() - ours)
        if not self._share.whole:  # what was done before it was shared out
            fingerprint, entries = _read(self._folder / NAME)
            known = entries if fingerprint == self._fingerprint else []
            intact = (entry for entry in known if self._intact(entry["files"]))
            self._before = {entry["part"]: _line(entry, fingerprint) for entry in intact}
        return found

    def _intact(self, files: dict[str, str]) -> bool:
        return all(
            (self._folder / name).is_file() and sha256_file(self._folder / name) == digest
            for name, digest in files.items()
        )


def list_shares(folder: Path) -> list[Path]:
    """Journals of the shares of a stage, by share."""
    found = {}
    for path in folder.glob(SHARE_NAME.format("*")):
        share = parse_name(path.name.removeprefix(".unfinished-").removesuffix(".jsonl"))
        if share is not None:
            found[share.count, share.index] = path
    return [path for _, path in sorted(found.items())]


def find_shares(folder: Path) -> tuple[int, list[int]]:
    """Into how many shares a stage was divided last, and which (from 1) are not finished.

    Returns:
        (0, []) where it was not divided.
    """
    finished: dict[int, set[int]] = {}
    for path in list_shares(folder):
        share = parse_name(path.name.removeprefix(".unfinished-").removesuffix(".jsonl"))
        assert share is not None  # noqa: S101 - it was listed
        done = finished.setdefault(share.count, set())
        if any(entry["part"] == name_part(SHARE, share.name) for entry in _read(path)[1]):
            done.add(share.index + 1)
    if not finished:
        return 0, []
    count = max(finished)
    return count, [number for number in range(1, count + 1) if number not in finished[count]]


def remove_files(folder: Path, names: Iterable[str]) -> None:
    """Deletes files by their names relative to `folder`; names that lead outside are left alone.

    Subfolders that become empty are removed too.
    """
    root = folder.resolve()
    for name in names:
        if find_name_fault(name):
            continue
        path = (folder / name).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            continue
        path.unlink()
        for parent in path.parents:
            if parent == root or any(parent.iterdir()):
                break
            parent.rmdir()


def _line(entry: Entry, fingerprint: str) -> str:
    """A part as it is written: with the hash of its own text and of what it was made from."""
    return json.dumps({"sha256": _digest(entry, fingerprint), **entry}) + "\n"


def _digest(entry: Entry, fingerprint: str) -> str:
    text = json.dumps({"fingerprint": fingerprint, **entry})
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> tuple[str, list[Entry]]:
    """Fingerprint of a journal, and its parts whose lines are whole; ("", []) without any."""
    if not path.is_file():
        return "", []
    head, *lines = read_text(path, errors="replace").split("\n")
    try:
        fingerprint = json.loads(head)["fingerprint"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return "", []
    if not isinstance(fingerprint, str):
        return "", []
    return fingerprint, [entry for line in lines if (entry := _parse(line, fingerprint))]


def _parse(line: str, fingerprint: str) -> Entry | None:
    """The part of one line; None when the line was cut short or changed."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or entry.keys() != {*_FIELDS, "sha256"}:
        return None
    digest = entry.pop("sha256")
    named = entry["files"] if isinstance(entry["files"], dict) else {"": ""}
    if not isinstance(entry["part"], str) or any(map(find_name_fault, named)):
        return None
    try:
        return entry if _digest(entry, fingerprint) == digest else None
    except RecursionError:
        return None
