"""The zB rule through what stands before the first layer: padding, normalisation, repeats."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parameter import UninitializedParameter

from isnet_lrp import UnsupportedOperation, relevance
from tests.lrp.nets import images

MEAN = torch.tensor([0.4, 0.5, 0.6]).double().view(3, 1, 1)
DEVIATION = torch.tensor([0.2, 0.25, -0.3]).double().view(3, 1, 1)  # one turns the bounds round
LOW, HIGH = torch.tensor([-0.1, 0.0, -0.2]).double(), torch.tensor([1.0, 1.5, 1.2]).double()
Stem = Callable[[Tensor], Tensor]


class Network(nn.Module):
    """A stem, and a small network behind it."""

    def __init__(self, stem: Stem, first: nn.Module, *, norm: bool = True) -> None:
        super().__init__()
        self.stem, self.first = stem, first
        width = first.weight.shape[0]
        kind = nn.BatchNorm2d if isinstance(first, nn.Conv2d) else nn.BatchNorm1d
        self.norm = kind(width) if norm else nn.Identity()
        self.relu, self.body = nn.ReLU(), nn.LazyLinear(5, bias=norm)
        self.head = nn.Linear(5, 2, bias=norm)

    def forward(self, x: Tensor) -> Tensor:
        a = self.relu(self.norm(self.first(self.stem(x))))
        return self.head(self.body(a.flatten(1)).relu())


def made(stem: Stem, first: nn.Module, x: Tensor, *, norm: bool = True) -> Network:
    torch.manual_seed(0)
    net = Network(stem, first, norm=norm).double().eval()
    net(x)
    with torch.no_grad():
        for m in net.modules():
            if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)):
                for tensor, low in ((m.weight, 0.5), (m.bias, -1), (m.running_mean, -1)):
                    tensor.uniform_(low, 1)
    return net


def conv(channels: int, padding: int | str = 1, stride: int = 2, groups: int = 1) -> nn.Conv2d:
    torch.manual_seed(1)
    found = nn.Conv2d(channels, 6, 3, stride, padding, groups=groups).double()
    assert not isinstance(found.weight, UninitializedParameter)
    return found


def normalised(x: Tensor) -> Tensor:
    return (x - MEAN) / DEVIATION


def in_place(x: Tensor) -> Tensor:
    return x.clone().sub_(MEAN).div_(DEVIATION)


def as_torchvision(x: Tensor) -> Tensor:
    """What Inception does to images that were normalised by other constants."""
    parts = [x[:, i].unsqueeze(1) * (0.2 + i) + (0.4 - i) / 0.5 for i in (2, 0, 1)]
    return torch.cat(parts, 1)


def with_batch_norm() -> nn.Module:
    norm = nn.BatchNorm2d(3).double().eval()
    with torch.no_grad():
        for tensor, low in ((norm.weight, -1), (norm.bias, -1), (norm.running_mean, -1)):
            tensor.uniform_(low, 1, generator=torch.Generator().manual_seed(2))
    return norm


def with_channels_last(x: Tensor) -> Tensor:
    return ((x.permute(0, 2, 3, 1) - MEAN.flatten()) * 2).permute(0, 3, 1, 2)


def with_places(x: Tensor) -> Tensor:
    """Two channels that say where a pixel is."""
    B, _, H, W = x.shape
    grid = torch.meshgrid(torch.linspace(-1, 1, H), torch.linspace(-1, 1, W), indexing="ij")
    return torch.cat([x, torch.stack(grid).to(x).expand(B, 2, H, W)], 1)


STEMS: dict[str, tuple[Stem, Callable[[], nn.Conv2d]]] = {
    "zeros at the end": (lambda x: F.pad(x, (0, 1, 0, 1)), lambda: conv(3, 0)),
    "any constant": (nn.ConstantPad2d((2, 1, 0, 3), -0.7), lambda: conv(3)),
    "less on one side": (lambda x: F.pad(x, (-1, 2, 1, -2)), lambda: conv(3)),
    "ops": (normalised, lambda: conv(3)),
    "in place": (in_place, lambda: conv(3)),
    "padded, then normalised": (lambda x: normalised(F.pad(x, (1, 2, 2, 1))), lambda: conv(3)),
    "normalised, then padded": (lambda x: F.pad(normalised(x), (1, 2, 2, 1)), lambda: conv(3)),
    "one minus": (lambda x: 1 - 2 * x, lambda: conv(3)),
    "BatchNorm": (with_batch_norm(), lambda: conv(3)),
    "transform_input": (as_torchvision, lambda: conv(3)),
    "channels last": (with_channels_last, lambda: conv(3)),
    "repeated": (lambda x: normalised(x[:, :1].expand(-1, 3, -1, -1)), lambda: conv(3)),
    "repeated whole": (lambda x: x.repeat(1, 2, 1, 1), lambda: conv(6)),
    "concatenated": (lambda x: torch.cat([x, x.flip(1), -x], 1), lambda: conv(9)),
    "indexed": (lambda x: x[:, [2, 0, 0, 1]], lambda: conv(4)),
    "broadcast": (lambda x: normalised(x[:, 1:2]), lambda: conv(3)),
    "groups": (normalised, lambda: conv(3, groups=3)),
    "groups of repeats": (lambda x: normalised(x[:, [1, 1, 2]]), lambda: conv(3, groups=3)),
    "same": (normalised, lambda: conv(3, "same", 1)),
    "places": (with_places, lambda: conv(5)),
}


def transcribed(net: Network, x: Tensor, R: Tensor, epsilon: float) -> Tensor:
    """docs/lrp.md, section 2.8, of the composed linear map as a matrix; R [B, K', O, h, w]."""

    def first(image: Tensor) -> Tensor:
        out = net.first(net.stem(image[None]))
        return net.norm(out)[0]

    blank = torch.zeros_like(x[0])
    with torch.no_grad():
        u0 = net.stem(blank[None])[0]
        unit = [net.stem((blank + t)[None])[0] for t in (LOW.view(3, 1, 1), HIGH.view(3, 1, 1))]
        moved = (unit[0] != unit[1]).flatten(1).any(1)  # not the channels that are constant
        pixels = torch.autograd.functional.jacobian(lambda t: net.stem(t[None])[0], blank)
        inner = pixels.flatten(-3).abs().sum(-1) > 0
        low, high = torch.minimum(*unit), torch.maximum(*unit)
        low, high = (
            torch.stack([t[i][inner[i]].mean() for i in range(len(t)) if moved[i]]).mean()
            for t in (low, high)
        )
    M = torch.autograd.functional.jacobian(first, blank).flatten(0, -4).flatten(1)
    bare = (
        torch.autograd.functional.jacobian(lambda u: net.norm(net.first(u[None]))[0], u0)
        .flatten(0, -4)
        .flatten(1)
    )
    shape = first(blank).shape
    constants = bare @ u0.flatten()
    bias = (first(blank).flatten() - constants).detach()
    plus, minus = M.clamp(min=0), M.clamp(max=0)
    l, h = (t.view(3, 1, 1).expand_as(blank).flatten() for t in (LOW, HIGH))  # noqa: E741
    maps = []
    for image, rows in zip(x, R, strict=True):
        z = M @ image.flatten() - plus @ l - minus @ h
        z = z + bias - low * bias.clamp(min=0) - high * bias.clamp(max=0)
        z = torch.where(z >= 0, z + epsilon, z - epsilon)
        for r in rows:
            s = r.reshape(shape).flatten() / z
            maps.append((image.flatten() - l) * (s @ plus) + (image.flatten() - h) * (s @ minus))
    return torch.stack(maps).view(len(x), R.shape[1], *x.shape[1:]).detach()


def bounded(size: tuple[int, int]) -> Tensor:
    return images(2, size) * (HIGH - LOW).view(3, 1, 1) + LOW.view(3, 1, 1)


@pytest.mark.parametrize("name", STEMS)
def test_maps_are_those_of_the_composed_linear_map(name: str) -> None:
    stem, first = STEMS[name]
    x = bounded((7, 6))
    net = made(stem, first(), x)
    for family in ("flex", "block", "z+", "dual"):
        target = "all" if family != "dual" else "every-logit-at-once"
        found = relevance(net, x, target, family=family, zb=(LOW, HIGH))  # type: ignore[arg-type]
        R = relevance(net, x, target, family=family, layers=["relu"]).layers["relu"]  # type: ignore[arg-type]
        expected = transcribed(net, x, R, 0.01)
        most = expected.abs().max()
        assert most > 1e-7
        assert (found.maps - expected).abs().max() < 1e-9 * most, (name, family)


def test_a_linear_first_layer_sees_through_its_stem() -> None:
    x = bounded((4, 5))
    stem: Stem = lambda t: F.pad(normalised(t[:, [0, 2, 2]]), (1, 0, 0, 1), value=0.3).flatten(1)  # noqa: E731
    net = made(stem, nn.Linear(3 * 5 * 6, 6), x, norm=False)
    found = relevance(net, x, "all", zb=(LOW, HIGH), layers=["relu"])

    def first(image: Tensor) -> Tensor:
        return net.first(stem(image[None]))[0]

    blank = torch.zeros_like(x[0])
    M = torch.autograd.functional.jacobian(first, blank).flatten(1)
    l, h = (t.view(3, 1, 1).expand_as(blank).flatten() for t in (LOW, HIGH))  # noqa: E741
    ends = [(t - m) / d for t, m, d in ((LOW, MEAN, DEVIATION), (HIGH, MEAN, DEVIATION))
            for t, m, d in [(t[[0, 2, 2]], m.flatten(), d.flatten())]]  # fmt: skip
    low, high = torch.minimum(*ends).mean(), torch.maximum(*ends).mean()
    b = net.first.bias.detach()
    plus, minus = M.clamp(min=0), M.clamp(max=0)
    z = x.flatten(1) @ M.T - plus @ l - minus @ h + b - low * b.clamp(min=0) - high * b.clamp(max=0)
    s = found.layers["relu"] / torch.where(z >= 0, z + 0.01, z - 0.01)[:, None]
    X = x.flatten(1)[:, None]
    expected = (X - l) * (s @ plus) + (X - h) * (s @ minus)
    assert torch.allclose(found.maps.flatten(2), expected, atol=1e-12)


@pytest.mark.parametrize("family", ["flex", "block", "z+", "dual"])
def test_normalising_inside_is_normalising_before(family: str) -> None:
    """Maps and weight gradients, also with BatchNorm in training mode behind the convolution."""
    x = bounded((7, 6))
    inside = made(normalised, conv(3), x).train()
    outside = made(lambda t: t, conv(3), x).train()
    outside.load_state_dict(inside.state_dict())
    ends = [(t - MEAN.flatten()) / DEVIATION.flatten() for t in (LOW, HIGH)]
    zb = torch.minimum(*ends), torch.maximum(*ends)
    found = []
    for net, image, bounds in ((inside, x, (LOW, HIGH)), (outside, normalised(x), zb)):
        maps = relevance(
            net, image, "every-logit-at-once", family=family, zb=bounds, create_graph=True  # type: ignore[arg-type]
        ).maps  # fmt: skip
        loss = (maps.abs() * torch.linspace(0, 1, 6)).sum()
        found.append((maps, torch.autograd.grad(loss, net.parameters(), allow_unused=True)))
    (ours, gradients), (theirs, others) = found
    assert torch.allclose(ours, theirs, atol=1e-10)
    for a, b in zip(gradients, others, strict=True):
        assert (a is None) == (b is None)
        assert a is None or torch.allclose(a, b, atol=1e-8)


@pytest.mark.parametrize("name", ["padded, then normalised", "groups of repeats", "repeated"])
def test_gradients_are_finite_differences(name: str) -> None:
    """Without biases nothing is a constant: the loss of the maps can be differenced directly."""
    stem, first = STEMS[name]
    layer = first()
    layer.bias = None
    x = bounded((5, 6))
    net = made(stem, layer, x, norm=False)
    loss = lambda: relevance(net, x, "all", zb=(LOW, HIGH), create_graph=True).maps.square().sum()  # noqa: E731
    gradients = torch.autograd.grad(loss(), list(net.parameters()))
    for p, g in zip(net.parameters(), gradients, strict=True):
        torch.manual_seed(3)
        direction, step = torch.randn_like(p), 1e-6
        with torch.no_grad():
            p.add_(direction, alpha=step)
            above = loss()
            p.sub_(direction, alpha=2 * step)
            below = loss()
            p.add_(direction, alpha=step)
        expected = (g * direction).sum().item()
        assert (above - below).item() / (2 * step) == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_repeated_channels_are_summed_weights() -> None:
    """The same function has the same maps and gradients, however it is written."""
    x = bounded((7, 6))[:, :1]
    net = made(lambda t: t.expand(-1, 3, -1, -1), conv(3), x)
    one = made(lambda t: t, conv(1), x)
    state = dict(net.named_parameters()) | dict(net.named_buffers())
    weight = net.first.weight

    class Summed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = one

        def forward(self, t: Tensor) -> Tensor:
            given = {**state, "first.weight": weight.sum(1, keepdim=True)}
            return functional_call(self.inner, given, (t,))  # type: ignore[no-any-return]

    found = []
    for function in (net, Summed()):
        maps = relevance(function, x, "all", zb=(-0.1, 1.0), create_graph=True).maps
        found.append((maps, torch.autograd.grad(maps.square().sum(), weight)[0]))
    assert torch.allclose(found[0][0], found[1][0], atol=1e-12)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-8)


