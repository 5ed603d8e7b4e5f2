"""HAM's losses written out image by image, with the gradient of their sum."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from isnet_models.methods.attention.ham import HAM, abnormality_loss
from isnet_models.methods.attention.ham_net import Attention, HAMNet
from isnet_models.methods.base import Batch, Method
from isnet_models.methods.settings import HAMSettings
from tests.lrp.losses.map_nets import CLASSES, images
from tests.lrp.maps.test_gradients import gradients, relative_error

SOFT = {
    "sharpness": 5.0, "abnormality_weight": 0.2, "bound_weight": 0.3, "union_weight": 0.4,
}  # fmt: skip  # all parts matter


def net() -> HAMNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)  # no map is zero everywhere, some are in part
        features = nn.Sequential(nn.Conv2d(2, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.Tanh())
        made = HAMNet(features, 8, CLASSES, 0.0).double().eval()
        for p in made.parameters():
            p.data = 0.7 * torch.randn_like(p)
    return made


def constant_last(made: HAMNet) -> tuple[Tensor, Tensor]:
    return made.classes.weight.detach().clone(), made.abnormality.weight.detach().clone()


def slow(made: HAMNet, data: Batch, s: HAMSettings, last: tuple[Tensor, Tensor]) -> dict:
    """Every part with the maps' weights `last`, one image and one class at a time."""
    F = made._map(data.images)
    logits, abnormal = (
        layer((torch.logsumexp(6 * F.flatten(2), 2) - math.log(F[0, 0].numel())) / 6)
        for layer in (made.classes, made.abnormality)
    )

    def m(x: Tensor) -> Tensor:
        return 1 / (1 + torch.exp(-s.sharpness * (x - s.threshold)))

    B = len(data.images)
    C = torch.stack([torch.einsum("kc,chw->khw", last[0], F[b]).clamp(min=0) for b in range(B)])
    A = torch.stack([torch.einsum("kc,chw->khw", last[1], F[b]).clamp(min=0)[0] for b in range(B)])
    one = data.labels.dim() == 1

    def has(b: int, k: int) -> bool:
        there = data.labels[b] == k if one else data.labels[b, k] == 1
        return bool(there) and k != s.normal_class

    def any_(b: int) -> bool:
        return any(has(b, k) for k in range(CLASSES))

    bounds, distances = [], []
    for k in range(CLASSES):
        shares, off, mass = [], 0.0, 0.0
        for b in range(B):
            if not has(b, k):
                continue
            c = C[b, k]
            inside = (torch.minimum(c, A[b]) * m(c)).sum()
            shares.append((c.sum() - inside) / max(c.sum(), torch.tensor(1e-5).double()))
            if b < 2:
                big = interpolate(c[None, None], (8, 8), mode="bilinear", align_corners=True)[0, 0]
                fine = m((big - big.min()) / (big.max() - big.min()))
                off = off + ((fine - data.masks[b, 0]) ** 2).sum()
                mass = mass + (fine + data.masks[b, 0]).sum()
        if shares:
            bounds.append(sum(shares) / len(shares))
        if isinstance(mass, Tensor):
            distances.append(off / mass)
    unions = []
    for b in filter(any_, range(B)):
        most = torch.stack([C[b, k] for k in range(CLASSES) if has(b, k)]).amax(0)
        inside = (torch.minimum(most, A[b]) * m(A[b])).sum()
        unions.append((A[b].sum() - inside) / max(A[b].sum(), torch.tensor(1e-5).double()))
    known = [b for b in range(B) if any_(b) or one or not data.labels[b].isnan().any()]
    sides = [torch.sigmoid(abnormal[b, 0] * (1 if any_(b) else -1)) for b in known]
    return {
        "classification": Method().classification(logits, data.labels),
        "abnormality": -sum(p.log() for p in sides) / len(sides),
        "bound": sum(bounds) / len(bounds),
        "union": sum(unions) / len(unions),
        "mask": sum(distances) / len(distances),
    }


def slow_total(made: HAMNet, data: Batch, s: HAMSettings, last: tuple[Tensor, Tensor]) -> Tensor:
    found = slow(made, data, s, last)
    return sum(  # type: ignore[return-value]
        (1.0 if name == "classification" else getattr(s, f"{name}_weight")) * found[name]
        for name in found
    )


