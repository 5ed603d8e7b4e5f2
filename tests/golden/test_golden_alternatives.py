"""Losses of other methods on a small network: totals, maps and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from isnet_lrp import relevance
from isnet_lrp.losses.heatmap import heatmap_loss
from isnet_models.explanations.gradcam import class_map, enlarged, feature_map, watched
from isnet_models.methods.base import Batch, Losses
from isnet_models.methods.guided.gain import GAIN
from isnet_models.methods.guided.rrr import RRR
from isnet_models.methods.settings import GAINSettings, RRRSettings
from tests.golden.test_golden_gradients import gradients, stored
from tests.golden.tools.compare import Ledger
from tests.golden.tools.folder import PRECISIONS, Case, UnknownFormError, of_kind, params
from tests.golden.tools.networks import build
from tests.golden.tools.training import classification, mask_of, settings

pytestmark = pytest.mark.shared
CONSTANTS = ("w1", "w2", "d", "E", "C1", "C2")
BESIDE = {"total", "independent_rel", "note", "provenance"}
GAIN_FORMS = {  # what is behind "gain_" -> settings: maps, and which of them are held to the mask
    "ext": {}, "modified": {"signed": True, "every_class": True},
    "modified_relu": {"every_class": True}, "multilabel": {},
}  # fmt: skip


def _methods() -> list[tuple[str, tuple[Case, str]]]:
    return [(f"{c.name}-{m}", (c, m)) for c in of_kind("alternatives") for m in c.meta["expected"]]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("item", params(_methods(), "losses of other methods"))
def test_method(item: tuple[Case, str], precision: str) -> None:
    case, name = item
    compared: dict[str, Callable[..., set[str]]] = {
        "grad_input": _gradient_input, "rrr": _rrr, "gain": _gain,
    }  # fmt: skip
    found = [compare for start, compare in compared.items() if name.startswith(start)]
    if not found:
        raise UnknownFormError(f"{case.name}: method '{name}'")
    expected: dict[str, Any] = case.meta["expected"][name]
    dtype = torch.float64 if precision == "float64" else torch.float32
    net, ledger = build(case).to(dtype), Ledger()
    arrays = case.arrays()
    batch = Batch(
        torch.from_numpy(arrays["x"]).to(dtype), mask_of(arrays["mask"])[:, :1].to(dtype),
        torch.from_numpy(arrays["labels"]),
    )  # fmt: skip
    tolerance = case.tolerance(f"{precision}_rel", f"{precision}_max_rel")
    read = found[0](case, name, expected, net, batch, ledger, tolerance)
    if unread := set(expected) - read - BESIDE:
        raise UnknownFormError(f"{case.name}, {name}: {sorted(unread)}")
    assert stored(case, name, "grad"), "no gradients of the method"
    gradients(ledger, case, name, net, tolerance)
    ledger.close()


def _gradient_input(
    case: Case, name: str, expected: dict[str, Any], net: nn.Module, batch: Batch,
    ledger: Ledger, tolerance: float,
) -> set[str]:  # fmt: skip
    """Maps x ⊙ ∂(mean over the batch of y_k)/∂x for all k, and the first form of the loss."""
    arrays = case.arrays()
    result = relevance(net, batch.images, "all", epsilon=0.0, create_graph=True)
    maps = result.maps / len(batch.images)
    s = settings({c: expected[c] for c in CONSTANTS if c in expected})
    loss = heatmap_loss(maps, batch.masks, s).total
    ce = classification(result.logits, arrays["labels"])
    total = (1 - expected["P"]) * ce + expected["P"] * loss
    for what, value in (("CE", ce), ("heat", loss), ("total", total)):
        ledger.equal(what, value, expected[what], tolerance)
    if f"map/{name}" in case.required("map/"):
        ledger.equal("map", maps, arrays[f"map/{name}"], tolerance)
    total.backward()
    return {*CONSTANTS, "P", "CE", "heat"}


def _rrr(
    case: Case, name: str, expected: dict[str, Any], net: nn.Module, batch: Batch,
    ledger: Ledger, tolerance: float,
) -> set[str]:  # fmt: skip
    """The authors' scaling: gradients of the mean over the batch, P the penalty's weight."""
    method = RRR(RRRSettings(gradient_weight=expected["P"], per_batch=True))
    losses = method.losses(net, batch, 0)
    _parts(ledger, losses, expected, {"CE": "classification", "heat": "gradient"}, tolerance)
    losses.total.backward()
    return {"P", "CE", "heat"}


def _gain(
    case: Case, name: str, expected: dict[str, Any], net: nn.Module, batch: Batch,
    ledger: Ledger, tolerance: float,
) -> set[str]:  # fmt: skip
    form = name.removeprefix("gain_")
    if form not in GAIN_FORMS:
        raise UnknownFormError(f"{case.name}: method '{name}'")
    labels = batch.labels
    if form == "multilabel":
        labels = torch.from_numpy(case.arrays()["multilabels"]).to(batch.images.dtype)
    batch = Batch(batch.images, batch.masks, labels)
    method = GAIN(
        GAINSettings(
            mining_weight=expected["alpha"],
            attention_weight=expected["w"],
            sharpness=expected["omega"],
            threshold=expected["sigma"],
            **GAIN_FORMS[form],
        )
    )
    losses = method.losses(net, batch, 0)
    names = {
        "classification": "classification", "attention_mining": "attention_mining",
        "extra_supervision": "attention",
    }  # fmt: skip
    _parts(ledger, losses, expected, names, tolerance)
    if f"map/{name}/attention" in case.required("map/"):
        shown = _shown(method, net, batch)
        ledger.equal("map", shown, case.arrays()[f"map/{name}/attention"], tolerance)
    losses.total.backward()
    return {*names, "alpha", "w", "omega", "sigma", "layer"}


def _shown(method: GAIN, net: nn.Module, batch: Batch) -> Tensor:
    """The stored map: of the image's class, or of the sum of its labels, in three channels."""
    labels = batch.labels
    if labels.dim() == 2:
        with watched(net) as seen:
            logits = net(batch.images)
        map_ = class_map((logits * labels).sum(1), feature_map(seen)).relu()
        return enlarged(map_, batch.images).expand(-1, 3, -1, -1)
    _, maps = method.maps(net, batch.images)
    return maps[torch.arange(len(labels)), labels][:, None].expand(-1, 3, -1, -1)


def _parts(
    ledger: Ledger, losses: Losses, expected: dict[str, Any], names: dict[str, str], tol: float
) -> None:
    for theirs, ours in names.items():
        ledger.equal(theirs, losses.parts[ours], expected[theirs], tol)
    ledger.equal("total", losses.total, expected["total"], tol)
