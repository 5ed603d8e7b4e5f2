"""Many images through `ingest` and `masks`: time of each and memory, as their number grows.

    python benchmarks/many_images.py stages [--images 100000] [--every 10000] [--keep DIR]
    python benchmarks/many_images.py pairs  [--images 100000]

`stages` draws small X-rays with labels and masks, runs both stages, packs the images as `train`
does, and prints, every so many images, the time of one image since the line before and the resident
memory of the process. `pairs` prints the time in which near-duplicates are found among random
hashes, and partners for swapped backgrounds among random masks. With ``--keep`` the same command
goes on after a kill.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from isnet_cli.check.near_duplicates import BITS, find_near_duplicates
from isnet_cli.config.schema import Config
from isnet_cli.core.pipeline import run_stage, stage_module
from isnet_cli.core.run_context import Bar, Progress, RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.dataset.background_swap import choose_partners
from isnet_cli.dataset.image_dataset import pack_datasets
from isnet_cli.dataset.training_images import read_verdicts
from isnet_cli.guard.memory import keep_freed_memory, read_memory
from isnet_cli.images.manifest import read_manifest

SIDE = 96
MASKS = 16  # different ones; the files are links to them


class Lines(Progress):
    """Prints a line every so many steps."""

    def __init__(self, every: int) -> None:
        self.every = every

    @contextlib.contextmanager
    def bar(self, description: str, total: int) -> Iterator[Bar]:
        """A bar that prints time and memory."""
        yield _Line(description, total, self.every)


class _Line:
    def __init__(self, name: str, total: int, every: int) -> None:
        self.name, self.total, self.every = name, total, every
        self.done, self.wall, self.used = 0, time.perf_counter(), os.times()

    def advance(self, steps: int = 1, **figures: float | str) -> None:
        before, self.done = self.done // self.every, self.done + steps
        if self.done // self.every == before and self.done < self.total:
            return
        wall, used = time.perf_counter(), os.times()
        here = used.user + used.system - self.used.user - self.used.system
        count = self.done % self.every or min(self.every, self.total)
        each, own = 1000 * (wall - self.wall) / count, 1000 * here / count
        said = f"  {self.name:16}{self.done:8} of {self.total}  {each:6.2f} ms an image"
        memory = f"{read_memory() / 1e6:6.0f} MB"
        print(f"{said} ({own:5.2f} ms of this process)  {memory}", flush=True)
        self.wall, self.used = wall, used


def draw_inputs(folder: Path, count: int) -> None:
    """Small 8-bit images, all different; labels; masks."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
    lungs = ((np.abs(x) - 0.2) / 0.13) ** 2 + (y / 0.3) ** 2 < 1
    film = (150 - 90 * lungs + 60 * np.cos(3 * y)).astype(np.float32)
    noise = rng.normal(0, 12, (64, SIDE, SIDE)).astype(np.float32)
    (folder / "given").mkdir(parents=True)
    for n in range(MASKS):
        Image.fromarray(np.roll(lungs, n - MASKS // 2, 1).astype(np.uint8) * 255).save(
            folder / "given" / f"{n}.png"
        )
    rows = ["file,patient,source,label"]
    for n in range(count):
        place = folder / "xrays" / f"{n // 1000:04}"
        masks = folder / "masks" / f"{n // 1000:04}"
        if n % 1000 == 0:
            place.mkdir(parents=True)
            masks.mkdir(parents=True)
        pixels = film + np.roll(noise[n % 64], n // 64, 1) + 30 * ((x - n % 97 / 97 + 0.5) > 0)
        image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        image.save(place / f"{n:07}.png", compress_level=1)
        os.link(folder / "given" / f"{n % MASKS}.png", masks / f"{n:07}.png")
        rows.append(f"{n:07}.png,p{n // 2},h{n % 3},{'sick' if n % 2 else 'well'}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")


def measure_stages(folder: Path, count: int, every: int) -> None:
    keep_freed_memory()
    if not (folder / "input" / "labels.csv").exists():  # else it goes on after a kill
        began = time.perf_counter()
        draw_inputs(folder / "input", count)
        print(f"drawn in {time.perf_counter() - began:.0f} s, {read_memory() / 1e6:.0f} MB")
    config = Config.model_validate(
        {
            "data": {
                "images": str(folder / "input/xrays"),
                "labels": {"file": str(folder / "input/labels.csv"), "columns": ["label"]},
                "sets": {"train": {"fraction": 0.8}, "val": {"fraction": 0.1},
                         "test": {"fraction": 0.1}},
            },
            "masks": {"files": str(folder / "input/masks"), "model": "none"},
        }
    )  # fmt: skip
    run = RunFolder(folder / "run")
    context = RunContext(progress=Lines(every))
    for name in ("ingest", "masks"):
        began, used = time.perf_counter(), os.times()
        run_stage(stage_module(name), config, run, context)
        end = os.times()
        own = end.user + end.system - used.user - used.system
        print(
            f"{name}: {count} images in {time.perf_counter() - began:.0f} s, {own:.0f} s of them"
            f" of this process's processor; {read_memory() / 1e6:.0f} MB",
            flush=True,
        )
        began = time.perf_counter()
        status = run_stage(stage_module(name), config, run, context).status
        print(f"{name}, asked again: {status} in {time.perf_counter() - began:.0f} s", flush=True)

    began, used = time.perf_counter(), time.process_time()
    rows = read_manifest(run.stage_dir("ingest") / "manifest.csv")
    pack_datasets(
        [rows], run, read_verdicts(run), ["sick", "well"], config, folder / "packed", context
    )
    print(
        f"packed at {config.model.input[0]} px in {time.perf_counter() - began:.0f} s,"
        f" {time.process_time() - used:.0f} s of them of this process's processor;"
        f" {read_memory() / 1e6:.0f} MB",
        flush=True,
    )


def measure_pairs(most: int) -> None:
    rng, count = np.random.default_rng(0), 1000
    while count <= most:
        hashes = rng.random((count, BITS)) < 0.5
        hashes[count // 2] = hashes[0]
        hashes[count // 2, :9] ^= True
        began = time.process_time()
        pairs = len(list(find_near_duplicates(hashes)))
        near = time.process_time() - began
        masks = rng.random((count, 24, 24)) < 0.3
        labels = rng.integers(0, 2, count).astype(np.float32)
        people = [f"p{n // 2}" for n in range(count)]
        began = time.process_time()
        choose_partners(masks, labels, rng, patients=people, step=1)
        swap = time.process_time() - began
        print(
            f"{count:8} images: near-duplicates {near:7.2f} s ({pairs} pair),"
            f" partners {swap:7.2f} s; {read_memory() / 1e6:.0f} MB",
            flush=True,
        )
        count *= 10 if count * 10 <= most else 3


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("stages", "pairs"))
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--every", type=int, default=10_000)
    parser.add_argument("--keep", type=Path, help="folder of inputs and run; a temporary one")
    given = parser.parse_args()
    if given.what == "pairs":
        measure_pairs(given.images)
        return
    with contextlib.ExitStack() as held:
        folder = given.keep or Path(held.enter_context(tempfile.TemporaryDirectory()))
        measure_stages(folder, given.images, given.every)


if __name__ == "__main__":
    sys.exit(main())