@pytest.mark.parametrize(
    ("stem", "says"),
    [
        (lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"), "pad comes first"),
        (lambda x: x * torch.linspace(0.5, 1, 6).to(x), "each pixel in its own way"),
        (lambda x: x + torch.linspace(0.5, 1, 7).to(x)[:, None], "each pixel in its own way"),
        (lambda x: x.transpose(2, 3), "moves the pixels"),
        (lambda x: torch.stack([x[1], x[0]]), "moves the pixels"),
        (lambda x: x.relu(), "relu comes first"),
        (lambda x: x * x.mean(), "comes first"),
    ],
)  # fmt: skip
def test_what_is_no_affine_function_of_pixels_is_refused(stem: Stem, says: str) -> None:
    x = bounded((7, 6))
    net = made(stem, conv(3), x)
    with pytest.raises(UnsupportedOperation, match=says):
        relevance(net, x, "all", zb=(LOW, HIGH))
    assert relevance(net, x, "all").maps.abs().max() > 0


def test_a_second_reader_of_the_normalised_image_is_refused() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = conv(3), nn.Linear(9, 2).double()

        def forward(self, x: Tensor) -> Tensor:
            x = normalised(x)
            pooled = torch.cat([self.first(x).relu().mean((2, 3)), x.mean((2, 3))], 1)
            return self.head(pooled)  # type: ignore[no-any-return]

    with pytest.raises(UnsupportedOperation, match="one first layer alone"):
        relevance(Two(), bounded((7, 6)), "all", zb=(LOW, HIGH))


def test_a_network_of_timm_with_padding_like_tensorflow() -> None:
    """As the same network that is given the padding with the image."""
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    net = timm.create_model("tf_efficientnet_lite0", num_classes=2).eval()
    x = torch.rand(1, 3, 32, 32)
    found = relevance(net, x, "predicted", zb=(0, 1))
    assert found.maps.isfinite().all()
    assert found.maps.abs().max() > 0
    stem = net.conv_stem
    plain = nn.Conv2d(3, stem.out_channels, 3, 2, 0, bias=False)
    plain.weight = stem.weight
    net.conv_stem = plain
    padded = F.pad(x, (0, 1, 0, 1))  # 0 is within the bounds: the border is black, not constant
    whole = relevance(net, padded, "predicted", zb=(0, 1))
    assert torch.allclose(found.logits, whole.logits, atol=1e-5)
    assert (found.maps[..., :30, :30] - whole.maps[..., :30, :30]).abs().max() < 1e-4
