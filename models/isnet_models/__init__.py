"""Networks, differentiable LRP relevance, heat-map losses and training methods of the ISNet."""

from isnet_models.backbones import build_backbone
from isnet_models.heatmap_loss import HeatmapLossSettings, cut_values, heatmap_loss
from isnet_models.lrp import Relevance, UnsupportedOperation, relevance

__all__ = [
    "HeatmapLossSettings",
    "Relevance",
    "UnsupportedOperation",
    "build_backbone",
    "cut_values",
    "heatmap_loss",
    "relevance",
]
