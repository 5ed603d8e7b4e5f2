"""Small inputs on disk, and the command line in this process."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from isnet_cli.cli.app import main
from tests.support.runs import image, lungs

SIZE = 80
CONFIG = """\
name: tiny
data:
  images: xrays
  labels: {file: labels.csv}
  sets: {train: {fraction: 0.5}, val: {fraction: 0.25}, test: {fraction: 0.25}}
masks: {files: masks}
model: {arch: small, input: 32}
train:
  epochs: 2
  batch_size: 4
  optimizer: {name: adamw, lr: 1e-3}
evaluate: {intervals: {draws: 1000, bootstrap: 200}}
heatmap: {limit: 2}
machine: {device: cpu, workers: 0}
"""


@dataclass(frozen=True)
class Done:
    """What a command printed and returned."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Standard output, which must be one JSON document."""
        found: dict[str, Any] = json.loads(self.out)
        return found


def isnet(*words: str | Path) -> Done:
    """Runs ``isnet WORDS`` in this process (a second of imports is saved per call)."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(word) for word in words])
    return Done(code, out.getvalue(), err.getvalue())


def write_images(folder: Path, numbers: range) -> None:
    """8-bit PNG images; odd numbers are sick."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        pixels = image(number, number % 2 == 1, SIZE)
        Image.fromarray((pixels * 255).round().astype(np.uint8)).save(folder / f"f{number:02}.png")


def write_inputs(folder: Path, count: int = 24) -> Path:
    """``xrays``, ``masks``, ``labels.csv`` and ``c.yaml`` in `folder`; returns the YAML's path."""
    write_images(folder / "xrays", range(count))
    (folder / "masks").mkdir()
    rows = ["file,patient,source,label"]
    for number in range(count):
        mask = Image.fromarray(lungs(SIZE).astype(np.uint8) * 255)
        mask.save(folder / "masks" / f"f{number:02}.png")
        label = "sick" if number % 2 else "well"
        rows.append(f"f{number:02}.png,p{number},here,{label}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    config = folder / "c.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    return config


def tree(folder: Path) -> dict[str, tuple[str, int]]:
    """Every file below a folder with its hash and time of change."""
    return {
        path.relative_to(folder).as_posix(): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
