"""LRP deep supervision: map losses at several depths of a network, the worst ones first.

docs/lrp.md, section 3.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from isnet_lrp.losses.energy import EnergyLossSettings, energy_loss
from isnet_lrp.losses.gwrp import gwrp
from isnet_lrp.losses.heatmap import HeatmapLoss, HeatmapLossSettings, heatmap_loss

MapLossSettings = HeatmapLossSettings | EnergyLossSettings


@dataclass(frozen=True)
class DeepSupervisionLoss(HeatmapLoss):
    """A map loss that was combined from several layers' losses.

    `total` is the GWRP of the layers' totals; `background`, `foreground` and `per_image` are
    weighted alike.

    Attributes:
        layers: Result of every layer, in the order given.
    """

    layers: dict[str, HeatmapLoss] = field(default_factory=dict)

    @property
    def per_layer(self) -> dict[str, Tensor]:
        """Loss of every layer, mean over the images that count (0-d tensors)."""
        return {name: result.total for name, result in self.layers.items()}


def map_loss(
    maps: Tensor, masks: Tensor, settings: MapLossSettings, *, check_masks: bool | None = None
) -> HeatmapLoss:
    """The loss that `settings` belong to: `heatmap_loss` or `energy_loss`."""
    if isinstance(settings, EnergyLossSettings):
        return energy_loss(maps, masks, settings, check_masks=check_masks)
    return heatmap_loss(maps, masks, settings, check_masks=check_masks)


def deep_supervision_loss(
    layers: Mapping[str, Tensor],
    masks: Tensor,
    settings: MapLossSettings | Mapping[str, MapLossSettings],
    layer_decay: float,
    *,
    check_masks: bool | None = None,
) -> DeepSupervisionLoss:
    """Combines the losses of the maps of several layers by GWRP over the layers.

    Each layer's loss is a mean over the batch, with the masks at that layer's size (any lung in a
    cell makes it lung); then Σ layer_decayⁱ L₍ᵢ₎ / Σ layer_decayⁱ, largest loss first. An image
    counts at every layer or at none, by its mask as given. The host never waits for a GPU.

    Args:
        layers: Map name to signed relevance [B, K', C_l, h_l, w_l]; the image's own map is one of
            them where it is to be supervised.
        masks: As in `heatmap_loss`, one set for all layers.
        settings: Constants, for all layers or by map name.
        layer_decay: 0 (the worst layer alone) to 1 (mean).
        check_masks: As in `heatmap_loss`; values are looked at once.

    Raises:
        ValueError: No layers, settings missing for one, a decay outside [0, 1], wrong shapes.
        MaskValueError: Checked masks hold values other than 0 and 1.
    """
    if not layers:
        raise ValueError("no layers: give at least one map, for instance {'input': result.maps}")
    if not 0 <= layer_decay <= 1:
        raise ValueError(f"layer_decay = {layer_decay:g}: must lie between 0 (worst) and 1 (mean)")
    results: dict[str, HeatmapLoss] = {}
    for name, maps in layers.items():
        try:
            result = map_loss(maps, masks, _of_layer(settings, name), check_masks=check_masks)
        except ValueError as error:
            raise type(error)(f"layer {name}: {error}") from None
        results[name] = result
        check_masks = False
    return _combined(results, layer_decay)


def _of_layer(
    settings: MapLossSettings | Mapping[str, MapLossSettings], name: str
) -> MapLossSettings:
    if not isinstance(settings, Mapping):
        return settings
    if name not in settings:
        raise ValueError(f"no settings; there are some for {', '.join(settings) or 'no layer'}")
    return settings[name]


def _combined(results: dict[str, HeatmapLoss], decay: float) -> DeepSupervisionLoss:
    every = list(results.values())
    totals = torch.stack([result.total for result in every])
    rank = totals.detach().argsort(descending=True).argsort().to(totals.dtype)
    weights = torch.pow(decay, rank)
    weights = weights / weights.sum()

    def mean(values: Tensor) -> Tensor:
        w = weights.view(-1, *[1] * (values.dim() - 1))
        return torch.where(w > 0, w * values, 0.0).sum(0)

    return DeepSupervisionLoss(
        gwrp(totals, decay),
        mean(torch.stack([result.background for result in every])),
        mean(torch.stack([result.foreground for result in every])),
        mean(torch.stack([result.per_image for result in every])),
        torch.stack([result.counted for result in every]).amax(),
        results,
    )
