"""Is this mask a pair of lungs? Figures of one lung mask and a verdict with its reason.

Calibrated on the 644 manual masks of the Montgomery and Shenzhen films: 643 are ``ok``; the one
``suspect`` shows a lung destroyed by tuberculosis, 0.10 of the other's size.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the library's usual short name
from numpy.typing import NDArray

Verdict = Literal["ok", "suspect", "missing"]

AREA = (0.06, 0.65)  # share of the film; manual masks: 0.084 to 0.432
MIN_BALANCE = 0.25  # smaller lung / larger lung; manual masks: 0.10, then 0.26, median 0.85
MAX_COMPONENTS = 3  # two lungs, and one piece cut off by a device or the border; manual masks: 2
MAX_BORDERS = 2  # of the film's four; manual masks: 0 or 1
MIN_MARGIN = 0.80  # `probability_margin`; 97 held-out films: 0.83 to 0.95, median 0.93
SPECK = 0.002  # of the film: smaller pieces are not counted
PIECES_SIDE = 512  # px, longest side at which pieces are looked for: quick on large films too
DOUBT = 0.05  # probability from which a pixel takes part in the margin

QC_FIELDS = (
    "key", "origin", "area", "balance", "components", "borders", "margin", "verdict", "reason"
)  # fmt: skip


@dataclass(frozen=True)
class MaskQuality:
    """Figures of one mask; None where they are undefined.

    Attributes:
        area: Share of the film that is lung, 0 to 1.
        balance: Area of the smaller lung by that of the larger, 0 to 1. With one piece only, the
            film's middle column parts it.
        components: Pieces that are larger than `SPECK` of the film.
        borders: How many of the film's four borders the mask touches, 0 to 4.
        margin: `probability_margin`, 0 to 1; None for a mask from a file.
        verdict: ``ok``; ``suspect``: not like lungs; ``missing``: there is no mask.
        reason: Why not ok: ``code: sentence``; several are joined by ``; ``. Empty when ok.
    """

    area: float | None = None
    balance: float | None = None
    components: int | None = None
    borders: int | None = None
    margin: float | None = None
    verdict: Verdict = "ok"
    reason: str = ""

    def cells(self, key: str, origin: str) -> dict[str, Any]:
        """One line of ``qc.csv`` with the columns `QC_FIELDS`; shares with four decimals."""
        values = {"key": key, "origin": origin, **asdict(self)}
        return {
            name: "" if value is None else f"{value:.4f}" if isinstance(value, float) else value
            for name, value in values.items()
        }


def missing(reason: str) -> MaskQuality:
    """Quality of a film without a mask that could be used; `reason` is ``code: sentence``."""
    return MaskQuality(verdict="missing", reason=reason)


def assess(mask: NDArray[np.bool_], probability: NDArray[np.float32] | None = None) -> MaskQuality:
    """Judges one mask.

    Args:
        mask: [H, W] at any resolution.
        probability: [h, w], the network's output within the film (letterbox cut off), or None.
    """
    if not mask.any():
        return missing("empty: the mask holds no lung")
    step = -(-max(mask.shape) // PIECES_SIDE)
    small = mask[step // 2 :: step, step // 2 :: step]
    pieces = _pieces(small)
    touched = (mask[0], mask[-1], mask[:, 0], mask[:, -1])
    quality = MaskQuality(
        area=float(mask.mean()),
        balance=_balance(small, pieces),
        components=len(pieces),
        borders=sum(bool(line.any()) for line in touched),
        margin=None if probability is None else probability_margin(probability),
    )
    faults = list(_faults(quality))
    if not faults:
        return quality
    return MaskQuality(**{**asdict(quality), "verdict": "suspect", "reason": "; ".join(faults)})


def probability_margin(probability: NDArray[np.float32]) -> float:
    """How sure the network is where it sees lung: mean of |2p - 1| over pixels with p >= 0.05.

    1 is certain; an outline alone costs a few percent; a lung found half-heartedly costs much.
    0 when no pixel reaches 0.05.
    """
    concerned = probability[probability >= DOUBT]
    return float(np.abs(2 * concerned - 1).mean()) if concerned.size else 0.0


def _pieces(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Areas in px of the pieces above `SPECK` of the film, largest first."""
    image = sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True)
    areas = np.bincount(sitk.GetArrayViewFromImage(image).ravel())[1:]
    return np.sort(areas[areas >= SPECK * mask.size])[::-1]


def _balance(mask: NDArray[np.bool_], pieces: NDArray[np.int64]) -> float:
    if len(pieces) >= 2:
        return float(pieces[1] / pieces[0])
    middle = mask.shape[1] // 2
    halves = int(mask[:, :middle].sum()), int(mask[:, mask.shape[1] - middle :].sum())
    return min(halves) / max(1, *halves)


def _faults(quality: MaskQuality) -> list[str]:
    """Reasons against a mask that is there."""
    area, balance = quality.area or 0.0, quality.balance or 0.0
    components, borders = quality.components or 0, quality.borders or 0
    checks = (
        (area < AREA[0], f"small: {area:.0%} of the film, expected at least {AREA[0]:.0%}"),
        (area > AREA[1], f"large: {area:.0%} of the film, expected at most {AREA[1]:.0%}"),
        (
            balance < MIN_BALANCE,
            f"one-sided: one lung has {balance:.0%} of the other's area,"
            f" expected at least {MIN_BALANCE:.0%}",
        ),
        (
            components > MAX_COMPONENTS or components == 0,
            f"pieces: {components}, expected two (at most {MAX_COMPONENTS})",
        ),
        (
            borders > MAX_BORDERS,
            f"borders: touches {borders} of the film's borders, expected at most {MAX_BORDERS}",
        ),
        (
            quality.margin is not None and quality.margin < MIN_MARGIN,
            f"unsure: margin {quality.margin or 0:.2f}, expected at least {MIN_MARGIN:.2f}",
        ),
    )
    return [text for failed, text in checks if failed]
