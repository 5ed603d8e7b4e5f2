"""Kinds of operations, a file each: names, recording, gradient rule, rules for other families."""

from isnet_lrp.ops import (
    activation,
    attention,
    norm,
    pooling,
    product,
    recurrent,
    structure,
    weighted,
)
from isnet_lrp.record.table import HANDLERS

__all__ = [
    "HANDLERS",
    "activation",
    "attention",
    "norm",
    "pooling",
    "product",
    "recurrent",
    "structure",
    "weighted",
]
