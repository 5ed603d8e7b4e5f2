"""Overlays: what each pixel says, where the outline lies, what is refused."""

import numpy as np
import pytest
from PIL import Image

from isnet_cli.output.overlays import FINDING, OUTLINE, draw_outline, grey, image_tile, overlay
from tests.output.factory import close_to, scene


def test_overlay_colours_the_signs_and_leaves_the_rest() -> None:
    image, relevance, _ = scene()
    picture = overlay(image, relevance, None)
    assert picture.shape == (120, 100, 3)
    assert picture.dtype == np.uint8
    red, blue, rest = picture[35, 35], picture[75, 65], picture[5, 5]
    assert red[0] > red[2] + 80
    assert blue[2] > blue[0] + 80
    assert tuple(rest) == (102, 102, 102)


def test_a_given_limit_sets_the_strength() -> None:
    image, relevance, _ = scene()
    faint = overlay(image, relevance, None, limit=1.0)
    assert np.abs(faint.astype(int) - grey(image)).max() < 10
    strong = overlay(image, relevance, None, limit=1e-3)
    assert np.array_equal(strong[35, 35], overlay(image, relevance, None, limit=2e-3)[35, 35])


def test_smoothing_is_shown_and_does_not_touch_the_map() -> None:
    image, relevance, _ = scene()
    before = relevance.copy()
    assert not np.array_equal(
        overlay(image, relevance, None), overlay(image, relevance, None, smoothing=2.0)
    )
    assert np.array_equal(relevance, before)


def test_outline_lies_on_the_border_alone() -> None:
    image, _, mask = scene()
    picture = draw_outline(grey(image), mask)
    yellow = close_to(picture, OUTLINE, 110)
    rows, columns = np.nonzero(yellow)
    assert yellow.any()
    assert rows.min() >= 18
    assert rows.max() <= 101
    assert columns.min() >= 18
    assert columns.max() <= 81
    assert not yellow[25:95, 25:75].any()
    assert yellow[:, 50].sum() >= 2  # upper and lower border


def test_outline_survives_a_large_image_shown_small() -> None:
    mask = np.zeros((2000, 1600), bool)
    mask[300:1500, 300:1300] = True
    picture = Image.fromarray(draw_outline(grey(np.zeros(mask.shape, np.float32)), mask))
    small = np.asarray(picture.resize((200, 250), Image.Resampling.BOX))
    assert small[100, 30:45].max() > 150


def test_outline_of_empty_full_and_absent_masks_is_the_image() -> None:
    image = grey(scene()[0])
    for mask in (np.zeros((120, 100), bool), np.ones((120, 100), bool), None):
        assert np.array_equal(draw_outline(image, mask), image)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"relevance": np.zeros((5, 5), np.float32)}, "relevance: shape"),
        ({"mask": np.zeros((5, 5), bool)}, "mask: shape"),
        ({"image": np.zeros((120, 100, 3), np.float32)}, "image: shape"),
        ({"relevance": np.full((120, 100), np.nan, np.float32)}, "NaN"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change: dict[str, np.ndarray], words: str) -> None:
    image, relevance, mask = scene()
    parts = {"image": image, "relevance": relevance, "mask": mask, **change}
    with pytest.raises(ValueError, match=words):
        overlay(parts["image"], parts["relevance"], parts["mask"])


def test_image_tile_keeps_the_aspect_ratio_and_outlines() -> None:
    image, _, mask = scene(240, 100)
    tile = image_tile(image, mask, side=96)
    assert tile.shape == (96, 40, 3)
    assert close_to(tile, OUTLINE, 60).any()
    assert not close_to(image_tile(image, side=96), OUTLINE, 60).any()


def test_findings_are_lines_of_their_own_colour_over_everything_else() -> None:
    image, mask, finding = (
        np.zeros((60, 60), np.float32),
        np.zeros((60, 60), bool),
        np.zeros((60, 60), bool),
    )
    mask[5:55, 5:55], finding[20:40, 20:40] = True, True
    bare = overlay(image, image, mask)
    drawn = overlay(image, image, mask, findings=[finding])
    changed = np.argwhere((bare != drawn).any(axis=-1))
    assert changed.min() >= 17
    assert changed.max() <= 42
    line = drawn[30, 17:23].astype(int)
    assert (line[:, 1:] == line[:, 1:2]).all()  # cyan over black, faint to both sides
    assert line.max(axis=0).tolist() == pytest.approx(FINDING, abs=95)
    assert (drawn[30, 30] == bare[30, 30]).all()
