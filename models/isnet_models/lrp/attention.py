"""Softmax attention: its weights are constants of the relevance pass, the values carry it.

Source: Ali et al., XAI for Transformers: Better Explanations through Conservative Propagation,
ICML 2022, section 4.1.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from isnet_models.lrp.errors import UnsupportedOperation

if TYPE_CHECKING:
    from isnet_models.lrp.tape import Tape


def attend(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Tensor:
    """Scaled dot-product attention, written out so that its weights can be held constant."""

    def parse(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None, float, bool, float, bool]:
        scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
        return query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa

    query, key, value, mask, dropout, causal, scale, grouped = parse(*args, **kwargs)
    if grouped:
        raise UnsupportedOperation(f"{name} with grouped queries: no relevance rule")
    scores = (query * scale) @ key.transpose(-2, -1)
    if causal:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~seen, -math.inf)
    if mask is not None:
        masked = mask.dtype == torch.bool
        scores = scores.masked_fill(~mask, -math.inf) if masked else scores + mask
    weights = scores.softmax(-1)
    if dropout > 0:
        weights = F.dropout(weights, dropout)
    return tape.local("attention", torch.matmul, (weights, value), {})  # type: ignore[no-any-return]


def multi_head_attention(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """`torch.nn.MultiheadAttention` from the operations that have rules."""
    given = dict(zip(_PARAMETERS, args, strict=False)) | kwargs
    for option in ("bias_k", "bias_v", "static_k", "static_v", "key_padding_mask"):
        if given.get(option) is not None:
            raise UnsupportedOperation(f"{name} with {option}: no relevance rule")
    if given.get("add_zero_attn"):
        raise UnsupportedOperation(f"{name} with add_zero_attn: no relevance rule")
    query, key, value = given["query"], given["key"], given["value"]
    heads = given["num_heads"]
    with tape:
        q, k, v = _projections(given, query, key, value)
        length, batch, width = q.shape

        def split(t: Tensor) -> Tensor:
            return t.reshape(t.shape[0], batch, heads, width // heads).permute(1, 2, 0, 3)

        mask = given.get("attn_mask")
        if mask is not None and mask.dim() == 3:
            mask = mask.reshape(batch, heads, *mask.shape[1:])
        if mask is not None and mask.dtype == torch.bool:
            mask = ~mask  # here True means blocked
        dropout = given.get("dropout_p", 0.0) if given.get("training", True) else 0.0
        out = F.scaled_dot_product_attention(split(q), split(k), split(v), mask, dropout)
        out = out.permute(2, 0, 1, 3).reshape(length, batch, width)
        out = F.linear(out, given["out_proj_weight"], given["out_proj_bias"])
    if given.get("need_weights", True):
        raise UnsupportedOperation(f"{name}: ask it for need_weights=False")
    return out, None


_PARAMETERS = (
    "query", "key", "value", "embed_dim_to_check", "num_heads", "in_proj_weight", "in_proj_bias",
    "bias_k", "bias_v", "add_zero_attn", "dropout_p", "out_proj_weight", "out_proj_bias",
    "training", "key_padding_mask", "need_weights", "attn_mask", "use_separate_proj_weight",
    "q_proj_weight", "k_proj_weight", "v_proj_weight", "static_k", "static_v",
    "average_attn_weights", "is_causal",
)  # fmt: skip


def _projections(
    given: dict[str, Any], query: Tensor, key: Tensor, value: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    bias = given["in_proj_bias"]
    b = (None, None, None) if bias is None else bias.chunk(3)
    if given.get("use_separate_proj_weight"):
        w = (given["q_proj_weight"], given["k_proj_weight"], given["v_proj_weight"])
    else:
        w = given["in_proj_weight"].chunk(3)
    return F.linear(query, w[0], b[0]), F.linear(key, w[1], b[1]), F.linear(value, w[2], b[2])
