"""The ISNet trains varied networks: a few steps on one batch lower its loss and that of the maps.

Three images are too few for BatchNorm's statistics, which stay as they are (evaluation mode).
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from benchmarks.network_list import NETWORKS, build, images
from isnet_models.heatmap_loss import HeatmapLossSettings, heatmap_loss
from isnet_models.lrp import relevance

NAMES = (
    "squeezenet1_1", "mobilenet_v3_small", "shufflenet_v2_x0_5", "resnet10t", "lcnet_035",
    "mobilenetv4_conv_small_035", "starnet_s1", "convnextv2_atto", "mobilevit_xxs",
    "edgenext_xx_small", "vit_tiny_patch16_224", "pit_ti_224", "xcit_nano_12_p16_224",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_few_steps_lower_the_loss(name: str) -> None:
    (network,) = [n for n in NETWORKS if n.name == name]
    torch.manual_seed(0)
    net, x = build(network), images(network, 3)
    masks = torch.zeros(3, 1, network.size, network.size)
    masks[..., 8:-8, 8:-8] = 1
    labels = torch.tensor([0, 1, 2])
    usual = relevance(net, x, "selective", classes=labels).maps.abs().sum((1, 2, 3, 4)).mean()
    settings = HeatmapLossSettings(C1=usual.item() / 5, C2=5 * usual.item())  # LRP_SPEC 4.1
    optimizer = torch.optim.AdamW(net.parameters(), lr=4e-5)
    heats, totals = [], []
    for _ in range(9):
        found = relevance(net, x, "selective", classes=labels, create_graph=True)
        heat = heatmap_loss(found.maps, masks, settings).total
        total = 0.1 * F.cross_entropy(found.logits, labels) + 0.9 * heat
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        heats.append(heat.item())
        totals.append(total.item())
    assert min(totals[-2:]) < 0.97 * totals[0]
    assert min(heats[-5:]) < heats[0]
    assert all(bool(p.isfinite().all()) for p in net.parameters())
