"""The ISNet trains varied networks: a few steps down the gradient lower its loss and the maps'.

Three images are too few for BatchNorm's statistics, which stay as they are (evaluation mode). The
loss of random networks is steep, so the length of each step is searched for.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.network_list import NETWORKS, build, images
from isnet_lrp import Choice, relevance
from isnet_lrp.losses.energy import energy_loss
from isnet_lrp.losses.heatmap import HeatmapLossSettings, heatmap_loss

NAMES = (
    "squeezenet1_1", "mobilenet_v3_small", "shufflenet_v2_x0_5", "resnet10t", "lcnet_035",
    "mobilenetv4_conv_small_035", "starnet_s1", "convnextv2_atto", "mobilevit_xxs",
    "edgenext_xx_small", "vit_tiny_patch16_224", "pit_ti_224", "xcit_nano_12_p16_224",
)  # fmt: skip


ENERGY = ("mobilenet_v3_small", "vit_tiny_patch16_224")  # smooth activations; attention
QUICK = {("squeezenet1_1", "isnet"), ("mobilenet_v3_small", "energy"),
         ("vit_tiny_patch16_224", "isnet")}  # fmt: skip
CASES = [
    pytest.param(*case, marks=[] if case in QUICK else [pytest.mark.slow])
    for case in (*((n, "energy") for n in ENERGY), *((n, "isnet") for n in NAMES))
]


@pytest.mark.parametrize(("name", "loss"), CASES)
def test_a_few_steps_lower_the_loss(name: str, loss: str) -> None:
    (network,) = [n for n in NETWORKS if n.name == name]
    torch.manual_seed(0)
    net, x = build(network), images(network, 3)
    masks = torch.zeros(3, 1, network.size, network.size)
    masks[..., 8:-8, 8:-8] = 1
    labels = torch.tensor([0, 1, 2])
    usual = (
        relevance(net, x, "selective", choice=Choice(labels)).maps.abs().sum((1, 2, 3, 4)).mean()
    )
    # docs/lrp.md, section 4.1
    settings = HeatmapLossSettings(low=usual.item() / 5, high=5 * usual.item())

    def losses(create_graph: bool) -> tuple[Tensor, Tensor]:
        found = relevance(net, x, "selective", choice=Choice(labels), create_graph=create_graph)
        if loss == "energy":
            heat = energy_loss(found.maps, masks).total
        else:
            heat = heatmap_loss(found.maps, masks, settings).total
        return heat, 0.1 * F.cross_entropy(found.logits, labels) + 0.9 * heat

    weights = [p for p in net.parameters() if p.requires_grad]
    heats, totals = [], []
    for _ in range(4):
        heat, total = losses(create_graph=True)
        grads = torch.autograd.grad(total, weights, allow_unused=True)
        down = [
            torch.zeros_like(p) if g is None else -g for p, g in zip(weights, grads, strict=True)
        ]
        assert all(bool(d.isfinite().all()) for d in down)
        heats.append(heat.item())
        totals.append(total.item())
        slope = sum(float(d.square().sum()) for d in down)
        length = totals[-1] / slope  # the loss would be 0 there, if it were straight
        with torch.no_grad():
            _shift(weights, down, length)
            while losses(create_graph=False)[1].item() > totals[-1] - 0.01 * length * slope:
                _shift(weights, down, -length / 2)
                length /= 2
                assert length * slope > 1e-4 * totals[0], "no way down along the gradient"
    heat, total = losses(create_graph=False)
    assert total.item() < 0.99 * totals[0]
    assert heat.item() < heats[0]


def _shift(weights: list[nn.Parameter], direction: list[Tensor], length: float) -> None:
    for p, d in zip(weights, direction, strict=True):
        p.add_(d, alpha=length)
