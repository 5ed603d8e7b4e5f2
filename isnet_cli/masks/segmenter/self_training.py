"""Masks of a teacher for images without masks (self-training): kept where its views agree.

The teacher sees each image as it is, mirrored, and both smaller. The mean of the four gives the
mask, cleaned as `isnet masks` does. An image takes part in the training when that mask looks like
lungs and no view's mask differs much from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from isnet_cli.config.schema import Postprocess
from isnet_cli.config.segmenter import Segmenter
from isnet_cli.core.run_context import RunContext
from isnet_cli.images.resize import Frame
from isnet_cli.masks.postprocess import mask_on_original
from isnet_cli.masks.quality import assess
from isnet_cli.masks.segmenter.examples import SIZE, Example
from isnet_cli.masks.segmenter.measure import THRESHOLD
from isnet_cli.masks.segmenter.unet_training import as_tensors
from isnet_models.dice_loss import dice
from isnet_models.lung_unet import LungUNet

FIELDS = ("image", "source", "verdict", "agreement", "kept", "reason")
SMALLER = 0.8  # size of the smaller view, of the image's
BATCH = 8


def label_examples(
    teacher: LungUNet, examples: Sequence[Example], config: Segmenter, context: RunContext
) -> tuple[list[Example], list[dict[str, Any]]]:
    """The examples that the teacher's masks are trusted for, with these masks, and all rows.

    Args:
        teacher: In evaluation mode, on its device.
        examples: Images without masks.
        config: The least agreement, as ``data.agreement``.
        context: Progress; a stop ends the work early.

    Returns:
        Examples of the part "train", and a row with the columns `FIELDS` for every image.
    """
    device = next(teacher.parameters()).device
    kept, rows = [], []
    starts = range(0, len(examples), BATCH)
    for start in context.progress.track(starts, "labelling", len(starts)):
        if context.stop_requested():
            break
        batch = examples[start : start + BATCH]
        images, _ = as_tensors(batch)
        views = look(teacher, images.to(device)).cpu()
        mean = views.mean(0)
        agreement = torch.stack([dice(view >= THRESHOLD, mean >= THRESHOLD) for view in views])
        for example, probability, least in zip(
            batch, mean[:, 0].numpy(), agreement.amin(0).tolist(), strict=True
        ):
            frame = Frame(example.size, SIZE)
            mask = mask_on_original(probability, frame, THRESHOLD, Postprocess())
            top, left, height, width = frame.inner
            quality = assess(mask, probability[top : top + height, left : left + width])
            reason = quality.reason
            if not reason and least < config.data.agreement:
                reason = (
                    f"disagreement: Dice {least:.3f} between views, expected at least"
                    f" {config.data.agreement}"
                )
            pair = example.pair
            values = (pair.name, pair.source, quality.verdict, round(least, 4), int(not reason))
            rows.append(dict(zip(FIELDS, (*values, reason), strict=True)))
            if not reason:
                share = np.rint(frame.to_network(mask.astype(np.float32)) * 255).astype(np.uint8)
                kept.append(replace(example, share=share, part="train"))
    return kept, rows


@torch.inference_mode()
def look(teacher: LungUNet, images: Tensor) -> Tensor:
    """Probabilities of lung [4, B, 1, H, W]: as it is, mirrored, smaller, smaller and mirrored.

    Args:
        teacher: In evaluation mode.
        images: [B, 1, H, W] in [0, 1].
    """
    height, width = images.shape[2:]
    inner = [round(SMALLER * height), round(SMALLER * width)]
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    small = torch.zeros_like(images)
    window = (..., slice(top, top + inner[0]), slice(left, left + inner[1]))
    small[window] = F.interpolate(images, inner, mode="bilinear", antialias=True)
    found = []
    for view in (images, small):
        plain, mirrored = teacher(view), teacher(view.flip(-1)).flip(-1)
        found += [plain, mirrored]
    size = [height, width]
    found[2:] = [F.interpolate(p[window], size, mode="bilinear") for p in found[2:]]
    return torch.stack(found)
