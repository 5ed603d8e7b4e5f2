"""Input folders of X-rays with label files, and one call that ingests them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from isnet_cli.config.schema import Config
from isnet_cli.core.pipeline import Outcome, run_stage
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.images.manifest import read_manifest
from isnet_cli.images.types import Row
from isnet_cli.ingest import stage as ingest
from tests.images.dicom.factory import dicom_bytes, image_values
from tests.images.factory import png_bytes

SALT = "0123456789abcdef0123456789abcdef"


def png(path: Path, seed: int, bits: int = 8) -> Path:
    """A PNG image; seeds differ, so bytes differ."""
    return _put(path, png_bytes(image_values(bits, seed=seed), bits))


def dicom(path: Path, seed: int, **attributes: Any) -> Path:
    """A 12-bit DICOM image."""
    return _put(path, dicom_bytes(image_values(12, seed=seed), **attributes))


def labels(path: Path, *rows: str, header: str = "file,label") -> Path:
    """A label file of comma-separated rows."""
    return _put(path, "\n".join([header, *rows, ""]).encode())


def two_classes(folder: Path, images: int = 12) -> Path:
    """`images` PNG images in ``xrays`` with ``labels.csv`` beside: classes x and y in turn."""
    for n in range(images):
        png(folder / "xrays" / f"{n:02}.png", n)
    labels(folder / "labels.csv", *(f"{n:02}.png,{'xy'[n % 2]}" for n in range(images)))
    return folder


def config(folder: Path, **data: Any) -> Config:
    """Configuration for ``xrays`` and ``labels.csv`` in `folder`; entries of `data` are merged."""
    base: dict[str, Any] = {"images": str(folder / "xrays"), "privacy": {}}
    if (folder / "labels.csv").exists():
        base["labels"] = {"file": str(folder / "labels.csv")}
    masks = data.pop("masks", {})
    seed = data.pop("seed", 0)
    for key, value in data.items():
        base[key] = {**base[key], **value} if isinstance(base.get(key), dict) else value
    salt = _put(folder / "salt", SALT.encode()) if "salt_file" not in base["privacy"] else None
    if salt is not None:
        base["privacy"]["salt_file"] = str(salt)
    return Config.model_validate(
        {"data": base, "masks": masks, "seed": seed, "machine": {"workers": 0, "device": "cpu"}}
    )


@dataclass
class Messages:
    """What a stage lines and warned."""

    lines: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)

    def context(self, **others: Any) -> RunContext:
        """A context that collects them."""
        return RunContext(
            say=self.lines.append, warn=lambda _, text: self.warned.append(text), **others
        )


def run_ingest(folder: Path, settings: Config, messages: Messages | None = None) -> Outcome:
    """Runs the stage as the pipeline does, in the run folder `folder`."""
    return run_stage(ingest, settings, RunFolder(folder), (messages or Messages()).context())


def rows(folder: Path) -> dict[str, Row]:
    """The manifest by key."""
    return {row.key: row for row in read_manifest(folder / "ingest" / "manifest.csv")}


def tree(folder: Path, *, times: bool = False) -> dict[str, tuple[str, int]]:
    """Hash (and time of change) of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns if times else 0,
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def mask(path: Path, size: tuple[int, int] = (80, 96)) -> Path:
    """A PNG mask with two bright rectangles."""
    values = np.zeros(size, np.uint8)
    values[20:60, 15:40] = values[20:60, 56:81] = 255
    return _put(path, png_bytes(values, 8))


def _put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
