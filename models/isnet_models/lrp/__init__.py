"""Layer-wise relevance propagation of untouched networks, differentiable in the weights."""

from isnet_models.lrp.errors import RelevanceError, RelevanceWarning, UnsupportedOperation
from isnet_models.lrp.relevance import FAMILIES, Relevance, relevance
from isnet_models.lrp.targets import TARGETS

__all__ = ["FAMILIES", "TARGETS", "Relevance", "RelevanceError", "RelevanceWarning",
           "UnsupportedOperation", "relevance"]  # fmt: skip
