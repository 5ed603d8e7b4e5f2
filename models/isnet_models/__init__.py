"""Networks, differentiable LRP relevance, heat-map losses and training methods of the ISNet.

The names below are loaded on first use, so that `isnet_models.registry` needs no torch. The loss
itself is `isnet_models.heatmap_loss.heatmap_loss`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isnet_models.backbones import build_backbone
    from isnet_models.heatmap_loss import HeatmapLossSettings, cut_values
    from isnet_models.lrp.errors import RelevanceError, UnsupportedOperation
    from isnet_models.lrp.relevance import Relevance, relevance

_HOMES = {
    "build_backbone": "backbones",
    "HeatmapLossSettings": "heatmap_loss",
    "cut_values": "heatmap_loss",
    "Relevance": "lrp.relevance",
    "relevance": "lrp.relevance",
    "RelevanceError": "lrp.errors",
    "UnsupportedOperation": "lrp.errors",
}

__all__ = [
    "HeatmapLossSettings",
    "Relevance",
    "RelevanceError",
    "UnsupportedOperation",
    "build_backbone",
    "cut_values",
    "relevance",
]


def __getattr__(name: str) -> Any:
    """A public name, imported with its module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
