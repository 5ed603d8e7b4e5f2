"""Dice of a trained lung U-Net on each image at its own size, and the figures of the card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from isnet_cli.config.schema import Postprocess
from isnet_cli.config.segmenter import Segmenter
from isnet_cli.core.run_context import RunContext
from isnet_cli.images.resize import Frame
from isnet_cli.masks.postprocess import mask_on_original
from isnet_cli.masks.segmenter.examples import Example, is_phantom, make_phantom_pairs, read_pair
from isnet_cli.masks.segmenter.unet_training import as_tensors
from isnet_models.dice_loss import dice
from isnet_models.lung_unet import SIZE, LungUNet

FIELDS = ("image", "source", "label", "part", "dice")
THRESHOLD = 0.5


def measure(
    net: LungUNet, examples: Sequence[Example], config: Segmenter, context: RunContext
) -> list[dict[str, Any]]:
    """One row per image: Dice of both lungs together, masks made and cleaned as `isnet masks` does.

    Args:
        net: In evaluation mode, on its device.
        examples: Images of any part.
        config: How images are read, and the number of phantoms.
        context: Progress.

    Returns:
        Rows with the columns `FIELDS`, worst first within each part.
    """
    made = make_phantom_pairs(config.data.phantoms)
    device = next(net.parameters()).device
    rows = []
    for example in context.progress.track(examples, "measuring", len(examples)):
        pair = example.pair
        known = made[pair.name] if is_phantom(pair) else None
        _, true = known or read_pair(pair, config.data, config.limits)
        image, _ = as_tensors([example])
        with torch.inference_mode():
            probability = net(image.to(device))[0, 0].cpu().numpy()
        frame = Frame(example.size, SIZE)
        found = mask_on_original(probability, frame, THRESHOLD, Postprocess())
        score = float(dice(torch.from_numpy(found)[None], torch.from_numpy(true)[None])[0])
        values = (pair.name, pair.source, pair.label, example.part, round(score, 4))
        rows.append(dict(zip(FIELDS, values, strict=True)))
    return sorted(rows, key=lambda row: (row["part"], row["dice"], row["image"]))


def figures(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Figures of the held-out images of each source, and of each label where there are several.

    Returns:
        ``source`` or ``source, label`` -> images, and mean, standard deviation, 5th percentile and
        minimum of Dice over images.
    """
    held = [row for row in rows if row["part"] == "held_out"]
    found = {}
    for source in sorted({row["source"] for row in held}):
        chosen = [row for row in held if row["source"] == source]
        found[source] = summary([row["dice"] for row in chosen])
        labels = sorted({row["label"] for row in chosen})
        for label in labels if len(labels) > 1 else []:
            scores = [row["dice"] for row in chosen if row["label"] == label]
            found[f"{source}, {label or 'no label'}"] = summary(scores)
    return found


def summary(scores: Sequence[float]) -> dict[str, float]:
    """Number, mean, standard deviation, 5th percentile and minimum of `scores`."""
    values = np.asarray(scores, np.float64)
    return {
        "images": len(values),
        "dice_mean": round(float(values.mean()), 4),
        "dice_sd": round(float(values.std()), 4),
        "dice_p5": round(float(np.percentile(values, 5)), 4),
        "dice_min": round(float(values.min()), 4),
    }
