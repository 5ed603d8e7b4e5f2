"""No map loss makes the host wait for a device: proven on tensors without data, and on CUDA."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from isnet_lrp.losses.deep_supervision import deep_supervision_loss
from isnet_lrp.losses.energy import EnergyLossSettings, energy_loss
from isnet_lrp.losses.heatmap import HeatmapLoss, HeatmapLossSettings, heatmap_loss
from isnet_lrp.losses.relevance_range import RangeEstimator

Loss = Callable[[Tensor, Tensor], HeatmapLoss]
B, K, C, SIDE = 3, 2, 2, 12


def losses() -> Iterator[tuple[str, Loss]]:
    variants = [
        HeatmapLossSettings(norm=norm, foreground=form, channel_decay=channel_d, decay=d)
        for norm, form, channel_d, d in (
            ("absolute", "l2", 1.0, 0.9), ("signed", "hybrid", 0.5, 0.0), ("none", "l1", 0.0, 1.0),
        )
    ]  # fmt: skip
    variants += [
        HeatmapLossSettings(low=(1.0, 2.0), high=(3.0, 4.0)),
        HeatmapLossSettings(background_weight=0.0),
        HeatmapLossSettings(foreground_weight=0.0),
        HeatmapLossSettings(background_weight=0.0, foreground_weight=0.0),
        HeatmapLossSettings(keep_degenerate=True),
    ]
    for i, s in enumerate(variants):
        yield f"heatmap {i}", lambda H, M, s=s: heatmap_loss(H, M, s)
        yield f"deep {i}", lambda H, M, s=s: deep(H, M, s)
    for positive in (False, True):
        e = EnergyLossSettings(positive_only=positive)
        yield f"energy {positive}", lambda H, M, e=e: energy_loss(H, M, e)
        yield f"deep energy {positive}", lambda H, M, e=e: deep(H, M, e)


def deep(H: Tensor, M: Tensor, s: HeatmapLossSettings | EnergyLossSettings) -> HeatmapLoss:
    layers = {"input": H, "deep": H[..., ::3, ::3] * 2, "last": H.sum((-2, -1), keepdim=True)}
    return deep_supervision_loss(layers, M, s, 0.8)


def run(loss: Loss, device: str, size: int) -> HeatmapLoss:
    maps = torch.rand(B, K, C, SIDE, SIDE, device=device, requires_grad=True)
    masks = torch.zeros(B, 1, size, size, device=device)
    masks[:, :, 2:6, 3:7] = 1
    result = loss(maps, masks)
    result.total.backward()
    assert maps.grad is not None
    assert maps.grad.shape == maps.shape
    return result


RESIZED = {"heatmap 0", "deep 1", "energy False"}  # with masks of another size; the rest is slow
CASES = [
    pytest.param(name, loss, size, id=f"{name}-{size}",
                 marks=[] if size == SIDE or name in RESIZED else [pytest.mark.slow])
    for name, loss in losses() for size in (SIDE, 3 * SIDE)
]  # fmt: skip


@pytest.mark.parametrize(("name", "loss", "size"), CASES)
def test_values_decide_nothing_on_the_host(name: str, loss: Loss, size: int) -> None:
    result = run(loss, "meta", size)  # without data: .item(), `if` and boolean indexing raise
    assert result.total.dim() == result.counted.dim() == 0, name
    assert result.per_image.shape == (B,)


@pytest.mark.parametrize(
    "bad",
    [
        lambda H: H.sum().item(),
        lambda H: 1 if H.sum() > 0 else 0,
        lambda H: H[H > 0],
        lambda H: H.nonzero(),
        lambda H: H.cpu(),
        lambda H: float(H.sum()),
    ],
)
def test_tensors_without_data_do_raise_where_the_host_looks(bad: Callable) -> None:
    with pytest.raises((RuntimeError, NotImplementedError)):
        bad(torch.rand(2, 3, device="meta"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_sees_no_synchronisation() -> None:
    for _, loss in losses():
        run(loss, "cuda", SIDE)  # the first run may set kernels up
    estimator = RangeEstimator()
    maps = torch.rand(B, K, C, SIDE, SIDE, device="cuda")
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _, loss in losses():
            run(loss, "cuda", SIDE)
        estimator.update({"input": maps})
    finally:
        torch.cuda.set_sync_debug_mode("default")
