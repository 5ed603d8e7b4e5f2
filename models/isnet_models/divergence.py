"""How far two sets of logits are apart, as answers: divergences of their probabilities."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def measure_divergence(p: Tensor, q: Tensor, *, several: bool) -> Tensor:
    """Kullback-Leibler divergence KL(p || q) of each image, [B], in nats.

    Args:
        p: Logits [B, K].
        q: Logits [B, K].
        several: Several labels: the mean over labels of the divergence of their sigmoids; else
            that of the softmax.
    """
    if several:
        on = p.sigmoid() * (logsigmoid(p) - logsigmoid(q))
        off = (-p).sigmoid() * (logsigmoid(-p) - logsigmoid(-q))
        return (on + off).mean(1)
    left, right = p.log_softmax(1), q.log_softmax(1)
    return (left.exp() * (left - right)).sum(1)


def measure_disagreement(p: Tensor, q: Tensor, *, several: bool) -> Tensor:
    """Symmetric divergence (KL(p || q) + KL(q || p)) / 2 of each image, [B], in nats."""
    return (
        measure_divergence(p, q, several=several) + measure_divergence(q, p, several=several)
    ) / 2


def average_where(values: Tensor, counted: Tensor) -> Tensor:
    """Mean of `values` [B] where `counted` (bool [B]); 0 where none is, with a gradient of 0."""
    kept = torch.where(counted, values, torch.zeros_like(values))
    return kept.sum() / counted.sum().clamp(min=1)
