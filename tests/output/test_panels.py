"""Panels: the two pictures can be found again in the finished panel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isnet_cli.output.overlays import OUTLINE, draw_outline, grey, overlay, scale_image
from isnet_cli.output.panels import compose_panel, panel_parts
from tests.output.factory import close_to, scene


@settings(max_examples=40, deadline=None)
@given(st.integers(40, 160), st.integers(40, 160), st.integers(96, 400), st.integers(0, 40))
def test_parts_are_what_was_put_in(rows: int, columns: int, height: int, words: int) -> None:
    image = np.linspace(0, 1, rows * columns, dtype=np.float32).reshape(rows, columns)
    relevance = image - 0.5
    panel = compose_panel(image, relevance, None, title="t", caption="word " * words, height=height)
    left, right = panel_parts(panel, (rows, columns))
    size = (left.shape[1], left.shape[0])
    assert left.shape[0] == height
    assert np.array_equal(left, grey(scale_image(image, size)))
    assert np.array_equal(
        right, overlay(scale_image(image, size), scale_image(relevance, size), None)
    )


def test_parts_carry_the_outline() -> None:
    image = np.full((100, 80), 0.5, np.float32)
    mask = np.zeros((100, 80), bool)
    mask[20:80, 20:60] = True
    panel = compose_panel(image, image, mask, title="t", caption="c", height=100)
    left, _ = panel_parts(panel, (100, 80))
    assert np.array_equal(left, draw_outline(grey(image), mask))


def test_a_picture_of_another_image_is_refused() -> None:
    image = np.full((100, 80), 0.5, np.float32)
    panel = compose_panel(image, image, None, title="t", caption="c", height=100)
    with pytest.raises(ValueError, match="does not belong"):
        panel_parts(panel[:, :-7], (100, 80))


def test_panel_holds_image_overlay_bar_and_words() -> None:
    image, relevance, mask = scene()
    panel = compose_panel(image, relevance, mask, title="image-1", caption="Label: tb", height=240)
    assert panel.shape[0] > 240
    assert panel.shape[1] > 2 * 200
    left, right = panel[:, : panel.shape[1] // 2], panel[:, panel.shape[1] // 2 :]
    assert (left.max(-1).astype(int) - left.min(-1))[~close_to(left, OUTLINE, 200)].max() < 30
    assert close_to(right, tuple(overlay(image, relevance, None)[35, 35]), 30).any()
    assert (panel[0] == 255).all()  # paper around


def test_panel_words_change_the_picture() -> None:
    image, relevance, mask = scene()
    one = compose_panel(image, relevance, mask, title="image-1", caption="a", height=240)
    for other in (
        compose_panel(image, relevance, mask, title="image-2", caption="a", height=240),
        compose_panel(image, relevance, mask, title="image-1", caption="b", height=240),
        compose_panel(image, relevance, mask, title="image-1", caption="a", limit=1, height=240),
    ):
        assert one.shape == other.shape
        assert not np.array_equal(one, other)


def test_a_smoothed_panel_says_so() -> None:
    image, _, mask = scene()
    nothing = np.zeros_like(
        image
    )  # smoothing changes no pixel of the map, so only the note differs
    plain = compose_panel(image, nothing, mask, title="t", caption="c")
    told = compose_panel(image, nothing, mask, title="t", caption="c", smoothing=2.0)
    height = plain.shape[0] - 60
    assert np.array_equal(plain[:height], told[:height])
    assert (told[height:] < 128).sum() > (plain[height:] < 128).sum()


def test_an_unsigned_panel_has_no_blue_and_says_where_its_scale_comes_from() -> None:
    image, relevance, mask = scene()
    signed, unsigned = (
        compose_panel(image, abs(relevance), None, title="t", caption="c", signed=yes)
        for yes in (True, False)
    )
    assert (signed[..., 2].astype(int) - signed[..., 0]).max() > 60
    assert (unsigned[..., 2].astype(int) - unsigned[..., 0]).max() < 30
    given, told = (
        compose_panel(image, relevance, mask, title="t", caption="c", limit=0.5, scale=scale)
        for scale in ("of the set", "of another set")
    )
    assert not np.array_equal(given, told)


@pytest.mark.parametrize("shape", [(40, 400), (400, 40), (3, 3)])
def test_panels_of_odd_shapes(shape: tuple[int, int]) -> None:
    image = np.full(shape, 0.5, np.float32)
    panel = compose_panel(image, image, image > 1, title="x" * 400, caption="y " * 900, height=200)
    assert panel.ndim == 3


def test_hostile_words_are_drawn() -> None:
    image, relevance, mask = scene()
    compose_panel(
        image, relevance, mask, title="a\x00\udcff\nb", caption="<script>\r\n", height=200
    )
