"""Uncertainty flags of a prediction, and their limits from the validation images.

The limits are set once, after training (`isnet_cli.inference.fit_limits`), and kept in the model's
card. No torch is needed to flag.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isnet_cli.errors import IsnetError, explain_error
from isnet_cli.inference.ood_score import Cloud, unpack

FEWEST = 10  # validation images; fewer say nothing about one image in ten
MARGIN_SHARE = 0.1  # of the validation images are flagged for a small margin
Floats = NDArray[np.float64]
KEY = "uncertainty"  # of the card
NOT_STORED = "the model was trained before limits were stored; a new training stores them"
FLAGS = ("mask", "ood", "margin")  # columns flag_mask, flag_ood, flag_margin
COLUMNS = (
    "uncertain", "flag_mask", "flag_ood", "ood_score", "flag_margin", "margin", "reasons",
)  # fmt: skip
NOT_FINITE = "not_finite: the model's answer is no number; no prediction"
NO_MASK = "unknown"  # verdict where no mask was made
MASKS = {"ok": "0", "suspect": "1", "missing": "1", NO_MASK: ""}


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
            mask: Verdict on the lung mask (``ok``, ``suspect``, ``missing``, or `NO_MASK`) and its
                reason.
        """
        verdict, reason = mask
        found = {"flag_mask": MASKS[verdict]}
        reasons = (
            [] if verdict in ("ok", NO_MASK) else [f"mask_{verdict}: {reason or 'no lung mask'}"]
        )
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
