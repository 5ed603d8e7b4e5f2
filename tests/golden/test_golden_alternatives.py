"""Losses of other methods on a small network: Gradient*Input is met, the rest is not built."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from isnet_models.heatmap_loss import heatmap_loss
from isnet_models.lrp import relevance
from isnet_models.methods import METHODS
from tests.golden.compare import Ledger
from tests.golden.folder import PRECISIONS, Case, UnknownFormError, of_kind, params
from tests.golden.networks import build
from tests.golden.test_golden_gradients import gradients, stored
from tests.golden.training import classification, mask_of, settings

pytestmark = pytest.mark.shared
ABSENT = {"rrr": "right for the right reasons (RRR)", "gain": "extended GAIN"}
CONSTANTS = ("w1", "w2", "d", "E", "C1", "C2")
KNOWN = {*CONSTANTS, "P", "CE", "heat", "total", "independent_rel", "note", "provenance"}


def _methods() -> list[tuple[str, tuple[Case, str]]]:
    return [(f"{c.name}-{m}", (c, m)) for c in of_kind("alternatives") for m in c.meta["expected"]]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("item", params(_methods(), "losses of other methods"))
def test_method(item: tuple[Case, str], precision: str) -> None:
    case, name = item
    for start, title in ABSENT.items():
        if name.startswith(start):
            built = [m for m in METHODS if m.startswith(start)]
            assert not built, f"{title} is built as {built}: compare {name} here"
            pytest.skip(f"{title} is not built")
    if not name.startswith("grad_input"):
        raise UnknownFormError(f"{case.name}: method '{name}'")
    expected: dict[str, Any] = case.meta["expected"][name]
    if unread := set(expected) - KNOWN:
        raise UnknownFormError(f"{case.name}, {name}: {sorted(unread)}")
    _gradient_input(case, name, expected, precision)


def _gradient_input(case: Case, name: str, expected: dict[str, Any], precision: str) -> None:
    """Maps x ⊙ ∂(mean over the batch of y_k)/∂x for all k, and the first form of the loss."""
    dtype = torch.float64 if precision == "float64" else torch.float32
    net, arrays = build(case).to(dtype), case.arrays()
    x = torch.from_numpy(arrays["x"]).to(dtype)
    result = relevance(net, x, "all", epsilon=0.0, create_graph=True)
    maps = result.maps / len(x)
    s = settings({c: expected[c] for c in CONSTANTS if c in expected})
    loss = heatmap_loss(maps, mask_of(arrays["mask"]).to(dtype), s).total
    ce = classification(result.logits, arrays["labels"])
    total = (1 - expected["P"]) * ce + expected["P"] * loss
    ledger, tolerance = Ledger(), case.tolerance(f"{precision}_rel", f"{precision}_max_rel")
    for what, value in (("CE", ce), ("heat", loss), ("total", total)):
        ledger.equal(what, value, expected[what], tolerance)
    if f"map/{name}" in case.required("map/"):
        ledger.equal("map", maps, arrays[f"map/{name}"], tolerance)
    assert stored(case, name, "grad"), "no gradients of the method"
    total.backward()
    gradients(ledger, case, name, net, tolerance)
    ledger.close()
