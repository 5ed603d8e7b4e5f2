"""LRP-Flex by torch's gradients with other derivatives: a second opinion.

Source: docs/lrp.md, section 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.lrp.oracles.dense import Dense, Oracle, each


@contextmanager
def flex_derivatives(epsilon: float, deviations: list[Tensor]) -> Iterator[list[Tensor]]:
    """Lets torch's gradients follow LRP-Flex (docs/lrp.md, section 3.1); values stay.

    ReLU's derivative is a/(a + epsilon), BatchNorm's gamma/s with s taken from `deviations` in the
    order of the calls (and put there, if it is empty).

    Yields:
        A list that receives the outputs of the ReLUs.
    """
    given, at, seen = bool(deviations), iter(deviations), list[Tensor]()
    batch_norm = F.batch_norm

    def relu(z: Tensor, inplace: bool = False) -> Tensor:
        a = z.detach().clamp(min=0)
        seen.append(a + a / (a + epsilon) * (z - z.detach()))
        return seen[-1]

    def norm(x: Tensor, mean: Tensor, var: Tensor, gamma: Tensor, *rest: Any) -> Tensor:
        y = batch_norm(x, mean, var, gamma, *rest).detach()
        eps = rest[-1]
        s = next(at) if given else (x.var((0, 2, 3), False) if rest[1] else var).add(eps).sqrt()
        if not given:
            deviations.append(s.detach().clone())
        return y + each(gamma / s, x).detach() * (x - x.detach())

    with (
        mock.patch.object(F, "relu", relu),
        mock.patch.object(torch, "relu", relu),
        mock.patch.object(F, "batch_norm", norm),
    ):
        yield seen


@torch.enable_grad()
def flex_maps(
    oracle: Oracle, x: Tensor, target: str = "all", delta: float = 0.01,
    deviations: list[Tensor] | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """LRP-Flex maps [B, K', C, H, W] and logits by gradients (docs/lrp.md, sections 3.2, 3.3)."""
    image = x.clone().requires_grad_()
    with flex_derivatives(oracle.epsilon, [] if deviations is None else deviations) as relus:
        logits = oracle.net(image)
    start = image if oracle.zb is None else relus[0]
    maps = []
    for q in _quantities(logits, target, delta):
        R = (start * torch.autograd.grad(q, start, retain_graph=True)[0]).detach()
        if oracle.zb is not None:
            *body, _ = oracle.layers()
            conv, norm, *_ = list(body[0].features) if isinstance(body[0], Dense) else body
            oracle.first = conv
            with torch.no_grad():
                _, back = oracle.affine(conv, norm if isinstance(norm, nn.BatchNorm2d) else None, x)
            R = back(R)
        maps.append(R)
    return torch.stack(maps, 1), logits.detach()


def _quantities(logits: Tensor, target: str, delta: float) -> list[Tensor]:
    if target == "all":
        return [y.sum() for y in logits.unbind(1)]
    if target == "predicted":
        return [logits.amax(1).sum()]
    assert target == "selective"
    p = logits.softmax(1).gather(1, logits.argmin(1, keepdim=True))
    return [((p + delta).log() - (1 - p + delta).log()).sum()]
