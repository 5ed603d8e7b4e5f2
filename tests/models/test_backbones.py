"""Backbones by name: shapes, channels, and the ISNet on each family."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from isnet_lrp import relevance
from isnet_models.backbones import (
    SMALL,
    architectures,
    build_backbone,
    count_parameters,
)

QUICK = [("small", 1), ("small", 3), ("resnet18", 1), ("squeezenet1_1", 3)]
SLOW = [
    ("resnet18", 3), ("squeezenet1_1", 1),
    *((name, c) for name in ("densenet121", "vgg11_bn", "googlenet") for c in (1, 3)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "channels"), [*QUICK, *(pytest.param(*c, marks=pytest.mark.slow) for c in SLOW)]
)
def test_relu_families_are_explained_untouched(name: str, channels: int) -> None:
    net = build_backbone(name, 3, channels=channels).eval()
    x = torch.rand(1, channels, 64, 64)
    result = relevance(net, x, "all", zb=(0.0, 1.0))
    assert result.maps.shape == (1, 3, channels, 64, 64)
    assert torch.isfinite(result.maps).all()
    assert torch.allclose(result.logits, net(x), atol=1e-5)


def test_dropout_is_put_before_the_last_layer() -> None:
    net = build_backbone("resnet18", 2, dropout=0.4)
    assert [type(m) for m in net.fc] == [nn.Dropout, nn.Linear]


def test_unknown_names_get_a_suggestion() -> None:
    with pytest.raises(ValueError, match="did you mean densenet121"):
        build_backbone("densnet121", 2)
    assert {"densenet121", "vgg19", "small"} <= set(architectures())


def test_the_small_network_is_small() -> None:
    assert count_parameters(build_backbone(SMALL, 2)) < 1_500_000
