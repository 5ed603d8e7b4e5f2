"""The fused step of the relevance pass equals its plain operations, values and derivatives."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from isnet_lrp.kernels.convolution import ConvOptions
from isnet_lrp.kernels.fused import Gate, HeldSignal

EPSILON = 0.01
SHAPES = {  # O, I, kernel, options, H, W
    "3x3": (4, 6, 3, ConvOptions((1, 1), (1, 1), (1, 1), 1), 5, 6),
    "1x1": (4, 6, 1, ConvOptions((1, 1), (0, 0), (1, 1), 1), 5, 6),
    "strided": (4, 6, 3, ConvOptions((2, 2), (1, 1), (1, 1), 1), 6, 7),
    "strided 1x1": (4, 6, 1, ConvOptions((2, 2), (0, 0), (1, 1), 1), 6, 7),
    "groups": (4, 6, 3, ConvOptions((1, 2), (0, 1), (2, 1), 2), 6, 7),
    "1x1 of groups": (4, 6, 1, ConvOptions((1, 1), (0, 0), (1, 1), 2), 5, 6),
    "more weights than signal": (8, 9, 3, ConvOptions((1, 1), (1, 1), (1, 1), 1), 2, 2),
}


def plain(held: HeldSignal, weight: Tensor, options: ConvOptions, size: tuple[int, int]) -> Tensor:
    """The same by torch's operations and their own derivatives."""
    g = held.g
    if held.gate is not None:
        t = held.gate.value
        zero = 0 if held.gate.zero is None else held.gate.zero.view(-1, 1, 1)
        g = g * t / (t + zero + EPSILON)
    if held.scale is not None:
        g = g * held.scale.view(-1, 1, 1)
    rows = []
    for row in g:
        x = torch.zeros(len(row), weight.shape[1] * options.groups, *size, dtype=g.dtype)
        _, pull = torch.func.vjp(lambda x: options.apply(x, weight), x)
        rows.append(pull(row)[0])
    return torch.stack(rows)


def differentiate(make: Callable[[], Tensor], leaves: list[Tensor], u: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad((make() * u).sum(), leaves))


@pytest.mark.parametrize("maps", [1, 3])
@pytest.mark.parametrize(
    "parts",
    ["gate scale zero", "gate scale ahead", "gate ahead", "scale ahead", "gate", "scale", ""],
)
@pytest.mark.parametrize("shape", SHAPES)
def test_fused_step_equals_plain_operations(shape: str, parts: str, maps: int) -> None:
    torch.manual_seed(0)
    O, I, k, options, H, W = SHAPES[shape]  # noqa: E741 - the field's names
    weight = torch.randn(O, I // options.groups, k, k, dtype=torch.float64, requires_grad=True)
    y = options.apply(torch.zeros(2, I, H, W, dtype=torch.float64), weight)
    g = torch.randn(maps, *y.shape, dtype=torch.float64, requires_grad=True)
    t = torch.randn(y.shape, dtype=torch.float64).relu().requires_grad_()
    scale = torch.randn(O, dtype=torch.float64, requires_grad=True)
    zero = torch.zeros(O, dtype=torch.float64, requires_grad=True)
    ahead = torch.randn(I, dtype=torch.float64, requires_grad=True)
    taken = ahead if "ahead" in parts and options.groups == 1 else None
    gate = Gate(t, EPSILON, zero if "zero" in parts else None) if "gate" in parts else None
    held = HeldSignal(g, gate, scale if "scale" in parts else None)
    leaves = [g, weight, *([t] if gate else []), *([scale] if "scale" in parts else [])]
    leaves += [zero] if "zero" in parts else []
    leaves += [] if taken is None else [taken]

    def slow() -> Tensor:
        found = plain(held, weight, options, (H, W))
        return found if taken is None else found * taken.view(-1, 1, 1)

    found = held.carry_through(weight, options, (H, W), taken)
    wanted = slow()
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    u = torch.randn_like(found)
    for mine, theirs in zip(
        differentiate(lambda: held.carry_through(weight, options, (H, W), taken), leaves, u),
        differentiate(slow, leaves, u),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-11)


def test_epsilon_zero_opens_the_gate_where_the_unit_is_active() -> None:
    g = torch.randn(1, 2, 3, 4, 4, dtype=torch.float64)
    t = torch.randn(2, 3, 4, 4, dtype=torch.float64).relu()
    torch.testing.assert_close(HeldSignal(g, Gate(t, 0.0, None)).multiply_out(), g * (t > 0))


def test_only_the_signal_is_kept_for_the_derivative() -> None:
    weight = torch.randn(3, 3, 3, 3, requires_grad=True)
    g = torch.randn(1, 2, 3, 8, 8, requires_grad=True)
    t = torch.rand(2, 3, 8, 8, requires_grad=True)
    kept: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    options = ConvOptions((1, 1), (1, 1), (1, 1), 1)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        HeldSignal(g, Gate(t, EPSILON, None)).carry_through(weight, options, (8, 8))
    assert {tensor.data_ptr() for tensor in kept} == {x.data_ptr() for x in (g, t, weight)}
