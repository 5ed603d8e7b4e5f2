"""Partners whose backgrounds an image may take: another or the same class, lungs alike in place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

CANDIDATES = 32  # partners compared per image
LISTED = 2**25  # entries of the lists of fitting images that are kept


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
    thin = masks[:, ::step, ::step]
    small = thin.reshape(len(masks), thin.shape[1] * thin.shape[2])
    fitting = _Fitting(labels, patients, same)
    chosen = np.full(len(masks), -1, np.int64)
    for i in range(len(masks)):
        drawn = fitting.draw(i, rng)
        if len(drawn) == 0:
            continue
        theirs, own = small[drawn].astype(np.float32), small[i].astype(np.float32)
        shared = theirs @ own
        union = theirs.sum(1) + own.sum() - shared
        chosen[i] = drawn[int(np.argmax(shared / np.maximum(union, 1)))]
    return chosen


class _Fitting:
    """Images that fit as partners, listed once for all images of the same labels.

    The time for one image does not grow with their number, nor do the draws depend on the list.

    Args:
        labels: As in `choose_partners`, and so are `patients` and `same`.
        patients: See there.
        same: See there.
    """

    def __init__(self, labels: NDArray[np.float32], patients: Sequence[str], same: bool) -> None:
        self._labels, self._find = labels, _agree if same else _differ
        self._lists: dict[bytes, NDArray[np.int64]] = {}
        self._most = max(1, LISTED // max(1, len(labels)))
        self._people: dict[str, list[int]] = {}
        for i, person in enumerate(patients):
            self._people.setdefault(person, []).append(i)
        self._patients = patients

    def draw(self, i: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Up to `CANDIDATES` of the images that fit image `i`, never itself or its patient's."""
        found = self._list(i)
        person = self._patients[i] if self._patients else ""
        barred = np.array(self._people[person] if person else [i])
        at = np.searchsorted(found, barred)
        there = at[at < len(found)]
        there = there[found[there] == barred[at < len(found)]]
        count = len(found) - len(there)
        if count == 0:
            return found[:0]
        drawn = rng.choice(count, min(CANDIDATES, count), replace=False)
        # the place in the list of the place among those that are not barred
        passed = np.searchsorted(there - np.arange(len(there)), drawn, side="right")
        chosen: NDArray[np.int64] = found[drawn + passed]
        return chosen

    def _list(self, i: int) -> NDArray[np.int64]:
        key = self._labels[i].tobytes()
        if key not in self._lists:
            if len(self._lists) == self._most:
                self._lists.clear()
            self._lists[key] = np.flatnonzero(self._find(self._labels, i))
        return self._lists[key]


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
