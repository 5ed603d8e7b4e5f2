"""Families for transformers: AttnLRP and CP-LRP, which differ in what attention weights carry.

AttnLRP (Achtibat et al., ICML 2024, arXiv 2402.05602): the softmax passes relevance by its own
gradient (Deep Taylor decomposition at x, equation 13: R_i = x_i (R'_i - p_i Σ_j R'_j)), and both
factors of a product of activations get half (uniform rule, equation 15): queries and keys, weights
and values. The rest is LRP-Flex: identity rule of activations, constant deviations of norms.

CP-LRP (Ali et al., ICML 2022, arXiv 2202.07304): attention weights and deviations of norms are
constants of the pass, everything else passes its gradient. (LRP-Flex has these two constants, too,
and the identity rule of activations.)
"""

from __future__ import annotations

from functools import partial

from isnet_lrp.family import Family
from isnet_lrp.ops.activation import ACTIVATIONS, RELU, record_slope
from isnet_lrp.ops.attention import record_attention, record_multi_head_attention
from isnet_lrp.ops.structure import record_own_product
from isnet_lrp.record.table import Handler
from isnet_lrp.targets import TARGETS, start_with_gradient

LIVE: dict[str, Handler] = {
    "softmax": record_own_product,
    "scaled_dot_product_attention": partial(record_attention, live=True),
    "multi_head_attention_forward": partial(record_multi_head_attention, live=True),
}
ATTN_LRP = Family("attnlrp", start_with_gradient, records=LIVE, targets=TARGETS)
CP_LRP = Family(
    "cp-lrp", start_with_gradient, records=dict.fromkeys(ACTIVATIONS | RELU, record_slope),
    targets=TARGETS,
)  # fmt: skip
