"""Is this mask a pair of lungs? Figures of one lung mask and a verdict with its reason.

Calibrated on the 644 manual masks of the Montgomery and Shenzhen images: 643 are ``ok``; the one
``suspect`` shows a lung destroyed by tuberculosis, 0.10 of the other's size. The limits on the
network's margin were set beside the network's masks of the same images, of 963 bed-side and
out-patient images of other hospitals (least margin 0.71), and of pictures that are no chest image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the library's usual short name
from numpy.typing import NDArray

Verdict = Literal["ok", "suspect", "missing"]

AREA = (0.06, 0.65)  # share of the image; manual masks: 0.084 to 0.432
MIN_BALANCE = 0.25  # smaller lung / larger lung; manual masks: 0.10, then 0.26, median 0.85
MAX_COMPONENTS = 3  # two lungs, and one piece cut off by a device or the border; manual masks: 2
MAX_BORDERS = 2  # of the image's four; manual masks: 0 or 1
MIN_MARGIN = 0.82  # `probability_margin`; 97 held-out images: 0.83 to 0.95, median 0.93
CHEST_MARGIN = 0.70  # below, the network has found nothing that it knows: no mask is made
MAX_TILT = 30.0  # degrees; manual masks: 0 to 29, median 2.4
MIN_TALL = 0.90  # height by width of a lung; manual masks: 1.07 to 2.9
FILL = (0.27, 0.80)  # of its box that a lung fills; manual masks: 0.28 to 0.78, median 0.56
MAX_WAIST = 0.6  # of the tallest column: one piece without a waist is no pair of lungs
SPECK = 0.002  # of the image: smaller pieces are not counted
PIECES_SIDE = 256  # px, longest side at which pieces are looked for: quick on large images too
DOUBT = 0.05  # probability from which a pixel takes part in the margin

QC_FIELDS = (
    "key", "origin", "area", "balance", "components", "borders", "tilt", "tall", "fill", "waist",
    "margin", "verdict", "reason",
)  # fmt: skip


@dataclass(frozen=True)
class MaskQuality:
    """Figures of one mask; None where they are undefined.

    Attributes:
        area: Share of the image that is lung, 0 to 1.
        balance: Area of the smaller lung by that of the larger, 0 to 1. With one piece only, the
            image's middle column parts it.
        components: Pieces that are larger than `SPECK` of the image.
        borders: How many of the image's four borders the mask touches, 0 to 4.
        tilt: Angle in degrees, 0 to 90, between the horizontal and the line through both lungs'
            centres.
        tall: Height by width of the lung for which this is least.
        fill: Share of its upright box that a lung fills, of the lung for which this is least.
        waist: With one piece only, its shortest column between the lungs by its tallest; else 0.
        margin: `probability_margin`, 0 to 1; None for a mask from a file.
        verdict: ``ok``; ``suspect``: not like lungs; ``missing``: there is no mask.
        reason: Why not ok: ``code: sentence``; several are joined by ``; ``. Empty when ok.
    """

    area: float | None = None
    balance: float | None = None
    components: int | None = None
    borders: int | None = None
    tilt: float | None = None
    tall: float | None = None
    fill: float | None = None
    waist: float | None = None
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
    """Quality of an image without a mask that could be used; `reason` is ``code: sentence``."""
    return MaskQuality(verdict="missing", reason=reason)


def assess(mask: NDArray[np.bool_], probability: NDArray[np.float32] | None = None) -> MaskQuality:
    """Judges one mask.

    Args:
        mask: [H, W] at any resolution.
        probability: [h, w], the network's output within the image (letterbox cut off), or None.
    """
    if not mask.any():
        return missing("empty: the mask holds no lung")
    margin = None if probability is None else probability_margin(probability)
    if margin is not None and margin < CHEST_MARGIN:
        return replace(
            missing(
                f"not_chest: margin {margin:.2f}, below {CHEST_MARGIN:.2f} the picture is taken for"
                " no upright frontal chest image with bright bones"
            ),
            margin=margin,
        )
    step = -(-max(mask.shape) // PIECES_SIDE)
    small = mask[step // 2 :: step, step // 2 :: step]
    labels, pieces = _pieces(small)
    tilt, tall, fill, waist = _shape(small, labels, pieces)
    touched = (mask[0], mask[-1], mask[:, 0], mask[:, -1])
    quality = MaskQuality(
        area=float(mask.mean()),
        balance=_balance(small, pieces),
        components=len(pieces),
        borders=sum(bool(line.any()) for line in touched),
        margin=margin,
        tilt=tilt,
        tall=tall,
        fill=fill,
        waist=waist,
    )
    faults = list(_faults(quality))
    return replace(quality, verdict="suspect", reason="; ".join(faults)) if faults else quality


def probability_margin(probability: NDArray[np.float32]) -> float:
    """How sure the network is where it sees lung: mean of |2p - 1| over pixels with p >= 0.05.

    1 is certain; an outline alone costs a few percent; a lung found half-heartedly costs much.
    0 when no pixel reaches 0.05.
    """
    concerned = probability[probability >= DOUBT]
    return float(np.abs(2 * concerned - 1).mean()) if concerned.size else 0.0


def _pieces(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], list[tuple[int, int]]]:
    """Numbered pieces, and (area in px, number) of those above `SPECK`, largest first."""
    image = sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True)
    labels = sitk.GetArrayFromImage(image)
    areas = np.bincount(labels.ravel())
    found = [(int(area), n) for n, area in enumerate(areas) if n and area >= SPECK * mask.size]
    return labels, sorted(found, key=lambda piece: (-piece[0], piece[1]))


def _shape(
    mask: NDArray[np.bool_], labels: NDArray[np.int64], pieces: list[tuple[int, int]]
) -> tuple[float | None, float | None, float | None, float]:
    """Tilt, tallness, filling (None when there are no two lungs to look at), and waist."""
    waist = 0.0
    if len(pieces) >= 2:
        lungs = [labels == number for _, number in pieces[:2]]
    else:
        columns = np.flatnonzero(mask.any(axis=0))
        left, right = int(columns[0]), int(columns[-1]) + 1
        heights = mask.sum(axis=0)
        inner = slice(left + (right - left) // 4, max(right - (right - left) // 4, left + 1))
        cut = inner.start + int(heights[inner].argmin()) if inner.stop > inner.start else left
        waist = float(heights[cut] / heights.max())
        lungs = [mask.copy(), mask.copy()]
        lungs[0][:, cut:] = False
        lungs[1][:, :cut] = False
    boxes = [_box(lung) for lung in lungs if lung.any()]
    if len(boxes) < 2:
        return None, None, None, waist
    (y, x, *_), (other_y, other_x, *_) = boxes
    tilt = float(np.degrees(np.arctan2(abs(y - other_y), abs(x - other_x))))
    return tilt, min(box[2] for box in boxes), min(box[3] for box in boxes), waist


def _box(lung: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """Centre (row, column), height by width, and filled share of the upright box of a region."""
    rows, columns = np.nonzero(lung)
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    return (
        float(rows.mean()), float(columns.mean()),
        float(height / width), float(len(rows) / (height * width)),
    )  # fmt: skip


def _balance(mask: NDArray[np.bool_], pieces: list[tuple[int, int]]) -> float:
    if len(pieces) >= 2:
        return pieces[1][0] / pieces[0][0]
    middle = mask.shape[1] // 2
    halves = int(mask[:, :middle].sum()), int(mask[:, mask.shape[1] - middle :].sum())
    return min(halves) / max(1, *halves)


def _faults(quality: MaskQuality) -> list[str]:
    """Reasons against a mask that is there."""
    area, balance = quality.area or 0.0, quality.balance or 0.0
    components, borders = quality.components or 0, quality.borders or 0
    checks = (
        (area < AREA[0], f"small: {area:.0%} of the image, expected at least {AREA[0]:.0%}"),
        (area > AREA[1], f"large: {area:.0%} of the image, expected at most {AREA[1]:.0%}"),
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
            f"borders: touches {borders} of the image's borders, expected at most {MAX_BORDERS}",
        ),
        *_shape_checks(quality),
        (
            quality.margin is not None and quality.margin < MIN_MARGIN,
            f"unsure: margin {quality.margin or 0:.2f}, expected at least {MIN_MARGIN:.2f}",
        ),
    )
    return [text for failed, text in checks if failed]


def _shape_checks(quality: MaskQuality) -> Iterator[tuple[bool, str]]:
    """What is not like lungs in position and outline."""
    if quality.tilt is not None and quality.tall is not None and quality.fill is not None:
        yield (
            quality.tilt > MAX_TILT,
            f"tilted: one lung lies higher by {quality.tilt:.0f} degrees,"
            f" expected at most {MAX_TILT:.0f}",
        )
        yield (
            quality.tall < MIN_TALL,
            f"flat: a lung's height is {quality.tall:.2f} of its width,"
            f" expected at least {MIN_TALL:.2f}",
        )
        yield (
            not FILL[0] <= quality.fill <= FILL[1],
            f"outline: fills {quality.fill:.0%} of its box,"
            f" expected {FILL[0]:.0%} to {FILL[1]:.0%}",
        )
    if quality.waist is not None:
        yield (
            quality.waist > MAX_WAIST,
            f"merged: one piece, between the lungs {quality.waist:.0%} as tall as elsewhere,"
            f" expected at most {MAX_WAIST:.0%}",
        )
