"""Operations without a rule are refused by name."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from isnet_models.backbones import build_backbone
from isnet_models.lrp import UnsupportedOperation, relevance
from isnet_models.lrp.rules import Phase
from isnet_models.lrp.tape import Tape


@pytest.mark.parametrize("name", ["efficientnet_b0", "vit_b_16", "mobilenet_v3_small"])
def test_operations_without_a_rule_are_named(name: str) -> None:
    net = build_backbone(name, 2).eval()
    with pytest.raises(UnsupportedOperation, match="no relevance rule"):
        relevance(net, torch.rand(1, 1, 224, 224))


def test_zb_needs_a_convolution_first() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(UnsupportedOperation, match="does not start with"):
        relevance(net, torch.rand(1, 1, 4, 4), zb=(0.0, 1.0))
    with pytest.raises(ValueError, match="epsilon"):
        relevance(net, torch.rand(1, 1, 4, 4), epsilon=-1.0)


def test_every_spelling_of_relu_is_seen() -> None:
    x = torch.randn(1, 1, 4, 4, requires_grad=True)
    with Tape(Phase(0.01), x) as tape:
        for relu in (nn.ReLU(), F.relu, torch.relu, torch.Tensor.relu):
            relu(x * 1)
        for relu in (nn.ReLU(inplace=True), torch.relu_, torch.Tensor.relu_, F.relu_):
            y = x * 1
            assert relu(y) is y
            assert y.min() >= 0
    assert tape.relus == 8


@pytest.mark.parametrize("padding", [1, "same"])
def test_the_first_layer_is_recorded_and_the_second_is_not(padding: int | str) -> None:
    first, second = nn.Conv2d(1, 2, 3, padding=padding), nn.Conv2d(2, 2, 3)
    x = torch.rand(1, 1, 6, 6)
    with Tape(Phase(0.01), x) as tape:
        second(first(x).relu()).relu()
    if padding == "same":  # torch's own operation: zB does not apply
        assert tape.first is None
    else:
        assert tape.first is not None
        assert tape.first.weight is first.weight
        assert tape.first.output is not None
        assert tape.first.output.shape == (1, 2, 6, 6)
