"""Colours: zero in the middle, sign told by hue for every eye, magnitude in even steps."""

import numpy as np
import pytest

from isnet_cli.output.colours import (
    blend,
    compute_opacity,
    diverging_colours,
    relevance_limit,
    smooth,
)

# Machado, Oliveira, Fernandes 2009: full protanopia, deuteranopia, tritanopia on linear RGB.
BLINDNESS = {
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def linear(colour: np.ndarray) -> np.ndarray:
    return np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)


def lab(rgb_linear: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65) of linear RGB [..., 3]: another measure than the one that made the map."""
    to_xyz = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    xyz = rgb_linear @ to_xyz.T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack(
        [
            116 * f[..., 1] - 16,
            500 * (f[..., 0] - f[..., 1]),
            200 * (f[..., 1] - f[..., 2]),
        ],
        axis=-1,
    )


def test_zero_is_a_neutral_near_white() -> None:
    middle = diverging_colours(np.zeros(1, np.float32))[0]
    assert np.ptp(middle) < 0.01
    assert middle.min() > 0.9


def test_both_ends_are_equally_light_and_of_the_named_hues() -> None:
    low, high = diverging_colours(np.array([-1.0, 1.0], np.float32))
    assert low.argmax() == 2
    assert high.argmax() == 0
    lightness = lab(linear(np.stack([low, high])))[:, 0]
    assert abs(lightness[0] - lightness[1]) < 8


def test_values_beyond_the_range_take_the_end_colours() -> None:
    assert np.array_equal(
        diverging_colours(np.array([-9.0, 9.0], np.float32)),
        diverging_colours(np.array([-1.0, 1.0], np.float32)),
    )


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_equal_steps_of_magnitude_look_equal(sign: float) -> None:
    values = (sign * np.linspace(0, 1, 9)).astype(np.float32)
    steps = np.linalg.norm(np.diff(lab(linear(diverging_colours(values))), axis=0), axis=1)
    assert steps.min() > 5  # each step is seen
    assert steps.max() / steps.min() < 2.5


@pytest.mark.parametrize("kind", [None, *BLINDNESS])
def test_signs_differ_for_every_eye(kind: str | None) -> None:
    ends = linear(diverging_colours(np.array([-0.5, 0.5, -1.0, 1.0], np.float32)))
    if kind is not None:
        ends = np.clip(ends @ np.array(BLINDNESS[kind]).T, 0, 1)
    seen = lab(ends)
    assert np.linalg.norm(seen[0] - seen[1]) > 20  # 2.3 is one just noticeable difference
    assert np.linalg.norm(seen[2] - seen[3]) > 40


def test_limit_ignores_a_few_extreme_pixels_and_the_sign() -> None:
    values = np.linspace(-1, 1, 2001, dtype=np.float32)
    values[7] = -500
    assert relevance_limit(values) == pytest.approx(0.995, abs=2e-3)
    assert relevance_limit(-values) == relevance_limit(values)


def test_limit_of_a_sparse_map_and_of_a_zero_map() -> None:
    sparse = np.zeros((50, 50), np.float32)
    sparse[3, 4] = -0.25
    assert relevance_limit(sparse) == 0.25
    assert relevance_limit(np.zeros((5, 5), np.float32)) == 1.0


def test_zero_relevance_leaves_the_image_and_full_relevance_covers_it() -> None:
    image = np.array([[0.0, 0.4, 1.0]], np.float32)
    assert np.allclose(blend(image, np.zeros_like(image), 2.0), image[..., None], atol=1e-6)
    covered = blend(image, np.full_like(image, 2.0), 2.0)
    assert np.allclose(covered, diverging_colours(np.ones(1, np.float32))[0], atol=0.09)
    assert np.all(np.diff(compute_opacity(np.linspace(0, 1, 20, dtype=np.float32))) > 0)


def test_smoothing_keeps_the_sum_and_spreads_a_point_as_a_gaussian() -> None:
    point = np.zeros((41, 31), np.float32)
    point[20, 15] = 3.0
    soft = smooth(point, 2.0)
    assert soft.sum() == pytest.approx(3.0, rel=1e-5)
    assert soft[20, 17] / soft[20, 15] == pytest.approx(np.exp(-0.5), rel=1e-4)
    assert np.allclose(soft, soft[::-1, ::-1], atol=1e-7)
    assert np.allclose(smooth(np.full((5, 9), 0.7, np.float32), 3.0), 0.7, atol=1e-6)
    assert np.array_equal(smooth(point, 0.0), point)


def test_smoothing_radius_larger_than_the_picture() -> None:
    assert np.allclose(smooth(np.full((2, 3), 0.3, np.float32), 5.0), 0.3, atol=1e-5)
