"""Backgrounds are swapped with a fitting film of another class; the lungs stay."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from isnet_cli.data.swap import (
    GAIN,
    RING,
    match_brightness,
    partners,
    swap_backgrounds,
    transplant,
)


def test_partners_are_of_another_class_and_fit() -> None:
    masks = np.zeros((6, 16, 16), bool)
    for i, left in enumerate((0, 0, 0, 0, 8, 8)):
        masks[i, 4:12, left : left + 8] = True
    labels = np.array([0, 1, 0, 1, 1, 0], np.float32)
    found = partners(masks, labels, np.random.default_rng(0))
    assert all(labels[i] != labels[j] for i, j in enumerate(found))
    assert all(np.array_equal(masks[i], masks[j]) for i, j in enumerate(found))
    alone = partners(masks, np.zeros(6, np.float32), np.random.default_rng(0))
    assert (alone == -1).all()


def test_swapping_keeps_the_lungs_and_takes_the_rest() -> None:
    lungs = torch.zeros(1, 1, 64, 64)
    lungs[..., 20:44, 10:28] = 1
    own, other = torch.full((1, 3, 64, 64), 0.2), torch.full((1, 3, 64, 64), 0.9)
    mixed = swap_backgrounds(own, lungs, other)
    inside = lungs.bool().expand_as(mixed)
    assert torch.allclose(mixed[inside], own[inside])
    assert torch.allclose(mixed[..., :8, :], other[..., :8, :], atol=1e-3)


def test_partners_of_the_same_class_are_other_films_of_other_patients() -> None:
    masks = np.ones((7, 8, 8), bool)
    labels = np.array([0, 0, 0, 1, 1, 2, -1], np.float32)
    patients = ["a", "a", "b", "c", "c", "d", ""]
    found = partners(masks, labels, np.random.default_rng(0), same=True, patients=patients)
    assert found.tolist() == [2, 2, found[2], -1, -1, -1, -1]
    assert found[2] in (0, 1)
    other = partners(masks, labels, np.random.default_rng(0), patients=patients)
    assert all(labels[j] not in (labels[i], -1) for i, j in enumerate(other[:-1]))
    assert other[-1] == -1  # nobody knows what another class would be


def test_partners_of_several_labels() -> None:
    unknown = np.nan
    labels = np.array([[1, 0], [1, unknown], [0, 0], [unknown, 1], [unknown, unknown]], np.float32)
    masks = np.ones((5, 4, 4), bool)
    for seed in range(20):
        same = partners(masks, labels, np.random.default_rng(seed), same=True)
        other = partners(masks, labels, np.random.default_rng(seed))
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
    assert partners(masks, labels, np.random.default_rng(0), step=1)[0] == 2


def by_hand(
    image: np.ndarray, mask: np.ndarray, other: np.ndarray, theirs: np.ndarray
) -> np.ndarray:
    """A transplant pixel by pixel, in float64."""
    h, w = image.shape
    keep = mask | theirs
    reach, sigma = max(1, round(RING * min(h, w))), max(0.5, min(h, w) / 64)
    own, their = [], []
    for y in range(h):
        for x in range(w):
            near = keep[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
            if near.any() and not keep[y, x]:
                own.append(image[y, x])
                their.append(other[y, x])
    middle = (len(own) - 1) // 2
    gain = np.clip(sorted(own)[middle] / sorted(their)[middle], *GAIN)
    radius = round(2 * sigma)
    weight = [np.exp(-0.5 * (k / sigma) ** 2) for k in range(-radius, radius + 1)]
    out = np.empty((h, w))
    padded = np.pad(keep.astype(float), radius, mode="reflect")
    for y in range(h):
        for x in range(w):
            patch = padded[y : y + 2 * radius + 1, x : x + 2 * radius + 1]
            soft = (np.outer(weight, weight) * patch).sum() / sum(weight) ** 2
            soft = 1.0 if keep[y, x] else soft
            out[y, x] = soft * image[y, x] + (1 - soft) * min(1, gain * other[y, x])
    return out


def test_transplant_equals_its_transcription() -> None:
    rng = np.random.default_rng(3)
    images, others = rng.uniform(0, 0.5, (2, 40, 48)), rng.uniform(0.1, 1, (2, 40, 48))
    masks = np.zeros((2, 40, 48), bool)
    masks[:, 10:30, 12:24] = True
    theirs = np.roll(masks, 3, axis=2)
    found = transplant(
        *(torch.from_numpy(a)[:, None].double() for a in (images, masks, others, theirs))
    )
    for k in range(2):
        expected = by_hand(images[k], masks[k], others[k], theirs[k])
        assert np.allclose(found[k, 0].numpy(), expected, atol=1e-6)


def test_nothing_of_the_partners_lungs_shows_and_the_own_lungs_are_whole() -> None:
    own, theirs = torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)
    own[..., 20:44, 10:28] = 1
    theirs[..., 16:50, 14:40] = 1
    film = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    partner = torch.full((1, 3, 64, 64), 0.5)
    changed = torch.where(theirs.bool(), torch.zeros(()), partner)
    mixed = transplant(film, own, partner, theirs)
    assert torch.equal(mixed, transplant(film, own, changed, theirs))
    inside = own.bool().expand_as(film)
    assert torch.equal(mixed[inside], film[inside])


def test_brightness_is_matched_beside_the_seam_and_black_stays_black() -> None:
    keep = torch.zeros(3, 1, 64, 64)
    keep[:2, :, 20:44, 20:44] = 1
    images = torch.full((3, 1, 64, 64), 0.6)
    others = torch.full((3, 1, 64, 64), 0.4)
    others[..., :8] = 0
    others[1] = 0.1
    found = match_brightness(images, keep, others)
    assert found[0, 0, 30, 50].item() == pytest.approx(0.6)
    assert (found[..., :8][0] == 0).all()
    assert found[1, 0, 30, 30].item() == pytest.approx(0.2)  # at most twice as bright
    assert torch.equal(found[2], others[2])  # nothing to match beside an empty mask
