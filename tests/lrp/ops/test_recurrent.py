"""Recurrent layers: torch's outputs, and maps of a slow transcription with gates held constant."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from isnet_lrp import UnsupportedOperation, relevance

KINDS: dict[str, Any] = {
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "tanh": nn.RNN,
    "relu": lambda *a, **k: nn.RNN(*a, nonlinearity="relu", **k),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "two layers, both ways": {"num_layers": 2, "bidirectional": True, "batch_first": True},
    "without biases": {"bias": False, "batch_first": True},
}


class Net(nn.Module):
    """A recurrent layer over the rows of an image."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.head = nn.LazyLinear(3)

    def forward(self, x: Tensor) -> Tensor:
        rows = x[:, 0] if self.layer.batch_first else x[:, 0].transpose(0, 1)
        y, state = self.layer(rows)
        hidden = state[0] if isinstance(state, tuple) else state
        y = y if self.layer.batch_first else y.transpose(0, 1)
        return self.head(torch.cat([y.mean(1), hidden.transpose(0, 1).flatten(1)], 1))


def build(kind: str, options: dict[str, Any]) -> Net:
    torch.manual_seed(0)
    net = Net(KINDS[kind](5, 4, **options))
    net(torch.rand(1, 1, 6, 5))
    return net.double().eval()


def passed(z: Tensor, value: Tensor, epsilon: float) -> Tensor:
    """A function's value whose gradient is value/stab(z)."""
    made = z * (value / (z + epsilon * torch.where(z < 0, -1.0, 1.0).to(z))).detach()
    return made + (value - made).detach()


def transcribe(layer: nn.Module, kind: str, rows: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Outputs [B, T, H] and last outputs, each cell written with scalars' formulas and no gates."""
    rows = list(rows.unbind(1))
    last = []
    for number in range(layer.num_layers):
        sides = []
        for tail in ("", "_reverse") if layer.bidirectional else ("",):
            get = lambda what, t=tail: getattr(layer, f"{what}_l{number}{t}", None)  # noqa: B023, E731
            h = c = rows[0].new_zeros(len(rows[0]), layer.hidden_size)
            outputs = []
            for row in reversed(rows) if tail else rows:
                a = row @ get("weight_ih").T + (0 if not layer.bias else get("bias_ih"))
                b = h @ get("weight_hh").T + (0 if not layer.bias else get("bias_hh"))
                if kind == "lstm":
                    i, f, g, o = (a + b).chunk(4, 1)
                    c = f.sigmoid().detach() * c + i.sigmoid().detach() * passed(
                        g, g.tanh(), epsilon
                    )
                    h = o.sigmoid().detach() * passed(c, c.tanh(), epsilon)
                elif kind == "gru":
                    r, z = (a + b).chunk(3, 1)[0].sigmoid(), (a + b).chunk(3, 1)[1].sigmoid()
                    n = a.chunk(3, 1)[2] + r.detach() * b.chunk(3, 1)[2]
                    h = (1 - z).detach() * passed(n, n.tanh(), epsilon) + z.detach() * h
                else:
                    h = passed(a + b, getattr(a + b, kind)(), epsilon)
                outputs.append(h)
            last.append(h)
            sides.append(outputs[::-1] if tail else outputs)
        rows = [torch.cat(parts, 1) for parts in zip(*sides, strict=True)]
    return torch.stack(rows, 1), torch.cat(last, 1)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_maps_are_those_of_the_cells_written_out(kind: str, options: str) -> None:
    net = build(kind, OPTIONS[options])
    x = torch.rand(2, 1, 6, 5).double() - 0.3
    found = relevance(net, x, "all", epsilon=0.1)
    assert torch.allclose(found.logits, net(x), atol=1e-12)
    image = x.clone().requires_grad_()
    y, last = transcribe(net.layer, kind, image[:, 0], 0.1)
    logits = net.head(torch.cat([y.mean(1), last], 1))
    assert torch.allclose(logits, net(x), atol=1e-12)
    for k in range(3):
        (slope,) = torch.autograd.grad(logits[:, k].sum(), image, retain_graph=True)
        assert torch.allclose(found.maps[:, k], x * slope, atol=1e-12)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_maps_can_be_trained_through(kind: str) -> None:
    net, x = build(kind, {}), torch.rand(2, 1, 6, 5).double()
    weight = net.layer.weight_ih_l0
    way = torch.randn(weight.shape).double()

    def loss() -> Tensor:
        return relevance(net, x, "all", create_graph=True).maps.square().sum()

    (slope,) = torch.autograd.grad(loss(), weight)
    values = []
    for step in (1e-6, -2e-6):
        with torch.no_grad():
            weight.add_(way, alpha=step)
        values.append(loss().item())
    assert (slope * way).sum().item() == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5)


def test_family_gradient_is_autograds() -> None:
    net, x = build("lstm", {}), torch.rand(2, 1, 6, 5).double()
    image = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(net(image)[:, 1].sum(), image)
    maps = relevance(net, x, torch.tensor([1, 1]), family="gradient").maps[:, 0]
    assert torch.allclose(maps, x * slope, atol=1e-12)


@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_what_is_not_written_out_is_refused() -> None:
    net, x = Net(nn.LSTM(5, 4, proj_size=3, batch_first=True)), torch.rand(2, 1, 6, 5)
    net(x)
    with pytest.raises(UnsupportedOperation, match="projections: no rule"):
        relevance(net, x)
