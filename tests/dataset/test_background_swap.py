"""Partners for a swap of backgrounds: of another or the same class, with lungs that fit."""

from __future__ import annotations

import numpy as np
import pytest

from isnet_cli.dataset import background_swap
from isnet_cli.dataset.background_swap import CANDIDATES, choose_partners


def test_partners_are_of_another_class_and_fit() -> None:
    masks = np.zeros((6, 16, 16), bool)
    for i, left in enumerate((0, 0, 0, 0, 8, 8)):
        masks[i, 4:12, left : left + 8] = True
    labels = np.array([0, 1, 0, 1, 1, 0], np.float32)
    found = choose_partners(masks, labels, np.random.default_rng(0))
    assert all(labels[i] != labels[j] for i, j in enumerate(found))
    assert all(np.array_equal(masks[i], masks[j]) for i, j in enumerate(found))
    alone = choose_partners(masks, np.zeros(6, np.float32), np.random.default_rng(0))
    assert (alone == -1).all()


def test_partners_of_the_same_class_are_other_images_of_other_patients() -> None:
    masks = np.ones((7, 8, 8), bool)
    labels = np.array([0, 0, 0, 1, 1, 2, -1], np.float32)
    patients = ["a", "a", "b", "c", "c", "d", ""]
    found = choose_partners(masks, labels, np.random.default_rng(0), same=True, patients=patients)
    assert found.tolist() == [2, 2, found[2], -1, -1, -1, -1]
    assert found[2] in (0, 1)
    other = choose_partners(masks, labels, np.random.default_rng(0), patients=patients)
    assert all(labels[j] not in (labels[i], -1) for i, j in enumerate(other[:-1]))
    assert other[-1] == -1  # nobody knows what another class would be


def test_partners_of_several_labels() -> None:
    unknown = np.nan
    labels = np.array([[1, 0], [1, unknown], [0, 0], [unknown, 1], [unknown, unknown]], np.float32)
    masks = np.ones((5, 4, 4), bool)
    for seed in range(20):
        same = choose_partners(masks, labels, np.random.default_rng(seed), same=True)
        other = choose_partners(masks, labels, np.random.default_rng(seed))
        assert same.tolist() == [1, 0, -1, -1, -1]
        assert other[0] in (2, 3)
        assert other[1] == 2
        assert other[2] in (0, 1, 3)
        assert other[3] in (0, 2)
        assert other[4] == -1


def test_partners_take_the_lungs_that_overlap_best() -> None:
    masks = np.zeros((4, 12, 12), bool)
    for i, top in enumerate((2, 5, 3, 0)):
        masks[i, top : top + 6, 3:9] = True
    labels = np.array([0, 1, 1, 1], np.float32)
    assert choose_partners(masks, labels, np.random.default_rng(0), step=1)[0] == 2


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("listed", [2**25, 100])
def test_partners_are_those_of_the_slow_way(
    same: bool, several: bool, listed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each image's own list of what fits, and a draw from it."""
    monkeypatch.setattr(background_swap, "LISTED", listed)
    rng = np.random.default_rng(1)
    masks = rng.random((90, 8, 8)) < 0.5
    labels = rng.integers(-1, 3, 90).astype(np.float32)
    if several:
        labels = rng.choice([0, 1, np.nan], (90, 2)).astype(np.float32)
    patients = [f"p{n}" if n else "" for n in rng.integers(0, 30, 90)]
    expected, chance = [], np.random.default_rng(2)
    find = background_swap._agree if same else background_swap._differ
    for i in range(90):
        fits = find(labels, i)
        fits[i] = False
        if patients[i]:
            fits &= np.array([person != patients[i] for person in patients])
        found = np.flatnonzero(fits)
        if not len(found):
            expected.append(-1)
            continue
        drawn = chance.choice(found, min(CANDIDATES, len(found)), replace=False)
        shared = (masks[drawn] & masks[i]).sum((1, 2))
        union = (masks[drawn] | masks[i]).sum((1, 2))
        expected.append(drawn[int(np.argmax(shared.astype(np.float32) / union))])
    ours = choose_partners(
        masks, labels, np.random.default_rng(2), same=same, patients=patients, step=1
    )
    assert ours.tolist() == expected
