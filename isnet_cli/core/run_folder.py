"""A run folder: where each stage writes, what is finished, what is up to date, who holds it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from isnet_cli import __version__
from isnet_cli.core.files import fingerprint as hash_of
from isnet_cli.core.files import sha256_file, write_csv, write_json, write_text
from isnet_cli.core.parallel.locks import hold_run
from isnet_cli.core.parallel.shares import WHOLE, Share
from isnet_cli.core.records.read import (
    Record,
    check_record,
    read_record,
    read_rows,
)
from isnet_cli.core.records.schemas import RunRecord
from isnet_cli.errors import IsnetError

STAGES = ("ingest", "masks", "train", "evaluate", "heatmap")
SHARED_STAGES = ("ingest", "masks")  # taken from the upstream run where there is one
REPORT = "report"  # the stage that reads all others; its page lies in the run folder itself
SOURCES: Mapping[str, tuple[str, ...]] = {  # stage -> stages that it reads
    "ingest": (),
    "masks": ("ingest",),
    "train": SHARED_STAGES,
    **dict.fromkeys(("evaluate", "predict", "heatmap"), (*SHARED_STAGES, "train")),
}
RECORD = "run.json"
SCHEMA = 2  # of run.json, and of every file of the run
PRODUCTS = ".products"  # tables of the files of each stage, with size and hash
TABLES = (".csv", ".json")  # outputs that are compared whenever a later stage reads the stage
PACKAGES = ("torch", "torchvision", "segmentation-models-pytorch", "pydicom", "SimpleITK", "numpy")


class RunFolder:
    """One run on disk.

    Args:
        path: The folder; created when missing.
        upstream: Another run whose `SHARED_STAGES` this run uses, or None.
    """

    def __init__(self, path: Path, upstream: RunFolder | None = None) -> None:
        self.path = path
        self.upstream = upstream
        self._products: dict[str, dict[str, str]] = {}  # of stages whose pictures were read

    def stage_dir(self, stage: str) -> Path:
        """Folder of one stage's outputs: this run's, or the upstream run's for shared stages."""
        return self.owner(stage).path / ("" if stage == REPORT else stage)

    def owner(self, stage: str) -> RunFolder:
        """The run that makes this stage's outputs."""
        return self.upstream if self.upstream and stage in SHARED_STAGES else self

    def record(self) -> dict[str, Any]:
        """Content of ``run.json``; an empty record when there is none yet.

        Raises:
            IsnetError: Kind "data", when it is damaged or was written by another version.
        """
        path = self.path / RECORD
        if not path.exists() and not path.is_symlink():
            return {"schema": SCHEMA, "stages": {}}
        fix = "move the folder aside, or start again with --restart"
        content: dict[str, Any] = read_record(path, Record, what="a run record", fix=fix)
        if content.get("schema") != SCHEMA:
            versions = content.get("versions")
            version = versions.get("isnet") if isinstance(versions, dict) else None
            raise IsnetError(
                "data",
                f"{self.path}: a run of isnet {version or 'another version'}, which isnet"
                f" {__version__} cannot read",
                fix="make the run again in a new folder: isnet run CONFIG -o DIR",
            )
        check_record(content, RunRecord, path, what="a run record", fix=fix)
        return content

    def stage_record(self, stage: str) -> dict[str, Any] | None:
        """Record of a finished stage, or None when it is missing or unfinished."""
        entry = self.owner(stage).record()["stages"].get(stage)
        return entry if entry and entry["status"] == "done" else None

    def is_current(self, stage: str, fingerprint: str) -> bool:
        """Whether `stage` is done, was made from `fingerprint`, and its files are intact."""
        entry = self.stage_record(stage)
        return (
            entry is not None
            and entry["fingerprint"] == fingerprint
            and not self.find_damage(stage)
        )

    def find_damage(self, stage: str) -> str:
        """The first file of a finished stage that is gone or changed, and what is wrong; or ""."""
        entry, root = self.stage_record(stage), self.stage_dir(stage)
        if entry is None:
            return ""
        for name, digest in entry["outputs"].items():
            if found := _compare_file(root / name, None, digest):
                return f"{stage}/{name} {found}" if stage != REPORT else f"{name} {found}"
        if entry.get("products") is None:
            return ""
        table = self._product_table(stage)
        if found := _compare_file(table, None, entry["products"]):
            return f"{table.relative_to(self.owner(stage).path)} {found}"
        for line in _read_products(table):
            if found := _compare_file(root / line["file"], int(line["bytes"]), line["sha256"]):
                return f"{stage}/{line['file']} {found}"
        return ""

    def find_fault(self, stage: str) -> str:
        """Why the result of `stage` may not be shown as this run's, or "".

        It is not finished, or a stage that it was made from has been done again since. Files that
        were changed by hand are another matter: `find_damage`.
        """
        entry = self.stage_record(stage)
        if entry is None:
            begun = self.owner(stage).record()["stages"].get(stage)
            return "was started and is not finished" if begun else "has not been run"
        return self._find_change(stage, entry)

    def _find_change(self, stage: str, entry: Mapping[str, Any]) -> str:
        for source, digest in entry.get("made_from", {}).items():
            found = self.stage_record(source)
            if found is None or _digest(found) != digest:
                return f"was made from an earlier result of stage '{source}'"
            if change := self._find_change(source, found):
                return f"was made from stage '{source}', which {change}"
        return ""

    def made_from(self, stage: str, *, without: Collection[str] = ()) -> dict[str, str]:
        """Digests of the present results of the stages that `stage` reads."""
        found = {
            source: self.stage_record(source)
            for source in SOURCES.get(stage, ())
            if source not in without
        }
        return {source: _digest(entry) for source, entry in found.items() if entry is not None}

    def _product_table(self, stage: str) -> Path:
        return self.owner(stage).path / PRODUCTS / f"{stage}.csv"

    def require(self, stage: str) -> dict[str, Any]:
        """Record of a stage that must be finished, and whose tables are as it wrote them.

        Its tables and records (`TABLES`) are hashed each time: they are small, and size and time of
        change would say nothing in a copy of the run. Its pictures are compared where they are read
        (`refuse_change`), weights with the hash in their card.

        Raises:
            IsnetError: Kind "data", when it is not finished, or such a file is gone or was changed.
        """
        entry, owner = self.stage_record(stage), self.owner(stage).path
        if entry is None:
            raise IsnetError(
                "data",
                f"{owner}: stage '{stage}' is not finished",
                fix=f"isnet {stage} CONFIG -o {owner}   or   isnet run CONFIG",
            )
        for name, digest in entry["outputs"].items():
            if not name.endswith(TABLES):
                continue
            if found := _compare_file(self.stage_dir(stage) / name, None, digest):
                raise _refuse_file(stage, name, found, owner)
        return entry

    def refuse_change(self, stage: str, name: str) -> None:
        """Refuses a picture of a finished stage that is not as the stage wrote it.

        Args:
            stage: The stage.
            name: Of the file, relative to the stage's folder; what the stage did not record (a
                result without a table of its files) is taken as it is.

        Raises:
            IsnetError: Kind "data", when it is gone or was changed, or the table of files was.
        """
        digest = self._list_products(stage).get(name)
        if digest is None:
            return
        if found := _compare_file(self.stage_dir(stage) / name, None, digest):
            raise _refuse_file(stage, name, found, self.owner(stage).path)

    def _list_products(self, stage: str) -> dict[str, str]:
        """SHA-256 of each product of a finished stage, by name; read once."""
        if stage not in self._products:
            entry, table = self.stage_record(stage) or {}, self._product_table(stage)
            found: dict[str, str] = {}
            if digest := entry.get("products"):
                if fault := _compare_file(table, None, digest):
                    owner = self.owner(stage).path
                    raise _refuse_file(stage, f"../{PRODUCTS}/{table.name}", fault, owner)
                found = {line["file"]: line["sha256"] for line in _read_products(table)}
            self._products[stage] = found
        return self._products[stage]

    def fits(self, upstream: RunFolder) -> bool:
        """Whether the results here were made from the images and masks that `upstream` has."""
        present = RunFolder(self.path, upstream).made_from("train", without=())
        made = [entry.get("made_from") or {} for entry in self.record()["stages"].values()]
        return not any(
            one[source] != present.get(source)
            for one in made
            for source in SHARED_STAGES
            if source in one
        )

    def begin(self, stage: str, fingerprint: str) -> None:
        """Records that `stage` started; until `finish`, it does not count as done."""
        self._update(stage, {"status": "running", "fingerprint": fingerprint, "started": _now()})

    def finish(
        self,
        stage: str,
        fingerprint: str,
        outputs: list[Path],
        summary: dict[str, Any],
        *,
        products: Iterable[Path] = (),
        settings: str | None = None,
        made_from: Mapping[str, str] | None = None,
    ) -> None:
        """Records that `stage` is done.

        Args:
            stage: One of `STAGES`.
            fingerprint: Hash of everything the stage's result depends on.
            outputs: Main files that the next stages read, inside the stage's folder.
            summary: JSON-able figures to print and for scripts; key ``skipped`` counts lost inputs.
            products: As `StageResult.products`.
            settings: Hash of the settings that the result depends on.
            made_from: As `made_from` gives it; None: as it is now.
        """
        root = self.stage_dir(stage)
        entry = {
            **(self.record()["stages"].get(stage) or {}),
            "status": "done",
            "fingerprint": fingerprint,
            "finished": _now(),
            "outputs": {p.relative_to(root).as_posix(): sha256_file(p) for p in outputs},
            "summary": summary,
            "settings": settings,
            "made_from": dict(self.made_from(stage) if made_from is None else made_from),
        }
        table = self._product_table(stage)
        if lines := [_describe_file(path, root) for path in sorted(products)]:
            write_csv(table, list(lines[0]), lines)
            entry["products"] = sha256_file(table)
        else:
            table.unlink(missing_ok=True)
        self._update(stage, entry)

    def _update(self, stage: str, entry: dict[str, Any]) -> None:
        self._products.pop(stage, None)
        record = self.record()
        record["stages"][stage] = entry
        record["versions"] = installed_versions()
        if self.upstream is not None:
            record["upstream"] = os.path.relpath(
                os.path.realpath(self.upstream.path), os.path.realpath(self.path)
            )
        write_json(self.path / RECORD, record)

    def save_config(self, text: str) -> None:
        """Writes the resolved configuration as ``isnet.yaml`` of the run."""
        write_text(self.path / "isnet.yaml", text)

    def lock(self, share: Share = WHOLE) -> contextlib.AbstractContextManager[None]:
        """Holds the run for this process, as `hold_run`."""
        return hold_run(self.path, share)


