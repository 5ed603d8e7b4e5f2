"""The record rewritten for speed gives the sums of the plain pass, values and derivatives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from isnet_lrp.backward import BackwardPass
from isnet_lrp.families import BLOCK, FLEX
from isnet_lrp.family import Family
from isnet_lrp.record.recorder import Recorder, Rules
from isnet_lrp.rewrite import Fused
from tests.lrp.nets import NETS, build, images

FAMILIES = {"flex": FLEX, "block": BLOCK}


def signals(net: nn.Module, family: Family, fused: bool) -> tuple[Tensor, BackwardPass]:
    image = images(2).requires_grad_()
    recorder = Recorder(Rules.of([family], 0.05), image)
    with recorder:
        logits = net(image)
    node = recorder.find_node(logits)
    assert node is not None
    seed = torch.randn(2, *logits.shape, generator=torch.Generator().manual_seed(0)).double()
    backward = BackwardPass(recorder.graph, family, 0.05, fused=fused)
    return backward.run(node, seed)[0], backward


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", NETS)
def test_fused_steps_are_the_plain_pass(name: str, family: str, training: bool) -> None:
    found = []
    for fused in (False, True):
        net = build(name).train(training)
        for module in net.modules():
            if isinstance(module, nn.Dropout):
                module.eval()
        g, backward = signals(net, FAMILIES[family], fused)
        (g * torch.linspace(0, 1, g.numel()).double().view_as(g)).sum().backward()
        found.append([g.detach(), *(p.grad for p in net.parameters() if p.grad is not None)])
        assert any(type(op) is Fused for op in backward.ops(frozenset({0}), 2)) == fused
    assert len(found[0]) == len(found[1]) > 2
    largest = max(t.abs().max().item() for t in found[0])
    for plain, quick in zip(*found, strict=True):
        torch.testing.assert_close(quick, plain, rtol=1e-9, atol=1e-13 * largest)


def test_a_node_that_is_asked_for_is_not_joined() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
                        nn.LazyLinear(2)).double().eval()  # fmt: skip
    net(images(2))
    _, backward = signals(net, FLEX, fused=True)
    conv, norm, relu = backward.graph.ops[:3]
    assert [op.outs for op in backward.ops(frozenset({0}), 1)[:1]] == [relu.outs]
    split = backward.ops(frozenset({0, *norm.outs}), 1)
    assert [op.outs for op in split[:2]] == [norm.outs, relu.outs]
    assert [op.ins for op in split[:2]] == [conv.ins, norm.outs]


def test_a_rule_of_the_family_is_not_joined_away() -> None:
    """Guided backpropagation: a ReLU passes no negative signal."""
    from isnet_lrp.ops.activation import ReLU

    def guided(op: ReLU, given: object, epsilon: float) -> list[Tensor]:
        (g,) = op.propagate(given)  # type: ignore[arg-type]
        assert g is not None
        return [g.clamp(min=0)]

    family = Family("guided", FLEX.start, rules={ReLU: guided})
    net = build("basic")
    fused, plain = (signals(net, family, fast)[0] for fast in (True, False))
    assert torch.allclose(fused, plain, atol=1e-12)
    assert not torch.allclose(fused, signals(net, FLEX, fused=True)[0])
