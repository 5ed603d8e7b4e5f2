"""Images with masks on disk and a tiny training of the lung U-Net on them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from isnet_cli.config.segmenter import Segmenter
from isnet_cli.phantoms.phantom import make_phantoms
from tests.masks.factory import write_mask

SMALL = {"encoder": "tu-mobilenetv3_small_050", "decoder_channels": (8, 8, 8, 8, 8)}


def write_pairs(root: Path, count: int = 8, size: int = 96) -> Path:
    """Phantom chest images as pictures, their masks, and ``labels.csv``; two sources.

    The first patient of each source has two images, the others one.
    """
    rows = []
    for number, phantom in enumerate(make_phantoms(count, seed=5, size=size)):
        name = f"image_{number}.png"
        write_mask(root / "images" / name, np.rint(phantom.pixels * 255).astype(np.uint8))
        write_mask(root / "masks" / name, phantom.lungs)
        source, label = ("north", "south")[number % 2], ("normal", "ill")[number // 2 % 2]
        rows.append(
            (
                f"images/{name}",
                f"masks/{name}",
                f"p{max(number - 2, 0) // 2}{source}",
                source,
                label,
            )
        )
    with (root / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file", "mask", "patient", "source", "label"), *rows])
    return root / "labels.csv"


def settings(table: Path | None, **sections: Any) -> Segmenter:
    """Two epochs of a very small network on the CPU; `sections` are merged into it."""
    tree: dict[str, Any] = {
        "seed": 3,
        "data": {"table": str(table) if table else None, "held_out": 0.3, "validation": 0.3},
        "model": SMALL,
        "train": {"epochs": 2, "batch_size": 3, "coarse": {"size": 64, "share": 1.0}},
        "machine": {"device": "cpu"},
    }
    for name, values in sections.items():
        tree[name] = {**tree.get(name, {}), **values} if isinstance(values, dict) else values
    return Segmenter.model_validate(tree)


def card_of(weights: Path) -> dict[str, Any]:
    """The card beside a weight file."""
    content: dict[str, Any] = json.loads(weights.with_suffix(".json").read_text("utf-8"))
    return content
