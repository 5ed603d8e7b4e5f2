"""Two processes that average their gradients (gloo, on the CPU) learn what one process learns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from isnet_models.methods import registry
from isnet_models.methods.base import Batch
from tests.models.methods.factory import CASES, batch, prepare
from tests.support.two_processes import in_two_processes

IMAGES = 12
Gradients = list[Tensor]


def _gradients(name: str, parts: list[slice]) -> Gradients:
    """Mean over `parts` of the batch; running statistics, so that halves of a batch add up."""
    case = prepare(name)
    base = case.method.base
    if getattr(base.settings, "variant", "") == "auto":  # stochastic: each part would draw anew
        base.settings = base.settings.model_copy(update={"variant": "selective"})
    data = batch(IMAGES, size=case.size)
    case.net.double().eval().zero_grad()
    if case.method.context.teacher is not None:
        case.method.context.teacher.double()
    images, masks = data.images.double(), data.masks.double()
    for part in parts:
        case.method.begin_epoch(0, torch.Generator().manual_seed(part.start))
        some = Batch(images[part], masks[part], data.labels[part])
        (case.method.losses(case.net, some, 0).total / len(parts)).backward()
    return [p.grad.clone() for p in case.net.parameters() if p.grad is not None]


def _half(rank: int) -> slice:
    return slice(rank * IMAGES // 2, (rank + 1) * IMAGES // 2)


def _work(rank: int) -> dict[str, Gradients]:
    found = {}
    for name in CASES:
        found[name] = _gradients(name, [_half(rank)])
        for gradient in found[name]:
            dist.all_reduce(gradient)
            gradient.div_(2)
    return found


@pytest.mark.slow  # two processes
def test_gradients_are_those_of_one_process(tmp_path: Path) -> None:
    found = in_two_processes(_work, tmp_path)
    for name in CASES:
        _equal(found[name], _gradients(name, [_half(0), _half(1)]), name)
        entries = registry.parts(name)
        if name != "ham" and not any(e.addition or "teacher" in e.needs for e in entries):
            # a mean over images: halves say what the whole says (HAM divides sums over images)
            _equal(found[name], _gradients(name, [slice(0, IMAGES)]), name)


def _equal(ours: Gradients, theirs: Gradients, name: str) -> None:
    assert len(ours) == len(theirs), name
    largest = max(float(g.abs().max()) for g in theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert float((mine - other).abs().max()) < 1e-9 * largest, name
