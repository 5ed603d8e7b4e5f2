"""Hidden layers: by name, chosen from the record, and where a name cannot be used."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from isnet_lrp import RelevanceError, relevance
from tests.lrp.nets import build, images

SPEC = {  # docs/lrp.md, section 3.5
    "basic": ["layer1", "layer2", "layer3", "layer4"],
    "bottleneck": ["layer1", "layer2", "layer3", "layer4"],
}


@pytest.mark.parametrize("family", ["flex", "block", "z+"])
@pytest.mark.parametrize("name", SPEC)
def test_automatic_layers_of_resnets_are_their_stages(name: str, family: str) -> None:
    net, x = build(name, size=(57, 45)), images(2, (57, 45))
    found = relevance(net, x, "all", family=family, layers="auto").layers
    named = relevance(net, x, "all", family=family, layers=SPEC[name]).layers
    assert len(found) == 4
    sizes = [tuple(int(n) for n in key.split("x")) for key in found]
    assert sizes == sorted(sizes, reverse=True)
    for ours, theirs in zip(found.values(), named.values(), strict=True):
        assert torch.equal(ours, theirs)


def test_automatic_layers_of_densenets_are_the_transitions_relu_and_the_last() -> None:
    net, x = build("dense", size=(64, 64)), images(2, (64, 64))
    found = relevance(net, x, "all", layers="auto").layers
    named = relevance(net, x, "all", layers=["features.transition1.relu"]).layers
    assert list(found) == ["16x16", "8x8"]
    assert torch.equal(found["16x16"], named["features.transition1.relu"])
    assert found["8x8"].shape[2] == net.features.norm5.num_features


def test_automatic_layers_of_vgg_are_the_inputs_of_its_poolings() -> None:
    net, x = build("vgg_bn"), images(2)
    found = relevance(net, x, "all", layers="auto").layers
    named = relevance(net, x, "all", layers=["features.9"]).layers  # before the second pooling
    assert list(found) == ["10x8"]  # the first layer's activation is left out
    assert torch.equal(found["10x8"], named["features.9"])


def test_a_network_without_hidden_maps_has_no_automatic_layers() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 19 * 15, 2))
    assert relevance(net, images(1).float(), layers="auto").layers == {}


class Gated(nn.Module):
    """A gate with a ReLU of its own, and a detour around the last activation of a size."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.squeeze, self.excite = nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1)
        self.inner, self.fc = nn.Conv2d(4, 4, 1), nn.Linear(4, 2)
        self.relus = nn.ModuleList(nn.ReLU() for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        y = self.relus[1](self.body(self.relus[0](self.stem(x))))
        gate = self.excite(self.relus[2](self.squeeze(y.mean((2, 3), keepdim=True)))).sigmoid()
        y = y * gate
        y = y + self.inner(self.relus[3](self.inner(y)))
        return self.fc(y.mean((2, 3)))


def test_automatic_layers_are_on_every_path_and_in_no_gate() -> None:
    net, x = Gated().eval(), images(2).float()
    found = relevance(net, x, "all", layers="auto").layers
    named = relevance(net, x, "all", layers=["relus.1"]).layers
    assert list(found) == ["21x17"]
    assert torch.equal(found["21x17"], named["relus.1"])


def test_activations_with_channels_last_are_no_maps() -> None:
    class Last(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            y = self[2](self[1](self[0](x).permute(0, 2, 3, 1)))
            return self[4](self[3](y).mean((1, 2)))

    net = Last(nn.Conv2d(3, 96, 1), nn.GELU(), nn.Linear(96, 97), nn.GELU(), nn.Linear(97, 2))
    assert relevance(net.eval(), images(2, (8, 8)).float(), layers="auto").layers == {}


class Odd(nn.Module):
    """A module called twice, one of two outputs, one that ignores the image, one never called."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.again = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1)
        self.relu, self.fc, self.unused = nn.ReLU(inplace=True), nn.Linear(3, 2), nn.Identity()
        self.split, self.constant, self.side = Split(), nn.Linear(2, 3), nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.conv(x))
        y = self.relu(self.again(self.again(y)))
        self.side(y)
        top, bottom = self.split(y)
        y = torch.cat([top, bottom], 2) + self.constant(torch.ones(2)).view(3, 1, 1)
        return self.fc(y.mean((2, 3)))


class Split(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, :, :3], x[:, :, 3:]


def test_modules_with_odd_outputs() -> None:
    torch.manual_seed(0)
    net, x = Odd(), images(2, (7, 6)).float()
    layers = relevance(net, x, "all", layers=["again", "relu", "side"]).layers
    assert layers["again"].abs().sum() > 0
    caught: list[Tensor] = []
    hooks = [m.register_forward_hook(lambda _m, _a, y: caught.append(y)) for m in (net.again,)]
    plain = relevance(net, x, "all", epsilon=0.0, layers=["again"]).layers["again"]
    caught.clear()
    image = x.clone().requires_grad_()
    logits = net(image)
    for hook in hooks:
        hook.remove()
    (slope,) = torch.autograd.grad(logits[:, 1].sum(), caught[-1])  # of the last call
    assert torch.allclose(plain[:, 1], (caught[-1] * slope).detach(), atol=1e-7)
    assert not layers["side"].any()  # nothing reads it
    for name in ("split", "constant"):
        with pytest.raises(RelevanceError, match="not a tensor that depends on the image"):
            relevance(net, x, layers=[name])
    with pytest.raises(RelevanceError, match="did not run"):
        relevance(net, x, layers=["unused"])
    assert not any(m._forward_hooks for m in net.modules())


def test_layers_have_the_axes_of_their_activations() -> None:
    net, x = build("vgg"), images(2)
    names = ["features.2", "avgpool", "classifier.0", "classifier"]
    layers = relevance(net, x, "all", layers=names).layers
    assert list(layers) == names
    assert [tuple(r.shape) for r in layers.values()] == [
        (2, 3, 4, 10, 8), (2, 3, 6, 3, 3), (2, 3, 8), (2, 3, 3),
    ]  # fmt: skip
