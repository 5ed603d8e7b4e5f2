"""Norms hold their standard deviation and let their mean pass; BatchNorm is an affine map."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isnet_lrp import relevance
from isnet_lrp.ops.norm import BatchNorm, invert_deviation
from tests.lrp.oracles.rule_check import error

RAMP = torch.linspace(0, 1, 8, dtype=torch.float64)  # the mean of a normed map is 0
GAMMA = torch.linspace(0.5, 2, 6, dtype=torch.float64)


def _centred(z: Tensor, axes: tuple[int, ...], eps: float = 1e-5) -> Tensor:
    d = z - z.mean(axes, keepdim=True)
    return d / (d.square().mean(axes, keepdim=True) + eps).sqrt().detach()


def _groups(z: Tensor) -> Tensor:
    return _centred(z.reshape(2, 3, -1), (2,)).reshape(z.shape) * GAMMA.view(-1, 1, 1)


def _channels_last(z: Tensor) -> Tensor:
    return F.layer_norm(z.permute(0, 2, 3, 1), (6,), GAMMA).permute(0, 3, 1, 2)


CASES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "layer norm": (_channels_last, lambda z: _centred(z, (1,)) * GAMMA.view(-1, 1, 1)),
    "layer norm of all": (lambda z: F.layer_norm(z, (6, 8, 8)), lambda z: _centred(z, (1, 2, 3))),
    "group norm": (lambda z: F.group_norm(z, 3, GAMMA), _groups),
    "instance norm": (
        lambda z: F.instance_norm(z) * RAMP,
        lambda z: _centred(z, (2, 3)) * RAMP,
    ),
    "rms norm": (
        lambda z: F.rms_norm(z, (8,), eps=1e-5),
        lambda z: z / (z.square().mean(-1, keepdim=True) + 1e-5).sqrt().detach(),
    ),
    "normalize": (
        lambda z: F.normalize(z, dim=1),
        lambda z: z / z.norm(dim=1, keepdim=True).detach(),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_norms(name: str) -> None:
    assert error(*CASES[name], 0.01) < 1e-9


def test_deviation_by_hand() -> None:
    x = torch.tensor([[1.0, 3.0], [2.0, 2.0]], dtype=torch.float64)
    found = invert_deviation(x, 0.25)
    assert found.flatten().tolist() == pytest.approx([1.25**-0.5, 2.0])


@pytest.mark.parametrize("affine", [False, True])
def test_batch_norm_as_scale_and_shift(affine: bool) -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4, affine=affine).double().eval()
    norm.running_mean, norm.running_var = torch.randn(4).double(), torch.rand(4).double() + 0.5
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    x = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    op = BatchNorm(
        "batch_norm", (0,), (1,), gamma=norm.weight, beta=norm.bias, mean=norm.running_mean,
        invstd=(norm.running_var + norm.eps).rsqrt(),
    )  # fmt: skip
    y = x * op.scale().view(4, 1, 1) + op.shift().view(4, 1, 1)
    assert torch.allclose(y, norm(x), atol=1e-12)
    if affine:  # beta is a constant
        (slope,) = torch.autograd.grad(op.shift().sum(), norm.bias, allow_unused=True)
        assert slope is None
    g = torch.randn(2, 2, 4, 3, 3, dtype=torch.float64)
    found = op.propagate([g])[0]
    assert found is not None
    for ours, row in zip(found, g, strict=True):
        assert torch.allclose(ours, torch.autograd.functional.vjp(norm, x, row)[1], atol=1e-12)


def gradient_maps(net: nn.Module, x: Tensor) -> Tensor:
    image = x.clone().requires_grad_()
    y = net(image)
    rows = [torch.autograd.grad(y[:, k].sum(), image, retain_graph=True)[0] for k in range(2)]
    return torch.stack([x * row for row in rows], 1)


@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm2d(4), nn.BatchNorm2d(4, affine=False), nn.BatchNorm2d(4, momentum=None),
        nn.BatchNorm2d(4, track_running_stats=False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("training", [False, True])
def test_every_kind_of_batch_norm_runs_as_torch_runs_it(norm: nn.Module, training: bool) -> None:
    """Outputs, running statistics and, in evaluation mode, gradient x input at epsilon 0."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(48, 2)
    ).double().train(training)  # fmt: skip
    x = torch.rand(3, 2, 5, 6, dtype=torch.float64)
    state = {k: v.clone() for k, v in net.state_dict().items()}
    plain = net(x)
    after = {k: v.clone() for k, v in net.state_dict().items()}
    net.load_state_dict(state)
    result = relevance(net, x, "all", epsilon=0.0)
    assert torch.allclose(result.logits, plain, atol=1e-13)
    for key, value in net.state_dict().items():
        assert torch.allclose(value.double(), after[key].double(), atol=1e-14), key
    if not training and norm.running_mean is not None:
        assert torch.allclose(result.maps, gradient_maps(net, x), atol=1e-12)


def test_batch_norm_of_vectors() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(12, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2)
    ).double().eval()  # fmt: skip
    net[2].running_mean.normal_()
    x = torch.rand(3, 2, 2, 3, dtype=torch.float64)
    maps = relevance(net, x, "all", epsilon=0.0).maps
    assert torch.allclose(maps, gradient_maps(net, x), atol=1e-12)
    for family in ("block", "z+"):
        assert relevance(net, x, "all", family=family).maps.abs().sum() > 0


def test_one_value_per_channel_is_refused_while_training() -> None:
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(ValueError, match="more than 1 value"):
        relevance(net.train(), torch.rand(1, 2, 3, 3))
