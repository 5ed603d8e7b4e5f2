"""The packed images of a training: which format, how fast they come, what they cost in memory.

    python benchmarks/input_path.py formats [--images 20000] [--side 128]
    python benchmarks/input_path.py speed   [--images 2000]  [--side 128] [--workers 2]
    python benchmarks/input_path.py memory  [--images 50000] [--side 128]

`formats` reads random batches of 32 from a NumPy file by position (as `isnet train` does), from a
memory map of it, from safetensors, and from zarr where it is installed. `speed` measures the input
path alone, and what share of the ISNet's training steps of network ``small`` waits for it. `memory`
prints the peak memory of such a training; run it with several numbers of images.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from isnet_cli.config.schema import Config
from isnet_cli.core.parallel.step_figures import StepFigures
from isnet_cli.dataset.feed import Feed, draw_parts
from isnet_cli.dataset.image_dataset import ImageDataset
from isnet_cli.dataset.packed_file import FILE, pack
from isnet_cli.dataset.records import RecordForm
from isnet_cli.guard.memory import keep_freed_memory
from isnet_cli.images.types import Row
from isnet_cli.train.classifier_training import ClassifierTraining, split_into_batches
from isnet_cli.train.setup import build_method, build_net
from isnet_cli.train.validation import Validator

BATCH = 32
CPU = torch.device("cpu")
IDENTITY = "0" * 64


def draw(side: int, count: int) -> Iterator[tuple[NDArray[np.uint16], NDArray[np.bool_]]]:
    """Noisy images with two lungs, all different; microseconds each."""
    rng = np.random.default_rng(0)
    base = rng.integers(0, 65536, (64, side, side)).astype(np.uint16)
    y, x = np.mgrid[:side, :side] / side - 0.5
    lungs = ((np.abs(x) - 0.2) / 0.13) ** 2 + (y / 0.3) ** 2 < 1
    for number in range(count):
        yield np.roll(base[number % 64], number // 64, 1), lungs


def make_config(side: int, workers: int) -> Config:
    return Config.model_validate(
        {
            "model": {"arch": "small", "input": side},
            "train": {
                "method": "isnet", "batch_size": BATCH, "epochs": 1,
                "optimizer": {"name": "adamw", "lr": 1e-3},
                "settings": {"isnet": {"variant": "selective", "heatmap_weight": 0.5,
                                       "relevance_range": [1, 25]}},
            },
            "bias": {"kind": "shapes"},
            "machine": {"device": "cpu", "workers": workers},
        }
    )  # fmt: skip


def make_dataset(folder: Path, config: Config, count: int) -> ImageDataset:
    side = config.model.input[0]
    form = RecordForm(side, side)
    records = pack(folder, IDENTITY, form, count, lambda: draw(side, count))
    rows = [
        Row(
            f"hospital_a/patient_{n:06}/image_{n:08}", path=f"/data/xrays/{n:08}.png",
            sha256=f"{n:064x}", image_file=f"images/hospital_a/image_{n:08}.png",
            height=1024, width=1024, bits=12, format="dicom:jpeg2000", source="hospital_a",
            patient=f"{n:012x}", label=str(n % 2), set="train",
        )
        for n in range(count)
    ]  # fmt: skip
    labels = np.arange(count, dtype=np.float32) % 2
    return ImageDataset(records, np.arange(count), labels, rows, ["0", "1"], config)


def read_status(field: str) -> float:
    """A field of /proc/self/status in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return float(line.split()[1]) / 1024
    raise SystemExit(f"/proc/self/status has no {field}: memory is measured on Linux")


# -- formats -------------------------------------------------------------------------------------


def read_npy(folder: Path, side: int, count: int) -> Callable[[NDArray[np.int64]], Any]:
    records = pack(folder, IDENTITY, RecordForm(side, side), count, lambda: draw(side, count))

    def read(places: NDArray[np.int64]) -> Any:
        into = np.empty((len(places), records.form.size), np.uint8)
        records.read(places, into)
        return into

    return read


def read_map(folder: Path, side: int, count: int) -> Callable[[NDArray[np.int64]], Any]:
    read_npy(folder, side, count)
    whole = np.load(folder / FILE, mmap_mode="r")
    return lambda places: whole[places]


def read_safetensors(folder: Path, side: int, count: int) -> Callable[[NDArray[np.int64]], Any]:
    from safetensors import safe_open
    from safetensors.numpy import save_file

    path = folder / "images.safetensors"
    if not path.exists():
        pairs = list(draw(side, count))  # it is written from memory at once
        bits = np.packbits(np.stack([m for _, m in pairs]).reshape(count, -1), axis=1)
        save_file({"images": np.stack([i for i, _ in pairs]), "lungs": bits}, path)
    file = safe_open(path, "np")
    images, lungs = file.get_slice("images"), file.get_slice("lungs")
    return lambda places: [(images[int(p) : int(p) + 1], lungs[int(p) : int(p) + 1])
                           for p in places]  # fmt: skip


