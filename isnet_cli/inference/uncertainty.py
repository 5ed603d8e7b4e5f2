"""Uncertainty flags of a prediction, and their limits from the validation images.

The limits are set once, after training, and kept in the model's card.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from isnet_cli.core.files import write_json
from isnet_cli.core.records.cards import CARD
from isnet_cli.dataset.image_dataset import ImageDataset, Version
from isnet_cli.errors import IsnetError, explain_error
from isnet_cli.inference.model_files import TrainedModel
from isnet_cli.inference.ood_score import Cloud, fit_cloud, pack, unpack
from isnet_cli.stats.scores import decide
from isnet_models.features import decision_features

FEWEST = 10  # validation images; fewer say nothing about one image in ten
MARGIN_SHARE = 0.1  # of the validation images are flagged for a small margin
Floats = NDArray[np.float64]
KEY = "uncertainty"  # of the card
OOD_SHARE = 0.02  # of the validation images may be flagged as out of distribution
IMAGES = 2000  # training images that the cloud is made from, at most, evenly over the set
NOT_STORED = "the model was trained before limits were stored; a new training stores them"
FLAGS = ("mask", "ood", "margin")  # columns flag_mask, flag_ood, flag_margin
COLUMNS = (
    "uncertain", "flag_mask", "flag_ood", "ood_score", "flag_margin", "margin", "reasons",
)  # fmt: skip
NOT_FINITE = "not_finite: the model's answer is no number; no prediction"
MASKS = {"ok": "0", "suspect": "1", "missing": "1"}


def upper_limit(values: ArrayLike, share: float) -> dict[str, Any]:
    """The value that about `share` of images like these exceed.

    The k-th smallest of n values, k = ceil((1 - share) (n + 1)), at most n: a further image drawn
    like them exceeds it with probability (n + 1 - k) / (n + 1) or less, whatever the distribution
    (split conformal prediction; Vovk et al., Algorithmic Learning in a Random World, 2005; Bates
    et al., Testing for outliers with conformal p-values, Annals of Statistics 51:149, 2023).

    Args:
        values: [n], one per validation image.
        share: Wanted share, above 0 and below 1; with few images the smallest possible is larger.

    Returns:
        ``limit``, ``share`` (what the rule grants: (n + 1 - k) / (n + 1)) and ``n``; with fewer
        than `FEWEST` values, or one that is not a number, ``limit`` is None and ``why`` says so.
    """
    found = np.sort(np.asarray(values, np.float64))
    n = len(found)
    if n < FEWEST:
        return _none(n, f"too few validation images: {n}, expected {FEWEST} or more")
    if np.isnan(found).any():
        return _none(n, "values of validation images are not numbers")
    k = min(n, math.ceil((1 - share) * (n + 1)))
    if not np.isfinite(found[k - 1]):
        return _none(n, "values of validation images are not finite")
    return {"limit": float(found[k - 1]), "share": (n + 1 - k) / (n + 1), "n": n}


def lower_limit(values: ArrayLike, share: float) -> dict[str, Any]:
    """As `upper_limit`: the value that about `share` of images like these fall below."""
    found = upper_limit(-np.asarray(values, np.float64), share)
    return {**found, "limit": None if found["limit"] is None else -found["limit"]}


def _none(n: int, why: str) -> dict[str, Any]:
    return {"limit": None, "share": None, "n": n, "why": why}


def compute_margins(logits: ArrayLike, thresholds: Sequence[float] | None) -> Floats:
    """Log-odds between what is predicted and the nearest other prediction, [N, M], >= 0.

    Multi-class: log(p1 / p2) of the two most probable classes, M = 1. Multi-label: for each label
    |logit(p) - logit(threshold)|, M = K; infinite for a threshold of 0 or 1.

    Args:
        logits: [N, K]; multi-class with K >= 2.
        thresholds: Multi-label: [K] in [0, 1]; None for exclusive classes.
    """
    y = np.asarray(logits, np.float64)
    if thresholds is None:
        top = np.sort(y, axis=1)
        return top[:, -1:] - top[:, -2:-1]
    t = np.asarray(thresholds, np.float64)
    with np.errstate(divide="ignore"):
        found: Floats = np.abs(y - (np.log(t) - np.log1p(-t)))
    return found


def find_margin_limit(margin: ArrayLike, wrong: ArrayLike) -> dict[str, Any]:
    """The margin below which an image is flagged, by the validation images.

    Args:
        margin: Smallest margin of each validation image [n].
        wrong: Whether its prediction was wrong; NaN where its label is unknown [n].

    Returns:
        As `lower_limit` with `MARGIN_SHARE`, and ``wrong``: the share of wrong predictions
        ``below`` the limit and from there (``above``), None without images.
    """
    values, faults = np.asarray(margin, np.float64), np.asarray(wrong, np.float64)
    found = lower_limit(values, MARGIN_SHARE)
    if found["limit"] is None:
        return found
    below = values < found["limit"]
    return {**found, "wrong": {"below": _mean(faults[below]), "above": _mean(faults[~below])}}


def _mean(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


@dataclass(frozen=True)
class Limits:
    """Limits of the flags, as the card has them.

    Attributes:
        cloud: The training images' features; None: unknown, `ood_reason` says why.
        ood_limit: Distance from them above which an image is flagged; None likewise.
        ood_share: Share of images like the validation images that exceed it.
        margin_limit: Log-odds below which an image is flagged; None: `margin_reason` says why.
        ood_reason: Reason for None, or "".
        margin_reason: Reason for None, or "".
    """

    cloud: Cloud | None = None
    ood_limit: float | None = None
    ood_share: float | None = None
    margin_limit: float | None = None
    ood_reason: str = NOT_STORED
    margin_reason: str = NOT_STORED


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


def read_limits(card: dict[str, Any], place: str) -> Limits:
    """The limits in the card of a model; a card without them gives no limits.

    Args:
        card: The card.
        place: Where it lies, for messages.

    Raises:
        IsnetError: Kind "weights", when the entry is damaged.
    """
    if KEY not in card:
        return Limits()
    try:
        ood, margin = card[KEY]["ood"], card[KEY]["margin"]
        known = ood["limit"] is not None
        return Limits(
            cloud=unpack(ood["cloud"]) if known else None,
            ood_limit=float(ood["limit"]) if known else None,
            ood_share=float(ood["share"]) if known else None,
            margin_limit=None if margin["limit"] is None else float(margin["limit"]),
            ood_reason=str(ood.get("why", "")),
            margin_reason=str(margin.get("why", "")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IsnetError(
            "weights",
            f"{place}: '{KEY}' cannot be read: {explain_error(error, (ValueError,))}",
            fix="copy model.json again from the training run",
        ) from error


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


@dataclass(frozen=True)
class Flagger:
    """Flags uncertain predictions of one model.

    Attributes:
        limits: What its card says.
        classes: Names, K.
        thresholds: Multi-label: [K]; else None.
    """

    limits: Limits
    classes: Sequence[str]
    thresholds: Sequence[float] | None

    def flag_prediction(
        self,
        logits: NDArray[np.float64],
        probabilities: NDArray[np.float64],
        distance: float,
        mask: tuple[str, str],
    ) -> dict[str, str]:
        """Cells of `COLUMNS`; a flag is 1, 0, or empty where it cannot be given.

        Args:
            logits: [K].
            probabilities: [K].
            distance: From the training images, NaN when the limits have no cloud.
            mask: Verdict on the lung mask (``ok``, ``suspect``, ``missing``) and its reason.
        """
        verdict, reason = mask
        found = {"flag_mask": MASKS[verdict]}
        reasons = [] if verdict == "ok" else [f"mask_{verdict}: {reason or 'no lung mask'}"]
        if not np.isfinite(logits).all():
            return _complete({**found, "reasons": "; ".join([*reasons, NOT_FINITE])})
        for flag, (cells, sentence) in {
            "ood": self._flag_ood(distance),
            "margin": self._flag_margin(logits, probabilities),
        }.items():
            found |= cells
            if sentence:
                known = cells[f"flag_{flag}"] != ""
                reasons.append(f"{flag}{'' if known else '_unknown'}: {sentence}")
        return _complete({**found, "reasons": "; ".join(reasons)})

    def _flag_ood(self, distance: float) -> tuple[dict[str, str], str]:
        limits = self.limits
        if limits.ood_limit is None:
            return {"flag_ood": ""}, limits.ood_reason
        score = distance / limits.ood_limit
        cells = {"flag_ood": str(int(score > 1)), "ood_score": f"{score:.4g}"}
        if score <= 1:
            return cells, ""
        share = f"{100 * (limits.ood_share or 0):.2g} %"
        return cells, (
            f"{score:.2f} times as far from the training images as the limit, which {share} of"
            " images like them exceed"
        )

    def _flag_margin(
        self, logits: NDArray[np.float64], probabilities: NDArray[np.float64]
    ) -> tuple[dict[str, str], str]:
        found = compute_margins(logits[None], self.thresholds)[0]
        cells = {"margin": f"{found.min():.4g}"}
        if self.limits.margin_limit is None:
            return {"flag_margin": "", **cells}, self.limits.margin_reason
        near = [int(k) for k in np.flatnonzero(found < self.limits.margin_limit)]
        cells["flag_margin"] = str(int(bool(near)))
        if not near:
            return cells, ""
        if self.thresholds is None:
            first, second = np.argsort(-logits, kind="stable")[:2]
            near = [int(first), int(second)]
            return cells, " or ".join(f"{self.classes[k]} {probabilities[k]:.2f}" for k in near)
        return cells, ", ".join(
            f"{self.classes[k]} {probabilities[k]:.2f} (threshold {self.thresholds[k]:.2f})"
            for k in near
        )


def _complete(found: dict[str, str]) -> dict[str, str]:
    flagged = NOT_FINITE in found["reasons"] or any(
        found.get(f"flag_{flag}") == "1" for flag in FLAGS
    )
    return {name: {"uncertain": str(int(flagged)), **found}.get(name, "") for name in COLUMNS}
