"""C1 and C2 are positive, ordered, reproducible, and kept for a continued training."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from isnet_cli.config.schema import Config
from isnet_cli.core.run_context import RunContext
from isnet_cli.train.relevance_range import describe_ranges, estimate_ranges, find_ranges
from isnet_models.methods.base import EVERY_MAP
from tests.support.datasets import make_dataset

DEVICE = torch.device("cpu")


def _with(config: Config, **loss: Any) -> Config:
    record = config.train.settings_of("isnet").model_copy(update=loss)
    settings = {**config.train.settings, "isnet": record}
    return config.model_copy(
        update={"train": config.train.model_copy(update={"settings": settings})}
    )


def test_ranges_are_positive_ordered_and_reproducible(tmp_path: Path) -> None:
    dataset, config = make_dataset(tmp_path)
    one = estimate_ranges(config, dataset, "standard", DEVICE, RunContext())
    assert one == estimate_ranges(config, dataset, "standard", DEVICE, RunContext())
    assert one is not None
    assert list(one) == ["input"]
    assert 0 < one["input"][0] <= one["input"][1]
    stop = RunContext(stop_requested=lambda: True)
    assert estimate_ranges(config, dataset, "standard", DEVICE, stop) is None
    open_end = _with(config, relevance_range="estimate_low")
    lower = estimate_ranges(open_end, dataset, "standard", DEVICE, RunContext())
    assert lower == {"input": (one["input"][0], math.inf)}
    assert describe_ranges(lower)[0].endswith(" and more")


def test_every_supervised_layer_has_its_own_and_dual_has_pairs(tmp_path: Path) -> None:
    dataset, config = make_dataset(tmp_path)
    deep = _with(config, layers="auto", variant="dual", range_epochs=1)
    ranges = estimate_ranges(deep, dataset, "standard", DEVICE, RunContext())
    assert ranges is not None
    assert len(ranges) >= 3
    for low, high in ranges.values():
        assert isinstance(low, tuple)
        assert isinstance(high, tuple)
        assert all(0 < a <= b for a, b in zip(low, high, strict=True))
    assert len({c for c, _ in ranges.values()}) == len(ranges)
    assert "and" in describe_ranges(ranges)[0]


def test_estimates_are_kept_for_the_same_training_alone(tmp_path: Path) -> None:
    dataset, config = make_dataset(tmp_path)
    dual = _with(config, variant="dual", range_epochs=1)
    path = tmp_path / "relevance_range.json"

    def find(c: Config, identity: str, context: RunContext | None = None) -> Any:
        return find_ranges(c, dataset, "standard", DEVICE, path, identity, context or RunContext())

    found = find(dual, "a")
    stop = RunContext(stop_requested=lambda: True)  # an estimate now would give None
    assert find(dual, "a", stop) == found
    assert find(dual, "b", stop) is None
    open_end = _with(dual, relevance_range="estimate_low")
    lower = find(open_end, "c")
    assert lower == {"input": (found["input"][0], math.inf)}
    assert find(open_end, "c", stop) == lower  # JSON has no infinity
    path.write_text(json.dumps({"identity": "a", "ranges": 3}))
    assert find(dual, "a", stop) is None
    path.write_text("{")
    assert find(dual, "a", stop) is None


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ({"relevance_range": (1.0, 2.0)}, {EVERY_MAP: (1.0, 2.0)}),
        ({"relevance_range": {"input": (1.0, 2.0)}}, {"input": (1.0, 2.0)}),
        ({"relevance_range": (1.0, "none")}, {EVERY_MAP: (1.0, math.inf)}),
        ({"loss": "energy"}, {}),
    ],
)
def test_given_ranges_are_taken(tmp_path: Path, loss: dict[str, Any], expected: Any) -> None:
    dataset, config = make_dataset(tmp_path)
    stop = RunContext(stop_requested=lambda: True)
    given = find_ranges(
        _with(config, **loss), dataset, "standard", DEVICE, tmp_path / "c", "a", stop
    )
    assert given == expected
