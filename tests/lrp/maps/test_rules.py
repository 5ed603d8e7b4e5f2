"""The rule of each operation against dense Jacobian matrices and loops, in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from isnet_lrp import relevance
from tests.lrp.oracles.dense import Oracle
from tests.lrp.oracles.flex import flex_maps

EPSILON = 0.05
Function = Callable[[Tensor], Tensor]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


class Net(nn.Module):
    """An operation, ReLU, and a linear layer to two logits, behind a fixed scaling of pixels."""

    def __init__(self, operation: Function, x: Tensor, *, with_relu: bool = True) -> None:
        super().__init__()
        self.operation, self.with_relu = operation, with_relu
        self.parts = operation if isinstance(operation, nn.Module) else None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            features = operation(x).flatten(1).shape[1]
            self.head = nn.Linear(features, 2).double()

    def forward(self, x: Tensor) -> Tensor:
        a = self.operation(x)
        return self.head((a.relu() if self.with_relu else a).flatten(1))


def dense(f: Function, a: Tensor) -> Tensor:
    """Jacobian matrix [outputs, inputs] of a function at one image."""
    return torch.autograd.functional.jacobian(f, a).reshape(-1, a.numel())


def stab(z: Tensor, epsilon: float = EPSILON) -> Tensor:
    return z + epsilon * torch.where(z >= 0, 1.0, -1.0).double()


def slow_maps(net: Net, x: Tensor, family: str) -> Tensor:
    """Relevance carried down by matrices: logits, linear layer, ReLU, operation."""
    maps = []
    W, b = net.head.weight.detach(), net.head.bias.detach()
    for image in x.detach().split(1):
        z = net.operation(image).detach()
        a = (z.relu() if net.with_relu else z).flatten()
        J = dense(net.operation, image)
        for k in range(2):
            y = W[k] @ a + b[k]
            if family == "block":
                R = a * W[k] * (y / stab(y))
                signal = (R / stab(z.flatten())) @ J
            else:
                factor = a / (a + EPSILON) if net.with_relu else torch.ones_like(a)
                signal = (W[k] * factor) @ J
            maps.append(image.flatten() * signal)
    return torch.stack(maps).view(len(x), 2, *x.shape[1:])


def close(a: Tensor, b: Tensor) -> bool:
    assert b.abs().max() > 0
    return torch.allclose(a, b, atol=1e-10 * b.abs().max().item(), rtol=0)


def conv(*args: object, **kwargs: object) -> Function:
    torch.manual_seed(0)
    return nn.Conv2d(*args, **kwargs).double().requires_grad_(False)  # type: ignore[arg-type]


def batch_norm() -> nn.Module:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(2).double().eval()
    norm.weight.data, norm.bias.data = torch.tensor([-0.7, 1.2]).double(), torch.randn(2).double()
    norm.running_mean, norm.running_var = torch.rand(2).double(), torch.rand(2).double() + 0.3
    return norm.requires_grad_(False)


OPERATIONS: dict[str, tuple[Callable[[], Function], tuple[int, int]]] = {
    "stride 3, rest 2": (lambda: conv(2, 3, 3, stride=3, padding=1), (14, 9)),
    "stride 3, rest 2, 57x45": (lambda: conv(2, 1, 5, stride=(3, 4), padding=2), (57, 45)),
    "kernel below stride": (lambda: conv(2, 3, 2, stride=4), (11, 9)),
    "dilation": (lambda: conv(2, 3, (3, 2), dilation=(2, 3), padding=(1, 2)), (8, 9)),
    "groups": (lambda: conv(2, 6, 3, groups=2, padding=1), (5, 6)),
    "no bias": (lambda: conv(2, 3, 3, bias=False), (5, 6)),
    "same, even kernel": (lambda: conv(2, 3, (4, 2), padding="same", dilation=(1, 3)), (8, 7)),
    "valid": (lambda: conv(2, 3, 3, padding="valid"), (5, 6)),
    "reflected border": (lambda: conv(2, 3, 3, padding=1, padding_mode="reflect"), (5, 6)),
    "convolution of a vector": (lambda: conv(2, 3, 1), (1, 1)),
    "convolution and BatchNorm": (lambda: nn.Sequential(conv(2, 2, 3), batch_norm()), (5, 6)),
    "BatchNorm": (batch_norm, (4, 5)),
    "joined": (lambda: Joined(conv(2, 3, 3, padding=1), conv(2, 1, 1)), (5, 4)),
    "joined with a constant": (lambda: Joined(conv(2, 3, 3, padding=1), None), (5, 4)),
}


class Joined(nn.Module):
    """Two convolutions, or a convolution and a constant, side by side."""

    def __init__(self, first: Function, second: Function | None) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        other = torch.full_like(x, 0.7) if self.second is None else self.second(x)
        return torch.cat([self.first(x), other], dim=1)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("family", ["flex", "block"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_affine_operations(name: str, family: str) -> None:
    make, size = OPERATIONS[name]
    x = torch.rand(2, 2, *size, dtype=torch.float64) - 0.3
    net = Net(make(), x)
    ours = relevance(net, x, "all", family=family, epsilon=EPSILON).maps
    assert close(ours, slow_maps(net, x, family))


POOLS: dict[str, tuple[Function, tuple[int, int]]] = {
    "average": (nn.AvgPool2d(3, 2, 1), (7, 6)),
    "average, border not counted": (nn.AvgPool2d(3, 2, 1, count_include_pad=False), (7, 6)),
    "average, ceil": (nn.AvgPool2d(3, 2, ceil_mode=True), (8, 6)),
    "adaptive 5 to 3": (nn.AdaptiveAvgPool2d(3), (5, 5)),
    "adaptive 8 to 3 and 3 to 7": (nn.AdaptiveAvgPool2d((3, 7)), (8, 3)),
    "global": (nn.AdaptiveAvgPool2d(1), (5, 4)),
    "mean": (lambda a: a.mean((2, 3)), (5, 4)),
    "mean over rows": (lambda a: a.mean(2, keepdim=True), (5, 4)),
    "sum": (lambda a: a.sum((2, 3)), (5, 4)),
}


@pytest.mark.parametrize("family", ["flex", "block"])
@pytest.mark.parametrize("name", POOLS)
def test_pooling_behind_a_relu(name: str, family: str) -> None:
    """Block: the pooled output is a site of its own (docs/lrp.md, section 2.4)."""
    pool, size = POOLS[name]
    x = torch.rand(1, 2, *size, dtype=torch.float64) - 0.3
    first = conv(2, 3, 1)
    net = Net(lambda t: pool(first(t).relu()), x, with_relu=False)
    W, b = net.head.weight.detach(), net.head.bias.detach()
    z = first(x)
    a = z.relu()
    p = pool(a).flatten()
    P, J = dense(pool, a), dense(first, x)
    maps = []
    for k in range(2):
        if family == "block":
            y = W[k] @ p + b[k]
            R = p * W[k] * (y / stab(y))
            R = a.flatten() * ((R / stab(p)) @ P)
            signal = (R / stab(z.flatten())) @ J
        else:
            signal = (W[k] @ P * (a / (a + EPSILON)).flatten()) @ J
        maps.append(x.flatten() * signal)
    ours = relevance(net, x, "all", family=family, epsilon=EPSILON).maps
    assert close(ours, torch.stack(maps).view(1, 2, *x.shape[1:]))


@pytest.mark.parametrize("family", ["flex", "block"])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation", "ceil"),
    [(3, 2, 1, 1, False), (3, 1, 0, 1, False), (3, 2, 0, 1, True), (2, 3, 1, 2, True),
     (2, 2, 0, 1, False)],
)  # fmt: skip
def test_max_pooling_adds_what_the_windows_of_one_winner_send(
    kernel: int, stride: int, padding: int, dilation: int, ceil: bool, family: str
) -> None:
    """Windows in loops: each hands its signal to its largest entry (docs/lrp.md, section 2.3)."""
    x = torch.randn(1, 2, 8, 7, dtype=torch.float64)
    pool = nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=ceil)
    net = Net(pool, x, with_relu=False)
    p = pool(x)
    signals = []
    for k in range(2):
        W, y = net.head.weight[k].detach().view_as(p), net(x)[0, k].item()
        signal = torch.zeros_like(x)
        factor = y / (y + EPSILON * (1 if y >= 0 else -1)) if family == "block" else 1.0
        shares = 0
        for c in range(2):
            for i in range(p.shape[2]):
                for j in range(p.shape[3]):
                    rows = range(i * stride - padding, i * stride - padding + kernel * dilation)
                    columns = range(j * stride - padding, j * stride - padding + kernel * dilation)
                    inside = [
                        (u, v) for u in rows[::dilation] for v in columns[::dilation]
                        if 0 <= u < 8 and 0 <= v < 7
                    ]  # fmt: skip
                    u, v = max(inside, key=lambda at: x[0, c, at[0], at[1]].item())
                    shares += bool(signal[0, c, u, v] != 0)
                    z = x[0, c, u, v].item()
                    site = z / (z + EPSILON * (1 if z >= 0 else -1)) if family == "block" else 1.0
                    signal[0, c, u, v] += W[0, c, i, j] * factor * site
        assert shares > 0 or stride >= kernel  # windows share winners, where they overlap
        signals.append(x * signal)
    ours = relevance(net, x, "all", family=family, epsilon=EPSILON).maps
    assert close(ours, torch.stack(signals, 1))


@pytest.mark.parametrize("family", ["flex", "block"])
@pytest.mark.parametrize("spelling", ["a + b", "iadd", "add_", "torch.add", "a - b"])
def test_sums_of_two_branches(spelling: str, family: str) -> None:
    """Block: each branch's affine output is a site beside the sum (docs/lrp.md, section 2.5)."""
    first, second = conv(2, 3, 3, padding=1), conv(2, 3, 1)
    sign = -1 if spelling == "a - b" else 1

    def add(a: Tensor, b: Tensor) -> Tensor:
        if spelling == "iadd":
            a += b
            return a
        calls = {"add_": a.add_, "torch.add": lambda t: torch.add(a, t), "a - b": a.__sub__}
        return calls[spelling](b) if spelling in calls else a + b

    x = torch.rand(1, 2, 4, 5, dtype=torch.float64) - 0.3
    net = Net(lambda t: add(first(t), second(t)), x)
    u, v = first(x).flatten(), sign * second(x).flatten()
    J = [dense(first, x), sign * dense(second, x)]
    W, b, a = net.head.weight.detach(), net.head.bias.detach(), (u + v).relu()
    maps = []
    for k in range(2):
        if family == "block":
            y = W[k] @ a + b[k]
            s = a * W[k] * (y / stab(y)) / stab(u + v)
            signal = u * s / stab(u) @ J[0] + v * s / stab(v) @ J[1]
        else:
            signal = (W[k] * a / (a + EPSILON)) @ (J[0] + J[1])
        maps.append(x.flatten() * signal)
    ours = relevance(net, x, "all", family=family, epsilon=EPSILON).maps
    assert close(ours, torch.stack(maps).view(1, 2, *x.shape[1:]))


