"""The whole engine and every map loss on the meta device, where tensors have no values.

No tensor is made on another device, and nothing waits for the device: there, `.item()` fails.
All variants of the losses are in losses/test_heatmap_device.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from isnet_lrp import (
    FAMILIES,
    TARGETS,
    Compute,
    HeatmapLossSettings,
    Relevance,
    heatmap_loss,
    relevance,
)
from isnet_lrp.family import find_family
from isnet_lrp.losses.deep_supervision import deep_supervision_loss
from isnet_lrp.losses.energy import EnergyLossSettings, energy_loss
from isnet_lrp.losses.map_distance import map_distance
from isnet_lrp.losses.relevance_range import RangeEstimator

META = torch.device("meta")
PIXELS, CLASSES = 32, 3
OPTIONS: dict[str, Any] = {"vit_b_16": {"image_size": PIXELS}}
NETWORKS = ("resnet18", "densenet121", "efficientnet_b0", "vit_b_16")
QUICK = {"resnet18": FAMILIES, "densenet121": ("flex",), "efficientnet_b0": ("flex",),
         "vit_b_16": ("flex", "block")}  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {
    "zb per channel": {"zb": (torch.zeros(3, device=META), torch.ones(3, device=META))},
    "full": {"batch_norm": "full"},
    "mixed": {"compute": Compute("mixed")},
    "in series": {"compute": Compute(memory=0)},
    "checkpoint": {"compute": Compute(checkpoint=True)},
    "epsilon 0": {"epsilon": 0.0},
    "evaluation": {"training": False},
}
ALL_TARGETS = (*TARGETS, "indices")


def pairs(names: Iterable[str], quick: Callable[[str, str], bool]) -> list[Any]:
    """Every (name, family) that exists, the slow ones marked."""
    parts = {name: find_family(name) for name in FAMILIES}
    signs = ("z+", "dual", "gamma", "alpha-beta", "epsilon-plus", "epsilon-alpha2-beta1")
    missing = {("vit_b_16", name) for name in signs}
    missing |= {("mixed", n) for n, part in parts.items() if not all(f.mixed for f in part)}
    for name, part in parts.items():
        if not all("max-probability" in family.targets for family in part):
            missing.add(("max-probability", name))
    return [
        pytest.param(name, family, marks=[] if quick(name, family) else [pytest.mark.slow])
        for name in names
        for family in FAMILIES
        if (name, family) not in missing
    ]


@lru_cache(maxsize=1)
def build(name: str) -> nn.Module:
    with META:
        net = getattr(torchvision.models, name)(num_classes=CLASSES, **OPTIONS.get(name, {}))
    return net  # type: ignore[no-any-return]


def explain(name: str, target: Any, *, training: bool = True, **options: Any) -> Relevance:
    """Maps with their graph, after the training backward pass through them."""
    net = build(name).train(training)
    net.zero_grad()
    x = torch.rand(2, 3, PIXELS, PIXELS, device=META)
    chosen = torch.zeros(2, dtype=torch.int64, device=META) if target == "indices" else target
    found = relevance(net, x, chosen, create_graph=True, **options)
    loss = sum((layer.abs().mean() for layer in found.layers.values()), found.maps.abs().mean())
    loss.backward()
    assert {t.device for t in (found.maps, found.logits, *found.layers.values())} == {META}
    reached = [p.grad is not None and p.grad.device == META for p in net.parameters()]
    assert any(reached)
    return found


@pytest.mark.parametrize(("name", "family"), pairs(NETWORKS, lambda n, f: f in QUICK[n]))
def test_every_family_with_zb_and_hidden_layers(name: str, family: str) -> None:
    hidden = {"resnet18": ["layer2"], "densenet121": ["features.norm5"]}
    layers = hidden.get(name, []) if family in ("flex", "block") else []
    found = explain(name, "predicted", family=family, zb=(0.0, 1.0), layers=layers)
    assert found.maps.shape == (2, 2 if family == "dual" else 1, 3, PIXELS, PIXELS)
    assert list(found.layers) == layers


@pytest.mark.parametrize(("target", "family"), pairs(ALL_TARGETS, lambda _, f: f == "flex"))
def test_every_target(target: str, family: str) -> None:
    found = explain("resnet18", target, family=family)
    assert found.maps.shape[1] == {"all": CLASSES}.get(target, 1) or family == "dual"


@pytest.mark.parametrize(
    ("variant", "family"),
    pairs(VARIANTS, lambda v, f: f == "flex" or (v in ("mixed", "in series") and f == "block")),
)
def test_every_variant(variant: str, family: str) -> None:
    explain("resnet18", "selective", family=family, **VARIANTS[variant])


def test_automatic_layers() -> None:
    found = explain("resnet18", "all", layers="auto")
    assert len(found.layers) == 4


def maps(channels: int = 3) -> tuple[Tensor, Tensor]:
    made = torch.rand(2, 2, channels, 8, 8, device=META, requires_grad=True)
    return made, torch.ones(2, 1, 16, 16, device=META)


@pytest.mark.parametrize("decay", [0.0, 0.5, 1.0])
def test_every_map_loss(decay: float) -> None:
    H, masks = maps()
    coarse, _ = maps(5)
    layers = {"input": H, "layer": coarse}
    found = deep_supervision_loss(layers, masks, HeatmapLossSettings(decay=decay), decay)
    energy = energy_loss(H, masks, EnergyLossSettings(positive_only=decay > 0))
    distance = map_distance(H[:, 0], H[:, 1])
    estimator = RangeEstimator(dual=True)
    estimator.update(layers)
    heat = heatmap_loss(H, masks, HeatmapLossSettings(low=(1.0, 2.0), high=(3.0, 4.0)))
    (heat.total + found.total + energy.total + distance.sum()).backward()
    assert (
        heat.counted.device == found.total.device == energy.total.device == distance.device == META
    )
    assert H.grad is not None
    assert coarse.grad is not None


def test_values_cannot_be_asked_for() -> None:
    """What makes this a test: a value of a tensor on this device is an error."""
    with pytest.raises(RuntimeError):
        torch.ones((), device=META).item()
    with pytest.raises(RuntimeError):
        torch.ones(2, device=META) + torch.ones(2)
