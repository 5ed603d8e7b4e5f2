"""Two processes with DistributedDataParallel have the gradients of one (gloo, on the CPU)."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from isnet_models.methods.base import Batch
from tests.models.methods.factory import batch, isnet
from tests.support.seeded import seeded_backbone
from tests.support.two_processes import in_two_processes

VARIANTS = ("selective", "original", "dual")


def _gradients(net: nn.Module, data: Batch, variant: str) -> list[Tensor]:
    """Gradients of the ISNet's loss; running statistics, so that halves of a batch add up."""
    method = isnet(heatmap_weight=0.5, variant=variant)
    net.zero_grad()
    method.losses(net.eval(), data, 0).total.backward()
    return [p.grad.clone() for p in net.parameters() if p.grad is not None]


def _work(rank: int) -> dict[str, list[Tensor]]:
    data = batch(8)
    half = slice(4 * rank, 4 * rank + 4)
    part = Batch(data.images[half], data.masks[half], data.labels[half])
    net = DistributedDataParallel(seeded_backbone("small", 3, seed=3))
    return {variant: _gradients(net, part, variant) for variant in VARIANTS}


@pytest.mark.slow
def test_gradients_are_those_of_one_process(tmp_path: Path) -> None:
    found = in_two_processes(_work, tmp_path)
    net = seeded_backbone("small", 3, seed=3)
    for variant in VARIANTS:
        expected = _gradients(net, batch(8), variant)
        assert len(found[variant]) == len(expected)
        for ours, theirs in zip(found[variant], expected, strict=True):
            scale = theirs.abs().max().clamp(min=1e-6)
            assert ((ours - theirs).abs().max() / scale).item() < 1e-4
