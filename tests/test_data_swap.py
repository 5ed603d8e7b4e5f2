"""Backgrounds are swapped with a fitting film of another class; the lungs stay."""

from __future__ import annotations

import numpy as np
import torch

from isnet_cli.data.swap import partners, swap_backgrounds


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
