import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isnet_cli.stats.reliance import (
    NO_MASK,
    NO_SHARES,
    NOT_FINITE,
    ZERO_MAP,
    measure_reliance,
    outside_share,
    summarise,
)


def slow_share(map_chw: np.ndarray, mask: np.ndarray) -> float:
    """The formula pixel by pixel: sum of |R| outside over sum of |R|."""
    outside = total = 0.0
    for c in range(map_chw.shape[0]):
        for y in range(map_chw.shape[1]):
            for x in range(map_chw.shape[2]):
                amount = abs(float(map_chw[c, y, x]))
                total += amount
                outside += amount * (not mask[y, x])
    return outside / total


def test_by_hand() -> None:
    maps = np.array([[[[3.0, -1.0], [0.0, 4.0]]]])
    masks = np.array([[[1, 1], [0, 0]]])
    found = measure_reliance(maps, masks)
    assert found.outside_share.tolist() == [0.5]  # |3| + |-1| inside, |0| + |4| outside
    assert found.inside_density.tolist() == [1.0]
    assert found.outside_density.tolist() == [1.0]
    assert found.why.tolist() == [""]


def test_density_is_relative_to_an_even_map() -> None:
    even = np.ones((1, 1, 4, 4))
    mask = np.zeros((1, 4, 4), bool)
    mask[0, 0] = True
    found = measure_reliance(even, mask)
    assert found.outside_share[0] == pytest.approx(0.75)
    assert found.inside_density[0] == pytest.approx(1.0)
    assert found.outside_density[0] == pytest.approx(1.0)
    inside_only = np.where(mask[:, None], 1.0, 0.0)
    found = measure_reliance(inside_only, mask)
    assert (found.inside_density[0], found.outside_density[0]) == (4.0, 0.0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_equals_the_slow_formula(seed: int) -> None:
    rng = np.random.default_rng(seed)
    maps = rng.normal(size=(3, 2, 4, 5))
    masks = rng.random((3, 4, 5)) < 0.4
    masks[:, 1, 2] = True
    expected = [slow_share(maps[b], masks[b]) for b in range(3)]
    np.testing.assert_allclose(outside_share(maps, masks), expected, rtol=1e-12)


def test_several_maps_per_image_and_channel_axis_of_masks() -> None:
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(2, 3, 1, 4, 4))
    masks = rng.random((2, 1, 4, 4)) < 0.5
    shares = outside_share(maps, masks)
    assert shares.shape == (2, 3)
    for k in range(3):
        np.testing.assert_array_equal(shares[:, k], outside_share(maps[:, k], masks))


def test_share_ignores_the_scale_and_the_sign_of_the_map() -> None:
    rng = np.random.default_rng(1)
    maps, masks = rng.normal(size=(2, 1, 6, 6)), rng.random((2, 6, 6)) < 0.5
    np.testing.assert_allclose(outside_share(-1e-9 * maps, masks), outside_share(maps, masks))


def test_inside_and_outside_add_up_to_one() -> None:
    rng = np.random.default_rng(2)
    maps, masks = rng.normal(size=(4, 1, 6, 6)), rng.random((4, 6, 6)) < 0.5
    total = outside_share(maps, masks) + outside_share(maps, ~masks)
    np.testing.assert_allclose(total, 1.0)


def test_channels_of_opposite_sign_do_not_cancel() -> None:
    maps = np.zeros((1, 2, 1, 2))
    maps[0, :, 0, 0] = 1.0, -1.0  # outside: sums to zero over channels
    maps[0, :, 0, 1] = 1.0, 1.0
    assert outside_share(maps, np.array([[[False, True]]])).tolist() == [0.5]


def test_no_mask_zero_map_and_broken_map_are_nan_with_a_reason() -> None:
    maps = np.ones((4, 1, 2, 2))
    maps[1] = 0.0
    maps[2, 0, 0, 0] = np.nan
    masks = np.zeros((4, 2, 2), bool)
    masks[1:, 0] = True
    found = measure_reliance(maps, masks)
    assert np.isnan(found.outside_share).tolist() == [True, True, True, False]
    assert found.why.tolist() == [NO_MASK, ZERO_MAP, NOT_FINITE, ""]
    assert np.isnan(found.inside_density[:3]).all()
    assert np.isnan(found.outside_density[:3]).all()


def test_mask_that_covers_the_image_leaves_nothing_outside() -> None:
    found = measure_reliance(np.ones((1, 1, 2, 2)), np.ones((1, 2, 2), bool))
    assert found.outside_share.tolist() == [0.0]
    assert found.inside_density.tolist() == [1.0]
    assert np.isnan(found.outside_density).all()


def test_no_image_gives_no_share() -> None:
    assert outside_share(np.zeros((0, 1, 2, 2)), np.zeros((0, 2, 2), bool)).shape == (0,)


@pytest.mark.parametrize("shape", [(1, 1, 2, 3), (2, 1, 2, 2), (1, 2, 2)])
def test_shapes_that_do_not_match_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="do not match"):
        measure_reliance(np.zeros(shape), np.zeros((1, 2, 2), bool))


def test_summary_per_explained_class() -> None:
    found = summarise([0.1, 0.3, np.nan, 0.8], [0, 0, 1, 2], ["a", "b", "c"])
    assert found["n"] == 3
    assert found["mean"] == pytest.approx(0.4)
    assert found["p95"] == pytest.approx(0.3 + 0.9 * 0.5)  # linear between the last two of three
    assert found["per_class"]["a"]["mean"] == pytest.approx(0.2)
    assert found["per_class"]["b"] == {"n": 0, "mean": None, "p95": None, "why": NO_SHARES}
    assert found["per_class"]["c"] == {"n": 1, "mean": 0.8, "p95": 0.8}


def test_summary_of_nothing_says_why() -> None:
    found = summarise([], [], ["a"])
    assert (found["n"], found["mean"], found["why"]) == (0, None, NO_SHARES)


def test_summary_refuses_unequal_lengths() -> None:
    with pytest.raises(ValueError, match="2 shares for 1"):
        summarise([0.1, 0.2], [0], ["a"])
