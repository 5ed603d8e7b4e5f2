"""Training steps: logits, maps, losses and weight gradients, one test per case and mode."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from isnet_lrp import Relevance
from tests.golden.tools.asking import Request, ask, drawn_classes, places, read
from tests.golden.tools.compare import Ledger
from tests.golden.tools.folder import (
    PRECISIONS,
    Array,
    Case,
    UnknownFormError,
    of_kind,
    params,
    source,
)
from tests.golden.tools.networks import build
from tests.golden.tools.training import classification, heat, mask_of

pytestmark = pytest.mark.shared


def _modes() -> list[tuple[str, tuple[Case, str]]]:
    return [
        (f"{case.name}-{mode}", (case, mode))
        for case in of_kind("gradients")
        for mode in case.description["hyper"]
    ]


def prepare(case: Case, precision: str) -> tuple[nn.Module, bool]:
    """The network in the case's mode, and whether that is training (with dropout off)."""
    dtype = torch.float64 if precision == "float64" else torch.float32
    net, training = build(case).to(dtype), case.description.get("eval_mode", True) is False
    net.train(training)
    for module in net.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()
    return net, training


def stored(case: Case, mode: str, group: str) -> dict[str, Array]:
    """Arrays "group/mode/name" by name."""
    start = f"{group}/{mode}/"
    return {key[len(start) :]: case.arrays()[key] for key in case.required(start)}


def part(gradient: Tensor, facts: dict[str, Any]) -> Tensor:
    """The part of a gradient that is stored, as "slice(0, 4, None)" says; else all of it."""
    found = re.findall(r"slice\((\w+), (\w+), (\w+)\)", str(facts.get("slice", "")))
    if facts.get("slice") and not found:
        raise UnknownFormError(f"stored part {facts['slice']}")
    bounds = [[None if t == "None" else int(t) for t in text] for text in found]
    return gradient[tuple(slice(*b) for b in bounds)] if bounds else gradient


def _answer(
    case: Case, mode: str, request: Request, net: nn.Module, x: Tensor, training: bool
) -> tuple[Relevance, dict[str, Tensor]]:
    """The engine's result, and its maps by the case's own names of the layers."""
    origin, hyper = source(case), case.description["hyper"][mode]
    maps = stored(case, mode, "map")
    named = list(hyper["C1"]) if isinstance(hyper["C1"], dict) else []
    names = [name for name in {**dict.fromkeys(named), **maps} if name != "input"]
    found = {}
    for name in names:
        shape = maps[name].shape if name in maps else ()
        found[name] = places(net, name, x, shape)[0]
    arrays = {**origin.arrays(), **case.arrays()}
    result = ask(
        net, x, request, labels=arrays.get("labels"), layers=tuple(found.values()),
        drawn=drawn_classes(arrays, mode),
        create_graph=True, training=training,
    )  # fmt: skip
    return result, {"input": result.maps, **{n: result.layers[m] for n, m in found.items()}}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("item", params(_modes(), "training cases"))
def test_training_step(item: tuple[Case, str], precision: str) -> None:
    case, mode = item
    origin, hyper = source(case), case.description["hyper"][mode]
    request = read(mode, {k: hyper[k] for k in ("delta",) if k in hyper and "delta" in mode})
    if "delta" in hyper:
        request = Request(**{**vars(request), "delta": float(hyper["delta"])})
    net, training = prepare(case, precision)
    x = torch.from_numpy(origin.arrays()["x"]).to(next(net.parameters()).dtype)
    result, maps = _answer(case, mode, request, net, x, training)

    each = case.tolerance(f"{precision}_max_rel_of_largest_entry")
    whole = case.tolerance(f"totals_{precision}_rel")
    mask, ledger = mask_of(case.arrays()["mask"]), Ledger()
    loss, layers = heat(maps, mask.to(x.dtype), hyper, request.mode == "dual")
    ce = classification(result.logits, case.arrays()["labels"])
    total = (1 - hyper["P"]) * ce + hyper["P"] * loss
    for name, value in (("CE", ce), ("heat_loss", loss), ("total", total)):
        ledger.equal(name, value, hyper[name], whole)
    for name, value in hyper.get("per_layer_loss", {}).items():
        ledger.equal(f"loss of {name}", layers[name], value, whole)
    for name, value in stored(case, mode, "map").items():
        ledger.equal(f"map {name}", maps[name], value, each)
    if training and "logits_train" in case.names:
        ledger.equal("logits", result.logits, case.arrays()["logits_train"], each)
    total.backward()
    gradients(ledger, case, mode, net, each)
    ledger.close()


def gradients(ledger: Ledger, case: Case, mode: str, net: nn.Module, tolerance: float) -> None:
    """Compares stored weight gradients, in units of the mode's largest entry."""
    expected = stored(case, mode, "grad")
    if not expected:
        raise UnknownFormError(f"{case.name}: no gradients of mode '{mode}'")
    scale = max(float(abs(value).max()) for value in expected.values())
    for name, value in expected.items():
        weight = net.get_parameter(name)
        gradient = torch.zeros_like(weight) if weight.grad is None else weight.grad
        found = part(gradient, case.facts(f"grad/{mode}/{name}"))
        ledger.equal(f"gradient of {name}", found, value, tolerance, scale)
