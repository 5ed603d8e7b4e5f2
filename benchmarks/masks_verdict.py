"""Does the verdict on a lung mask tell bad masks from good ones?

Usage:
    python benchmarks/masks_verdict.py FOLDER [--limit N] [--model NAME]

FOLDER holds ``labels.csv`` with the columns ``file`` and ``mask`` (Montgomery and Shenzhen images
with manual masks). Only images that neither shipped network has seen a mask of are used; their
names are in the card of `lung-unet`. Each image is masked as it is and after changes that an image
may have suffered; masks are compared with the manual ones, which are changed in the same way.
Pictures that are no chest image are synthetic, or come with scikit-learn and matplotlib.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib
import numpy as np
import sklearn
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from isnet_cli.config.schema import Dicom, Postprocess
from isnet_cli.images.kept import limit_size
from isnet_cli.images.mask_files import load_mask
from isnet_cli.images.read import read_images
from isnet_cli.images.resize import Frame, resize
from isnet_cli.masks.postprocess import mask_on_original
from isnet_cli.masks.quality import assess
from isnet_models.lung_unet import SIZE, lung_unet
from isnet_models.registry import find_card

Picture = NDArray[np.float32]
Pair = tuple[Picture, Picture]
SIDE = 512  # px; longest side at which images are changed
GOOD, BAD = 0.90, 0.80  # Dice


def blackened(image: Picture, mask: Picture) -> Pair:
    """The left half is black, as by a wrong collimation; its lung is gone."""
    image, mask = image.copy(), mask.copy()
    image[:, : image.shape[1] // 2] = mask[:, : image.shape[1] // 2] = 0
    return image, mask


def opaque(image: Picture, mask: Picture) -> Pair:
    """A bright sheet over most of one lung, as by a device or a total opacity."""
    image, (height, width) = image.copy(), image.shape
    image[height // 5 : 4 * height // 5, width // 8 : width // 2] = 0.95 * image.max()
    return image, mask


def noisy(image: Picture, mask: Picture) -> Pair:
    """Noise of a third of the grey scale."""
    noise = np.random.default_rng(0).normal(0, 0.35, image.shape)
    return np.clip(image + noise, 0, 1).astype(np.float32), mask


def turned(image: Picture, mask: Picture) -> Pair:
    """Turned by 20 degrees."""
    one, other = (
        ndimage.rotate(values, 20, reshape=False, order=1).astype(np.float32)
        for values in (image, mask)
    )
    return np.clip(one, 0, 1), other


CHANGES: dict[str, Callable[[Picture, Picture], Pair]] = {
    "as it is": lambda f, m: (f, m),
    "gamma 3": lambda f, m: (f**3, m),
    "gamma 1/3": lambda f, m: (f ** (1 / 3), m),
    "reduced to 128 px": lambda f, m: (resize(f, tuple(n // 4 for n in f.shape)), m),
    "turned 20 degrees": turned,
    "noise": noisy,
    "bright sheet on one lung": opaque,
    "half black": blackened,
    "turned 90 degrees": lambda f, m: (np.rot90(f).copy(), np.rot90(m).copy()),
    "upside down": lambda f, m: (np.rot90(f, 2).copy(), np.rot90(m, 2).copy()),
    "inverted greys": lambda f, m: (f.max() - f, m),
    "lower half only": lambda f, m: (f[f.shape[0] // 2 :], m[m.shape[0] // 2 :]),
}


def hand(rng: np.random.Generator) -> Picture:
    """A palm and five fingers with bright bones."""
    image = Image.new("F", (300, 300), 0.05)
    draw, middle = ImageDraw.Draw(image), 150 + int(rng.integers(-15, 15))
    draw.ellipse((middle - 60, 140, middle + 60, 270), fill=0.45)
    for angle in np.linspace(-0.6, 0.6, 5):
        far = float(rng.integers(90, 120))
        x, y = middle + np.sin(angle) * 50, 190 - np.cos(angle) * 45
        end = (x + np.sin(angle) * far, y - np.cos(angle) * far)
        draw.line((x, y, *end), fill=0.45, width=26)
        draw.line((middle, 235, x, y, *end), fill=0.8, width=11)
    image = ndimage.gaussian_filter(np.asarray(image), 1.3) + rng.normal(0, 0.01, (300, 300))
    return np.clip(image, 0, 1).astype(np.float32)


def section(rng: np.random.Generator) -> Picture:
    """An axial section of a chest: body, two dark lungs, spine, heart."""
    y, x = np.mgrid[:300, :300]

    def inside(cy: float, cx: float, h: float, w: float) -> NDArray[np.bool_]:
        return np.asarray(((y - cy) / h) ** 2 + ((x - cx) / w) ** 2 < 1)

    image = np.where(inside(150, 150, 100, 135), 0.55 + 0.05 * rng.random(), 0.0)
    for side in (-1, 1):
        image[inside(147 + rng.integers(-6, 6), 150 + side * 64, 64, 45)] = 0.12
    image[inside(225, 150, 19, 17)] = 0.95
    image[inside(130, 164, 29, 26)] = 0.6
    image = ndimage.gaussian_filter(image, 1.2) + rng.normal(0, 0.015, image.shape)
    return np.clip(image, 0, 1).astype(np.float32)


def clouds(rng: np.random.Generator) -> Picture:
    """Smooth random shades with a spectrum as photographs have it."""
    frequency = np.fft.fftfreq(256)
    radius = np.hypot(frequency[:, None], frequency[None])
    radius[0, 0] = 1
    image = np.fft.ifft2(np.fft.fft2(rng.normal(size=(256, 256))) / radius**1.5).real
    return ((image - image.min()) / np.ptp(image)).astype(np.float32)


def blank(rng: np.random.Generator) -> Picture:
    """Even grey with a little noise."""
    return np.clip(0.5 + rng.normal(0, 0.01, (256, 256)), 0, 1).astype(np.float32)


def photographs() -> Iterator[Picture]:
    """Grey photographs, whole and in halves."""
    folders = (
        Path(sklearn.__path__[0], "datasets/images"),
        Path(matplotlib.get_data_path(), "sample_data"),
    )
    for path in (path for folder in folders for path in sorted(folder.glob("*.jpg"))):
        image = np.asarray(Image.open(path).convert("L"), np.float32) / 255
        half = image.shape[1] // 2
        yield from (image, image[:, :half], image[:, half:])


class Judge:
    """A network with the stage's own cleaning and verdict."""

    def __init__(self, name: str) -> None:
        self.network = lung_unet(name)

    def __call__(self, image: Picture) -> tuple[NDArray[np.bool_], str]:
        """Mask and verdict of one picture; the mask is also made where the stage would not."""
        frame = Frame((image.shape[0], image.shape[1]), SIZE)
        with torch.inference_mode():
            batch = torch.from_numpy(frame.to_network(image))[None, None]
            found = self.network(batch)[0, 0].numpy()
        mask = mask_on_original(found, frame, 0.5, Postprocess())
        top, left, height, width = frame.inner
        return mask, assess(mask, found[top : top + height, left : left + width]).verdict


