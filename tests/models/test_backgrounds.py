"""Other backgrounds: the lungs stay whole, nothing of another image's lungs shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from isnet_models.backgrounds import (
    GAIN,
    RING,
    draw_noise,
    draw_partners,
    feathered,
    filled,
    match_brightness,
    replace_images,
    select_images,
    swap_backgrounds,
    transplant,
    widened,
)


def test_swapping_keeps_the_lungs_and_takes_the_rest() -> None:
    lungs = torch.zeros(1, 1, 64, 64)
    lungs[..., 20:44, 10:28] = 1
    own, other = torch.full((1, 3, 64, 64), 0.2), torch.full((1, 3, 64, 64), 0.9)
    mixed = swap_backgrounds(own, lungs, other)
    inside = lungs.bool().expand_as(mixed)
    assert torch.allclose(mixed[inside], own[inside])
    assert torch.allclose(mixed[..., :8, :], other[..., :8, :], atol=1e-3)


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
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    partner = torch.full((1, 3, 64, 64), 0.5)
    changed = torch.where(theirs.bool(), torch.zeros(()), partner)
    mixed = transplant(image, own, partner, theirs)
    assert torch.equal(mixed, transplant(image, own, changed, theirs))
    inside = own.bool().expand_as(image)
    assert torch.equal(mixed[inside], image[inside])


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


def squares(B: int = 5, size: int = 32) -> torch.Tensor:
    masks = torch.zeros(B, 1, size, size)
    for i in range(B):
        masks[i, :, 8 : 20 + i, 6:18] = 1
    return masks


def test_drawn_images_that_do_not_fit_stay_as_they_are() -> None:
    drawn = torch.tensor([True, True, False, True])
    fits = torch.tensor([True, False, True, True])
    at = select_images(drawn, drawn.device)
    assert at.tolist() == [0, 1, 3]
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, 2, 2)
    found = replace_images(images, at, images[at] + 10, fits)
    assert found[:, 0, 0, 0].tolist() == [10, 1, 2, 13]
    assert images[:, 0, 0, 0].tolist() == [0, 1, 2, 3]


def test_partners_within_a_batch() -> None:
    masks, labels = squares(), torch.tensor([0, 0, 1, 1, 2])
    masks[1] = 0
    met = {kind: [set() for _ in range(5)] for kind in ("any", "same", "other")}
    for seed in range(60):
        for kind, seen in met.items():
            g = torch.Generator().manual_seed(seed)
            for i, j in enumerate(draw_partners(masks, labels, kind, g).tolist()):
                seen[i].add(j)
    assert met["any"] == [{2, 3, 4}, {0, 2, 3, 4}, {0, 3, 4}, {0, 2, 4}, {0, 2, 3}]
    assert met["same"] == [{-1}, {0}, {3}, {2}, {-1}]
    assert met["other"] == [{2, 3, 4}, {2, 3, 4}, {0, 4}, {0, 4}, {0, 2, 3}]
    alone = draw_partners(masks[:1], labels[:1], "any", torch.Generator())
    assert alone.tolist() == [-1]


def test_partners_within_a_batch_of_several_labels() -> None:
    nan = float("nan")
    labels = torch.tensor([[1, 0], [1, nan], [0, 0], [nan, 1], [nan, nan]])
    met = {kind: [set() for _ in range(5)] for kind in ("same", "other")}
    for seed in range(60):
        for kind, seen in met.items():
            g = torch.Generator().manual_seed(seed)
            for i, j in enumerate(draw_partners(squares(), labels, kind, g).tolist()):
                seen[i].add(j)
    assert met["same"] == [{1}, {0}, {-1}, {-1}, {-1}]
    assert met["other"] == [{2, 3}, {2}, {0, 1, 3}, {0, 2}, {-1}]


@pytest.mark.parametrize("fill", ["black", "noise", "blur"])
def test_fills_keep_the_lungs_and_show_nothing_of_them_elsewhere(fill: str) -> None:
    g = torch.Generator().manual_seed(0)
    masks = squares(2, 48)
    images = torch.rand(2, 3, 48, 48, generator=g)
    inside = masks.bool().expand_as(images)
    noise = torch.rand(2, 1, 48, 48, generator=torch.Generator().manual_seed(1))
    made = filled(images, masks, fill, 1 / 64, noise)
    assert torch.equal(made[inside], images[inside])
    darker = torch.where(inside, images / 2, images)
    again = filled(darker, masks, fill, 1 / 64, noise)
    assert torch.equal(again[~inside], made[~inside])
    far = made[..., 30:, 30:]
    assert 0 <= float(made.min()) <= float(made.max()) <= 1
    if fill == "black":
        assert far.abs().max() == 0
    else:
        assert (far.std() > 0.25) == (fill == "noise")
        assert float(far.mean()) == pytest.approx(0.5, abs=0.06)


def test_the_blurred_fill_equals_its_transcription() -> None:
    masks = torch.zeros(1, 1, 16, 16).double()
    masks[..., 6:10, 5:9] = 1
    image = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    outside = 1 - masks[0, 0].numpy()
    x, sigma, radius = image[0, 0].numpy() * outside, 2.0, 4
    weight = [np.exp(-0.5 * (k / sigma) ** 2) for k in range(-radius, radius + 1)]
    big, known = (np.pad(a, radius, mode="reflect") for a in (x, outside))
    made = filled(image, masks, "blur", 1e-3)[0, 0].numpy()
    for y, c in ((0, 0), (3, 8), (15, 2)):
        patch = (slice(y, y + 2 * radius + 1), slice(c, c + 2 * radius + 1))
        k = np.outer(weight, weight)
        assert made[y, c] == pytest.approx((k * big[patch]).sum() / (k * known[patch]).sum())


def test_an_unknown_fill_is_refused() -> None:
    with pytest.raises(ValueError, match="expected black, noise or blur"):
        filled(torch.rand(1, 1, 32, 32), squares(1), "white")
    with pytest.raises(ValueError, match="no noise was drawn"):
        filled(torch.rand(1, 1, 32, 32), squares(1), "noise")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("fill", ["image", "black", "noise", "blur"])
def test_a_gpu_changes_the_same_images_in_the_same_way(fill: str) -> None:
    images = torch.rand(5, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    found = []
    for device in ("cpu", "cuda"):
        x, masks = images.to(device), squares().to(device)
        g = torch.Generator().manual_seed(1)
        at = draw_partners(masks, torch.arange(5).to(device), "other", g)
        if fill == "image":
            made = transplant(x, masks, x[at], masks[at])
        else:
            made = filled(x, masks, fill, noise=draw_noise(torch.ones(5) > 0, (32, 32), g))
        found.append((at.cpu(), made.cpu()))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.allclose(found[0][1], found[1][1], atol=1e-5)


@pytest.mark.parametrize("reach", [1, 2, 3, 8])
def test_widening_is_maximum_pooling(reach: int) -> None:
    g = torch.Generator().manual_seed(reach)
    values = torch.rand(2, 1, 40, 33, generator=g) * (torch.rand(2, 1, 40, 33, generator=g) > 0.97)
    wanted = torch.nn.functional.max_pool2d(values, 2 * reach + 1, 1, reach)
    assert torch.equal(widened(values, reach), wanted)


def test_the_seam_is_a_blur_of_both_axes_that_leaves_the_lungs() -> None:
    g = torch.Generator().manual_seed(5)
    masks = (torch.rand(2, 1, 64, 48, generator=g) > 0.9).double()
    sigma = 0.05 * 48
    steps = torch.arange(-5, 6, dtype=torch.float64)
    bell = torch.exp(-steps.square() / (2 * sigma**2))
    kernel = torch.outer(bell, bell) / bell.sum() ** 2
    padded = torch.nn.functional.pad(masks, (5, 5, 5, 5), mode="reflect")
    blurred = torch.nn.functional.conv2d(padded, kernel[None, None])
    torch.testing.assert_close(feathered(masks, 0.05), torch.maximum(blurred, masks))
