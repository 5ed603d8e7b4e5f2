"""Limits of the uncertainty flags, from one pass over the training and validation images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from isnet_cli.core.files import write_json
from isnet_cli.core.records.cards import CARD
from isnet_cli.dataset.image_dataset import ImageDataset, Version
from isnet_cli.inference.model_files import TrainedModel
from isnet_cli.inference.ood_score import fit_cloud, pack
from isnet_cli.inference.uncertainty import (
    KEY,
    Floats,
    compute_margins,
    find_margin_limit,
    upper_limit,
)
from isnet_cli.stats.scores import decide
from isnet_models.features import decision_features

OOD_SHARE = 0.02  # of the validation images may be flagged as out of distribution
IMAGES = 2000  # training images that the cloud is made from, at most, evenly over the set


def find_limits(
    model: TrainedModel, train: ImageDataset, val: ImageDataset, version: Version, batch_size: int
) -> dict[str, Any]:
    """The card's entry on uncertainty, from one pass over the training and the validation images.

    Args:
        model: The trained model.
        train: Training images; not augmented here.
        val: Validation images.
        version: Synthetic bias of both, as in training.
        batch_size: Images per forward pass.

    Returns:
        ``ood``: ``limit``, ``share``, ``n`` and the ``cloud``; ``margin``: ``limit``,
        ``share``, ``n`` and ``wrong``; each with ``why`` where the limit is None.
    """
    chosen = np.unique(np.linspace(0, len(train) - 1, IMAGES).round().astype(np.int64))
    try:
        features, _ = _look(model, train, chosen, version, batch_size)
        seen, logits = _look(model, val, np.arange(len(val)), version, batch_size)
    except ValueError as error:  # a network whose last layer is no plain one
        why = {"limit": None, "share": None, "n": len(val), "why": str(error)}
        return {"ood": why, "margin": why}
    thresholds = model.card["thresholds"] if model.card["task"] == "multilabel" else None
    margin = compute_margins(logits, thresholds).min(axis=1)
    wrong = _find_wrong(logits, val.labels, thresholds)
    return {"ood": _find_ood_limit(features, seen), "margin": find_margin_limit(margin, wrong)}


def save_limits(directory: Path, model: TrainedModel, limits: dict[str, Any]) -> None:
    """Writes the entry of `find_limits` into the card in `directory`."""
    write_json(directory / CARD, {**model.card, KEY: limits})


def _look(
    model: TrainedModel,
    dataset: ImageDataset,
    indices: NDArray[np.int64],
    version: Version,
    batch_size: int,
) -> tuple[Floats, Floats]:
    """Features [N, F] and logits [N, K] of chosen images."""
    device = next(model.net.parameters()).device
    features, logits = [], []
    for start in range(0, len(indices), batch_size):
        images, _ = dataset.batch(indices[start : start + batch_size], version=version)
        with torch.inference_mode():
            y, x = decision_features(model.net, images.to(device))
        features.append(x.double().cpu().numpy())
        logits.append(y.double().cpu().numpy())
    return np.concatenate(features), np.concatenate(logits)


def _find_ood_limit(features: Floats, seen: Floats) -> dict[str, Any]:
    try:
        cloud = fit_cloud(features)
    except ValueError as error:
        return {"limit": None, "share": None, "n": len(seen), "why": str(error)}
    found = upper_limit(cloud.distance(seen), OOD_SHARE)
    return found if found["limit"] is None else {**found, "cloud": pack(cloud)}


def _find_wrong(
    logits: Floats, labels: NDArray[np.float32], thresholds: Sequence[float] | None
) -> Floats:
    """Whether each prediction is wrong (any known label of several); NaN without a label."""
    if thresholds is None:
        wrong = (logits.argmax(axis=1) != labels).astype(np.float64)
        return np.where(labels >= 0, wrong, np.nan)
    p = 1 / (1 + np.exp(-np.clip(logits, -500, 500)))
    known = ~np.isnan(labels)
    differs = known & (decide(p, thresholds, logits.shape[1]) != (labels == 1))
    return np.where(known.any(axis=1), differs.any(axis=1).astype(np.float64), np.nan)
