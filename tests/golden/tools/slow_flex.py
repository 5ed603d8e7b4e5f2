"""LRP-Flex by replaced ReLU modules and plain double backward, for checks alone.

Source: docs/lrp.md, section 3.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from tests.golden.tools.slow_block import Affine, Rule


class Switch:
    """Whether the backward pass under way makes a map."""

    on = False


class SlowReLU(Function):
    """ReLU whose signal is g·a/(a + epsilon) while a map is made."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, epsilon: float, switch: Switch) -> Tensor:
        a = x.clamp(min=0)
        ctx.save_for_backward(a)
        ctx.epsilon, ctx.switch = epsilon, switch
        return a

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (a,) = ctx.saved_tensors
        gate = (a > 0).to(a.dtype)
        if not ctx.switch.on:
            return grads[0] * gate, None, None
        return grads[0] * torch.where(a > 0, a / (a + ctx.epsilon + (a <= 0)), 0 * a), None, None


class _Layer(nn.Module):
    def __init__(self, epsilon: float, switch: Switch) -> None:
        super().__init__()
        self.epsilon, self.switch = epsilon, switch
        self.outputs: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.outputs.append(SlowReLU.apply(x, self.epsilon, self.switch))
        return self.outputs[-1]


def with_slow_relus(net: nn.Module, epsilon: float, switch: Switch) -> nn.Module:
    """A copy whose ReLU modules are slow ones; it shares the parameters."""
    memo: dict[int, Any] = {id(p): p for p in net.parameters()}
    twin = copy.deepcopy(net, memo)
    for module in list(twin.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.ReLU):
                setattr(module, name, _Layer(epsilon, switch))
    return twin


def quantity(logits: Tensor, mode: str, delta: float, given: Tensor | None) -> list[Tensor]:
    """Explained sums over the batch (docs/lrp.md, section 3.3), by their names in the vectors."""
    if mode == "multiple":
        return [y.sum() for y in logits.unbind(1)]
    if mode == "selective":
        c = logits.argmin(1) if given is None else given
        p = logits.softmax(1).gather(1, c[:, None])
        return [(torch.log(p + delta) - torch.log(1 - p + delta)).sum()]
    chosen = logits.argmax(1) if mode == "highest" else given
    assert chosen is not None
    return [logits.gather(1, chosen[:, None]).sum()]


def flex_maps(
    net: nn.Module, x: Tensor, rule: Rule, mode: str = "multiple",
    given: Tensor | None = None, delta: float = 0.01, layers: tuple[str, ...] = (),
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:  # fmt: skip
    """Maps [B, K', C, H, W], logits, and maps of the named modules' outputs."""
    switch = Switch()
    twin = with_slow_relus(net, rule.epsilon, switch)
    caught: dict[str, Tensor] = {}
    for name in layers:
        twin.get_submodule(name).register_forward_hook(
            lambda _m, _i, out, name=name: caught.__setitem__(name, out)
        )
    image = x.clone().requires_grad_()
    logits = twin(image)
    relus = [m for m in twin.modules() if isinstance(m, _Layer) and m.outputs]
    start = relus[0].outputs[0] if rule.zb else image
    maps, kept = [], []
    for q in quantity(logits, mode, delta, given):
        switch.on = True
        found = torch.autograd.grad(
            q, [start, *(caught[name] for name in layers)], create_graph=True, retain_graph=True
        )
        switch.on = False
        r = start * found[0]
        if rule.zb:
            kinds = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU)
            order = [m for m in net.modules() if isinstance(m, kinds)]
            first = Affine(order[0], order[1] if isinstance(order[1], nn.BatchNorm2d) else None)
            first.forward(x)
            r = first.first(r, rule)
        maps.append(r)
        kept.append({n: caught[n] * g for n, g in zip(layers, found[1:], strict=True)})
    return torch.stack(maps, 1), logits, {n: torch.stack([k[n] for k in kept], 1) for n in layers}
