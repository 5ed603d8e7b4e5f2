"""Relevance maps of untouched networks, differentiable in the weights, and losses on these maps.

Needs torch alone.
"""

from isnet_lrp.errors import RelevanceError, RelevanceWarning, UnsupportedOperation
from isnet_lrp.families import ZB, AlphaBeta, Epsilon, Gamma, ZPlus
from isnet_lrp.family import Family, register_family
from isnet_lrp.losses.heatmap import HeatmapLossSettings, estimate_range, heatmap_loss
from isnet_lrp.maps import FAMILIES, Relevance, relevance
from isnet_lrp.options import Choice, Compute
from isnet_lrp.register import register_operation
from isnet_lrp.smooth import smooth_relevance
from isnet_lrp.targets import TARGETS

__version__ = "0.2.0.dev0"
__all__ = [
    "FAMILIES",
    "TARGETS",
    "ZB",
    "AlphaBeta",
    "Choice",
    "Compute",
    "Epsilon",
    "Family",
    "Gamma",
    "HeatmapLossSettings",
    "Relevance",
    "RelevanceError",
    "RelevanceWarning",
    "UnsupportedOperation",
    "ZPlus",
    "estimate_range",
    "heatmap_loss",
    "register_family",
    "register_operation",
    "relevance",
    "smooth_relevance",
]
