"""The plain classifier's loss is cross-entropy and nothing else."""

from __future__ import annotations

import torch
from torch import nn

from isnet_models.backbones import build_backbone
from isnet_models.methods.standard import Standard
from tests.models.methods.factory import batch


def test_loss_and_gradient_are_those_of_cross_entropy() -> None:
    net, data = build_backbone("small", 3).eval(), batch()
    losses = Standard().losses(net, data, 0)
    losses.total.backward()
    ours = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    nn.functional.cross_entropy(net(data.images), data.labels).backward()
    assert all(torch.equal(a, p.grad) for a, p in zip(ours, net.parameters(), strict=True))
