"""C1 and C2 from maps: by hand, against the definition, in batches, for Dual ISNet."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isnet_lrp.losses.relevance_range import RangeEstimator, estimate_range, sum_relevance


def by_definition(totals: list[float]) -> tuple[float, float]:
    m, s = statistics.fmean(totals), statistics.stdev(totals)
    C1 = max(m / 5, m - 3 * s)
    return C1, min(25 * C1, m + 3 * s)


def test_by_hand() -> None:
    C1, C2 = estimate_range(torch.tensor([8.0, 10.0, 12.0]))  # mean 10, s.d. 2
    assert pytest.approx(4.0) == C1  # max(2, 10 - 6)
    assert pytest.approx(16.0) == C2  # min(100, 10 + 6)
    C1, C2 = estimate_range(torch.tensor([0.0] * 399 + [1000.0]))  # mean 2.5, s.d. 50
    assert pytest.approx(0.5) == C1  # m/5
    assert pytest.approx(12.5) == C2  # 25·C1


@settings(max_examples=60, deadline=None)
@given(totals=st.lists(st.floats(1e-3, 1e6), min_size=2, max_size=30))
def test_equals_the_definition_and_is_ordered(totals: list[float]) -> None:
    C1, C2 = estimate_range(torch.tensor(totals, dtype=torch.float64))
    expected = by_definition(totals)
    assert pytest.approx(expected[0], rel=1e-9) == C1
    assert pytest.approx(expected[1], rel=1e-9) == C2
    assert 0 < C1 <= C2


def test_is_exact_where_the_spread_is_small_against_the_mean() -> None:
    totals = torch.tensor([1e8 + i for i in range(4)], dtype=torch.float64)
    C1, C2 = estimate_range(totals)
    s = math.sqrt(5 / 3)
    assert pytest.approx(6 * s, rel=1e-7) == C2 - C1


def test_a_total_averages_the_classes_over_the_whole_map() -> None:
    maps = torch.randn(3, 4, 2, 5, 6)
    slow = [
        sum(abs(v) for v in maps[b].flatten().tolist()) / 4
        for b in range(3)
    ]  # fmt: skip
    assert sum_relevance(maps).tolist() == pytest.approx(slow, rel=1e-5)
    assert sum_relevance(maps.bfloat16()).dtype == torch.float32


def test_batches_and_layers_are_collected() -> None:
    layers = {"input": torch.randn(7, 3, 1, 4, 4), "deep": torch.randn(7, 3, 5, 2, 2)}
    estimator = RangeEstimator()
    for begin, end in ((0, 1), (1, 5), (5, 7)):
        estimator.update({name: maps[begin:end] for name, maps in layers.items()})
    found = estimator.values()
    assert list(found) == ["input", "deep"]
    for name, maps in layers.items():
        assert found[name] == pytest.approx(by_definition(sum_relevance(maps).tolist()), rel=1e-6)


def test_dual_gives_pairs_of_the_two_halves() -> None:
    maps = torch.randn(6, 2, 1, 4, 4)
    maps[:, 0] *= 10
    estimator = RangeEstimator(dual=True)
    estimator.update({"input": maps})
    found = estimator.values()["input"]
    positive, epsilon = (
        estimate_range(sum_relevance(maps[:, :1])),
        estimate_range(sum_relevance(maps[:, 1:])),
    )
    assert found == ((positive[0], epsilon[0]), (positive[1], epsilon[1]))
    assert positive[0] > epsilon[1]


def test_update_does_not_wait_for_the_device_and_keeps_no_graph() -> None:
    estimator = RangeEstimator()
    estimator.update({"input": torch.rand(2, 3, 1, 4, 4, device="meta")})
    with pytest.raises((NotImplementedError, RuntimeError)):
        estimator.values()
    assert not sum_relevance(torch.rand(1, 1, 1, 2, 2, requires_grad=True)).requires_grad


def test_totals_that_are_not_finite_are_left_out() -> None:
    totals = torch.tensor([8.0, math.nan, 10.0, math.inf, 12.0])
    assert estimate_range(totals) == pytest.approx((4.0, 16.0))


@pytest.mark.parametrize(
    ("totals", "message"),
    [([1.0], "at least 2 images, found 1"), ([1.0, math.nan], "found 1"), ([0.0, 0.0], "no rel")],
)
def test_too_little_to_tell_is_an_error(totals: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        estimate_range(torch.tensor(totals))
    estimator = RangeEstimator()
    estimator.update({"deep": torch.tensor(totals).view(-1, 1, 1, 1, 1)})
    with pytest.raises(ValueError, match=f"layer deep: .*{message}"):
        estimator.values()


def test_what_is_no_batch_of_maps_is_refused() -> None:
    with pytest.raises(ValueError, match=r"maps input \[3, 4\]"):
        RangeEstimator().update({"input": torch.rand(3, 4)})
    with pytest.raises(ValueError, match="K' even"):
        RangeEstimator(dual=True).update({"input": torch.rand(3, 1, 1, 4, 4)})
