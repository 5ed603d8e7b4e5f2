"""The region is the smallest that holds its share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isnet_cli.heatmap.region import region_threshold


@pytest.mark.parametrize(("share", "expected"), [(0.3, 4.0), (0.4, 4.0), (0.5, 3.0), (0.99, 1.0)])
def test_a_case_by_hand(share: float, expected: float) -> None:
    values = np.array([[4.0, -9.0, 1.0], [3.0, 0.0, 2.0]], np.float32)  # 4 + 3 + 2 + 1 = 10
    assert region_threshold(values, share) == expected


@given(st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=40), st.floats(0.01, 0.99))
def test_enough_is_inside_and_one_value_less_is_not(values: list[float], share: float) -> None:
    found = np.array(values, np.float32)
    t = region_threshold(found, share)
    whole = found[found > 0].sum(dtype=np.float64)
    assert found[found >= t].sum(dtype=np.float64) >= share * whole * (1 - 1e-9)
    assert found[found > t].sum(dtype=np.float64) < share * whole or whole == 0


def test_nothing_positive_is_an_empty_region() -> None:
    values = np.array([-1.0, 0.0], np.float32)
    assert not (values >= region_threshold(values, 0.5)).any()
