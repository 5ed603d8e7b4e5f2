"""Relevance maps of untouched networks, differentiable in the weights, and losses on these maps.

Needs torch alone.
"""

from isnet_lrp.errors import RelevanceError, RelevanceWarning, UnsupportedOperation
from isnet_lrp.losses.heatmap import HeatmapLossSettings, estimate_range, heatmap_loss
from isnet_lrp.maps import FAMILIES, Relevance, relevance
from isnet_lrp.targets import TARGETS

__version__ = "0.2.0.dev0"
__all__ = [
    "FAMILIES",
    "TARGETS",
    "HeatmapLossSettings",
    "Relevance",
    "RelevanceError",
    "RelevanceWarning",
    "UnsupportedOperation",
    "estimate_range",
    "heatmap_loss",
    "relevance",
]
