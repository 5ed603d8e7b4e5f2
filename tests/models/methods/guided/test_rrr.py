"""RRR is the stated sum, image by image and pixel by pixel, with the gradient of that sum."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from isnet_models.methods.base import Batch, Context
from isnet_models.methods.guided.rrr import RRR
from isnet_models.methods.settings import RRRSettings
from tests.lrp.losses.map_nets import images, small
from tests.lrp.maps.test_gradients import gradients, relative_error


def slow(net: nn.Module, batch: Batch, per_batch: bool) -> float:
    """Mean over the first two images of sum [(1 - M)·d/dx sum_k ln p_k]², one number at a time."""
    B, found = len(batch.images), []
    for b in (0, 1):
        image = batch.images[b : b + 1].clone().requires_grad_()
        y = net(image)[0]
        if batch.labels.dim() == 1:
            p = [y[k].exp() / sum(v.exp() for v in y) for k in range(len(y))]
        else:
            p = [1 / (1 + (-v).exp()) for v in y]
        (slope,) = torch.autograd.grad(sum(q.log() for q in p), image)
        value = 0.0
        for c in range(2):
            for i in range(8):
                for j in range(8):
                    g = slope[0, c, i, j].item() / (B if per_batch else 1)
                    value += ((1 - batch.masks[b, 0, i, j].item()) * g) ** 2
        found.append(value)
    return sum(found) / 2


@pytest.mark.parametrize("several", [False, True], ids=["one label", "several"])
@pytest.mark.parametrize("per_batch", [False, True])
def test_the_total_is_the_stated_sum(several: bool, per_batch: bool) -> None:
    net, data = small(), images(several=several)
    method = RRR(RRRSettings(gradient_weight=0.3, per_batch=per_batch))
    losses = method.losses(net, data, 0)
    penalty = slow(net, data, per_batch)
    assert penalty > 1e-3
    assert losses.parts["gradient"].item() == pytest.approx(penalty, rel=1e-10)
    plain = method.classification(net(data.images), data.labels).item()
    assert losses.total.item() == pytest.approx(plain + 0.3 * penalty, rel=1e-10)
    assert losses.parts["mapped"].item() == 0.5  # empty and full masks are left out
    with torch.no_grad():
        assert method.losses(net, data, 0).total.item() == pytest.approx(losses.total.item())


def test_images_without_a_usable_mask_alone_cost_nothing() -> None:
    net, data = small(), images()
    data = Batch(data.images[2:], data.masks[2:], data.labels[2:])
    losses = RRR().losses(net, data, 0)
    assert losses.parts["gradient"] == losses.parts["mapped"] == 0
    assert losses.total == losses.parts["classification"]
    losses.total.backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


@pytest.mark.parametrize("several", [False, True], ids=["one label", "several"])
def test_the_gradient_is_that_of_the_whole_loss(several: bool) -> None:
    net, data = small(), images(several=several)
    method = RRR(RRRSettings(gradient_weight=1.0), Context(torch.tensor([1.0, 2.0, 0.5]).double()))

    def value() -> Tensor:
        return method.losses(net, data, 0).total

    assert relative_error(net, gradients(net, value()), value) < 1e-6


def test_a_broken_gradient_is_left_out() -> None:
    class Root(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sqrt().mean(dim=(2, 3))  # its gradient at 0 is infinite

    data = images()
    data.images[0, 0, 0, 0] = 0
    losses = RRR().losses(Root(), Batch(data.images, data.masks, data.labels % 2), 0)
    assert 0 < losses.total.item() < float("inf")
