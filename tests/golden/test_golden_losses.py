"""The heat-map loss of stored maps, and C1 and C2 of stored relevance, one test per case."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from isnet_lrp.losses.heatmap import heatmap_loss
from isnet_lrp.losses.map_masks import mask_maps
from isnet_lrp.losses.relevance_range import RangeEstimator
from tests.golden.tools.compare import Ledger
from tests.golden.tools.folder import PRECISIONS, Case, UnknownFormError, of_kind, params
from tests.golden.tools.training import mask_of, settings

pytestmark = pytest.mark.shared
FIGURES = {"total", "L1", "L2", "per_image", "g_total_abs_whole_map"}
BESIDE = {"H", "M", "params", "id", "independent_check_rel", "gradient_array", "note", "provenance"}


def _losses() -> list[tuple[str, tuple[Case, dict[str, Any]]]]:
    return [
        (f"{c.name}-{one['id']}", (c, one)) for c in of_kind("losses") for one in c.meta["cases"]
    ]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("item", params(_losses(), "heat-map losses"))
def test_loss(item: tuple[Case, dict[str, Any]], precision: str) -> None:
    case, one = item
    known = {f"{name}_{tag}" for name in FIGURES for tag in ("f64", "f32")} | BESIDE
    if unread := set(one) - known:
        raise UnknownFormError(f"{case.name} {one['id']}: {sorted(unread)}")
    dtype, tag = (torch.float64, "f64") if precision == "float64" else (torch.float32, "f32")
    H = torch.from_numpy(case.arrays()[one["H"]]).to(dtype).requires_grad_()
    mask = mask_of(case.arrays()[one["M"]]).to(dtype)
    s = settings(one["params"])
    result = heatmap_loss(H, mask, s)
    # The published code returns L1 alone, without its weight, where the foreground's is 0.
    unit = s.background_weight if s.foreground_weight == 0 else 1.0
    whole = mask_maps(H, mask, keep_degenerate=True).H.abs().sum(dim=(2, 3, 4))
    ours: dict[str, tuple[Tensor, float]] = {
        "total": (result.total, unit), "per_image": (result.per_image, unit),
        "L1": (result.background, 1.0), "L2": (result.foreground, 1.0),
        "g_total_abs_whole_map": (whole, 1.0),
    }  # fmt: skip
    ledger, tolerance = Ledger(), case.tolerance(f"{precision}_rel")
    for name, (value, factor) in ours.items():
        if f"{name}_{tag}" in one:
            expected = np.asarray(one[f"{name}_{tag}"], dtype=np.float64) * factor
            ledger.equal(name, value, expected, tolerance)
    gradient = one.get("gradient_array")
    if gradient is not None and precision == "float64" and not case.left_out(gradient):
        result.total.backward()  # type: ignore[no-untyped-call]
        assert H.grad is not None
        ledger.equal(gradient, H.grad, case.arrays()[gradient] * unit, tolerance)
    ledger.close()


def _cuts() -> list[tuple[str, tuple[Case, str]]]:
    return [(f"{c.name}-{name}", (c, name)) for c in of_kind("cuts") for name in c.meta["cases"]]


@pytest.mark.parametrize("item", params(_cuts(), "estimates of C1 and C2"))
def test_cuts(item: tuple[Case, str]) -> None:
    case, name = item
    one = case.meta["cases"][name]
    totals = torch.tensor(one["total_abs_relevance"], dtype=torch.float64)
    estimator = RangeEstimator()
    for batch in torch.split(totals[:, :, None], 4):  # Σ|H| of a map with one pixel
        estimator.update({"input": batch})
    C1, C2 = estimator.values()["input"]
    expected, tolerance = one["formula_on_all_classes"], case.tolerance("rel", "float64_rel")
    ledger = Ledger()
    ledger.equal("C1", C1, expected["C1"], tolerance)
    ledger.equal("C2", C2, expected["C2"], tolerance)
    ledger.close()
