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
from tests.models.methods.factory import SEGMENTER, SETTINGS, SIZES

NETWORKS = {"resnet18": 32, "densenet121": 64, "efficientnet_b0": 32, "vit_b_16": 224}
OWN = {e.name for e in registry.ENTRIES if e.own_network}
QUICK = {"resnet18"}
# Settings beside the defaults. Two cannot run here, because the host has to know how many values
# of masks or labels are set: noise of the mixed methods (it is drawn for the changed images alone,
# and drawing it for all would change the random stream), and GAIN with several labels per image
# (one hidden image per present class runs through BatchNorm; padded ones would change its
# statistics and the cost).
GIVEN: dict[str, tuple[dict[str, object], ...]] = {
    "isnet": tuple({"variant": v, "layers": k} for v in VARIANTS for k in ("none", "auto")),
    "background_mix": (
        {"fill": "black", "share": 0.7}, {"fill": "blur", "share": 0.7}, {"partner": "other"},
    ),
    "masked_mix": ({"fill": "blur"},),
}  # fmt: skip
REFUSED = {"ham": {"efficientnet_b0", "vit_b_16"}, "gain": {"vit_b_16"}}


def _cases() -> list[object]:
    found: list[object] = []
    for entry in registry.ENTRIES:
        for arch in ["own"] if entry.name in OWN else NETWORKS:
            if arch in REFUSED.get(entry.name, ()):
                continue
            slow = arch not in QUICK | {"own"}
            marks = [pytest.mark.slow] if slow else []
            found.append(pytest.param(entry.name, arch, {}, marks=marks, id=f"{entry.name}-{arch}"))
    for name, several in GIVEN.items():
        for given in several:
            words = "-".join(str(value) for value in given.values())
            marks = [pytest.mark.slow] if given.get("layers") == "none" else []
            found.append(pytest.param(name, "resnet18", given, marks=marks, id=f"{name}-{words}"))
    return found


@pytest.mark.parametrize(("name", "arch", "given"), _cases())
def test_a_step_stays_on_the_device(name: str, arch: str, given: dict[str, object]) -> None:
    size = max(NETWORKS.get(arch, 32), SIZES.get(name, 32))
    first = registry.parts(name)[0]
    settings = {**SETTINGS}
    if given:
        settings[name] = registry.parts(name)[-1].settings_class()(**given)
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
