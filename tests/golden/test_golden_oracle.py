"""The engine against slow transcriptions, on odd networks; and these against the golden numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isnet_lrp import Choice, relevance
from isnet_lrp.losses.heatmap import HeatmapLossSettings, heatmap_loss
from tests.golden.tools.asking import is_choice, places, read
from tests.golden.tools.compare import error
from tests.golden.tools.folder import Case, of_kind, params, source
from tests.golden.tools.made import Network, asked, frame, network, train_mode
from tests.golden.tools.made_nets import MADE, Made
from tests.golden.tools.networks import build
from tests.golden.tools.slow_block import Rule, block_maps
from tests.golden.tools.slow_flex import flex_maps

TARGETS: dict[str, tuple[str, Any]] = {  # golden mode -> target of ours, "labels" for given ones
    "multiple": ("block", "all"), "highest": ("block", "predicted"),
    "label_logit": ("block", "labels"), "selective": ("block", "selective"),
    "label_selective": ("block", "contrast"), "sum": ("block", "every-logit-at-once"),
    "dual": ("dual", "every-logit-at-once"), "flex multiple": ("flex", "all"),
    "flex selective": ("flex", "selective"), "flex label_logit": ("flex", "labels"),
    "flex label_selective": ("flex", "contrast"),
}  # fmt: skip


def _ours(n: Network, mode: str, epsilon: float, zb: bool, **more: Any) -> Any:
    family, target = TARGETS[mode]
    if target == "contrast":
        target, more = "selective", {**more, "choice": Choice(n.labels)}
    chosen = n.labels if target == "labels" else target
    bounds = (0.0, 1.0) if zb else None
    return relevance(n.net, n.x, chosen, family=family, epsilon=epsilon, zb=bounds, **more)  # type: ignore[arg-type]


def _slow(n: Network, mode: str, epsilon: float, zb: bool) -> tuple[Tensor, Tensor]:
    family = "flex" if mode.startswith("flex") else "block"
    maps = asked(family, mode.removeprefix("flex "))
    return maps(n, Rule(epsilon, zb=zb))[:2]


@pytest.mark.parametrize("zb", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize("mode", TARGETS)
@pytest.mark.parametrize("name", MADE)
def test_maps_equal_the_transcription(name: str, mode: str, zb: bool) -> None:
    for seed, epsilon in ((1, 1e-2), (2, 1e-4)):
        n = network(MADE[name], seed)
        expected = _slow(n, mode, epsilon, zb)[0]
        assert error(_ours(n, mode, epsilon, zb).maps, expected) < 1e-9


@pytest.mark.parametrize(
    ("name", "mode", "training"),
    [
        (name, mode, training)
        for name in MADE
        for mode in ("multiple", "selective", "dual", "flex multiple")
        for training in (False, True)
        # Batch statistics of dense blocks and of z+ have no published treatment to compare with.
        if not training or (mode != "dual" and name != "long_densenet")
    ],
)
def test_weight_gradients_equal_the_transcription(name: str, mode: str, training: bool) -> None:
    n = network(MADE[name], 4)
    if training:
        n = train_mode(n)
    more = {"batch_norm": "full"} if training else {}
    result = _ours(n, mode, 1e-2, True, create_graph=True, **more)
    maps, logits = _slow(n, mode, 1e-2, True)
    assert error(result.maps, maps) < 1e-9
    mask = frame(n)
    C1 = float((maps.detach().abs() * mask[:, None]).sum((2, 3, 4)).mean())
    settings = HeatmapLossSettings(
        foreground_weight=3.0, low=1.2 * C1, high=1.6 * C1, foreground="l2"
    )
    weights = list(n.net.parameters())

    def gradients(H: Tensor, y: Tensor) -> list[Tensor]:
        total = 0.3 * F.cross_entropy(y, n.labels) + 0.7 * heatmap_loss(H, mask, settings).total
        found = torch.autograd.grad(total, weights, allow_unused=True)
        return [
            torch.zeros_like(w) if g is None else g for w, g in zip(weights, found, strict=True)
        ]

    ours, theirs = gradients(result.maps, result.logits), gradients(maps, logits)
    scale = max(float(g.abs().max()) for g in theirs)
    assert scale > 0
    assert max(error(a, b, scale) for a, b in zip(ours, theirs, strict=True)) < 1e-8


@pytest.mark.parametrize("mode", ["flex multiple", "flex selective"])
@pytest.mark.parametrize("behind", [nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2)])
def test_the_first_layer_ends_at_its_relu(mode: str, behind: nn.Module) -> None:
    """The zB rule takes Conv [-> BatchNorm] -> ReLU; what follows has its own rule."""
    for norm in (nn.Identity(), nn.BatchNorm2d(4)):
        net = nn.Sequential(
            nn.Conv2d(3, 4, 3), norm, nn.ReLU(), behind, nn.Conv2d(4, 5, 3), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(20, 3),
        )  # fmt: skip
        made = Made(net.float, {}, (2, 3, 15, 13))
        n = network(made, 6)
        expected = _slow(n, mode, 1e-2, True)[0]
        assert error(_ours(n, mode, 1e-2, True).maps, expected) < 1e-9


def _checked() -> list[tuple[str, tuple[Case, str]]]:
    """Maps of small networks; a large one would take long here."""
    return [
        (f"{case.name}-{key}", (case, key))
        for case in of_kind("maps")
        for key in case.required("block", "flex")
        if not is_choice(key) and sum(v.size for v in source(case).arrays().values()) < 10**6
    ]


@pytest.mark.shared
@pytest.mark.parametrize("item", params(_checked(), "relevance maps of small networks"))
def test_the_transcription_equals_golden_maps(item: tuple[Case, str]) -> None:
    case, key = item
    arrays = {**source(case).arrays(), **case.arrays()}
    request, expected = read(key, case.facts(key)), case.arrays()[key]
    net, x = build(case), torch.from_numpy(arrays["x"])
    labels = torch.from_numpy(arrays["labels"])
    rule = Rule(request.epsilon, zb=request.zb)
    if request.mode == "dual":
        plus = block_maps(net, x, Rule(request.epsilon, True, request.zb), "sum")[0]
        found = torch.cat([plus, block_maps(net, x, rule, "sum")[0]], 1)
        assert error(found, expected) < 1e-11
        return
    given = {"label_logit": labels, "label_selective": labels}.get(request.mode)
    if request.mode == "stochastic":
        given = torch.from_numpy(arrays[f"{request.family}/stochastic/selected_indices"])
    plain = {"label_logit": "label", "stochastic": "label", "label_selective": "selective"}
    mode = plain.get(request.mode, request.mode)
    deep = request.place != "input"
    layers = tuple(places(net, request.place, x, expected.shape)[:1]) if deep else ()
    if request.family == "block":
        maps, _, hidden = block_maps(net, x, rule, mode, given)
    else:
        maps, _, hidden = flex_maps(net, x, rule, mode, given, request.delta, layers)
    assert error(hidden[layers[0]] if deep else maps, expected) < 1e-11
