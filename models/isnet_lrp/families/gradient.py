"""Gradient x input: every operation passes its own gradient, whatever it is.

    R = x ⊙ ∂q/∂x    (Shrikumar et al. 2016, arXiv 1605.01713)

Nothing is held constant but the statistics of a BatchNorm in training mode, so that no gradient of
one image lands on another, and what the network detaches. Operations without a rule have a
gradient, too: this family refuses none that the recorder can see.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from isnet_lrp.families.attention import LIVE
from isnet_lrp.family import Family
from isnet_lrp.ops.activation import ACTIVATIONS, OFFSET, RELU, record_slope
from isnet_lrp.ops.pooling import MAX_POOLS
from isnet_lrp.ops.structure import (
    ADDITIONS,
    CONCATENATIONS,
    DROPOUTS,
    RESHAPES,
    record_own_product,
)
from isnet_lrp.record.table import Handler
from isnet_lrp.targets import TARGETS, start_with_gradient

# Their rule is their gradient already.
EXACT = MAX_POOLS | ADDITIONS | CONCATENATIONS | DROPOUTS | RESHAPES | {
    "conv2d", "linear", "batch_norm", "adaptive_avg_pool2d", "detach",
}  # fmt: skip
SLOPES = ACTIVATIONS | OFFSET | RELU


class _Gradients(Mapping[str, Handler]):
    """How every operation is recorded: of names there is no end."""

    def __getitem__(self, name: str) -> Handler:
        if name in EXACT:
            raise KeyError(name)
        if name in LIVE:  # torch's own has no second derivative
            return LIVE[name]
        return record_slope if name in SLOPES else record_own_product

    def __iter__(self) -> Iterator[str]:
        return iter(SLOPES)

    def __len__(self) -> int:
        return len(SLOPES)


GRADIENT = Family("gradient", start_with_gradient, records=_Gradients(), targets=TARGETS)
