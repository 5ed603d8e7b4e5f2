"""LRP-Flex maps and training gradients equal the golden numbers in float64."""

from __future__ import annotations

import re

import pytest
import torch
import torch.nn.functional as F

from golden_nets import build, load_case, needs_golden
from isnet_models.heatmap_loss import HeatmapLossSettings, heatmap_loss
from isnet_models.lrp import relevance

pytestmark = [pytest.mark.shared, needs_golden]
EPSILON = {"e1e-2": 1e-2, "e1e-4": 1e-4, "e1e-1": 1e-1, "e0": 0.0}
CASES = [
    "seqA_conv_bn_relu_maxpool_fc", "seqB_avgpool", "vggC", "resnetD1_basic_standard_pool",
    "resnetD_basic_nonoverlapping_pool", "densenetE1", "resnet18_64px",
]  # fmt: skip


def _error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-12)).item()


def _target(mode: str, key: str, arrays: dict) -> tuple[object, float]:
    delta = float(re.search(r"delta([\d.e-]+)", key)[1]) if "delta" in key else 0.01
    if mode == "multiple":
        return "all", delta
    if mode == "selective":
        return "selective", delta
    if mode == "label_logit":
        return torch.from_numpy(arrays["labels"]), delta
    if mode == "stochastic":
        return torch.from_numpy(arrays["flex/stochastic/selected_indices"]), delta
    return None, delta


@pytest.mark.parametrize("name", CASES)
def test_flex_maps(name: str) -> None:
    case, arrays = load_case(name)
    net = build(name, case, arrays)
    x = torch.from_numpy(arrays["x"])
    compared = 0
    for key in [k for k in arrays if k.startswith("flex/") and "/zb" in k]:
        _, mode, eps = key.split("/")[:3]
        target, delta = _target(mode, key, arrays)
        if target is None:
            continue  # selective contrast of a given label: not offered
        zb = (0.0, 1.0) if "zb1" in key else None
        result = relevance(net, x, target, epsilon=EPSILON[eps], zb=zb, delta=delta)
        assert _error(result.logits, torch.from_numpy(arrays["logits"])) < 1e-12
        assert _error(result.maps, torch.from_numpy(arrays[key])) < 1e-9, key
        compared += 1
    assert compared >= 3


@pytest.mark.parametrize("name", ["grad_seqA", "grad_resnetD1", "grad_resnet18_64px"])
def test_training_gradients(name: str) -> None:
    case, arrays = load_case(name)
    source = case["description"]["source_case"]
    source_case, source_arrays = load_case(source)
    x = torch.from_numpy(source_arrays["x"])
    labels = torch.from_numpy(arrays["labels"])
    mask = torch.from_numpy(arrays["mask"])[:, :1]
    compared = 0
    for mode, h in case["description"]["hyper"].items():
        family, kind, eps, zb = mode.split("/")
        if family != "flex" or kind not in ("multiple", "selective"):
            continue
        net = build(source, source_case, source_arrays)
        delta = h.get("delta", 0.01)
        result = relevance(
            net, x, "all" if kind == "multiple" else "selective", epsilon=float(eps[1:]),
            zb=(0.0, 1.0) if zb == "zb1" else None, create_graph=True, delta=delta,
        )  # fmt: skip
        settings = HeatmapLossSettings(
            w1=h["w1"], w2=h["w2"], d=h["d"], E=h["E"], C1=h["C1"], C2=h["C2"],
            foreground=h.get("right", "l2").lower(),
        )  # fmt: skip
        heat = heatmap_loss(result.maps, mask, settings).total
        total = (1 - h["P"]) * F.cross_entropy(result.logits, labels) + h["P"] * heat
        assert total.item() == pytest.approx(h["total"], rel=1e-9)
        total.backward()
        grads = {k: p.grad for k, p in net.named_parameters() if f"grad/{mode}/{k}" in arrays}
        scale = max(abs(arrays[f"grad/{mode}/{k}"]).max() for k in grads)
        for k, gradient in grads.items():
            theirs = torch.from_numpy(arrays[f"grad/{mode}/{k}"])
            g = gradient[tuple(slice(n) for n in theirs.shape)]  # large arrays are stored in part
            assert ((g - theirs).abs().max() / scale).item() < 1e-8, (mode, k)
        compared += 1
    assert compared >= 1


def test_heatmap_loss_cases() -> None:
    case, arrays = load_case("heatmap_loss")
    tensors = {k: torch.from_numpy(v) for k, v in arrays.items()}
    compared = 0
    for c in case["cases"]:
        p = dict(c["params"])
        ours = {"d", "E", "C1", "C2", "w1", "w2", "right"}
        if set(p) - ours or p.get("right", "L2") not in ("L2", "hybrid", "L1") or p["w2"] == 0:
            continue  # options of the reference that we do not offer
        if c["M"] in ("M_zero", "M_one", "M_half_zero"):
            continue  # images with empty or full masks are left out here
        if isinstance(c["total_f64"], str):
            continue
        settings = HeatmapLossSettings(
            w1=p["w1"], w2=p["w2"], d=p["d"], E=p["E"], C1=p["C1"], C2=p["C2"],
            foreground=p.get("right", "L2").lower(),
        )  # fmt: skip
        H = tensors[c["H"]].clone().requires_grad_()
        result = heatmap_loss(H, tensors[c["M"]][:, :1], settings)
        assert result.total.item() == pytest.approx(c["total_f64"], rel=1e-10), c["id"]
        assert result.background.item() == pytest.approx(c["L1_f64"], rel=1e-10), c["id"]
        assert result.foreground.item() == pytest.approx(c["L2_f64"], rel=1e-10, abs=1e-12)
        key = f"{c['id']}/dTotal_dH"
        if key in tensors:
            result.total.backward()
            assert _error(H.grad, tensors[key]) < 1e-9, c["id"]
        compared += 1
    assert compared >= 40
