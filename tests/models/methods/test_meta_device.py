"""One training step of every method on the meta device: nothing waits for it or leaves it.

The meta device has no values: reading one fails, and so does a tensor made on the CPU beside it.
"""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from isnet_models.backbones import build_backbone
from isnet_models.methods import registry
from isnet_models.methods.base import Batch, Context, NetSpec
from isnet_models.methods.guided.isnet import VARIANTS
from isnet_models.methods.settings import ISNetSettings
from tests.models.methods.factory import SEGMENTER, SETTINGS, SIZES

NETWORKS = {"resnet18": 32, "densenet121": 64, "efficientnet_b0": 32, "vit_b_16": 224}
OWN = {e.name for e in registry.ENTRIES if e.own_network}
QUICK = {"resnet18"}
# Choose images by values of masks or labels on the host, which the meta device has not.
BY_VALUE = {"background_mix", "masked_mix", "gain"}
NOT_HAM = {"efficientnet_b0", "vit_b_16"}


def _cases() -> list[object]:
    found: list[object] = []
    for entry in registry.ENTRIES:
        if entry.name in BY_VALUE:
            continue
        for arch in ["own"] if entry.name in OWN else NETWORKS:
            if entry.name == "ham" and arch in NOT_HAM:
                continue
            slow = arch not in QUICK | {"own"}
            marks = [pytest.mark.slow] if slow else []
            found.append(pytest.param(entry.name, arch, {}, marks=marks, id=f"{entry.name}-{arch}"))
    for variant in VARIANTS:
        for layers in ("none", "auto"):
            given = {"variant": variant, "layers": layers}
            found.append(pytest.param("isnet", "resnet18", given, id=f"{variant}-{layers}"))
    return found


@pytest.mark.parametrize(("name", "arch", "given"), _cases())
def test_a_step_stays_on_the_device(name: str, arch: str, given: dict[str, object]) -> None:
    size = max(NETWORKS.get(arch, 32), SIZES.get(name, 32))
    first = registry.parts(name)[0]
    settings = {**SETTINGS}
    if given:
        settings[name] = ISNetSettings(**given)  # type: ignore[arg-type]
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of initialisers: there is nothing to initialise
        spec = NetSpec(
            arch, 3, size=(size, size), segmenter=SEGMENTER, settings=settings.get(first.name)
        )
        net = first.load().build(spec).train()
        teacher = None
        if "teacher" in registry.needs(name):
            teacher = build_backbone(arch, 3, channels=1).eval()
        data = Batch(
            torch.rand(4, 1, size, size), torch.ones(4, 1, size, size),
            torch.zeros(4, dtype=torch.int64),
        )  # fmt: skip
    method = registry.make(name, Context(teacher=teacher), settings)
    method.prepare(net)
    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad])
    method.begin_epoch(0, torch.Generator().manual_seed(0))
    losses = method.losses(net, data, 0)
    losses.total.backward()
    norm = nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()
    for value in (losses.total, losses.logits, norm, *losses.parts.values()):
        assert value.device.type == "meta"
    assert losses.logits.shape == (4, 3)
