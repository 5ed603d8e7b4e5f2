"""Processes that share a batch have the gradients of one process with the whole of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.resnet import BasicBlock

from isnet_lrp.losses.relevance_range import RangeEstimator
from isnet_models.backbones import build_backbone
from isnet_models.methods import registry
from isnet_models.methods.base import Batch, Context, Method
from isnet_models.methods.guided.isnet import VARIANTS
from isnet_models.methods.settings import BackgroundMixSettings, ISNetSettings, MaskedMixSettings
from isnet_models.ranks import (
    Ranks,
    SharedBatch,
    count_images,
    join_shares,
    sum_gradients,
    take_share,
)
from tests.models.methods.factory import CASES, SETTINGS, SIZES, prepare
from tests.support.two_processes import in_processes

pytestmark = pytest.mark.timeout(1200)  # several processes, each of which loads torch
IMAGES = 7  # odd: processes have unequal numbers of them
# Of the default 0.01, rounding turns gradients by 1e-12 when the images stand in another order.
EPSILON = 0.1
PROCESSES = (1, 2, 4)
Found = dict[str, list[Tensor]]
ISNET = {"variant": "selective", "heatmap_weight": 0.5, "epsilon": EPSILON}


@dataclass(frozen=True)
class Case:
    """A training step.

    Attributes:
        method: As `train.method` has it.
        settings: Records by name.
        net: Of `make_net`; "": the method's own.
        labels: ``one``, ``several``, or of several labels none or one that is present.
        weights: Whether classes have weights.
    """

    method: str
    settings: dict[str, Any] = field(default_factory=dict)
    net: str = ""
    labels: str = "one"
    weights: bool = False


def make_cases() -> dict[str, Case]:
    """Every variant of the ISNet, every method, every kind of network, dropout and label."""

    def isnet(net: str = "", **settings: Any) -> Case:
        return Case("isnet", {"isnet": ISNetSettings(**{**ISNET, **settings})}, net)

    def mix(fill: str, partner: str = "any") -> Case:
        settings = BackgroundMixSettings(share=0.7, fill=fill, partner=partner)
        return Case("background_mix", {"background_mix": settings})

    found = {variant: isnet(variant=variant) for variant in VARIANTS}
    found |= {
        f"{net} {v}": isnet(net, variant=v) for net in NETS for v in ("selective", "original")
    }
    found |= {
        "deep": isnet(layers="auto"),
        "part": isnet(batch_share=0.6),
        "energy": isnet(loss="energy"),
        "full selective": isnet(batch_norm_gradient="full"),
        "full original": isnet(variant="original", batch_norm_gradient="full"),
    }
    shared = (n for n in CASES if all(entry.load().shares for entry in registry.parts(n)))
    found |= {name: Case(name) for name in shared if name != "isnet"}
    found |= {
        "weighted": Case("standard", weights=True),
        "several": Case("standard", labels="several", weights=True),
        "dropout": Case("standard", net="dropout"),
        "depth": Case("standard", net="depth"),
        "dropout isnet": isnet("dropout"),
        "gain several": Case("gain", labels="several"),
        "gain one present": Case("gain", labels="one present"),
        "gain none present": Case("gain", labels="none present"),
        "ham several": Case("ham", labels="several"),
        "distillation several": Case("distillation", labels="several"),
        "masked_mix noise": Case("masked_mix", {"masked_mix": MaskedMixSettings(fill="noise")}),
    }
    for fill in ("black", "noise", "blur"):
        found[f"mix {fill}"] = mix(fill)
    for partner in ("same", "other"):
        found[f"mix {partner}"] = mix("image", partner)
    stochastic = ISNetSettings(**{**ISNET, "variant": "stochastic"})
    every = BackgroundMixSettings(share=1.0, fill="noise")
    found["mix, then draw"] = Case(
        "isnet+background_mix", {"isnet": stochastic, "background_mix": every}
    )
    return found


def make_batch(labels: str = "one", size: int = 32) -> Batch:
    """Seven images; of four processes, one has none with a usable mask."""
    g = torch.Generator().manual_seed(0)
    images = torch.rand(IMAGES, 1, size, size, generator=g, dtype=torch.float64)
    masks = torch.zeros(IMAGES, 1, size, size, dtype=torch.float64)
    masks[[1, 3, 4, 5], :, size // 4 : 3 * size // 4, size // 4 : 3 * size // 4] = 1
    if labels == "one":
        return Batch(images, masks, torch.tensor([0, 2, 1, 0, 1, 1, 2]))
    several = torch.zeros(IMAGES, 3)
    if labels == "several":
        several = torch.rand(IMAGES, 3, generator=g).round()
        several[2] = several[0, 1] = torch.nan
    several[1, 2] = float(labels != "none present")
    return Batch(images, masks, several)


NETS: dict[str, Callable[[], nn.Module]] = {
    "resnet": lambda: models.ResNet(BasicBlock, [1, 1, 1, 1], num_classes=3),
    "densenet": lambda: models.DenseNet(8, (2, 2), 16, num_classes=3),
    "vgg": lambda: nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(4),
        nn.Flatten(), nn.Linear(128, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3),
    ),
}  # fmt: skip
CHANCE: dict[str, Callable[[], nn.Module]] = {  # networks that draw
    "dropout": lambda: nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout2d(0.3),
        nn.AvgPool2d(8), nn.Flatten(), nn.Dropout(0.4, inplace=True), nn.Linear(128, 3),
    ),
    "depth": lambda: models.ConvNeXt(
        [CNBlockConfig(16, 32, 2), CNBlockConfig(32, None, 2)], 0.5, num_classes=3
    ),
}  # fmt: skip


def make_step(case: Case, images: int = IMAGES) -> tuple[nn.Module, Method, Batch]:
    """Network in training mode, method and batch, in float64."""
    needs = registry.needs(case.method)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        net = {**NETS, **CHANCE}[case.net]() if case.net else prepare(case.method).net
        teacher = build_backbone("small", 3).double().eval() if "teacher" in needs else None
    weights = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64) if case.weights else None
    context = Context(weights, teacher=teacher, classes=3, exclusive=case.labels == "one")
    method = registry.make(case.method, context, SETTINGS | case.settings)
    g = torch.Generator().manual_seed(1)
    for module in net.modules():  # not as at the start, where values lie on the kink of ReLUs
        if isinstance(module, nn.BatchNorm2d) and module.weight.requires_grad:
            module.weight.data.uniform_(0.5, 1.5, generator=g)
            module.bias.data.uniform_(-0.2, 0.2, generator=g)
            if images == 2 or case.labels == "one present":  # whose variance is little but rounding
                module.eps = 0.1
    data = make_batch(case.labels, SIZES.get(case.method, 32))
    if case.net:
        data = replace(data, images=data.images.expand(-1, 3, -1, -1))
    return net.double().train(), method, data


def learn(case: Case, ranks: Ranks | None, images: int = IMAGES) -> Found:
    """Gradients, running statistics, and the losses of one step."""
    net, method, data = make_step(case, images)
    method.begin_epoch(0, torch.Generator().manual_seed(5))
    torch.manual_seed(7)
    own = slice(images) if ranks is None else ranks.share(images)
    part = Batch(*(t[:images][own] for t in (data.images, data.masks, data.labels)))
    with nullcontext() if ranks is None else SharedBatch(ranks, images):
        losses = method.losses(net, part, 0)
    losses.total.backward()
    if ranks is not None:
        sum_gradients(net.parameters(), ranks)
    return {
        "gradients": [p.grad.clone() for p in net.parameters() if p.grad is not None],
        "statistics": [b.clone() for b in net.buffers() if b.is_floating_point()],
        "losses": [losses.total.detach(), *losses.parts.values()],
    }


def work(count: int, rank: int) -> dict[str, Found]:
    return {name: learn(case, Ranks(rank, count)) for name, case in make_cases().items()}


@pytest.mark.slow  # processes
@pytest.mark.parametrize("count", PROCESSES)
def test_processes_learn_what_one_learns(tmp_path: Path, count: int) -> None:
    found = in_processes(partial(work, count), tmp_path, count)
    off = {}
    for name, case in make_cases().items():
        for what, values in learn(case, None).items():
            off[name, what] = measure_difference(found[name][what], values)
    assert {key: value for key, value in off.items() if not value < 1e-12} == {}


def test_every_variant_and_every_method_is_among_them() -> None:
    cases = make_cases().values()
    assert {part.name for c in cases for part in registry.parts(c.method)} == {
        entry.name for entry in registry.ENTRIES
    }
    variants = {c.settings["isnet"].variant for c in cases if "isnet" in c.settings}
    assert set(VARIANTS) <= variants


def measure_difference(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """Norm of the difference of all values, as a share of their norm."""
    assert len(ours) == len(theirs)
    if not ours:
        return 0.0
    a, b = (torch.cat([t.double().flatten() for t in some]) for some in (ours, theirs))
    return float((a - b).norm() / b.norm())


def work_without_images(rank: int) -> dict[str, Found]:
    """Three processes and two images: the third process has none."""
    return {name: learn(case, Ranks(rank, 3), 2) for name, case in few_cases().items()}


def few_cases() -> dict[str, Case]:
    cases = make_cases()
    return {name: cases[name] for name in ("standard", "gain", "background_mix", "dropout")}


@pytest.mark.slow  # processes
def test_a_process_without_images_takes_part(tmp_path: Path) -> None:
    found = in_processes(work_without_images, tmp_path, 3)
    for name, case in few_cases().items():
        for what, values in learn(case, None, 2).items():
            assert measure_difference(found[name][what], values) < 1e-12, (name, what)


MIXED = tuple(v for v, rule in VARIANTS.items() if rule.family != "dual")  # has no half precision


def work_mixed(count: int, rank: int) -> Found:
    return {variant: learn_mixed(variant, Ranks(rank, count)) for variant in MIXED}


def learn_mixed(variant: str, ranks: Ranks | None, *, autocast: bool = True) -> list[Tensor]:
    """Gradients of a step in mixed precision, or in float32."""
    settings = ISNetSettings(**{**ISNET, "variant": variant})
    method = registry.make("isnet", Context(autocast=autocast), {"isnet": settings})
    method.begin_epoch(0, torch.Generator().manual_seed(5))
    net, data = prepare("isnet").net.train(), make_batch()
    own = slice(None) if ranks is None else ranks.share(IMAGES)
    part = Batch(data.images[own].float(), data.masks[own].float(), data.labels[own])
    with nullcontext() if ranks is None else SharedBatch(ranks, IMAGES):
        losses = method.losses(net, part, 0)
    losses.total.backward()
    if ranks is not None:
        sum_gradients(net.parameters(), ranks)
    return [p.grad.clone() for p in net.parameters() if p.grad is not None]


@pytest.mark.slow  # processes
@pytest.mark.parametrize("count", PROCESSES)
def test_mixed_precision_is_shared_up_to_its_rounding(tmp_path: Path, count: int) -> None:
    found = in_processes(partial(work_mixed, count), tmp_path, count)
    for variant in MIXED:
        alone, exact = (learn_mixed(variant, None, autocast=a) for a in (True, False))
        rounding = measure_difference(alone, exact)
        assert measure_difference(found[variant], alone) < 2 * rounding, variant


def test_one_process_alone_has_everything() -> None:
    values = torch.arange(6.0).view(3, 2)
    assert join_shares(values) is values
    assert take_share(values) is values
    assert count_images(values) == 3
    assert Ranks(1, 4).share_size(6) == 2
    assert list(range(6)[Ranks(1, 4).share(6)]) == [1, 5]


def test_measurements_of_one_process_need_no_others() -> None:
    estimator = RangeEstimator()
    estimator.update({"input": join_shares(torch.rand(4, 1, 1, 8, 8))})
    assert estimator.values()
