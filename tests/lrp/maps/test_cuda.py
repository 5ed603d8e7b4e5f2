"""The same maps and gradients on a GPU."""

from __future__ import annotations

import copy

import pytest
import torch

from isnet_lrp import relevance
from tests.lrp.nets import NETS, build, images

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("zb", [None, (0.0, 1.0)])
@pytest.mark.parametrize("family", ["flex", "block", "z+", "dual"])
@pytest.mark.parametrize("name", NETS)
def test_maps_and_gradients_are_those_of_the_cpu(
    name: str, family: str, zb: tuple[float, float] | None
) -> None:
    found = []
    for device in ("cpu", "cuda"):
        net, x = copy.deepcopy(build(name)).to(device), images(3).to(device)
        result = relevance(net, x, "every-logit-at-once", family=family, zb=zb, layers="auto",
                           create_graph=True)  # fmt: skip
        result.maps.square().sum().backward()
        parts = [result.maps.detach(), result.logits.detach(), *result.layers.values()]
        parts += [p.grad for p in net.parameters() if p.grad is not None]
        found.append([p.detach().cpu() for p in parts])
    for ours, theirs in zip(*found, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-9 * max(1e-6, theirs.abs().max().item()))


def test_classes_may_be_given_from_either_device() -> None:
    net, x = build("vgg").cuda(), images(2).cuda()
    classes = torch.tensor([0, 2])
    assert torch.equal(relevance(net, x, classes).maps, relevance(net, x, classes.cuda()).maps)
    with pytest.raises(ValueError, match="expected 0 to 2"):
        relevance(net, x, torch.tensor([0, 3]))
