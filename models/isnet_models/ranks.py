"""Processes that share each batch of a training and learn what one process would learn.

Each process runs the network on its share of a batch. What is computed of several images together
is computed of all of them: BatchNorm's statistics (`SharedBatch`), and the loss, of outputs that
were gathered (`join_shares`). The sum over the processes of the gradients is then that of
the whole batch, whatever the loss divides by. `DistributedDataParallel` takes the mean of losses
instead, which is another loss where processes have unequal numbers of images or masks, and
``SyncBatchNorm`` needs CUDA and cannot be differentiated twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import (
    TorchFunctionMode,
    handle_torch_function,
    has_torch_function_unary,
)

from isnet_lrp.ops.norm import count_values

DROPOUTS = (
    F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout,
    torch.dropout, torch.feature_dropout, torch.alpha_dropout, torch.feature_alpha_dropout,
)  # fmt: skip
BUCKET = 2**26  # numbers whose gradients travel together, at most


@dataclass(frozen=True)
class Ranks:
    """The processes, and which of them this is.

    Images of a batch are dealt out in turn: process r has the images r, r + count, r + 2·count ...

    Attributes:
        rank: This process, from 0.
        count: How many there are, >= 1.
        group: Of torch.distributed; None: all processes.
    """

    rank: int
    count: int
    group: Any = None

    def share(self, images: int) -> slice:
        """Which of so many images this process has."""
        return slice(self.rank, images, self.count)

    def share_size(self, images: int) -> int:
        """How many those are."""
        return len(range(self.rank, images, self.count))


def join_shares(values: Tensor, images: int | None = None) -> Tensor:
    """Values of all images of a shared batch, in its order; outside `SharedBatch`: `values`.

    The gradient of each process's loss reaches its own share alone, so that a loss which every
    process computes of all images counts once.

    Args:
        values: One row for each of this process's images.
        images: How many of the batch's images, from its first, have values; None: all.
    """
    if has_torch_function_unary(values):
        found: Tensor = handle_torch_function(join_shares, (values,), values, images)
        return found
    return values


def take_share(values: Tensor, dim: int = 0) -> Tensor:
    """This process's part of what was drawn for all images; outside `SharedBatch`: all of it.

    Args:
        values: One value for each image of the batch along `dim`.
        dim: Axis of the images.
    """
    if has_torch_function_unary(values):
        found: Tensor = handle_torch_function(take_share, (values,), values, dim)
        return found
    return values


def count_images(images: Tensor) -> int:
    """Images of the batch that `images` [B, ...] are this process's share of; else B."""
    if has_torch_function_unary(images):
        found: int = handle_torch_function(count_images, (images,), images)
        return found
    return len(images)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, images: int, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        if values.dtype == torch.bool:
            return _Gather.forward(ctx, values.byte(), images, ranks).bool()
        most = -(-images // ranks.count)
        padded = values.new_zeros(most, *values.shape[1:])
        padded[: len(values)] = values
        parts = [torch.empty_like(padded) for _ in range(ranks.count)]
        dist.all_gather(parts, padded, group=ranks.group)
        return torch.stack(parts, 1).flatten(0, 1)[:images]

    @staticmethod
    def backward(ctx: Any, *signals: Tensor) -> tuple[Tensor, None, None]:
        return signals[0][ctx.ranks.rank :: ctx.ranks.count], None, None


class _Rows(torch.autograd.Function):
    """One row of each process [count, n]; its derivative is `_OwnRow`, and so on."""

    @staticmethod
    def forward(ctx: Any, row: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        parts = [torch.empty_like(row) for _ in range(ranks.count)]
        dist.all_gather(parts, row.contiguous(), group=ranks.group)
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, *signals: Tensor) -> tuple[Tensor, None]:
        return _OwnRow.apply(signals[0], ctx.ranks), None


class _OwnRow(torch.autograd.Function):
    """This process's row of the sum of every process's rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        total = rows.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=ranks.group)
        return total[ranks.rank]

    @staticmethod
    def backward(ctx: Any, *signals: Tensor) -> tuple[Tensor, None]:
        return _Rows.apply(signals[0], ctx.ranks), None


def sum_gradients(parameters: Iterable[Tensor], ranks: Ranks) -> None:
    """Replaces the gradients of `parameters` by their sum over the processes.

    Every process has to have gradients of the same parameters.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    bucket: list[Tensor] = []
    for gradient in gradients:
        if bucket and (
            bucket[0].dtype != gradient.dtype
            or sum(g.numel() for g in bucket) + gradient.numel() > BUCKET
        ):
            _sum_bucket(bucket, ranks)
            bucket = []
        bucket.append(gradient)
    if bucket:
        _sum_bucket(bucket, ranks)


def _sum_bucket(bucket: Sequence[Tensor], ranks: Ranks) -> None:
    flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
    dist.all_reduce(flat, group=ranks.group)
    parts = torch.split(flat, [gradient.numel() for gradient in bucket])
    for gradient, part in zip(bucket, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


class SharedBatch(TorchFunctionMode):
    """Inside, this process works on its share of a batch.

    `join_shares`, `take_share` and `count_images` know the others' shares, BatchNorm in training
    mode has the statistics of all images, and dropout and stochastic depth drop what they would
    drop in one process, where torch's generators of all processes are in the same state. It sees
    these operations in every spelling, also below `isnet_lrp.relevance`; the result can be
    differentiated any number of times. A process without images takes part.

    Args:
        ranks: The processes; every one has to run the same layers in the same order.
        images: Of the whole batch.
    """

    def __init__(self, ranks: Ranks, images: int) -> None:
        super().__init__()
        self.ranks, self.images = ranks, images
        self._counted: Tensor | None = None  # values per channel of the last statistics
        self._replaced: dict[Any, Callable[..., Any]] = {
            F.batch_norm: self._functional,
            torch.batch_norm: self._low,
            torch.native_batch_norm: self._native,
            **{func: partial(self._drop, func) for func in DROPOUTS},
            Tensor.bernoulli_: self._draw,
            count_values: lambda x: self._counted,
            join_shares: self._join,
            take_share: self._take,
            count_images: lambda images: self.images,
        }

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Runs one operation."""
        own = self._replaced.get(func)
        return (func if own is None else own)(*args, **(kwargs or {}))

    def _join(self, values: Tensor, images: int | None = None) -> Tensor:
        count = self.images if images is None else images
        found: Tensor = _Gather.apply(values, count, self.ranks)
        return found

    def _take(self, values: Tensor, dim: int = 0) -> Tensor:
        at = torch.arange(self.ranks.rank, values.shape[dim], self.ranks.count)
        return values.index_select(dim, at.to(values.device, non_blocking=True))

    def _drop(self, func: Any, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:  # noqa: A002
        """A kind of dropout, with the chance that the images have in the whole batch."""
        kwargs.pop("inplace", None)
        active = args[1] if len(args) > 1 else kwargs.get("training", kwargs.get("train", True))
        if not active or not self._is_share(input):
            found: Tensor = func(input, *args[:2], **kwargs)
            return found
        whole = input.new_zeros(self.images, *input.shape[1:])
        whole[self.ranks.share(self.images)] = input
        dropped: Tensor = func(whole, *args[:2], **kwargs)[self.ranks.share(self.images)]
        return dropped

    def _draw(self, values: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Chance of whole images, which stochastic depth draws so."""
        if not self._is_share(values):
            return values.bernoulli_(*args, **kwargs)
        whole = values.new_empty(self.images, *values.shape[1:]).bernoulli_(*args, **kwargs)
        return values.copy_(whole[self.ranks.share(self.images)])

    def _is_share(self, values: Tensor) -> bool:
        return values.dim() > 0 and len(values) == self.ranks.share_size(self.images)

    def _functional(
        self,
        input: Tensor,  # noqa: A002 - torch's name
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if not training:
            return F.batch_norm(input, running_mean, running_var, weight, bias, False, 0.0, eps)
        return self._native(
            input, weight, bias, running_mean, running_var, True, momentum, eps
        )[0]  # fmt: skip

    def _low(self, *args: Any) -> Tensor:
        return self._native(*args[:8])[0] if args[5] else torch.batch_norm(*args)

    def _native(
        self,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        training: bool,
        momentum: float,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        if not training:
            found: tuple[Tensor, Tensor, Tensor] = torch.native_batch_norm(
                x, weight, bias, running_mean, running_var, False, momentum, eps
            )
            return found
        wide = x if x.dtype == torch.float64 else x.float()
        mean, variance, n = self._statistics(wide)
        with torch.no_grad():
            if running_mean is not None and running_var is not None:
                unbiased = variance * (n / (n - 1).clamp(min=1))
                running_mean.lerp_(mean.to(running_mean.dtype), momentum)
                running_var.lerp_(unbiased.to(running_var.dtype), momentum)
        invstd = (variance + eps).rsqrt()
        scale = invstd if weight is None else invstd * weight
        shift = -mean * scale if bias is None else bias - mean * scale
        shape = (1, -1, *[1] * (x.dim() - 2))
        y = torch.addcmul(shift.view(shape), wide, scale.view(shape))
        return y.to(x.dtype), mean, invstd

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and biased variance of each channel [C] over all processes, and their count.

        Source: Chan, Golub and LeVeque, The American Statistician 37:242 (1983), eq. 2.1.
        """
        C, own = x.shape[1], x.numel() // x.shape[1]
        dims = [0, *range(2, x.dim())]
        if own:
            variance, mean = torch.var_mean(x, dims, correction=0)
        else:  # a sum of nothing: zero, and a part of the graph
            mean = variance = x.sum(dims)
        counted = torch.full((1,), float(own), dtype=x.dtype, device=x.device)
        rows: Tensor = _Rows.apply(torch.cat([mean, variance, counted]), self.ranks)
        means, variances, counts = torch.split(rows, [C, C, 1], 1)
        self._counted = n = counts.sum()
        whole = (means * counts).sum(0) / n
        spread = ((variances + (means - whole).square()) * counts).sum(0) / n
        return whole, spread, n
