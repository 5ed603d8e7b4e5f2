"""Signals of pools, sums and concatenations equal torch's vector-Jacobian products."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from isnet_lrp.backward import BackwardPass
from isnet_lrp.families import FLEX
from isnet_lrp.ops.pooling import GlobalPool, MaxPool, Pool
from isnet_lrp.ops.structure import Concat, Reshape, Sum
from isnet_lrp.record.recorder import Recorder, Rules

Net = Callable[[Tensor], Tensor]


def pulled(net: Net, x: Tensor, g: Tensor) -> Tensor:
    """The product for each map [K, *output]."""
    y, pull = torch.func.vjp(net, x)
    assert y.shape == g.shape[1:]
    return torch.stack([pull(row)[0] for row in g])


def pull_signals(net: Net, x: Tensor, maps: int) -> tuple[Tensor, Tensor, list[object]]:
    """Signals of the image, signals of the output, and the recorded operations."""
    recorder = Recorder(Rules(0.01), x)
    with torch.enable_grad(), recorder:
        y = net(x)
    torch.manual_seed(1)
    g = torch.randn(maps, *y.shape, dtype=x.dtype)
    node = recorder.find_node(y)
    assert node is not None
    found = BackwardPass(recorder.graph, FLEX, 0.01).run(node, g)
    return found[0], g, list(recorder.graph.ops)


NETS: dict[str, tuple[Net, type]] = {
    "overlapping max pool": (lambda x: F.max_pool2d(x, 3, 2, 1), MaxPool),
    "max pool with a rest": (lambda x: F.max_pool2d(x, 2, 2, ceil_mode=True), MaxPool),
    "dilated max pool": (lambda x: F.max_pool2d(x, 2, 1, 0, 2), MaxPool),
    "global pool": (lambda x: F.adaptive_avg_pool2d(x, 1), GlobalPool),
    "average pool": (lambda x: F.avg_pool2d(x, 2), Pool),
    "mean": (lambda x: x.mean((2, 3)), Pool),
    "sum": (lambda x: x + x, Sum),
    "difference": (lambda x: F.avg_pool2d(x, 1) - x, Sum),
    "rows": (lambda x: torch.cat([x, x * 2], 2), Concat),
    "channels": (lambda x: torch.cat([x * 3, x], 1), Concat),
    "with a constant": (lambda x: torch.cat([torch.ones_like(x), x], 1), Concat),
    "flattened": (lambda x: x.flatten(1), Reshape),
}


@pytest.mark.parametrize("maps", [1, 2])
@pytest.mark.parametrize("name", NETS)
def test_signal_is_the_product_of_torch(name: str, maps: int) -> None:
    torch.manual_seed(0)
    net, kind = NETS[name]
    x = torch.randn(2, 3, 5, 6, dtype=torch.float64, requires_grad=True)
    found, g, ops = pull_signals(net, x, maps)
    assert any(isinstance(op, kind) for op in ops)
    torch.testing.assert_close(found, pulled(net, x.detach(), g), rtol=1e-12, atol=1e-12)


def dense(x: Tensor) -> Tensor:
    """A dense block: each layer reads the concatenation of all before it."""
    parts = [x]
    for k in range(2, 6):
        parts.append(F.avg_pool2d(torch.cat(parts, 1), 3, 1, 1)[:, :2] * k)
    return torch.cat(parts, 1)


def test_dense_blocks_go_through_the_concatenation_before() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 5, 6, dtype=torch.float64, requires_grad=True)
    found, g, ops = pull_signals(dense, x, 2)
    joins = [op for op in ops if isinstance(op, Concat)]
    assert [None if op.before is None else op.before[1] for op in joins] == [None, 1, 2, 3, 4]
    torch.testing.assert_close(found, pulled(dense, x.detach(), g), rtol=1e-12, atol=1e-12)


def test_a_concatenation_asked_for_does_not_stand_for_its_parts() -> None:
    first = Concat("cat", (1, 2), (3,), axis=1, sizes=(2, 3), live=(0, 1))
    second = Concat("cat", (1, 2, 4), (5,), axis=1, sizes=(2, 3, 1), live=(0, 1, 2), before=(3, 2))
    g = torch.arange(6.0).view(1, 1, 6)
    assert first.shorten(frozenset()) is first
    assert second.shorten(frozenset({3})) is second
    through = second.shorten(frozenset())
    parts = through.propagate([g])
    assert through.ins == (3, 4)
    assert [part.tolist() for part in parts if part is not None] == [
        [[[0.0, 1.0, 2.0, 3.0, 4.0]]],
        [[[5.0]]],
    ]


def test_own_parts_of_a_signal_keep_nothing_else_alive() -> None:
    op = Concat("cat", (1, 2, 4), (5,), axis=1, sizes=(2, 3, 1), live=(0, 1, 2), before=(3, 2))
    g = torch.randn(1, 2, 6, 4, 4)
    part = op.shorten(frozenset()).propagate([g])[1]
    assert part is not None
    assert part.untyped_storage().nbytes() == part.numel() * part.element_size()