@pytest.mark.parametrize("kind", [nn.Dropout, nn.Dropout2d])
@pytest.mark.parametrize("family", ["flex", "block", "z+"])
def test_dropout_while_training_is_its_own_linear_map(kind: type[nn.Module], family: str) -> None:
    """The map is that of the same network with the drawn factors as weights."""
    x = torch.rand(2, 3, 5, 4, dtype=torch.float64)
    torch.manual_seed(0)
    body = [nn.Conv2d(3, 4, 3), nn.ReLU(), kind(0.4), nn.Flatten(), nn.Linear(24, 2)]
    net = nn.Sequential(*body).double().train()
    state = torch.get_rng_state()
    ours = relevance(net, x, "all", family=family, epsilon=EPSILON)
    torch.set_rng_state(state)
    factors = net[2](torch.ones(2, 4, 3, 2).double())
    assert 0 < (factors == 0).double().mean() < 1
    a = net[0](x).relu() * factors
    assert torch.allclose(ours.logits, net[4](a.flatten(1)), atol=1e-12)
    fixed = nn.Identity()
    fixed.forward = lambda t: t * factors  # type: ignore[method-assign]
    oracle = Oracle(nn.Sequential(*body[:2], fixed, *body[3:]), EPSILON, family == "z+")
    maps, _ = flex_maps(oracle, x) if family == "flex" else oracle.maps(x)
    assert close(ours.maps, maps)
