"""Random changes of images and masks: ranges, the same geometry for both, repeatability."""

from __future__ import annotations

import numpy as np
import torch

from isnet_cli.masks.segmenter import augment as masks_train_augment
from tests.masks.factory import image, lungs


def batch(count: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    images = np.stack([image((128, 128), seed) for seed in range(count)])
    masks = np.stack([lungs((128, 128)).astype(np.float32)] * count)
    return torch.from_numpy(images)[:, None], torch.from_numpy(masks)[:, None]


def test_changed_images_stay_in_range_and_repeat_themselves() -> None:
    images, masks = batch()
    before = images.clone(), masks.clone()
    results = [
        masks_train_augment.augment(images, masks, np.random.default_rng(seed))
        for seed in (1, 1, 2)
    ]
    for image_, mask in results:
        assert image_.shape == mask.shape == images.shape
        assert 0 <= float(image_.min()) <= float(image_.max()) <= 1
        assert 0 <= float(mask.min()) <= float(mask.max()) <= 1
    assert all(torch.equal(a, b) for a, b in zip(results[0], results[1], strict=True))
    assert not torch.equal(results[0][0], results[2][0])
    assert torch.equal(images, before[0])
    assert torch.equal(masks, before[1])


def test_images_and_masks_move_together() -> None:
    _, masks = batch()
    images = 0.8 - 0.5 * masks
    moved, moved_masks = masks_train_augment._move(
        images, masks, torch.Generator().manual_seed(0), warp=0.1
    )
    inside = moved_masks > 0.99
    assert float((moved[inside] - 0.3).abs().max()) < 1e-2
    assert not torch.allclose(moved_masks, masks, atol=0.1)


def test_grey_values_alone_are_changed_by_everything_but_moves_and_bars() -> None:
    images, masks = batch()
    for change in (
        lambda f, g: masks_train_augment._opacify(f, masks, g),
        masks_train_augment._veil,
        masks_train_augment._expose,
        masks_train_augment._sharpen_or_blur,
    ):
        changed = change(images, torch.Generator().manual_seed(1))
        assert changed.shape == images.shape
        assert not torch.equal(changed, images)


def test_opacities_lie_in_the_lungs() -> None:
    images, masks = batch()
    changed = masks_train_augment._opacify(images, masks, torch.Generator().manual_seed(1))
    near = torch.nn.functional.max_pool2d(masks, 7, 1, 3) > 0
    assert torch.equal(changed[~near], images[~near])
    assert bool((changed[near] != images[near]).any())


def test_contrast_never_turns_over() -> None:
    images = torch.linspace(0.01, 1, 128).expand(16, 1, 128, 128).clone()
    changed = masks_train_augment._expose(images, torch.Generator().manual_seed(3))
    # unevenness may bend a ramp; from end to end it must not be inverted
    assert bool((changed[..., -8:].mean((1, 2, 3)) >= changed[..., :8].mean((1, 2, 3))).all())


def test_what_a_bar_covers_is_no_lung() -> None:
    pixels, mask = image((128, 128), 0), np.ones((128, 128), np.float32)
    rng = np.random.default_rng(4)
    changed = [masks_train_augment._collimate(pixels, mask, rng) for _ in range(40)]
    barred = [(f, m) for f, m in changed if (m == 0).any()]
    assert 4 < len(barred) < 30
    for image_, mask_ in barred:
        assert np.ptp(image_[mask_ == 0]) == 0
        assert np.array_equal(image_[mask_ == 1], pixels[mask_ == 1])


def test_warping_changes_shapes_and_nothing_where_it_is_off() -> None:
    images, masks = batch(4)
    plain, off, bent = (
        masks_train_augment.augment(images, masks, np.random.default_rng(3), *warp)[1]
        for warp in ((), (0.0,), (0.08,))
    )
    assert torch.equal(plain, off)
    assert float((bent - plain).abs().mean()) > 1e-3
