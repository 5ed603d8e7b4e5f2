"""Processes that share a batch have the gradients of one process with the whole of it."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from isnet_lrp.losses.relevance_range import RangeEstimator
from isnet_models.backbones import build_backbone
from isnet_models.methods import registry
from isnet_models.methods.base import Batch, Context
from isnet_models.methods.guided.isnet import VARIANTS
from isnet_models.methods.settings import ISNetSettings, MultitaskSettings, RRRSettings
from isnet_models.ranks import (
    Ranks,
    SharedBatch,
    count_images,
    join_shares,
    sum_gradients,
    take_share,
)
from tests.support.two_processes import in_processes

IMAGES = 7  # odd: processes have unequal numbers of them
# Of the default 0.01, rounding turns gradients by 1e-12 when the images stand in another order.
EPSILON = 0.1
Found = dict[str, list[Tensor]]


def make_batch(several: bool = False) -> Batch:
    """Seven images, three without a usable mask, which two processes do not have evenly."""
    g = torch.Generator().manual_seed(0)
    images = torch.rand(IMAGES, 1, 32, 32, generator=g, dtype=torch.float64)
    masks = torch.zeros(IMAGES, 1, 32, 32, dtype=torch.float64)
    masks[[1, 3, 4, 5], :, 8:24, 8:24] = 1
    labels: Tensor = torch.tensor([0, 2, 1, 0, 1, 1, 2])
    if several:
        labels = torch.rand(IMAGES, 3, generator=g).round()
        labels[2] = labels[0, 1] = torch.nan
    return Batch(images, masks, labels)


def make_cases() -> dict[str, tuple[str, Any, dict[str, Any]]]:
    """Name -> (method, settings, context): every variant of the ISNet, and other methods."""
    found: dict[str, tuple[str, Any, dict[str, Any]]] = {}
    for variant in VARIANTS:
        found[variant] = (
            "isnet",
            ISNetSettings(variant=variant, heatmap_weight=0.5, epsilon=EPSILON),
            {},
        )
    base = {"variant": "selective", "heatmap_weight": 0.5, "epsilon": EPSILON}
    deep = {**base, "layers": "auto"}
    found["deep"] = ("isnet", ISNetSettings(**deep), {})
    part = {**base, "batch_share": 0.6}
    found["part"] = ("isnet", ISNetSettings(**part), {})
    for variant in ("selective", "original"):
        full = ISNetSettings(**{**base, "variant": variant, "batch_norm_gradient": "full"})
        found[f"full {variant}"] = ("isnet", full, {})
    weights = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    found["standard"] = ("standard", None, {"class_weights": weights})
    found["several"] = ("standard", None, {"class_weights": weights})
    found["grad_input"] = ("grad_input", None, {})
    found["rrr"] = ("rrr", RRRSettings(), {})
    found["multitask_unet"] = ("multitask_unet", MultitaskSettings(width=8, depth=2, hidden=16), {})
    return found


def make_net(method: str, settings: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        if method == "multitask_unet":
            from isnet_models.methods.base import NetSpec

            spec = NetSpec("small", 3, size=(32, 32), settings=settings)
            return registry.parts(method)[0].load().build(spec).double().eval()
        net = build_backbone("small", 3).double()
    for module in net.modules():  # statistics that are not those of the start
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(1))
    return net.train()


def learn(name: str, ranks: Ranks | None) -> Found:
    """Gradients, running statistics, and the losses of one step."""
    method_name, settings, context = make_cases()[name]
    method = registry.make(method_name, Context(**context), {method_name: settings})
    net = make_net(method_name, settings)
    data = make_batch(several=name == "several")
    method.begin_epoch(0, torch.Generator().manual_seed(5))
    if ranks is None:
        losses = method.losses(net, data, 0)
        losses.total.backward()
    else:
        own = ranks.share(IMAGES)
        part = Batch(data.images[own], data.masks[own], data.labels[own])
        with SharedBatch(ranks, IMAGES):
            losses = method.losses(net, part, 0)
        losses.total.backward()
        sum_gradients(net.parameters(), ranks)
    return {
        "gradients": [p.grad.clone() for p in net.parameters() if p.grad is not None],
        "statistics": [b.clone() for b in net.buffers() if b.is_floating_point()],
        "losses": [losses.total.detach(), *losses.parts.values()],
    }


def work(count: int, rank: int) -> dict[str, Found]:
    torch.manual_seed(0)
    return {name: learn(name, Ranks(rank, count)) for name in make_cases()}


@pytest.mark.slow  # processes
@pytest.mark.parametrize("count", [2, 4])
def test_processes_learn_what_one_learns(tmp_path: Path, count: int) -> None:
    found = in_processes(partial(work, count), tmp_path, count)
    for name in make_cases():
        alone = learn(name, None)
        for what, values in found[name].items():
            assert measure_difference(values, alone[what]) < 1e-12, (name, what)


def measure_difference(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """Norm of the difference of all values, as a share of their norm."""
    assert len(ours) == len(theirs)
    a, b = (torch.cat([t.double().flatten() for t in some]) for some in (ours, theirs))
    return float((a - b).norm() / b.norm()) if len(b) else 0.0


def work_without_images(rank: int) -> Found:
    """Three processes and two images: the third process has none."""
    data, ranks = make_batch(), Ranks(rank, 3)
    method, net = registry.make("standard", Context(), {}), make_net("standard", None)
    own = slice(rank, 2, 3)
    part = Batch(data.images[own], data.masks[own], data.labels[own])
    with SharedBatch(ranks, 2):
        losses = method.losses(net, part, 0)
    losses.total.backward()
    sum_gradients(net.parameters(), ranks)
    return {"gradients": [p.grad.clone() for p in net.parameters() if p.grad is not None]}


@pytest.mark.slow  # processes
def test_a_process_without_images_takes_part(tmp_path: Path) -> None:
    found = in_processes(work_without_images, tmp_path, 3)["gradients"]
    data, net = make_batch(), make_net("standard", None)
    two = Batch(data.images[:2], data.masks[:2], data.labels[:2])
    registry.make("standard", Context(), {}).losses(net, two, 0).total.backward()
    own = [p.grad for p in net.parameters() if p.grad is not None]
    assert measure_difference(found, own) < 1e-12


def work_mixed(rank: int) -> Found:
    return {"gradients": learn_mixed(Ranks(rank, 2))}


def learn_mixed(ranks: Ranks | None) -> list[Tensor]:
    """Gradients of a step in mixed precision."""
    settings = ISNetSettings(variant="selective", heatmap_weight=0.5, epsilon=EPSILON)
    method = registry.make("isnet", Context(autocast=True), {"isnet": settings})
    net, data = make_net("isnet", None).float(), make_batch()
    own = slice(None) if ranks is None else ranks.share(IMAGES)
    part = Batch(data.images[own].float(), data.masks[own].float(), data.labels[own])
    with nullcontext() if ranks is None else SharedBatch(ranks, IMAGES):
        losses = method.losses(net, part, 0)
    losses.total.backward()
    if ranks is not None:
        sum_gradients(net.parameters(), ranks)
    return [p.grad.clone() for p in net.parameters() if p.grad is not None]


@pytest.mark.slow  # processes
def test_mixed_precision_is_shared_up_to_its_rounding(tmp_path: Path) -> None:
    found = in_processes(work_mixed, tmp_path, 2)["gradients"]
    assert measure_difference(found, learn_mixed(None)) < 0.05


def test_one_process_alone_has_everything() -> None:
    values = torch.arange(6.0).view(3, 2)
    assert join_shares(values) is values
    assert take_share(values) is values
    assert count_images(values) == 3
    assert Ranks(1, 4).share_size(6) == 2
    assert list(range(6)[Ranks(1, 4).share(6)]) == [1, 5]


def test_methods_that_are_not_shared_say_so() -> None:
    shared = {e.name for e in registry.ENTRIES if e.load().shares}
    assert {e.name for e in registry.ENTRIES} - shared == {"gain", "ham", "distillation"}
    estimator = RangeEstimator()
    estimator.update({"input": join_shares(torch.rand(4, 1, 1, 8, 8))})
    assert estimator.values()
