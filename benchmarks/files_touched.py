"""How many files of the project one training step and a whole `isnet train` execute.

    python benchmarks/files_touched.py [--list]

A file counts when one of its functions is called; what runs because a module is imported does not
count. The run is tiny: 12 phantoms of 128 px, the network `small`, two epochs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("isnet_cli", "models/isnet_lrp", "models/isnet_models")
CONFIG = """\
data: {images: xrays, labels: {file: labels.csv},
  sets: {train: {fraction: 0.67}, val: {fraction: 0.33}}}
model: {arch: small, input: 32}
train: {epochs: 2, batch_size: 2}
machine: {device: cpu, workers: 0}
"""


class FileCounter:
    """Notes the project's files whose functions are called while it is on, in every thread."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.on = False
        self._imports = threading.local()  # depth of modules that are being imported

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        code: CodeType = frame.f_code
        if code.co_name == "<module>":
            depth = getattr(self._imports, "depth", 0)
            self._imports.depth = depth + {"call": 1, "return": -1}.get(event, 0)
        elif event == "call" and self.on and not getattr(self._imports, "depth", 0):
            self.files.add(code.co_filename)

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        threading.setprofile(self)
        sys.setprofile(self)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type]

    def found(self) -> list[str]:
        """Paths relative to the checkout, of the three packages alone."""
        inside = [Path(name).resolve() for name in self.files if name[:1] != "<"]
        names = [p.relative_to(ROOT).as_posix() for p in inside if p.is_relative_to(ROOT)]
        return sorted(name for name in names if name.startswith(PACKAGES))


class StepBar:
    """A progress bar that switches the counter on for the second step of the training."""

    def __init__(self, counter: FileCounter, description: str) -> None:
        self.counter, self.steps = counter, 0 if description == "training" else 99

    def __enter__(self) -> StepBar:
        return self

    def __exit__(self, *fault: object) -> None:
        pass

    def advance(self, steps: int = 1, **figures: float | str) -> None:
        self.steps += steps
        self.counter.on = self.steps == 1


def write_inputs(folder: Path) -> Path:
    """Phantom chest images and ``c.yaml``."""
    from isnet_cli.phantoms.phantom import make_phantoms

    (folder / "xrays").mkdir()
    lines = ["file,patient,label"]
    for number, phantom in enumerate(make_phantoms(12, seed=5, size=128)):
        grey = np.rint(phantom.pixels * 255).astype(np.uint8)
        Image.fromarray(grey).save(folder / "xrays" / f"{number}.png")
        lines.append(f"{number}.png,p{number},{'sick' if number % 2 else 'well'}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "c.yaml").write_text(CONFIG, encoding="utf-8")
    return folder / "c.yaml"


def count_command(config: Path, output: Path) -> list[str]:
    """Files of ``isnet train CONFIG``: reading images, masks by the lung U-Net, training."""
    from isnet_cli.cli.app import main

    counter, quiet = FileCounter(), io.StringIO()
    counter.on = True
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet), counter.installed():
        code = main(["train", str(config), "-o", str(output)])
    if code:
        sys.exit(quiet.getvalue())
    return counter.found()


def count_step(config: Path, upstream: Path, output: Path, method: str) -> list[str]:
    """Files of one training step of `method`: batch, losses, backward pass, update, progress."""
    from isnet_cli.config.load import load
    from isnet_cli.core.pipeline import open_run, run_pipeline
    from isnet_cli.core.run_context import RunContext, SilentProgress

    counter = FileCounter()

    class Progress(SilentProgress):
        def bar(self, description: str, total: int) -> Any:
            return StepBar(counter, description)

    words = [f"upstream={upstream}", "train.epochs=1", f"train.method={method}"]
    settings = load(config, words)
    with counter.installed():
        run_pipeline(settings, open_run(output, settings), RunContext(Progress()), ["train"])
    return counter.found()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="name the files, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = write_inputs(folder)
        command = count_command(config, folder / "a")
        counts = {"isnet train": command}
        for method in ("isnet", "standard"):
            step = count_step(config, folder / "a", folder / method, method)
            counts[f"one training step, {method}"] = step
    for title, files in counts.items():
        parts = Counter(file.rpartition("/")[0] for file in files)
        print(f"{title}: {len(files)} files")
        for part, number in sorted(parts.items()):
            print(f"  {number:3} {part}")
        if options.list:
            print("\n".join(f"    {file}" for file in files))


if __name__ == "__main__":
    main()
