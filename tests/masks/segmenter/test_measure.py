"""Dice per image at its own size, and the figures of the card, recomputed slowly."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
import pytest
import torch

from isnet_cli.core.run_context import RunContext
from isnet_cli.masks.segmenter.examples import (
    make_phantom_examples,
    read_examples,
    read_pair,
    split_by_patient,
)
from isnet_cli.masks.segmenter.measure import figures, measure, summary
from isnet_cli.masks.segmenter.pairs import find_pairs
from isnet_models.lung_unet import lung_unet
from tests.masks.segmenter.factory import settings, write_pairs


def test_scores_are_those_of_the_masks_that_the_product_makes(tmp_path: Path) -> None:
    config = settings(write_pairs(tmp_path, size=128), data={"phantoms": 1})
    found, _ = read_examples(find_pairs(config.data), config.data, RunContext())
    examples = split_by_patient([*found, *make_phantom_examples(1)], config.data, 3)
    rows = measure(lung_unet(), examples, config, RunContext())
    assert len(rows) == 9
    assert {row["part"] for row in rows} == {"train", "validation", "held_out"}
    assert [(r["part"], r["dice"]) for r in rows] == sorted((r["part"], r["dice"]) for r in rows)
    assert all(row["dice"] > 0.9 for row in rows)  # the shipped network knows phantoms
    example = next(e for e in examples if e.pair.name == "image_3")
    _, true = read_pair(example.pair, config.data)
    with torch.inference_mode():
        image = torch.from_numpy(example.image.astype(np.float32))[None, None]
        small = lung_unet()(image)[0, 0].numpy()
    height, width = true.shape
    scale = 256 / max(height, width)
    top, left = (256 - round(height * scale)) // 2, (256 - round(width * scale)) // 2
    overlap = total = 0
    for y in range(height):  # the nearest of the network's pixels, no cleaning: close to it
        for x in range(width):
            inside = small[int(top + (y + 0.5) * scale), int(left + (x + 0.5) * scale)] >= 0.5
            overlap, total = overlap + int(inside and true[y, x]), total + int(inside)
    expected = 2 * overlap / (total + int(true.sum()))
    (score,) = [row["dice"] for row in rows if row["image"] == "image_3"]
    assert score == pytest.approx(expected, abs=0.01)


def row(source: str, label: str, dice: float, part: str = "held_out") -> dict[str, object]:
    return {"image": "f", "source": source, "label": label, "part": part, "dice": dice}


def test_figures_are_of_held_out_images_by_source_and_label() -> None:
    scores = [0.9, 0.95, 0.99, 0.7]
    rows = [row("a", "ill" if n % 2 else "", d) for n, d in enumerate(scores)]
    rows += [row("a", "", 0.1, "train"), row("b", "", 0.5)]
    found = figures(rows)
    assert list(found) == ["a", "a, no label", "a, ill", "b"]
    assert found["a, ill"]["images"] == 2
    assert found["a"]["dice_mean"] == pytest.approx(statistics.fmean(scores))
    assert found["a"]["dice_sd"] == pytest.approx(statistics.pstdev(scores), abs=1e-4)
    assert found["a"]["dice_min"] == 0.7
    # linear between ranks: place 0.05 * 3 = 0.15 between 0.7 and 0.9
    assert found["a"]["dice_p5"] == pytest.approx(0.7 + 0.15 * 0.2)
    assert summary([0.5])["dice_sd"] == 0
