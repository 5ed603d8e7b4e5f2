"""Whose a comparison's files are: made by this program of these runs, whole, unfinished, or not."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from isnet_cli import __version__
from isnet_cli.config.load import plain
from isnet_cli.config.schema import Config
from isnet_cli.core.files import fingerprint as hash_of
from isnet_cli.core.files import sha256_file
from isnet_cli.core.records.read import Record
from isnet_cli.core.records.schemas import File, Hash
from isnet_cli.core.records.sealed import read_sealed, write_sealed
from isnet_cli.core.run_folder import STAGES, RunFolder
from isnet_cli.errors import IsnetError
from isnet_cli.report.results import find_faults, name_runs

SCHEMA = 2
Runs = Sequence[tuple[RunFolder, Config]]


@dataclass(frozen=True)
class ChosenPairs:
    """Pairs of runs that are tested, where not every pair is.

    Attributes:
        pairs: Numbers of the first and the second run of each.
        family: What they are, as the page says it.
    """

    pairs: tuple[tuple[int, int], ...]
    family: str


class Made(Record):
    """What a comparison was made from, and the files that were."""

    from_: Hash = Field(alias="from")
    files: dict[File, Hash]


class PageRecord(Record):
    """``NAME.json`` beside a page, as far as it says whether the page is whole."""

    made: Made


def is_page_of(page: Path, runs: Runs, chosen: ChosenPairs | None) -> bool:
    """Whether a page and the files beside it are there, whole, and of the runs' present results."""
    try:
        content = read_sealed(page.with_suffix(".json"), PageRecord, what="a comparison", fix="")
        made = content["made"]
        whole = all(sha256_file(page.with_name(n)) == h for n, h in made["files"].items())
        return whole and page.name in made["files"] and made["from"] == hash_sources(runs, chosen)
    except (IsnetError, OSError, ValueError):
        return False  # made again


def hash_sources(runs: Runs, chosen: ChosenPairs | None) -> str:
    """Hash of all that a comparison shows: results by their files' hashes, settings, names."""
    parts: list[Any] = [SCHEMA, __version__, dataclasses.asdict(chosen) if chosen else None]
    for (folder, config), name in zip(runs, name_runs([one for one, _ in runs]), strict=True):
        entries = {stage: folder.stage_record(stage) for stage in STAGES}
        results = {
            stage: [entry["fingerprint"], entry["outputs"], entry.get("products")]
            for stage, entry in entries.items()
            if entry is not None
        }
        parts.append([name, results, find_faults(folder), plain(config)])
    return hash_of(parts)


class Named(Record):
    """A run of a comparison, as far as it says which."""

    name: str


class Compared(Record):
    """Which runs a page is about: in its record, and in the mark of a page that is under way."""

    runs: list[Named]


@contextlib.contextmanager
def mark_unfinished(page: Path, runs: Runs) -> Iterator[None]:
    """Keeps a mark beside the page while its files are written; a killed process leaves it."""
    mark = _place_mark(page)
    write_sealed(mark, {"runs": [{"name": name} for name in _name(runs)]})
    yield
    mark.unlink()


def is_own(page: Path, there: Sequence[Path], runs: Runs) -> bool:
    """Whether all files in the way were written for a page on these runs, and not changed since.

    Args:
        page: The HTML file.
        there: Files of its names that exist.
        runs: The runs to compare now.
    """
    if _names_of(_place_mark(page)) == _name(runs):
        return True  # killed while it was written
    record = page.with_suffix(".json")
    if _names_of(record) != _name(runs):
        return False
    try:
        made = read_sealed(record, PageRecord, what="a comparison", fix="")["made"]["files"]
        return all(
            path == record or made.get(path.name) == sha256_file(path)
            for path in there
        )  # fmt: skip
    except (IsnetError, OSError):
        return False


def _place_mark(page: Path) -> Path:
    return page.with_name(f".{page.stem}.unfinished.json")


def _name(runs: Runs) -> list[str]:
    return name_runs([folder for folder, _ in runs])


def _names_of(record: Path) -> list[str] | None:
    """The runs that a record or a mark names; None when it is not there or not the program's."""
    try:
        content = read_sealed(record, Compared, what="a comparison", fix="")
    except (IsnetError, OSError):
        return None
    return [run["name"] for run in content["runs"]]
