"""From probabilities to masks on the image's own pixels: geometry, pieces, holes, dilation."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from isnet_cli.config.schema import Postprocess
from isnet_cli.images.resize import Frame
from isnet_cli.masks.postprocess import clean_probability, mask_on_original

NET = (256, 256)
PLAIN = Postprocess()


def disc(size: tuple[int, int], y: float, x: float, radius: float) -> NDArray[np.float32]:
    """A disc with antialiased rim; centre and radius in px of the array."""
    yy, xx = np.mgrid[: size[0], : size[1]].astype(np.float32) + np.float32(0.5)
    return np.clip(radius - np.hypot(yy - y, xx - x) + 0.5, 0, 1).astype(np.float32)


def centre(mask: NDArray[np.bool_]) -> tuple[float, float]:
    rows, columns = np.nonzero(mask)
    return float(rows.mean()) + 0.5, float(columns.mean()) + 0.5


@pytest.mark.parametrize(
    "size",
    [
        (256, 256),
        (512, 512),
        (300, 701),
        (1999, 1501),
        (640, 97),
        (180, 210),
        pytest.param((4020, 4892), marks=pytest.mark.slow),
    ],
)
def test_a_mask_returns_to_the_images_pixels_within_half_a_pixel(size: tuple[int, int]) -> None:
    """Centre within 0.5 px of the original or 0.05 network px, area within 1 %."""
    height, width = size
    frame = Frame(size, NET)
    y, x, radius = 0.4 * height, 0.6 * width, 0.25 * min(size)
    truth = disc(size, y, x, radius)
    found = mask_on_original(frame.to_network(truth), frame, 0.5, PLAIN)
    assert found.shape == size
    found_y, found_x = centre(found)
    tolerance = max(0.5, 0.05 * max(size) / 256)
    assert abs(found_y - y) < tolerance
    assert abs(found_x - x) < tolerance
    # the outline is as far from the true one as pixels are wide, not more
    wrong = np.count_nonzero(found != (truth >= 0.5))
    pixel = max(1.0, max(size) / 256)
    assert wrong < 2 * np.pi * radius * 0.5 * pixel


@pytest.mark.parametrize("size", [(257, 255), (333, 777), (1001, 999), (1025, 1023), (641, 213)])
def test_a_round_trip_is_exact_within_half_a_pixel_on_odd_sizes(size: tuple[int, int]) -> None:
    """The centre of each lung, and the left and right end of its middle row."""
    height, width = size
    frame = Frame(size, NET)
    lungs = [(0.45 * height, x * width, 0.18 * min(size)) for x in (0.27, 0.74)]
    truth = np.maximum(*(disc(size, y, x, r) for y, x, r in lungs))
    found = mask_on_original(frame.to_network(truth), frame, 0.5, PLAIN)
    for left, right in ((0, width // 2), (width // 2, width)):
        one, other = found.copy(), truth >= 0.5
        for mask in (one, other):
            mask[:, :left] = mask[:, right:] = False
        assert np.hypot(*np.subtract(centre(one), centre(other))) < 0.5
    # a mask at the image's own resolution comes back to the bit
    whole = Frame(size, size)
    assert np.array_equal(mask_on_original(truth, whole, 0.5, PLAIN), truth >= 0.5)


def test_a_dilation_in_mm_follows_the_pixel_spacing() -> None:
    frame = Frame((900, 900), NET)
    truth = frame.to_network(disc((900, 900), 450, 450, 200))
    mask = mask_on_original(truth, frame, 0.5, Postprocess(dilate_mm=10.0), (0.5, 0.25))
    rows, columns = np.nonzero(mask)
    assert np.ptp(rows) + 1 == pytest.approx(2 * (200 + 10 / 0.5), abs=5)
    assert np.ptp(columns) + 1 == pytest.approx(2 * (200 + 10 / 0.25), abs=5)
    with pytest.raises(ValueError, match="pixel spacing"):
        mask_on_original(truth, frame, 0.5, Postprocess(dilate_mm=10.0))


def test_a_dilation_in_px_counts_the_images_own_pixels() -> None:
    frame = Frame((2200, 2200), NET)
    truth = frame.to_network(disc((2200, 2200), 1100, 1100, 500))
    mask = mask_on_original(truth, frame, 0.5, Postprocess(dilate_px=30.0))
    assert np.sqrt(mask.sum() / np.pi) == pytest.approx(530, abs=4)
    with pytest.raises(ValueError, match="one of them at most"):
        Postprocess(dilate_px=3.0, dilate_percent=1.0)


def test_padding_of_the_letterbox_never_reaches_the_image() -> None:
    frame = Frame((200, 800), NET)
    probability = np.ones(NET, np.float32)
    top, _, height, _ = frame.inner
    probability[top : top + height] = 0
    assert not mask_on_original(probability, frame, 0.5, PLAIN).any()


def test_the_largest_pieces_stay() -> None:
    pieces = [disc(NET, 60, 60, 30), disc(NET, 60, 190, 25), disc(NET, 200, 60, 20)]
    probability = np.maximum.reduce(pieces)
    for keep in (1, 2, 3):
        cleaned = clean_probability(probability, 0.5, Postprocess(keep=keep))
        kept = [bool(cleaned[y, x] > 0.5) for y, x in ((60, 60), (60, 190), (200, 60))]
        assert kept == [True] * keep + [False] * (3 - keep)


def test_specks_go_even_when_there_is_room() -> None:
    probability = np.maximum(disc(NET, 128, 128, 50), disc(NET, 20, 20, 5))
    assert clean_probability(probability, 0.5, PLAIN)[20, 20] == 0


def test_removed_pieces_leave_no_rim_after_enlarging() -> None:
    probability = np.maximum(disc(NET, 128, 128, 50), 0.9 * disc(NET, 20, 20, 6.3))
    mask = mask_on_original(probability, Frame((2048, 2048), NET), 0.5, PLAIN)
    assert not mask[:300, :300].any()


def test_holes_are_filled_unless_told_otherwise() -> None:
    probability = disc(NET, 128, 128, 60) - disc(NET, 128, 128, 15)
    assert clean_probability(probability, 0.5, PLAIN)[128, 128] == 1
    assert clean_probability(probability, 0.5, Postprocess(fill_holes=False))[128, 128] == 0


def test_nothing_found_is_an_empty_mask() -> None:
    frame = Frame((333, 222), NET)
    for options in (PLAIN, Postprocess(dilate_percent=2.0)):
        mask = mask_on_original(np.full(NET, 0.2, np.float32), frame, 0.5, options)
        assert mask.shape == (333, 222)
        assert not mask.any()


@pytest.mark.parametrize("side", [256, 700, 2200])
@pytest.mark.parametrize("percent", [0.5, 2.0])
def test_dilation_grows_the_radius_by_a_share_of_the_width(side: int, percent: float) -> None:
    frame = Frame((side, side), NET)
    truth = disc((side, side), side / 2, side / 2, side / 4)
    options = Postprocess(dilate_percent=percent)
    mask = mask_on_original(frame.to_network(truth), frame, 0.5, options)
    radius = np.sqrt(mask.sum() / np.pi)
    assert radius == pytest.approx(side / 4 + side * percent / 100, abs=max(1.0, side / 512))


def test_the_threshold_moves_the_outline() -> None:
    ramp = np.tile(np.linspace(0, 1, 256, dtype=np.float32), (256, 1))
    frame = Frame((512, 512), NET)
    low = mask_on_original(ramp, frame, 0.3, PLAIN)
    high = mask_on_original(ramp, frame, 0.7, PLAIN)
    assert low.mean() == pytest.approx(0.7, abs=0.01)
    assert high.mean() == pytest.approx(0.3, abs=0.01)