@contextlib.contextmanager
def watch_runs(folders: Iterable[RunFolder]) -> Iterator[None]:
    """Makes sure that runs which are read without their lock stay as they are meanwhile.

    Raises:
        IsnetError: Kind "machine", when a stage of one was begun or finished.
    """
    every = [one for folder in folders for one in (folder, folder.upstream) if one is not None]
    before = [folder.record() for folder in every]
    yield
    for folder, record in zip(every, before, strict=True):
        if folder.record() != record:
            raise IsnetError(
                "machine",
                f"{folder.path}: changed by another isnet process while it was read",
                fix="the same command again, once that process is done",
            )


def _compare_file(path: Path, size: int | None, digest: str) -> str:
    """What is wrong with a file, or "".

    Args:
        path: The file.
        size: In bytes; None: any.
        digest: SHA-256; empty: any.
    """
    try:
        found = path.stat().st_size
        if path.is_file() and size in (None, found) and digest in ("", sha256_file(path)):
            return ""
    except FileNotFoundError:
        return "is gone"
    except OSError as error:
        return f"cannot be read ({(error.strerror or 'unreadable').lower()})"
    return "was changed since it was written"


def _refuse_file(stage: str, name: str, found: str, owner: Path) -> IsnetError:
    return IsnetError(
        "data",
        f"{owner}: {os.path.normpath(f'{stage}/{name}')} {found}, expected the file that isnet"
        f" {stage} wrote",
        fix=f"isnet {stage} {owner}   makes it again; or copy the file again from a whole run",
    )


def _read_products(table: Path) -> list[dict[str, str]]:
    return read_rows(
        table, ("file", "bytes", "sha256"), files=("file",), numbers=("bytes",),
        fix="isnet run CONFIG   makes again what is not as it was",
    )  # fmt: skip


def _describe_file(path: Path, root: Path) -> dict[str, str]:
    size = str(path.stat().st_size)
    return {"file": path.relative_to(root).as_posix(), "bytes": size, "sha256": sha256_file(path)}


def _digest(entry: Mapping[str, Any]) -> str:
    """What later stages see of a result."""
    return hash_of(entry["outputs"])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def installed_versions() -> dict[str, str]:
    """Finds the versions of isnet, Python and the packages that results depend on; imports none."""
    return {"isnet": __version__, "python": sys.version.split()[0], **dict(_package_versions())}


@lru_cache(maxsize=1)  # reading them takes as long as some stages of a small run
def _package_versions() -> tuple[tuple[str, str], ...]:
    found = []
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append((name, metadata.version(name)))
    return tuple(found)
