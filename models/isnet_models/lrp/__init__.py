"""Layer-wise relevance propagation of untouched networks, differentiable in the weights."""

from isnet_models.lrp.relevance import Relevance, relevance
from isnet_models.lrp.tape import UnsupportedOperation

__all__ = ["Relevance", "UnsupportedOperation", "relevance"]
