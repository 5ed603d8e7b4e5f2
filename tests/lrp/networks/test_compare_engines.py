"""The comparison of engines calls right what is right, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.compare_engines import (
    ENGINES,
    Found,
    _check_slope,
    _judge,
    gradient_times_input,
    small_networks,
    write_table,
)


def doubled(*given: Any) -> Found:
    maps, logits = gradient_times_input(*given)
    return 2 * maps, logits


def moved(*given: Any) -> Found:
    """Conserved, but elsewhere."""
    maps, logits = gradient_times_input(*given)
    return maps.roll(1, 3), logits


def frozen(net: nn.Module, x: Tensor, classes: Tensor, epsilon: float, graph: bool) -> Found:
    maps, logits = gradient_times_input(net, x, classes, epsilon, graph)
    return maps.detach() + 0 * maps, logits


def failing(*given: Any) -> Found:
    raise RuntimeError("cannot")


@pytest.mark.parametrize(
    ("engine", "verdict"),
    [(ENGINES["isnet_lrp"](), "right"), (gradient_times_input, "right"), (doubled, "wrong by 1"),
     (moved, "wrong by"), (failing, "refused: RuntimeError: cannot")],
)  # fmt: skip
def test_verdicts_of_a_piecewise_linear_network(engine: Any, verdict: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3, bias=False), nn.ReLU(inplace=True), nn.Flatten(),
        nn.Linear(48, 3, bias=False),
    ).double()  # fmt: skip
    x = torch.rand(2, 1, 6, 6).double()
    logits = net(x).detach()
    plain, _ = gradient_times_input(net, x, logits.argmax(1), 0.0, False)
    assert _judge(engine, net, x, logits, plain).startswith(verdict)


@pytest.mark.parametrize("name", ["convolutions", "transformer"])
def test_derivatives_are_those_of_finite_differences(name: str) -> None:
    net = small_networks()[name]
    assert _check_slope(ENGINES["isnet_lrp"](), net) == "right"
    if name == "convolutions":  # attention's fused gradient has no second derivative
        assert _check_slope(frozen, net).startswith("wrong: 0, finite difference")
    assert _check_slope(failing, net) == "none: cannot"


def test_the_table_says_what_is_missing() -> None:
    figures = {
        "isnet_lrp": {"right": {"a": "right", "b": "wrong by 2"},
                      "slope": {"c": "right", "t": "none: x"},
                      "resnet18": {"map": 1.5, "step": 2.25, "memory": 1.0}},
        "lxt": {"missing": "not installed"},
    }  # fmt: skip
    lines = write_table(figures).splitlines()
    assert lines[0].endswith("| resnet18: map, step, memory |")
    assert lines[2] == "| isnet_lrp | 1 | 1 | 0 | right | none | 1.50, 2.25, 1.00 |"
    assert lines[3].startswith("| lxt | not installed |")
