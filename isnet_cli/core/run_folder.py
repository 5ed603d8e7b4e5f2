"""A run folder: where each stage writes, what is finished, what is up to date, who holds it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from isnet_cli import __version__
from isnet_cli.core.files import sha256_file, write_json, write_text
from isnet_cli.core.records.read import Record, check_record, read_record
from isnet_cli.core.records.schemas import RunRecord
from isnet_cli.errors import IsnetError
from isnet_cli.guard.leftovers import clear_leftovers
from isnet_cli.guard.opening import check_regular

STAGES = ("ingest", "masks", "train", "evaluate", "heatmap")
SHARED_STAGES = ("ingest", "masks")  # taken from the upstream run where there is one
RECORD = "run.json"
SCHEMA = 2  # of run.json, and of every file of the run
LOCK = ".lock"
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

    def stage_dir(self, stage: str) -> Path:
        """Folder of one stage's outputs: this run's, or the upstream run's for shared stages."""
        return self.owner(stage).path / stage

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
        """Whether `stage` is done, was made from `fingerprint`, and its main files are intact."""
        entry = self.stage_record(stage)
        if entry is None or entry["fingerprint"] != fingerprint:
            return False
        root = self.stage_dir(stage)
        return all(
            (root / name).is_file() and sha256_file(root / name) == digest
            for name, digest in entry["outputs"].items()
        )

    def require(self, stage: str) -> dict[str, Any]:
        """Record of a stage that must be finished.

        Raises:
            IsnetError: Kind "data", when it is not.
        """
        entry = self.stage_record(stage)
        if entry is None:
            raise IsnetError(
                "data",
                f"{self.owner(stage).path}: stage '{stage}' is not finished",
                fix=f"isnet {stage} CONFIG -o {self.owner(stage).path}   or   isnet run CONFIG",
            )
        return entry

    def begin(self, stage: str, fingerprint: str) -> None:
        """Records that `stage` started; until `finish`, it does not count as done."""
        self._update(stage, {"status": "running", "fingerprint": fingerprint, "started": _now()})

    def finish(
        self, stage: str, fingerprint: str, outputs: list[Path], summary: dict[str, Any]
    ) -> None:
        """Records that `stage` is done.

        Args:
            stage: One of `STAGES`.
            fingerprint: Hash of everything the stage's result depends on.
            outputs: Main files that the next stages read, inside the stage's folder.
            summary: JSON-able figures to print and for scripts; key ``skipped`` counts lost inputs.
        """
        root = self.stage_dir(stage)
        entry = {
            **(self.record()["stages"].get(stage) or {}),
            "status": "done",
            "fingerprint": fingerprint,
            "finished": _now(),
            "outputs": {p.relative_to(root).as_posix(): sha256_file(p) for p in outputs},
            "summary": summary,
        }
        self._update(stage, entry)

    def _update(self, stage: str, entry: dict[str, Any]) -> None:
        record = self.record()
        record["stages"][stage] = entry
        record["versions"] = installed_versions()
        write_json(self.path / RECORD, record)

    def save_config(self, text: str) -> None:
        """Writes the resolved configuration as ``isnet.yaml`` of the run."""
        write_text(self.path / "isnet.yaml", text)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the run for this process; the system frees it when the process ends, however.

        What a killed process left half written in the run is removed first.

        Raises:
            IsnetError: Kind "machine", when another process holds it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(self.path / LOCK):
            check_regular(self.path / LOCK)
        lock = FileLock(self.path / LOCK, timeout=0)
        try:
            with lock:
                clear_leftovers(self.path, locked=True)
                yield
        except Timeout as error:
            raise IsnetError(
                "machine",
                f"{self.path}: in use by another isnet process",
                fix="wait for it, or choose another folder with -o",
            ) from error


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
