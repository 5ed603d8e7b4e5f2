"""Partners whose backgrounds an image may take: another or the same class, lungs alike in place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

CANDIDATES = 32  # partners compared per image


def choose_partners(
    masks: NDArray[np.bool_],
    labels: NDArray[np.float32],
    rng: np.random.Generator,
    *,
    same: bool = False,
    patients: Sequence[str] = (),
    step: int = 4,
) -> NDArray[np.int64]:
    """For each image an image of another (or the same) class, with lungs of nearly the same place.

    Of `CANDIDATES` drawn images the one whose lungs overlap best (intersection over union) is
    taken, so that little of the partner's own lungs shows around the image's lungs.

    Args:
        masks: Lungs, bool [N, h, w].
        labels: Class index [N], -1 unknown; or [N, K] of 0, 1, NaN. Several labels are another
            class where any label known of both differs, the same where one is known of both and
            none differs.
        rng: Source of the candidates.
        same: An image of the same class instead; never the image itself.
        patients: Patient of each image, "" unknown; images of one patient are no partners.
        step: Masks are compared on every `step`-th row and column.

    Returns:
        Index of the partner, [N]; -1 where no such image exists.
    """
    thin = masks[:, ::step, ::step].astype(np.float32)
    small = thin.reshape(len(masks), thin.shape[1] * thin.shape[2])
    people = np.array(list(patients) or [""] * len(masks), dtype=object)
    chosen = np.full(len(masks), -1, np.int64)
    for i in range(len(masks)):
        fits = _agree(labels, i) if same else _differ(labels, i)
        fits[i] = False
        if people[i]:
            fits &= people != people[i]
        found = np.flatnonzero(fits)
        if len(found) == 0:
            continue
        drawn = rng.choice(found, min(CANDIDATES, len(found)), replace=False)
        shared = small[drawn] @ small[i]
        union = small[drawn].sum(1) + small[i].sum() - shared
        chosen[i] = drawn[int(np.argmax(shared / np.maximum(union, 1)))]
    return chosen


def _differ(labels: NDArray[np.float32], i: int) -> NDArray[np.bool_]:
    if labels.ndim == 1:
        return np.asarray((labels != labels[i]) & (labels >= 0) & (labels[i] >= 0))
    different = (labels != labels[i]) & ~np.isnan(labels) & ~np.isnan(labels[i])
    return np.asarray(different.any(axis=1))


def _agree(labels: NDArray[np.float32], i: int) -> NDArray[np.bool_]:
    if labels.ndim == 1:
        return np.asarray((labels == labels[i]) & (labels[i] >= 0))
    known = ~np.isnan(labels) & ~np.isnan(labels[i])
    return np.asarray(known.any(axis=1) & ~(known & (labels != labels[i])).any(axis=1))