def read_zarr(folder: Path, side: int, count: int) -> Callable[[NDArray[np.int64]], Any]:
    import zarr  # type: ignore[import-not-found]

    path = folder / "images.zarr"
    if path.exists():
        whole = zarr.open_array(path, mode="r")
    else:
        whole = zarr.create_array(
            path, shape=(count, side, side), chunks=(1, side, side), shards=(500, side, side),
            dtype="u2", compressors=None,
        )  # fmt: skip
        kept = [image for image, _ in draw(side, min(count, 500))]
        for start in range(0, count, 500):
            stop = min(start + 500, count)
            whole[start:stop] = np.stack(kept[: stop - start])
    return lambda places: whole.oindex[places]


def compare_formats(images: int, side: int) -> None:
    kinds = {"npy, by position": read_npy, "npy, memory map": read_map,
             "safetensors": read_safetensors, "zarr": read_zarr}  # fmt: skip
    order = np.random.default_rng(1).permutation(images)
    for name, make in kinds.items():
        if name == "zarr" and importlib.util.find_spec("zarr") is None:
            print(f"{name:20} not installed")
            continue
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), side, images)
            read_end, write_end = os.pipe()
            if not os.fork():  # a process of its own, for its memory
                read, asked = (
                    make(Path(folder), side, images),
                    order[: 512 if "z" in name else None],
                )
                began = time.process_time()
                for start in range(0, len(asked), BATCH):
                    read(asked[start : start + BATCH])
                rate = len(asked) / (time.process_time() - began)
                said = f"{rate:10.0f} images/s of one core, {read_status('VmRSS'):6.0f} MB resident"
                os.write(write_end, said.encode())
                os._exit(0)
            os.wait()
            print(f"{name:20}{os.read(read_end, 200).decode()}", flush=True)


# -- speed and memory ----------------------------------------------------------------------------


def make_training(folder: Path, config: Config, dataset: ImageDataset) -> ClassifierTraining:
    ranges: Any = {"every map": (1.0, 25.0)}
    few = ImageDataset(
        dataset.records, dataset.places[:BATCH], dataset.labels[:BATCH], dataset.rows[:BATCH],
        dataset.classes, config,
    )  # fmt: skip
    return ClassifierTraining(
        config, build_net(config, 2), build_method(config, ranges, None, classes=2), dataset,
        Validator(few, "biased", BATCH, CPU), "biased", folder, "x", lambda net, row: None,
    )  # fmt: skip


def measure_speed(folder: Path, images: int, side: int, workers: int) -> None:
    config = make_config(side, workers)
    dataset = make_dataset(folder, config, images)
    parts = split_into_batches(config, dataset, 0)
    for name in ("first epoch", "later epochs"):  # the first finds the places of the marks
        began, used = time.perf_counter(), time.process_time()
        chance = torch.Generator().manual_seed(0)
        changed = draw_parts(parts, config.model.input, config.train.augment, chance)
        for _ in Feed(dataset, changed, "biased", CPU):
            pass
        wall, used = time.perf_counter() - began, time.process_time() - used
        print(
            f"input path alone, {name}: {images / wall:.0f} images/s, {images / used:.0f} of a core"
        )
    training = make_training(folder, config, dataset)
    training.begin_epoch(0)
    training.net.train()
    figures, before, asked, steps = StepFigures(CPU), 0.0, 0.0, 12
    for step in range(steps + 2):
        if step == 2:
            began, before, asked = time.perf_counter(), training.feed.waited, 0.0
        start = time.perf_counter()
        batch = training.make_batch(0, step)
        asked += time.perf_counter() - start
        training.train_step(batch, 0, step, figures)
    waited = training.feed.waited - before
    made = asked - waited
    wall = time.perf_counter() - began
    training.end_epoch()
    waits, makes = 100 * waited / wall, 100 * made / wall
    said = f"waiting for images {waits:.2f} %, making the batch {makes:.1f} %"
    print(f"ISNet step, small, {side} px, batch {BATCH}: {1000 * wall / steps:.0f} ms; {said}")


def measure_memory(folder: Path, images: int, side: int) -> None:
    keep_freed_memory()
    config = make_config(side, 2)
    idle = read_status("VmRSS")
    dataset = make_dataset(folder, config, images)
    training = make_training(folder, config, dataset)
    training.begin_epoch(0)
    figures = StepFigures(CPU)
    for step in range(8):
        training.train_step(training.make_batch(0, step), 0, step, figures)
    training.end_epoch()
    size, peak = (folder / FILE).stat().st_size / 1e6, read_status("VmHWM")
    print(
        f"{images} images of {side} px, a file of {size:.0f} MB: peak {peak:.0f} MB resident,"
        f" {idle:.0f} MB of them before there was an image"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("formats", "speed", "memory"))
    parser.add_argument("--images", type=int)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    images = given.images or {"formats": 20000, "speed": 2000, "memory": 50000}[given.what]
    if given.what == "formats":
        compare_formats(images, given.side)
        return
    with tempfile.TemporaryDirectory() as folder:
        if given.what == "speed":
            measure_speed(Path(folder), images, given.side, given.workers)
        else:
            measure_memory(Path(folder), images, given.side)


if __name__ == "__main__":
    sys.exit(main())
