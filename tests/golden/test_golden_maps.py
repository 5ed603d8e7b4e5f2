"""Relevance maps of every golden network, mode, epsilon and layer, one test per array."""

from __future__ import annotations

import functools

import pytest
import torch

from tests.golden.tools.asking import ask, drawn_classes, is_choice, places, read
from tests.golden.tools.compare import Ledger, error
from tests.golden.tools.folder import PRECISIONS, Case, of_kind, params, source
from tests.golden.tools.networks import build

pytestmark = pytest.mark.shared
INPUTS = ("param/", "paramq/", "x", "labels", "logits")


def _maps() -> list[tuple[str, tuple[Case, str]]]:
    """(id, (case, array)) of every array that is neither input nor left out."""
    return [
        (f"{case.name}-{key}", (case, key))
        for case in of_kind("maps")
        for key in case.required("")
        if not key.startswith(INPUTS) and not is_choice(key)
    ]


@functools.cache
def _best_place(case: Case, key: str) -> str:
    """Where the layer's map lies, found once in float64 where its stage has an unusual name."""
    net, origin = build(case), source(case)
    x = torch.from_numpy(origin.arrays()["x"])
    expected, request = case.arrays()[key], read(key, case.facts(key))
    candidates = places(net, request.place, x, expected.shape)
    if len(candidates) == 1:
        return candidates[0]
    arrays = {**origin.arrays(), **case.arrays()}
    drawn, labels = drawn_classes(arrays, key), arrays.get("labels")
    result = ask(net, x, request, labels=labels, drawn=drawn, layers=tuple(candidates))
    return min(candidates, key=lambda name: error(result.layers[name], expected))


# Maps of float32 are compared in the training steps of `make test`, too.
@pytest.mark.parametrize("precision", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
@pytest.mark.parametrize("item", params(_maps(), "relevance maps"))
def test_map(item: tuple[Case, str], precision: str) -> None:
    case, key = item
    origin, request = source(case), read(key, case.facts(key))
    dtype = torch.float64 if precision == "float64" else torch.float32
    net, x = build(case).to(dtype), torch.from_numpy(origin.arrays()["x"]).to(dtype)
    layers = () if request.place == "input" else (_best_place(case, key),)
    arrays = {**origin.arrays(), **case.arrays()}
    drawn, labels = drawn_classes(arrays, key), arrays.get("labels")
    result = ask(net, x, request, labels=labels, drawn=drawn, layers=layers)
    found = result.layers[layers[0]] if layers else result.maps
    assert found.dtype == dtype
    ledger = Ledger()
    ledger.equal(key, found, case.arrays()[key], case.tolerance(f"{precision}_max_rel"))
    ledger.equal(
        "logits", result.logits, origin.arrays()["logits"],
        origin.tolerance(f"{precision}_max_rel"),
    )  # fmt: skip
    ledger.close()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    "case",
    params([(c.name, c) for c in of_kind("maps") if "logits" in c.names], "networks with logits"),
)
def test_logits(case: Case, precision: str) -> None:
    dtype = torch.float64 if precision == "float64" else torch.float32
    arrays, ledger = case.arrays(), Ledger()
    with torch.no_grad():
        logits = build(case).to(dtype)(torch.from_numpy(arrays["x"]).to(dtype))
    ledger.equal("logits", logits, arrays["logits"], case.tolerance(f"{precision}_max_rel"))
    ledger.close()
