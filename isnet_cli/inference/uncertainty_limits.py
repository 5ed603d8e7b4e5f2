"""When to doubt a prediction: limits set on the validation images and kept in the model's card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from isnet_cli.core.files import write_json
from isnet_cli.dataset.image_dataset import ImageDataset, Version
from isnet_cli.errors import IsnetError
from isnet_cli.inference.limits import upper_limit
from isnet_cli.inference.margin import margins, undecided_limit
from isnet_cli.inference.model_files import CARD, TrainedModel
from isnet_cli.inference.ood_score import Cloud, fit_cloud, pack, unpack
from isnet_cli.stats.scores import decide
from isnet_models.features import decision_features

KEY = "doubts"  # of the card
SHARE = 0.02  # of the validation images may be called unlike the training images
IMAGES = 2000  # training images that the cloud is made from, at most, evenly over the set
NOT_STORED = "the model was trained before limits were stored; a new training stores them"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Limits:
    """What a card says about doubt.

    Attributes:
        cloud: The training images' features; None: unknown, `why_unlike` says why.
        unlike: Distance above which an image is unlike them; None likewise.
        unlike_share: Share of images like the validation images that exceed it.
        margin: Log-odds below which an image is undecided; None: `why_margin` says why.
        why_unlike: Reason for None, or "".
        why_margin: Reason for None, or "".
    """

    cloud: Cloud | None = None
    unlike: float | None = None
    unlike_share: float | None = None
    margin: float | None = None
    why_unlike: str = NOT_STORED
    why_margin: str = NOT_STORED


def find_limits(
    model: TrainedModel, train: ImageDataset, val: ImageDataset, version: Version, batch_size: int
) -> dict[str, Any]:
    """The card's entry on doubt, from one look at the training and the validation images.

    Args:
        model: The trained model.
        train: Training images; not augmented here.
        val: Validation images.
        version: Synthetic bias of both, as in training.
        batch_size: Images per forward pass.

    Returns:
        ``unlike``: ``limit``, ``share``, ``n`` and the ``cloud``; ``undecided``: ``limit``,
        ``share``, ``n`` and ``wrong``; each with ``why`` where the limit is None.
    """
    chosen = np.unique(np.linspace(0, len(train) - 1, IMAGES).round().astype(np.int64))
    try:
        features, _ = _look(model, train, chosen, version, batch_size)
        seen, logits = _look(model, val, np.arange(len(val)), version, batch_size)
    except ValueError as error:  # a network whose last layer is no plain one
        why = {"limit": None, "share": None, "n": len(val), "why": str(error)}
        return {"unlike": why, "undecided": why}
    thresholds = model.card["thresholds"] if model.card["task"] == "multilabel" else None
    margin = margins(logits, thresholds).min(axis=1)
    wrong = _wrong(logits, val.labels, thresholds)
    return {"unlike": _unlike(features, seen), "undecided": undecided_limit(margin, wrong)}


def add_limits(directory: Path, model: TrainedModel, limits: dict[str, Any]) -> None:
    """Writes the entry of `find_limits` into the card in `directory`."""
    write_json(directory / CARD, {**model.card, KEY: limits})


def limits_of(card: dict[str, Any], place: str) -> Limits:
    """What the card of a model says; a model of an earlier version says nothing.

    Args:
        card: The card.
        place: Where it lies, for messages.

    Raises:
        IsnetError: Kind "weights", when the entry is damaged.
    """
    if KEY not in card:
        return Limits()
    try:
        unlike, undecided = card[KEY]["unlike"], card[KEY]["undecided"]
        known = unlike["limit"] is not None
        return Limits(
            cloud=unpack(unlike["cloud"]) if known else None,
            unlike=float(unlike["limit"]) if known else None,
            unlike_share=float(unlike["share"]) if known else None,
            margin=None if undecided["limit"] is None else float(undecided["limit"]),
            why_unlike=str(unlike.get("why", "")),
            why_margin=str(undecided.get("why", "")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IsnetError(
            "weights",
            f"{place}: '{KEY}' cannot be read: {error}",
            fix="copy model.json again from the training run",
        ) from error


def _look(
    model: TrainedModel,
    store: ImageDataset,
    indices: NDArray[np.int64],
    version: Version,
    batch_size: int,
) -> tuple[Floats, Floats]:
    """Features [N, F] and logits [N, K] of images of a store."""
    device = next(model.net.parameters()).device
    features, logits = [], []
    for start in range(0, len(indices), batch_size):
        images, _ = store.batch(indices[start : start + batch_size], version=version)
        with torch.inference_mode():
            y, x = decision_features(model.net, images.to(device))
        features.append(x.double().cpu().numpy())
        logits.append(y.double().cpu().numpy())
    return np.concatenate(features), np.concatenate(logits)


def _unlike(features: Floats, seen: Floats) -> dict[str, Any]:
    try:
        cloud = fit_cloud(features)
    except ValueError as error:
        return {"limit": None, "share": None, "n": len(seen), "why": str(error)}
    found = upper_limit(cloud.distance(seen), SHARE)
    return found if found["limit"] is None else {**found, "cloud": pack(cloud)}


def _wrong(
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
