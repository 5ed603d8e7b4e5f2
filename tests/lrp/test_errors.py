"""Every misuse raises a typed error that says what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from isnet_lrp import ZB, Choice, Compute, RelevanceError, UnsupportedOperation, relevance
from isnet_lrp.losses.heatmap import HeatmapLossSettings, heatmap_loss


class Small(nn.Module):
    """Convolution, a block, a linear layer; `forward` may be replaced."""

    def __init__(self, forward: Callable[[Small, Tensor], Any] | None = None) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.conv = nn.Conv2d(2, 4, 3, padding=1)
            self.norm = nn.BatchNorm2d(4)
            self.block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
            self.fc = nn.Linear(4, 3)
        self.replaced = forward

    def stem(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).relu()

    def head(self, x: Tensor) -> Tensor:
        return self.fc(self.block(x).mean((2, 3)))

    def forward(self, x: Tensor) -> Any:
        return self.head(self.stem(x)) if self.replaced is None else self.replaced(self, x)


def images() -> Tensor:
    return torch.rand(2, 2, 6, 5, generator=torch.Generator().manual_seed(0))


def spoiled(value: float) -> Tensor:
    x = images()
    x[1, 0, 2, 3] = value
    return x


ARGUMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "family": ({"family": "beta"}, "expected one of flex, block"),
    "target": ({"target": "largest"}, "expected one of all, predicted"),
    "target as a list": ({"target": [0, 1]}, r"class indices \[B\]"),
    "negative epsilon": ({"epsilon": -0.01}, "expected a number >= 0"),
    "epsilon NaN": ({"epsilon": float("nan")}, "expected a number >= 0"),
    "infinite epsilon": ({"epsilon": float("inf")}, "expected a number >= 0"),
    "batch norm": ({"batch_norm": "batch"}, "expected 'constant' or 'full'"),
    "precision": ({"compute": Compute("half")}, "expected 'float32' or 'mixed'"),
    "mixed z+": ({"compute": Compute("mixed"), "family": "z+"}, "with 'flex' and 'block'"),
    "NaN": ({"x": spoiled(float("nan"))}, "replace these pixels"),
    "infinity": ({"x": spoiled(float("-inf"))}, "replace these pixels"),
    "no batch axis": ({"x": images()[0]}, r"expected floating point \[B, C, H, W\]"),
    "whole numbers": ({"x": images().byte()}, "expected floating point"),
    "class too large": ({"target": torch.tensor([0, 3])}, "expected 0 to 2"),
    "class below 0": ({"target": torch.tensor([-1, 0])}, "expected 0 to 2"),
    "classes of one image": ({"target": torch.tensor([0])}, r"expected int64 \[2\]"),
    "one-hot classes": ({"target": torch.eye(3)[:2]}, r"expected int64 \[2\]"),
    "classes as numbers": ({"target": torch.zeros(2)}, r"expected int64 \[2\]"),
    "contrast's classes": (
        {"target": "selective", "choice": Choice(torch.tensor([0, 5]))}, "expected 0 to 2",
    ),
    "layer": ({"layers": ["conv", "stem"]}, r"named_modules\(\)"),
    "the network itself": ({"layers": [""]}, r"named_modules\(\)"),
    "layer that does not run": ({"layers": ["unused"]}, "did not run"),
    "layers as text": ({"layers": "block"}, "a list of names"),
    "zB bounds": ({"zb": (torch.zeros(3), 1.0)}, r"one per channel \[2\]"),
    "zB planes": ({"zb": (0.0, torch.ones(2, 6, 5))}, r"one per channel \[2\]"),
    "zB bounds swapped": ({"zb": (1.0, 0.0)}, "low bound below the high"),
    "layer in zB's": ({"zb": (0.0, 1.0), "layers": ["norm"]}, "name a layer behind"),
    "layer in z+'s": ({"family": "z+", "layers": ["conv"]}, "name the layer behind"),
    "probability": ({"target": "stochastic", "choice": Choice(probability=1.5)}, "from 0 to 1"),
    "memory": ({"compute": Compute(memory=-1)}, "0 or more"),
    "rules of signals": ({"rules": {"conv": ZB(0, 1)}}, "take 'epsilon'"),
    "rule of no module": ({"family": "epsilon", "rules": {"stem": ZB(0, 1)}}, "no such module"),
    "rule of no class": ({"family": "epsilon", "rules": {nn.GRU: ZB(0, 1)}}, "GRU: the network"),
    "condition of no module": ({"conditions": {"stem": [0]}}, r"named_modules\(\)"),
    "condition's channel": ({"conditions": {"conv": [0, 4]}}, "channels 0 to 3"),
    "condition in zB's": ({"zb": (0.0, 1.0), "conditions": {"conv": [0]}}, "name a layer behind"),
    "condition in z+'s": ({"family": "z+", "conditions": {"conv": [0]}}, "name the layer behind"),
    "delta": ({"target": "selective", "choice": Choice(delta=-1.0)}, "expected >= 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments(name: str) -> None:
    changes, advice = ARGUMENTS[name]
    net = Small().eval()
    net.unused = nn.ReLU()
    options = {"x": images(), **changes}
    with pytest.raises(RelevanceError, match=advice):
        relevance(net, **options)


def test_the_errors_are_value_errors() -> None:
    """Callers need not know this package to catch them."""
    assert issubclass(UnsupportedOperation, RelevanceError)
    assert issubclass(RelevanceError, ValueError)


OUTPUTS: dict[str, tuple[Callable[[Small, Tensor], Any], str]] = {
    "constant": (lambda n, x: n.fc(torch.ones(len(x), 4)), "does not depend on the image"),
    "detached": (lambda n, x: n.head(n.stem(x).detach()), "look for detached"),
    "without gradient": (lambda n, x: n.head(torch.no_grad()(n.stem)(x)), "look for detached"),
    "a dictionary": (lambda n, x: {"out": n.head(n.stem(x))}, r"returned dict: expected logits"),
    "feature maps": (lambda n, x: n.stem(x), r"returned \(2, 4, 6, 5\): expected logits \[B, K\]"),
}  # fmt: skip


@pytest.mark.parametrize("family", ["flex", "block", "z+", "dual"])
@pytest.mark.parametrize("name", OUTPUTS)
def test_networks_without_explainable_outputs(name: str, family: str) -> None:
    forward, message = OUTPUTS[name]
    with pytest.raises(RelevanceError, match=message):
        relevance(Small(forward).eval(), images(), family=family)


def _twice(net: Small, x: Tensor) -> Tensor:
    return net.norm(x).relu() + x


FIRST: dict[str, tuple[Callable[[Small, Tensor], Any], str]] = {
    "no first layer": (lambda n, x: n.head(n.stem(x.tanh())), "use zb=None"),
    "pooled image": (lambda n, x: n.head(n.stem(nn.functional.avg_pool2d(x, 2))), "use zb=None"),
    "squared image": (lambda n, x: n.head(n.stem(x * x)), "use zb=None"),
    "two readers of the image": (
        lambda n, x: n.head(n.stem(x)) + x.mean((1, 2, 3)).view(-1, 1), "use zb=None",
    ),
    "two first layers": (lambda n, x: n.head(n.stem(x) + n.conv(x).relu()), "use zb=None"),
    "two readers inside": (lambda n, x: n.head(_twice(n, n.conv(x))), "read more than once"),
}  # fmt: skip


@pytest.mark.parametrize("family", ["flex", "block", "z+"])
@pytest.mark.parametrize("name", FIRST)
def test_the_zb_rule_needs_one_first_layer(name: str, family: str) -> None:
    forward, advice = FIRST[name]
    net = Small(forward).eval()
    with pytest.raises(UnsupportedOperation, match=advice):
        relevance(net, images(), family=family, zb=(0.0, 1.0))
    assert relevance(net, images(), "all", family=family).maps.abs().sum() > 0


def test_selective_needs_two_classes() -> None:
    net = Small()
    net.fc = nn.Linear(4, 1)
    with pytest.raises(RelevanceError, match="two or more"):
        relevance(net.eval(), images(), "selective")


def test_half_precision_is_refused_for_training_alone() -> None:
    net, x = Small().eval(), images()
    with torch.autocast("cpu", torch.bfloat16):
        assert relevance(net, x).maps.abs().sum() > 0
        with pytest.raises(RelevanceError, match="leave autocast"):
            relevance(net, x, create_graph=True)
    with pytest.raises(RelevanceError, match="float32 images"):
        relevance(net.bfloat16(), x.bfloat16(), create_graph=True)


@pytest.mark.parametrize("shape", [(2, 6, 5), (1, 1, 6, 5), (2, 2, 6, 5, 1)])
def test_wrong_shapes_of_masks(shape: tuple[int, ...]) -> None:
    maps = relevance(Small().eval(), images()).maps
    with pytest.raises(ValueError, match=r"mask.*\[|\[.*mask"):
        heatmap_loss(maps, torch.ones(shape), HeatmapLossSettings())
