"""Panels: the two pictures can be found again in the finished panel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isnet_cli.export.overlays import grey, outlined, overlay, scaled
from isnet_cli.export.panels import compose_panel, panel_parts


@settings(max_examples=40, deadline=None)
@given(st.integers(40, 160), st.integers(40, 160), st.integers(96, 400), st.integers(0, 40))
def test_parts_are_what_was_put_in(rows: int, columns: int, height: int, words: int) -> None:
    film = np.linspace(0, 1, rows * columns, dtype=np.float32).reshape(rows, columns)
    relevance = film - 0.5
    panel = compose_panel(film, relevance, None, title="t", caption="word " * words, height=height)
    left, right = panel_parts(panel, (rows, columns))
    size = (left.shape[1], left.shape[0])
    assert left.shape[0] == height
    assert np.array_equal(left, grey(scaled(film, size)))
    assert np.array_equal(right, overlay(scaled(film, size), scaled(relevance, size), None))


def test_parts_carry_the_outline() -> None:
    film = np.full((100, 80), 0.5, np.float32)
    mask = np.zeros((100, 80), bool)
    mask[20:80, 20:60] = True
    panel = compose_panel(film, film, mask, title="t", caption="c", height=100)
    left, _ = panel_parts(panel, (100, 80))
    assert np.array_equal(left, outlined(grey(film), mask))


def test_a_picture_of_another_film_is_refused() -> None:
    film = np.full((100, 80), 0.5, np.float32)
    panel = compose_panel(film, film, None, title="t", caption="c", height=100)
    with pytest.raises(ValueError, match="does not belong"):
        panel_parts(panel[:, :-7], (100, 80))
