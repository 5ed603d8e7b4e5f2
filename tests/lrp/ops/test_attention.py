"""Attention: weights are constants, values carry relevance, in every spelling."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.lrp.oracles.rule_check import error


def _tokens(z: Tensor) -> Tensor:
    return z.flatten(2).transpose(1, 2)


def _back(t: Tensor) -> Tensor:
    return t.transpose(1, 2).reshape(-1, 6, 8, 8)


@pytest.mark.parametrize("causal", [False, True])
def test_fused_attention(causal: bool) -> None:
    def fused(z: Tensor) -> Tensor:
        t = _tokens(z)
        return _back(F.scaled_dot_product_attention(t, 2 * t, t, is_causal=causal))

    def twin(z: Tensor) -> Tensor:
        t = _tokens(z)
        scores = t @ (2 * t).transpose(1, 2) / 6**0.5
        if causal:
            scores = scores.masked_fill(torch.ones(64, 64).triu(1).bool(), -torch.inf)
        return _back(scores.softmax(-1).detach() @ t)

    assert error(fused, twin, 0.01) < 1e-10


def test_multi_head_attention() -> None:
    torch.manual_seed(0)
    mha = nn.MultiheadAttention(6, 2, batch_first=True).double()

    def twin(z: Tensor) -> Tensor:
        t = _tokens(z)
        q, k, v = F.linear(t, mha.in_proj_weight, mha.in_proj_bias).chunk(3, -1)
        heads = [s.reshape(len(s), 64, 2, 3).transpose(1, 2) for s in (q, k, v)]
        weights = (heads[0] @ heads[1].transpose(2, 3) / 3**0.5).softmax(-1).detach()
        return _back(mha.out_proj((weights @ heads[2]).transpose(1, 2).reshape(len(z), 64, 6)))

    def whole(z: Tensor) -> Tensor:
        t = _tokens(z)
        return _back(mha(t, t, t, need_weights=False)[0])

    assert error(whole, twin, 0.01) < 1e-10
