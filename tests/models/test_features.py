"""Features are what the last layer decides from; nothing stays behind in the network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from isnet_models.backbones import build_backbone
from isnet_models.features import decision_features


@pytest.mark.parametrize(("name", "dropout"), [("small", 0.0), ("small", 0.5), ("resnet18", 0.0)])
def test_the_last_layer_makes_the_logits_from_the_features(name: str, dropout: float) -> None:
    net = build_backbone(name, 3, dropout=dropout).eval()
    images = torch.rand(4, 1, 64, 64)
    with torch.inference_mode():
        logits, features = decision_features(net, images)
        assert torch.equal(logits, net(images))
        last = [layer for layer in net.modules() if isinstance(layer, nn.Linear)][-1]
        assert torch.allclose(features @ last.weight.T + last.bias, logits, atol=1e-5)
    assert not any(layer._forward_pre_hooks for layer in net.modules())


def test_without_a_linear_layer_the_last_convolution_is_taken() -> None:
    net = build_backbone("squeezenet1_1", 2).eval()
    with torch.inference_mode():
        _, features = decision_features(net, torch.rand(2, 1, 64, 64))
    assert features.shape == (2, 512)


def test_the_hook_goes_when_the_network_fails() -> None:
    net = build_backbone("small", 2)
    with pytest.raises(RuntimeError):
        decision_features(net, torch.rand(1, 3, 32, 32))
    assert not any(layer._forward_pre_hooks for layer in net.modules())


class Twice(nn.Module):
    """Its last layer runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.fc(x.flatten(1)))  # type: ignore[no-any-return]


def test_networks_without_one_last_layer_are_refused() -> None:
    with pytest.raises(ValueError, match="did not run once"):
        decision_features(Twice(), torch.rand(2, 1, 2, 2))
    with pytest.raises(ValueError, match="no linear layer"):
        decision_features(nn.Flatten(), torch.rand(2, 1, 2, 2))
