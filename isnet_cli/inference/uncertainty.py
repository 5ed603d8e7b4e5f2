"""Doubt about one prediction, as cells of ``predictions.csv``: three flags and their reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isnet_cli.inference.margin import margins
from isnet_cli.inference.uncertainty_limits import Limits

FLAGS = ("mask", "unlike", "undecided")
COLUMNS = ("doubt", "mask", "unlike", "distance", "undecided", "margin", "why")
NOT_FINITE = "not_finite: the model's answer is no number; no prediction"
MASKS = {"ok": "0", "suspect": "1", "missing": "1"}


@dataclass(frozen=True)
class Doubter:
    """Judges predictions of one model.

    Attributes:
        limits: What its card says.
        classes: Names, K.
        thresholds: Multi-label: [K]; else None.
    """

    limits: Limits
    classes: Sequence[str]
    thresholds: Sequence[float] | None

    def cells(
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
        found = {"mask": MASKS[verdict]}
        why = [] if verdict == "ok" else [f"mask_{verdict}: {reason or 'no lung mask'}"]
        if not np.isfinite(logits).all():
            return _cells({**found, "why": "; ".join([*why, NOT_FINITE])})
        for flag, (cells, sentence) in {
            "unlike": self._unlike(distance),
            "undecided": self._undecided(logits, probabilities),
        }.items():
            found |= cells
            if sentence:
                why.append(f"{flag}{'' if cells[flag] else '_unknown'}: {sentence}")
        return _cells({**found, "why": "; ".join(why)})

    def _unlike(self, distance: float) -> tuple[dict[str, str], str]:
        limits = self.limits
        if limits.unlike is None:
            return {"unlike": ""}, limits.why_unlike
        ratio = distance / limits.unlike
        cells = {"unlike": str(int(ratio > 1)), "distance": f"{ratio:.4g}"}
        if ratio <= 1:
            return cells, ""
        share = f"{100 * (limits.unlike_share or 0):.2g} %"
        return cells, (
            f"{ratio:.2f} times as far from the training images as the limit, which {share} of"
            " images like them exceed"
        )

    def _undecided(
        self, logits: NDArray[np.float64], probabilities: NDArray[np.float64]
    ) -> tuple[dict[str, str], str]:
        found = margins(logits[None], self.thresholds)[0]
        cells = {"margin": f"{found.min():.4g}"}
        if self.limits.margin is None:
            return {"undecided": "", **cells}, self.limits.why_margin
        near = [int(k) for k in np.flatnonzero(found < self.limits.margin)]
        cells["undecided"] = str(int(bool(near)))
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


def _cells(found: dict[str, str]) -> dict[str, str]:
    flagged = NOT_FINITE in found["why"] or any(found.get(flag) == "1" for flag in FLAGS)
    return {name: {"doubt": str(int(flagged)), **found}.get(name, "") for name in COLUMNS}
