"""Softmax attention: its weights are constants of the pass, or carry relevance (AttnLRP).

Source: Ali et al., XAI for Transformers: Better Explanations through Conservative Propagation,
ICML 2022 (arXiv 2202.07304), section 4.1.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from isnet_lrp.errors import UnsupportedOperation
from isnet_lrp.record.table import Signature, records

if TYPE_CHECKING:
    from isnet_lrp.record.recorder import Recorder


ATTENTION = Signature("query key value", attn_mask=None, dropout_p=0.0, is_causal=False, scale=None,
                      enable_gqa=False)  # fmt: skip


@records({"scaled_dot_product_attention"})
def record_attention(
    recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any, live: bool = False
) -> Any:
    """Scaled dot-product attention, written out.

    Args:
        recorder: The recording; the next arguments are as of every operation.
        name: Its name.
        func: Itself.
        args: Its arguments.
        kwargs: Its named arguments.
        live: Whether its weights carry relevance (to queries and keys), or are constants.
    """
    query, key, value, mask, dropout, causal, scale, grouped = ATTENTION.read(args, kwargs)
    if grouped:  # every key and value serves several queries
        times = query.shape[-3] // key.shape[-3]
        with recorder if live else nullcontext():
            key = key.repeat_interleave(times, -3)
        with recorder:
            value = value.repeat_interleave(times, -3)
    given = mask, causal, scale, dropout
    return _attend(recorder, (query, key, value), given, live)[0]


def _attend(
    recorder: Recorder,
    projected: tuple[Tensor, Tensor, Tensor],
    given: tuple[Tensor | None, bool, float | None, float],
    live: bool,
) -> tuple[Tensor, Tensor]:
    """The weighted values, and the weights [.., queries, keys]."""
    (query, key, value), (mask, causal, scale, dropout) = projected, given
    with recorder if live else nullcontext():
        weights = _weights(query, key, mask, causal=causal, scale=scale)
        if dropout > 0:
            weights = F.dropout(weights, dropout)
        if live:
            return weights @ value, weights
    return recorder.record_local("attention", torch.matmul, (weights, value), {}), weights


def _weights(
    query: Tensor, key: Tensor, mask: Tensor | None, *, causal: bool, scale: float | None
) -> Tensor:
    """softmax(q·kᵀ·scale + mask) [.., queries, keys]; True in a boolean mask lets through."""
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = (query * scale) @ key.transpose(-2, -1)
    if causal:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~seen, -math.inf)
    if mask is not None:
        masked = mask.dtype == torch.bool
        scores = scores.masked_fill(~mask, -math.inf) if masked else scores + mask
    return scores.softmax(-1)


@records({"multi_head_attention_forward"})
def record_multi_head_attention(
    recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any, live: bool = False
) -> Any:
    """`torch.nn.MultiheadAttention` from the operations that have rules; see `record_attention`.

    Raises:
        UnsupportedOperation: Options that only few networks use: learned biases of keys and
            values, given keys and values, an added zero key.
    """
    given = dict(zip(_PARAMETERS, args, strict=False)) | kwargs
    for option in ("bias_k", "bias_v", "static_k", "static_v"):
        if given.get(option) is not None:
            raise UnsupportedOperation(f"{name} with {option}: no relevance rule")
    if given.get("add_zero_attn"):
        raise UnsupportedOperation(f"{name} with add_zero_attn: no relevance rule")
    query, key, value = given["query"], given["key"], given["value"]
    with recorder:
        if query.dim() == 2:  # one sequence [length, width]
            q, k, v = _projections(given, *(t.unsqueeze(1) for t in (query, key, value)))
        else:
            q, k, v = _projections(given, query, key, value)
        length, batch, width = q.shape
        heads = given["num_heads"]

        def split(t: Tensor) -> Tensor:
            return t.reshape(t.shape[0], batch, heads, width // heads).permute(1, 2, 0, 3)

        q, k, v = split(q), split(k), split(v)
    mask = _mask(given, batch, heads)
    dropout = given.get("dropout_p", 0.0) if given.get("training", True) else 0.0
    out, weights = _attend(recorder, (q, k, v), (mask, False, None, dropout), live)
    with recorder:
        out = out.permute(2, 0, 1, 3).reshape(length, batch, width)
        out = F.linear(out, given["out_proj_weight"], given["out_proj_bias"])
        out = out.squeeze(1) if query.dim() == 2 else out
    if not given.get("need_weights", True):
        return out, None
    weights = weights.mean(1) if given.get("average_attn_weights", True) else weights
    return out, recorder.record_constant(weights.squeeze(0) if query.dim() == 2 else weights)


_PARAMETERS = (
    "query", "key", "value", "embed_dim_to_check", "num_heads", "in_proj_weight", "in_proj_bias",
    "bias_k", "bias_v", "add_zero_attn", "dropout_p", "out_proj_weight", "out_proj_bias",
    "training", "key_padding_mask", "need_weights", "attn_mask", "use_separate_proj_weight",
    "q_proj_weight", "k_proj_weight", "v_proj_weight", "static_k", "static_v",
    "average_attn_weights", "is_causal",
)  # fmt: skip


def _mask(given: dict[str, Any], batch: int, heads: int) -> Tensor | None:
    """What is added to the scores [B or 1, heads or 1, queries or 1, keys], or None."""
    found: Tensor | None = None
    mask, padding = given.get("attn_mask"), given.get("key_padding_mask")
    if mask is not None:
        mask = mask.reshape(batch, heads, *mask.shape[1:]) if mask.dim() == 3 else mask[None, None]
        found = _added(mask, given["query"])
    if padding is not None:
        padding = _added(padding.reshape(batch, 1, 1, -1), given["query"])
        found = padding if found is None else found + padding
    return found


def _added(mask: Tensor, like: Tensor) -> Tensor:
    """A mask as a term of the scores; here True means blocked."""
    if mask.dtype != torch.bool:
        return mask
    return like.new_zeros(mask.shape).masked_fill(mask, -math.inf)


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
