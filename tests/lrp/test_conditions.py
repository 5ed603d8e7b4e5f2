"""Concept relevance: maps of what passes through chosen channels of chosen layers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from isnet_lrp import relevance
from tests.lrp.nets import build, images

LAYERS = {"basic": "layer2", "vgg": "features.4"}


def maps(net: nn.Module, x: Tensor, family: str, **options: object) -> Tensor:
    return relevance(net, x, "all", family=family, epsilon=0.05, **options).maps  # type: ignore[arg-type]


@pytest.mark.parametrize("family", ["flex", "block", "z+", "dual", "epsilon"])
@pytest.mark.parametrize("name", ["basic", "vgg"])
def test_disjoint_channels_add_up_to_the_whole_map(name: str, family: str) -> None:
    """All relevance passes through these layers: their channels' parts are the map."""
    net, x = build(name), images(2)
    layer = LAYERS[name]
    channels = relevance(net, x, "all", layers=[layer]).layers[layer].shape[2]
    whole = maps(net, x, family)
    parts = [maps(net, x, family, conditions={layer: [c]}) for c in range(channels)]
    assert torch.allclose(sum(parts), whole, atol=1e-12 * whole.abs().max().item())
    assert all(part.abs().max() > 0 for part in parts[:1])
    some = maps(net, x, family, conditions={layer: [0, channels - 1]})
    assert torch.allclose(some, parts[0] + parts[-1], atol=1e-12 * whole.abs().max().item())


def test_it_is_the_gradient_through_these_channels() -> None:
    """At epsilon 0, by a hook that cuts the gradient."""
    net, x = build("basic"), images(2)
    ours = relevance(net, x, "all", epsilon=0.0, conditions={"layer2": [1]}).maps
    handle = net.layer2.register_forward_hook(
        lambda _m, _a, out: torch.where(torch.tensor([False, True, False]).view(-1, 1, 1),
                                        out, out.detach())
    )  # fmt: skip
    image = x.clone().requires_grad_()
    y = net(image)
    rows = [torch.autograd.grad(row.sum(), image, retain_graph=True)[0] for row in y.unbind(1)]
    handle.remove()
    assert torch.allclose(ours, torch.stack([x * g for g in rows], 1), atol=1e-12)


def test_conditions_of_several_layers_hold_together() -> None:
    net, x = build("basic"), images(2)
    both = maps(net, x, "flex", conditions={"layer1": [0, 2], "layer3": [1]})
    parts = [maps(net, x, "flex", conditions={"layer1": [c], "layer3": [1]}) for c in (0, 2)]
    assert torch.allclose(both, parts[0] + parts[1], atol=1e-12)


def test_a_tensor_is_a_factor_and_the_layer_is_restricted_too() -> None:
    net, x = build("basic"), images(2)
    factor = torch.tensor([0.0, 0.5, 0.0]).double().view(-1, 1, 1)
    half = relevance(net, x, "all", conditions={"layer2": factor}, layers=["layer2"])
    one = relevance(net, x, "all", conditions={"layer2": [1]}, layers=["layer2"])
    assert torch.allclose(2 * half.maps, one.maps, atol=1e-12)
    assert one.layers["layer2"][:, :, [0, 2]].abs().max() == 0
    assert one.layers["layer2"][:, :, 1].abs().max() > 0


def test_channels_of_tokens_are_the_last_axis() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.mix, self.fc = nn.Linear(3, 5), nn.Linear(5, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.embed(x.flatten(2).transpose(1, 2)).relu()
            return self.fc(self.mix(tokens).relu().mean(1))

    torch.manual_seed(0)
    net, x = Tokens().double(), images(2, (4, 5))
    parts = [maps(net, x, "flex", conditions={"mix": [c]}) for c in range(4)]
    assert torch.allclose(sum(parts), maps(net, x, "flex"), atol=1e-12)


def test_maps_under_conditions_are_trained_through() -> None:
    net, x = build("basic"), images(2)
    found = relevance(net, x, "all", conditions={"layer2": [1]}, create_graph=True)
    found.maps.square().sum().backward()
    grads = [p.grad for p in net.layer2.parameters()]
    assert all(g is not None and g.abs().max() > 0 for g in grads)
