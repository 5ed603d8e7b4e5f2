"""Map losses equal the golden numbers: every heat-map case, range estimation, deep supervision."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from isnet_lrp.losses.deep_supervision import deep_supervision_loss
from isnet_lrp.losses.gwrp import gwrp
from isnet_lrp.losses.heatmap import HeatmapLossSettings, heatmap_loss
from isnet_lrp.losses.relevance_range import RangeEstimator, estimate_range
from tests.support.paths import ROOT

DEFAULT = ROOT.parent / "shared" / "golden"
GOLDEN = Path(os.environ.get("ISNET_GOLDEN") or DEFAULT)
pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not (GOLDEN / "heatmap_loss.json").is_file(), reason="no golden numbers"),
]
NAMES = {"absRoIMean": "absolute", "RoIMean": "signed", "none": "none"}
PRECISION = {"f64": (torch.float64, 1e-10), "f32": (torch.float32, 1e-5)}


def load(name: str) -> tuple[dict, dict[str, torch.Tensor]]:
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        tensors = {key: torch.from_numpy(value) for key, value in arrays.items()}
    return json.loads((GOLDEN / f"{name}.json").read_text()), tensors


def constants(p: dict) -> HeatmapLossSettings:
    """Settings of a case; a list of C1 and C2 belongs to both families of maps, or is its first."""
    dual = p.get("rule", "e") == "z+e"
    C1, C2 = (
        (tuple(c) if dual else c[0]) if isinstance(c, list) else c for c in (p["C1"], p["C2"])
    )
    return HeatmapLossSettings(
        background_weight=p["w1"], foreground_weight=p["w2"], decay=p["d"], saturation=p["E"],
        low=C1, high=C2,
        foreground=p.get("right", "L2").lower(), norm=NAMES[p.get("norm", "absRoIMean")],
        channel_decay=p.get("chan_d", 1.0), keep_degenerate=True,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["f64", "f32"])
def test_every_case_of_the_heat_map_loss(kind: str) -> None:
    case, tensors = load("heatmap_loss")
    dtype, tolerance = PRECISION[kind]
    gradients = 0
    for c in case["cases"]:
        s = constants(c["params"])
        H = tensors[c["H"]].to(dtype, copy=True).requires_grad_()
        result = heatmap_loss(H, tensors[c["M"]], s)
        found = {"L1": result.background, "L2": result.foreground}
        if s.foreground_weight > 0:  # with w2 = 0 these totals ignore w1
            found["total"] = result.total
            per_image = [float(v) for v in c[f"per_image_{kind}"]]
            assert result.per_image.tolist() == pytest.approx(per_image, rel=tolerance), c["id"]
        for name, value in found.items():
            expected = float(c[f"{name}_{kind}"])
            assert value.item() == pytest.approx(expected, rel=tolerance, abs=1e-12), c["id"]
        sums = H.detach().nan_to_num(0.0, 0.0, 0.0).abs().sum((2, 3, 4)).flatten().tolist()
        if torch.isfinite(H).all():
            whole = np.ravel(c[f"g_total_abs_whole_map_{kind}"]).tolist()
            assert sums == pytest.approx([float(v) for v in whole], rel=1e-5), c["id"]
        if (key := f"{c['id']}/dTotal_dH") in tensors:
            result.total.backward()
            error = (H.grad - tensors[key]).abs().max() / tensors[key].abs().max().clamp(min=1e-12)
            assert error.item() < tolerance, c["id"]
            gradients += 1
    assert gradients >= 1


def test_cut_estimation() -> None:
    cases = json.loads((GOLDEN / "cut_estimation.json").read_text())["cases"]
    for name, case in cases.items():
        totals = torch.tensor(case["total_abs_relevance"], dtype=torch.float64)
        expected = [case["formula_on_all_classes"][key] for key in ("C1", "C2")]
        assert estimate_range(totals.mean(1)) == pytest.approx(expected, rel=1e-6), name
        estimator = RangeEstimator()
        for batch in totals[..., None, None, None].split(4):
            estimator.update({"input": batch.neg()})
        assert estimator.values()["input"] == pytest.approx(expected, rel=1e-6), name


def deep_supervision_cases() -> list[str]:
    return sorted(path.stem for path in GOLDEN.glob("lds_*.json"))


@pytest.mark.parametrize("name", deep_supervision_cases())
def test_deep_supervision(name: str) -> None:
    case, tensors = load(name)
    compared = 0
    for mode, h in case["description"]["hyper"].items():
        start = f"map/{mode}/"
        layers = {k[len(start) :]: v for k, v in tensors.items() if k.startswith(start)}
        losses = torch.tensor(list(h["per_layer_loss"].values()), dtype=torch.float64)
        assert gwrp(losses, h["dLoss"]).item() == pytest.approx(h["heat_loss"], rel=1e-12)
        settings = {key: constants({**h, "C1": h["C1"][key], "C2": h["C2"][key]}) for key in layers}
        for masks in (tensors["mask"], tensors["mask"][:, :1]):
            result = deep_supervision_loss(layers, masks, settings, h["dLoss"])
            for key, value in result.per_layer.items():
                assert value.item() == pytest.approx(h["per_layer_loss"][key], rel=1e-10), key
            assert result.total.item() == pytest.approx(h["heat_loss"], rel=1e-10)
        compared += len(layers)
    assert compared >= 2
