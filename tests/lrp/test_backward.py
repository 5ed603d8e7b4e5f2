"""The backward pass: linear in its start, stops at the given node, keeps what is asked for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from isnet_lrp.backward import BackwardPass, replace_nonfinite
from isnet_lrp.families import BLOCK, FLEX
from isnet_lrp.record.recorder import Recorder, Rules
from tests.lrp.nets import NETS, build, images


def recorded(
    net: nn.Module, x: Tensor, epsilon: float, block: bool
) -> tuple[Recorder, Tensor, int]:
    """A recorder, the logits and their node."""
    image = x.clone().requires_grad_()
    recorder = Recorder(Rules.of([BLOCK if block else FLEX], epsilon), image)
    with recorder:
        logits = net(image)
    node = recorder.find_node(logits)
    assert node is not None
    return recorder, logits, node


def signal(recorder: Recorder, epsilon: float, node: int, seed: Tensor) -> Tensor:
    return BackwardPass(recorder.graph, FLEX, epsilon).run(node, seed)[0]


@pytest.mark.parametrize("block", [False, True])
@pytest.mark.parametrize("name", NETS)
def test_linear_in_the_signal_it_starts_with(name: str, block: bool) -> None:
    net, x = build(name), images(2)
    recorder, logits, node = recorded(net, x, 0.01, block)
    seeds = torch.randn(2, 2, *logits.shape, dtype=torch.float64)
    a, b = (signal(recorder, 0.01, node, seed) for seed in seeds)
    both = signal(recorder, 0.01, node, 2 * seeds[0] - 0.5 * seeds[1])
    assert a.shape == (2, *x.shape)
    assert a.abs().max() > 0
    assert torch.allclose(both, 2 * a - 0.5 * b, atol=1e-12 * a.abs().max().item())
    rows = torch.cat([signal(recorder, 0.01, node, seeds[0][k : k + 1]) for k in range(2)])
    assert torch.allclose(rows, a, atol=1e-13 * a.abs().max().item())


@pytest.mark.parametrize("name", NETS)
def test_at_epsilon_zero_it_is_the_gradient(name: str) -> None:
    net, x = build(name), images(2)
    recorder, logits, node = recorded(net, x, 0.0, block=False)
    seed = torch.randn(logits.shape, dtype=torch.float64)
    image = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(net(image), image, seed)
    found = signal(recorder, 0.0, node, seed[None])[0]
    assert torch.allclose(found, slope, atol=1e-11 * slope.abs().max().item())


class Branches(nn.Module):
    """Keeps its tensors, so that a test can ask for their nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.dead = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1)
        self.left, self.right = nn.Conv2d(4, 3, 1), nn.Conv2d(4, 3, 3, padding=1)
        self.fc = nn.Linear(3, 2)
        self.kept: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        k = self.kept
        k["stem"] = self.stem(x)
        k["relu"] = k["stem"].relu()
        k["dead"] = self.dead(k["relu"]).relu()
        k["left"] = self.left(k["relu"])
        k["sum"] = k["left"] + self.right(k["relu"])
        return self.fc(k["sum"].relu().mean((2, 3)))


def test_wanted_slots_get_their_whole_signal() -> None:
    """At epsilon 0: the gradient at every kept tensor, summed over its readers; none where none."""
    torch.manual_seed(0)
    net, x = Branches().double(), images(2, (6, 5))
    recorder, logits, node = recorded(net, x, 0.0, block=False)
    nodes = {name: recorder.find_node(t) for name, t in net.kept.items()}
    seed = torch.randn(logits.shape, dtype=torch.float64)
    wanted = frozenset(s for s in nodes.values() if s is not None)
    found = BackwardPass(recorder.graph, FLEX, 0.0, wanted).run(node, seed[None])
    image = x.clone().requires_grad_()
    out = net(image)
    names = [name for name in net.kept if name != "dead"]
    slopes = torch.autograd.grad(out, [net.kept[name] for name in names], seed)
    for name, slope in zip(names, slopes, strict=True):
        assert torch.allclose(found[nodes[name]][0], slope, atol=1e-13), name  # type: ignore[index]
    assert nodes["dead"] not in found
    assert set(found) == {0, *(nodes[name] for name in names)}


def test_the_pass_ends_at_its_stop() -> None:
    net, x = Branches().double(), images(2, (6, 5))
    recorder, logits, node = recorded(net, x, 0.01, block=True)
    stop = recorder.find_node(net.kept["relu"])
    assert stop is not None
    seed = torch.ones(1, *logits.shape, dtype=torch.float64)
    whole = BackwardPass(recorder.graph, BLOCK, 0.01, frozenset({stop})).run(node, seed)
    short = BackwardPass(recorder.graph, BLOCK, 0.01, stop=stop).run(node, seed)
    assert set(short) == {stop}
    assert torch.equal(short[stop], whole[stop])
    assert 0 in whole


def test_a_pass_may_be_repeated_on_one_record() -> None:
    net, x = build("dense"), images(2)
    recorder, logits, node = recorded(net, x, 0.01, block=True)
    seed = torch.randn(1, *logits.shape, dtype=torch.float64)
    first = signal(recorder, 0.01, node, seed)
    assert torch.equal(signal(recorder, 0.01, node, seed), first)


def test_nan_and_infinities_are_replaced() -> None:
    g = torch.tensor([float("nan"), float("inf"), -float("inf"), 2.0])
    largest = torch.finfo(torch.float32).max
    assert replace_nonfinite(g).tolist() == [0.0, largest, -largest, 2.0]
    whole = torch.randn(3, requires_grad=True)
    assert torch.equal(replace_nonfinite(whole), whole)
    assert torch.autograd.grad(replace_nonfinite(whole).sum(), whole)[0].tolist() == [1.0, 1.0, 1.0]