def dice(mask: NDArray[np.bool_], truth: Picture) -> float:
    true = truth >= 0.5
    if true.shape != mask.shape:
        true = resize(truth, (mask.shape[0], mask.shape[1])) >= 0.5
    return float(2 * (mask & true).sum() / max(1, mask.sum() + true.sum()))


def held_out_images(folder: Path, limit: int | None) -> Iterator[Pair]:
    """XRay and manual mask, at `SIDE` px, of each image that the network has not seen."""
    names = set(find_card("lung-unet").content["held_out"])
    with (folder / "labels.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if Path(row["file"]).stem in names]
    for row in rows[:limit]:
        image = limit_size(read_images(folder / row["file"], Dicom(), "bits")[0].pixels, SIDE)
        size = image.shape[0], image.shape[1]
        yield image, resize(load_mask(folder / row["mask"]).astype(np.float32), size)


def main() -> None:
    """Prints one line per kind of picture, then the pooled figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--model", default="lung-unet")
    options = parser.parse_args()
    torch.set_num_threads(1)
    judge, pool = Judge(options.model), []
    images = list(held_out_images(options.folder, options.limit))
    print(f"{'picture':26s} number  Dice p5  median  flagged  of them not masked")
    for name, change in CHANGES.items():
        found = []
        for image, truth in images:
            changed, true = change(image, truth)
            mask, verdict = judge(changed)
            found.append((dice(mask, true), verdict))
        pool += found
        scores = np.array([score for score, _ in found])
        low, middle = np.percentile(scores, 5), np.median(scores)
        print(
            f"{name:26s} {len(found):6d}  {low:7.3f}  {middle:6.3f}  {_shares(found)}", flush=True
        )
        if name == "as it is":
            _pooled("held-out images as they are", found)
    rng = np.random.default_rng(0)
    for name, draw in (("hand", hand), ("section", section), ("clouds", clouds), ("blank", blank)):
        shown = [(0.0, judge(draw(rng))[1]) for _ in range(20)]
        print(f"{name + ', synthetic':26s} {len(shown):6d}  {'':7s}  {'':6s}  {_shares(shown)}")
    shown = [(0.0, judge(image)[1]) for image in photographs()]
    print(f"{'photographs':26s} {len(shown):6d}  {'':7s}  {'':6s}  {_shares(shown)}")
    _pooled("all images, changed or not", pool)


def _shares(found: list[tuple[float, str]]) -> str:
    flagged = sum(verdict != "ok" for _, verdict in found)
    unmasked = sum(verdict == "missing" for _, verdict in found)
    return f"{flagged / len(found):7.1%}  {unmasked / len(found):18.1%}"


def _pooled(name: str, found: list[tuple[float, str]]) -> None:
    """Flagged of the worst 5 %, of those below `BAD`, and of those from `GOOD` on."""
    found = sorted(found)
    groups = {
        "worst 5 % by Dice": found[: max(1, round(0.05 * len(found)))],
        f"Dice below {BAD}": [pair for pair in found if pair[0] < BAD],
        f"Dice {GOOD} or more": [pair for pair in found if pair[0] >= GOOD],
    }
    for group, pairs in groups.items():
        flagged = sum(verdict != "ok" for _, verdict in pairs)
        print(f"  {name}, {group}: {flagged} of {len(pairs)} flagged")


if __name__ == "__main__":
    main()
