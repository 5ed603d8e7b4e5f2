"""The pass over the record: linear in its start, stops where told, keeps what is asked."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from isnet_lrp.backward import Walk, clean
from isnet_lrp.record.recorder import Rules, Tape
from tests.lrp.nets import NETS, build, images


def recorded(net: nn.Module, x: Tensor, epsilon: float, block: bool) -> tuple[Tape, Tensor, int]:
    """A tape, the logits and their slot."""
    image = x.clone().requires_grad_()
    tape = Tape(Rules(epsilon, block=block), image)
    with tape:
        logits = net(image)
    slot = tape.slot(logits)
    assert slot is not None
    return tape, logits, slot


def signal(tape: Tape, epsilon: float, slot: int, seed: Tensor) -> Tensor:
    return Walk(tape.graph, epsilon, frozenset(), 0).run(slot, seed)[0]


@pytest.mark.parametrize("block", [False, True])
@pytest.mark.parametrize("name", NETS)
def test_linear_in_the_signal_it_starts_with(name: str, block: bool) -> None:
    net, x = build(name), images(2)
    tape, logits, slot = recorded(net, x, 0.01, block)
    seeds = torch.randn(2, 2, *logits.shape, dtype=torch.float64)
    a, b = (signal(tape, 0.01, slot, seed) for seed in seeds)
    both = signal(tape, 0.01, slot, 2 * seeds[0] - 0.5 * seeds[1])
    assert a.shape == (2, *x.shape)
    assert a.abs().max() > 0
    assert torch.allclose(both, 2 * a - 0.5 * b, atol=1e-12 * a.abs().max().item())
    rows = torch.cat([signal(tape, 0.01, slot, seeds[0][k : k + 1]) for k in range(2)])
    assert torch.allclose(rows, a, atol=1e-13 * a.abs().max().item())


@pytest.mark.parametrize("name", NETS)
def test_at_epsilon_zero_it_is_the_gradient(name: str) -> None:
    net, x = build(name), images(2)
    tape, logits, slot = recorded(net, x, 0.0, block=False)
    seed = torch.randn(logits.shape, dtype=torch.float64)
    image = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(net(image), image, seed)
    found = signal(tape, 0.0, slot, seed[None])[0]
    assert torch.allclose(found, slope, atol=1e-11 * slope.abs().max().item())


class Branches(nn.Module):
    """Keeps its tensors, so that a test can ask for their slots."""

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
    tape, logits, slot = recorded(net, x, 0.0, block=False)
    slots = {name: tape.slot(t) for name, t in net.kept.items()}
    seed = torch.randn(logits.shape, dtype=torch.float64)
    wanted = frozenset(s for s in slots.values() if s is not None)
    found = Walk(tape.graph, 0.0, wanted, 0).run(slot, seed[None])
    image = x.clone().requires_grad_()
    out = net(image)
    names = [name for name in net.kept if name != "dead"]
    slopes = torch.autograd.grad(out, [net.kept[name] for name in names], seed)
    for name, slope in zip(names, slopes, strict=True):
        assert torch.allclose(found[slots[name]][0], slope, atol=1e-13), name  # type: ignore[index]
    assert slots["dead"] not in found
    assert set(found) == {0, *(slots[name] for name in names)}


def test_the_pass_ends_at_its_stop() -> None:
    net, x = Branches().double(), images(2, (6, 5))
    tape, logits, slot = recorded(net, x, 0.01, block=True)
    stop = tape.slot(net.kept["relu"])
    assert stop is not None
    seed = torch.ones(1, *logits.shape, dtype=torch.float64)
    whole = Walk(tape.graph, 0.01, frozenset({stop}), 0).run(slot, seed)
    short = Walk(tape.graph, 0.01, frozenset(), stop).run(slot, seed)
    assert set(short) == {stop}
    assert torch.equal(short[stop], whole[stop])
    assert 0 in whole


def test_a_pass_may_be_repeated_on_one_record() -> None:
    net, x = build("dense"), images(2)
    tape, logits, slot = recorded(net, x, 0.01, block=True)
    seed = torch.randn(1, *logits.shape, dtype=torch.float64)
    first = signal(tape, 0.01, slot, seed)
    assert torch.equal(signal(tape, 0.01, slot, seed), first)


def test_nan_and_infinities_are_replaced() -> None:
    g = torch.tensor([float("nan"), float("inf"), -float("inf"), 2.0])
    largest = torch.finfo(torch.float32).max
    assert clean(g).tolist() == [0.0, largest, -largest, 2.0]
    whole = torch.randn(3, requires_grad=True)
    assert torch.equal(clean(whole), whole)
    assert torch.autograd.grad(clean(whole).sum(), whole)[0].tolist() == [1.0, 1.0, 1.0]
