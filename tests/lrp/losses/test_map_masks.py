"""Maps and masks before a loss: what is refused and how, resizing, non-finite relevance."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isnet_lrp.losses.map_masks import MaskValueError, find_usable_masks, mask_maps, shrink_mask
from tests.lrp.oracles.losses import finite_maps, small_mask


def half(B: int = 1, side: int = 4) -> torch.Tensor:
    """Masks [B, 1, side, side], left half foreground."""
    M = torch.zeros(B, 1, side, side)
    M[..., : side // 2] = 1
    return M


MAPS = torch.rand(2, 3, 1, 4, 4)


@pytest.mark.parametrize(
    ("maps", "masks", "message"),
    [
        (MAPS[:, 0], half(2), r"\[2, 1, 4, 4\].*maps must be \[B, K', C, h, w\]"),
        (MAPS, half(2)[:, 0], r"masks\[:, None\]"),
        (MAPS, half(2)[0, 0], "one mask of the lungs per image"),
        (MAPS, half(1), "one mask per image, all zeros"),
        (MAPS[:0], half(2)[:0], "an axis is empty"),
        (MAPS.long(), half(2), "floating-point"),
        (MAPS, half(2).to("meta"), r"masks on meta.*\.to\(device\)"),
    ],
)
def test_what_does_not_fit_is_refused(
    maps: torch.Tensor, masks: torch.Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        mask_maps(maps, masks)


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.int64])
def test_masks_with_other_values_are_refused_by_name(dtype: torch.dtype) -> None:
    masks = (255 * half(2)).to(dtype)
    with pytest.raises(MaskValueError, match=r"16 of 32 values.*such as 255 \(lowest 0, high"):
        mask_maps(MAPS, masks)
    assert isinstance(mask_maps(MAPS, masks, check_values=False).H, torch.Tensor)


def test_a_nan_in_a_mask_is_another_value() -> None:
    masks = half(2)
    masks[1, 0, 0, 0] = math.nan
    with pytest.raises(MaskValueError, match="such as nan"):
        mask_maps(MAPS, masks)


def test_values_are_looked_at_on_the_cpu_alone() -> None:
    maps, masks = MAPS.to("meta"), half(2).to("meta")
    assert mask_maps(maps, masks).counts.shape == (2,)
    with pytest.raises((NotImplementedError, RuntimeError)):
        mask_maps(maps, masks, check_values=True)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float16, torch.float64])
def test_masks_of_any_type_and_channels_are_the_same(dtype: torch.dtype) -> None:
    expected = mask_maps(MAPS, half(2))
    three = half(2).expand(-1, 3, -1, -1).clone()
    three[:, 1:] = 0  # channel 0 is the one
    for masks in (half(2).to(dtype), three.to(dtype)):
        found = mask_maps(MAPS, masks)
        assert torch.equal(found.M, expected.M)
        assert torch.equal(found.H, expected.H)
        assert found.M.dtype == found.H.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_float32_also_under_autocast(dtype: torch.dtype) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert mask_maps(MAPS.to(dtype), half(2)).H.dtype == torch.float32
    assert mask_maps(MAPS.double(), half(2)).H.dtype == torch.float64


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    sides=st.tuples(*[st.integers(1, 9)] * 4),
    share=st.sampled_from([0.05, 0.3, 0.9]),
)
def test_a_cell_with_any_lung_is_lung(seed: int, sides: tuple, share: float) -> None:
    H, W, h, w = sides
    generator = torch.Generator().manual_seed(seed)
    mask = (torch.rand(1, 1, H, W, generator=generator) < share).double()
    assert shrink_mask(mask, (h, w))[0, 0].tolist() == small_mask(mask[0, 0].tolist(), h, w)


def test_images_count_by_the_mask_as_given() -> None:
    masks = torch.zeros(4, 1, 8, 8)
    masks[1] = 1
    masks[2, 0, 4, 4] = 1
    masks[3] = 1
    masks[3, 0, 0, 0] = 0  # full once it is 4 x 4, yet not as given
    maps = torch.rand(4, 1, 1, 4, 4)
    given_ = mask_maps(maps, masks)
    assert given_.counts.tolist() == [False, False, True, True]
    assert given_.M[3].min() == 1
    assert given_.H[:2].abs().max() == 0
    assert torch.equal(given_.H[2:], maps[2:])
    every = mask_maps(maps, masks, keep_degenerate=True)
    assert every.counts.all()
    assert torch.equal(every.H, maps)


def test_non_finite_relevance_is_replaced_as_specified() -> None:
    H = torch.randn(2, 2, 1, 4, 4, dtype=torch.float64)
    H[0, 0, 0, 0, 0], H[0, 1, 0, 1, 3] = math.nan, math.nan
    H[1, 0, 0, 2, 2], H[1, 1, 0, 3, 0] = math.inf, -math.inf
    H.requires_grad_()
    found = mask_maps(H, half(2)).H
    expected = torch.tensor(finite_maps(H, half(2)[:, 0].tolist()), dtype=torch.float64)
    assert torch.allclose(found, expected, rtol=1e-12)
    found.sum().backward()
    assert H.grad is not None
    assert torch.equal(H.grad == 0, ~torch.isfinite(H))


def test_no_sum_overflows() -> None:
    H = torch.full((2, 2, 1, 4, 4), 3e38)
    H[0, 0, 0, 0, 0] = math.inf
    assert mask_maps(H, half(2)).H.sum().isfinite()
    assert mask_maps(torch.full((2, 2, 1, 4, 4), 1e35), half(2)).H.max() == 1e35
    assert mask_maps(torch.full((1, 1, 1, 4, 4), math.nan), half()).H.abs().max() == 0


def test_usable_masks_are_neither_empty_nor_full() -> None:
    masks = torch.zeros(3, 1, 4, 4)
    masks[1, 0, 0, 0] = 1
    masks[2] = 1
    assert find_usable_masks(masks).tolist() == [False, True, False]
