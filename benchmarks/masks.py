"""How long `isnet masks` takes, as a whole and by part.

Usage:
    python benchmarks/masks.py [--images 300] [--side 512] [--folder DIR]

Chest images are synthetic (or taken from --folder). `isnet masks` runs on them as a process of its
own. Printed are images per second by the clock and processor seconds per image, start-up included:
on a busy machine only the latter can be compared. Then each part is timed alone, in one thread.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image

from isnet_cli.config.schema import Dicom, Postprocess
from isnet_cli.guard.memory import keep_freed_memory
from isnet_cli.images.kept import limit_size, load_image, save_image
from isnet_cli.images.mask_files import save_mask
from isnet_cli.images.read import read_images
from isnet_cli.images.resize import Frame
from isnet_cli.masks.postprocess import mask_on_original
from isnet_cli.masks.quality import assess
from isnet_cli.phantoms.phantom import make_phantom
from isnet_models.lung_unet import SIZE, lung_unet

T = TypeVar("T")
SYNTHETIC = 12  # different images; the others are these with other noise
BATCH = 8


def draw(folder: Path, count: int, side: int) -> None:
    """`count` 8-bit PNG images."""
    images = [make_phantom(number, size=side).pixels for number in range(min(count, SYNTHETIC))]
    rng = np.random.default_rng(0)
    for number in range(count):
        image = images[number % len(images)]
        noisy = image + rng.normal(0, 0.005, image.shape)
        levels = np.rint(np.clip(noisy, 0, 1) * 255).astype(np.uint8)
        Image.fromarray(levels).save(folder / f"{number:05}.png")


def whole(images: Path, run: Path, count: int) -> None:
    """`isnet masks` as a process."""
    command = [
        sys.executable,
        "-m",
        "isnet_cli.cli.app",
        "masks",
        str(images),
        "-o",
        str(run),
        "-q",
    ]
    start, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL)  # code 7: some are doubtful
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    cores = os.cpu_count() or 1
    print(f"whole process, {count} images, {cores} cores, load {os.getloadavg()[0]:.1f}")
    print(f"  by the clock     {count / wall:6.1f} images/s ({wall:.1f} s)")
    print(f"  processor time   {1000 * spent / count:6.1f} ms an image: {cores * count / spent:.1f}"
          f" images/s on {cores} cores of its own")  # fmt: skip


def parts(paths: list[Path], scratch: Path) -> None:
    """Processor time of each part, one thread."""
    torch.set_num_threads(1)
    keep_freed_memory()
    spent: dict[str, float] = defaultdict(float)

    def timed(part: str, work: Callable[[], T]) -> T:
        start = time.process_time()
        result = work()
        spent[part] += time.process_time() - start
        return result

    network, kept = lung_unet(), scratch / "kept.png"
    with torch.inference_mode():
        network(torch.rand(BATCH, 1, *SIZE))
    for first in range(0, len(paths), BATCH):
        frames, inputs = [], []
        for path in paths[first : first + BATCH]:
            image = timed("decode", lambda p=path: read_images(p, Dicom(), "bits")[0].pixels)
            timed("keep the image", lambda f=image: save_image(kept, limit_size(f, 1024)))
            frame = Frame((image.shape[0], image.shape[1]), SIZE)
            inputs.append(timed("read and fit", lambda fr=frame: fr.to_network(load_image(kept))))
            frames.append(frame)
        batch = torch.from_numpy(np.stack(inputs))[:, None]
        with torch.inference_mode():
            found = timed("network", lambda b=batch: network(b)[:, 0].numpy())
        for frame, p in zip(frames, found, strict=True):
            mask = timed(
                "post-processing",
                lambda p=p, fr=frame: mask_on_original(p, fr, 0.5, Postprocess()),
            )
            timed("verdict", lambda m=mask, p=p: assess(m, p))
            timed("write", lambda m=mask: save_mask(scratch / "mask.png", m))
    total = sum(spent.values())
    print(f"by part, one thread, {len(paths)} images")
    for part, seconds in spent.items():
        print(
            f"  {part:16s} {1000 * seconds / len(paths):6.1f} ms an image  {seconds / total:4.0%}"
        )


def main() -> None:
    """Prints the whole, then the parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        images = options.folder or scratch / "images"
        if options.folder is None:
            images.mkdir()
            draw(images, options.images, options.side)
        paths = sorted(images.glob("*.png"))[: options.images]
        whole(images, scratch / "run", len(paths))
        parts(paths[:96], scratch)


if __name__ == "__main__":
    main()