@pytest.mark.parametrize("several", [False, True], ids=["one label", "several"])
@pytest.mark.parametrize("normal", ["none", 0])
def test_the_parts_are_the_formulas(normal: int | str, several: bool) -> None:
    made, data, s = net(), images(several=several), HAMSettings(**SOFT, normal_class=normal)
    losses = HAM(s).losses(made, data, 0)
    for name, value in slow(made, data, s, constant_last(made)).items():
        assert value > 1e-3, name
        assert losses.parts[name].item() == pytest.approx(value.item(), rel=1e-9), name
    expected = slow_total(made, data, s, constant_last(made))
    assert losses.total.item() == pytest.approx(expected.item(), rel=1e-9)
    assert losses.parts["mapped"].item() == 0.5


@pytest.mark.parametrize("several", [False, True], ids=["one label", "several"])
@pytest.mark.parametrize("normal", ["none", 0])
def test_the_gradient_holds_the_last_weights_of_the_maps_constant(
    normal: int | str, several: bool
) -> None:
    made, data, s = net(), images(several=several), HAMSettings(**SOFT, normal_class=normal)
    slopes = gradients(made, HAM(s).losses(made, data, 0).total)
    last = constant_last(made)
    assert relative_error(made, slopes, lambda: slow_total(made, data, s, last)) < 1e-6


def test_published_weights_are_the_defaults() -> None:
    made, data = net(), images()
    losses = HAM().losses(made, data, 0)
    p = {name: value.item() for name, value in losses.parts.items()}
    by_hand = p["classification"] + 0.01 * p["abnormality"] + 0.001 * (p["bound"] + p["union"])
    assert losses.total.item() == pytest.approx(by_hand + 0.5 * p["mask"], rel=1e-12)


def test_images_without_class_or_mask() -> None:
    made, data = net(), images(several=True)
    nothing = Batch(data.images, data.masks, torch.zeros(4, 3).double())
    losses = HAM().losses(made, nothing, 0)
    assert losses.parts["bound"] == losses.parts["union"] == losses.parts["mask"] == 0
    losses.total.backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in made.parameters())
    rest = Batch(data.images[2:], data.masks[2:], images().labels[2:])
    assert HAM().losses(made, rest, 0).parts["mask"] == 0


def test_maps_inside_each_other_cost_nothing() -> None:
    C = torch.zeros(1, 2, 4, 4)
    C[0, 0, 1:3, 1:3] = 1.0
    seen = Attention(torch.zeros(1, 2), torch.zeros(1), C, C[:, :1] * 2)
    mapped, ham = torch.tensor([[True, False]]), HAM()
    assert ham.bound(seen, mapped).item() == pytest.approx(0, abs=1e-6)
    assert ham.union(seen, mapped).item() == pytest.approx(0.5, abs=1e-6)  # twice as high
    mask = (C[:, :1] > 0).float()
    assert ham.distance(seen, mask, mapped).item() == pytest.approx(0, abs=1e-6)
    assert ham.distance(seen, 1 - mask, mapped).item() == pytest.approx(1, abs=1e-6)


def test_an_unknown_label_leaves_the_abnormality_unknown() -> None:
    y = torch.tensor([2.0, -1.0])
    labels = torch.tensor([[0.0, math.nan], [1.0, math.nan]])
    mapped = labels == 1
    assert abnormality_loss(y, labels, mapped, "none").item() == pytest.approx(math.log1p(math.e))
    both = (math.log1p(math.exp(2)) + math.log1p(math.e)) / 2
    assert abnormality_loss(y, labels, mapped, 1).item() == pytest.approx(both)


def test_refusals() -> None:
    for refused in (
        lambda: HAM(HAMSettings(normal_class=3)).prepare(net()),
        lambda: HAM(HAMSettings(normal_class=3)).losses(net(), images(), 0),
    ):
        with pytest.raises(ValueError, match="normal_class = 3: there are 3 classes"):
            refused()
    HAM(HAMSettings(normal_class=2)).prepare(net())
