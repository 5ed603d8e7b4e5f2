"""Norms: linear maps whose statistics are constants of the pass; names, recording and rules."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

from isnet_lrp.record.graph import Local, Op, Signals

if TYPE_CHECKING:
    from isnet_lrp.record.recorder import Recorder


@dataclass(eq=False)
class BatchNorm(Op):
    """BatchNorm with constant statistics: y = gamma·(x - mean)·invstd + beta per channel.

    Attributes:
        gamma: [C] or None.
        beta: [C] or None.
        mean: [C], a constant.
        invstd: 1/s.d. [C], a constant.
        value: The input, kept where a family needs it.
        batch: Whether mean and invstd are of this batch (training mode).
        through: The operation as autograd knows it, if its statistics are not constants.
    """

    gamma: Tensor | None = None
    beta: Tensor | None = None
    mean: Tensor = None  # type: ignore[assignment]
    invstd: Tensor = None  # type: ignore[assignment]
    value: Tensor | None = None
    batch: bool = False
    through: Local | None = None

    def scale(self) -> Tensor:
        """gamma·invstd [C]."""
        return self.invstd if self.gamma is None else self.gamma * self.invstd

    def shift(self) -> Tensor:
        """Beta - mean·gamma·invstd [C], beta a constant (docs/lrp.md, section 2.12)."""
        shift = -self.mean * self.scale()
        return shift if self.beta is None else shift + self.beta.detach()

    def propagate(self, signals: Signals) -> Signals:
        """gamma·invstd·g."""
        g = signals[0]
        if g is None:
            return [None]
        if self.through is not None:
            return self.through.propagate(signals)
        return [g * self.scale().to(g.dtype).view(-1, *([1] * (g.dim() - 3)))]


@dataclass(eq=False)
class GroupedNorm(Op):
    """Layer, group or instance norm with constant standard deviation; centring is linear.

    Source: Ali et al., XAI for Transformers: Better Explanations through Conservative
    Propagation, ICML 2022 (arXiv 2202.07304), section 4.2. The deviation is a constant of the
    relevance pass; the training backward pass does see how it depends on the weights.

    Attributes:
        shape: View of the input [.., n] whose last axis shares its statistics.
        invstd: 1/s.d., broadcastable to that view.
        gamma: Weight broadcastable to the input, or None.
        centred: Whether the mean is taken away (not in RMS norm).
    """

    shape: tuple[int, ...] = ()
    invstd: Tensor = None  # type: ignore[assignment]
    gamma: Tensor | None = None
    centred: bool = True

    def propagate(self, signals: Signals) -> Signals:
        """invstd·(v - mean v), v = gamma·g."""
        g = signals[0]
        if g is None:
            return [None]
        v = g if self.gamma is None else g * self.gamma.to(g.dtype)
        v = v.reshape(g.shape[0], *self.shape)
        if self.centred:
            v = v - v.mean(-1, keepdim=True)
        return [(v * self.invstd.to(g.dtype)).reshape(g.shape)]


def invert_deviation(x: Tensor, eps: float) -> Tensor:
    """1/sqrt(var + eps) over the last axis (biased), kept as an axis of size 1."""
    return (x.var(-1, correction=0, keepdim=True) + eps).rsqrt()


def count_values(x: Tensor) -> int | Tensor:
    """Values of a channel whose statistics BatchNorm took just now.

    A `TorchFunctionMode` that takes them of other processes' images too gives another number here.

    Args:
        x: [B, C, ...].
    """
    if has_torch_function_unary(x):
        found: int | Tensor = handle_torch_function(count_values, (x,), x)
        return found
    return x.numel() // x.shape[1]


def record_batch_norm(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Tensor:
    """BatchNorm; its statistics are constants of the pass unless "full" is given."""

    def parse(
        input: Tensor,  # noqa: A002
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor | None, bool, float,
               float]:  # fmt: skip
        return input, running_mean, running_var, weight, bias, training, momentum, eps

    x, running_mean, running_var, gamma, beta, training, momentum, eps = parse(*args, **kwargs)
    rules = recorder.rules
    through = training and rules.full_batch_norm and not (rules.block or rules.values)
    inner = x.view_as(x) if through else x
    y, mean, invstd = torch.native_batch_norm(
        inner, gamma, beta, running_mean, running_var, training, momentum, eps
    )
    n = count_values(x) if training else 0
    if isinstance(n, int) and n == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got {x.shape}")
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError("BatchNorm in evaluation mode without running statistics")
        mean, invstd = running_mean, (running_var + eps).rsqrt()
    mean, invstd = mean.detach(), invstd.detach()
    if training and rules.full_batch_norm:  # also in LRP-Flex, for the zB rule
        invstd = _unbiased(invstd, n, eps)
    op = BatchNorm(
        name, (), gamma=gamma, beta=beta, mean=mean, invstd=invstd,
        value=x if rules.values or (rules.block and training) else None, batch=training,
        through=Local(name, (), inputs=(inner,), outputs=(y,)) if through else None,
    )  # fmt: skip
    recorder.record(op, (x,), (y,))
    recorder.extend_first(op, y)
    return y


def _unbiased(invstd: Tensor, n: int | Tensor, eps: float) -> Tensor:
    """1/sqrt(var·n/(n-1) + eps) from 1/sqrt(var + eps).

    Source: docs/lrp.md, section 2.2, training mode.
    """
    variance = invstd**-2 - eps
    return (variance * (n / (n - 1)) + eps).rsqrt()


def record_layer_norm(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Tensor:
    """Layer norm over the last axes."""

    def parse(
        input: Tensor,  # noqa: A002
        normalized_shape: Any,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
    ) -> tuple[Tensor, Any, Tensor | None, float]:
        return input, normalized_shape, weight, eps

    x, shape, gamma, eps = parse(*args, **kwargs)
    y: Tensor = func(*args, **kwargs)
    view = _last_axes(x, shape)
    invstd = invert_deviation(x.reshape(view), eps)
    recorder.record(GroupedNorm(name, (), shape=view, invstd=invstd, gamma=gamma), (x,), (y,))
    return y


def record_rms_norm(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Tensor:
    """RMS norm over the last axes: no mean is taken away."""

    def parse(
        input: Tensor,  # noqa: A002
        normalized_shape: Any,
        weight: Tensor | None = None,
        eps: float | None = None,
    ) -> tuple[Tensor, Any, Tensor | None, float]:
        return input, normalized_shape, weight, torch.finfo(input.dtype).eps if eps is None else eps

    x, shape, gamma, eps = parse(*args, **kwargs)
    y: Tensor = func(*args, **kwargs)
    view = _last_axes(x, shape)
    invstd = (x.reshape(view).square().mean(-1, keepdim=True) + eps).rsqrt()
    op = GroupedNorm(name, (), shape=view, invstd=invstd, gamma=gamma, centred=False)
    recorder.record(op, (x,), (y,))
    return y


def _last_axes(x: Tensor, shape: Any) -> tuple[int, int]:
    n = math.prod([shape] if isinstance(shape, int) else shape)
    return x.numel() // n, n


def record_group_norm(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Tensor:
    """Group norm."""

    def parse(
        input: Tensor,  # noqa: A002
        num_groups: int,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
    ) -> tuple[Tensor, int, Tensor | None, float]:
        return input, num_groups, weight, eps

    x, groups, gamma, eps = parse(*args, **kwargs)
    y: Tensor = func(*args, **kwargs)
    _record_channels(recorder, name, x, y, groups, gamma, eps)
    return y


def record_instance_norm(
    recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any
) -> Tensor:
    """Instance norm; with running statistics it is a BatchNorm."""

    def parse(
        input: Tensor,  # noqa: A002
        running_mean: Tensor | None = None,
        running_var: Tensor | None = None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        use_input_stats: bool = True,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor | None, bool, float]:
        return input, running_mean, running_var, weight, bias, use_input_stats, eps

    x, mean, var, gamma, beta, own, eps = parse(*args, **kwargs)
    if not own:
        given = (x, mean, var, gamma, beta, False, 0.1, eps)
        return record_batch_norm(recorder, name, F.batch_norm, given, {})
    y: Tensor = func(*args, **kwargs)
    _record_channels(recorder, name, x, y, x.shape[1], gamma, eps)
    return y


def _record_channels(
    recorder: Recorder,
    name: str,
    x: Tensor,
    y: Tensor,
    groups: int,
    gamma: Tensor | None,
    eps: float,
) -> None:
    view = (x.shape[0] * groups, x.numel() // (x.shape[0] * groups))
    if gamma is not None:
        gamma = gamma.view(-1, *([1] * (x.dim() - 2)))
    invstd = invert_deviation(x.reshape(view), eps)
    recorder.record(GroupedNorm(name, (), shape=view, invstd=invstd, gamma=gamma), (x,), (y,))


def record_normalize(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Division by the p-norm along an axis."""

    def parse(
        input: Tensor,  # noqa: A002
        p: float = 2.0,
        dim: Any = 1,
        eps: float = 1e-12,
        out: None = None,
    ) -> tuple[Tensor, float, Any, float]:
        return input, p, dim, eps

    x, p, dim, eps = parse(*args, **kwargs)
    length = x.norm(p, dim, keepdim=True).clamp_min(eps)
    return recorder.record_local(name, torch.div, (x, length), {})


def record_local_response_norm(
    recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any
) -> Any:
    """Division by the neighbouring channels' strength."""

    def parse(
        input: Tensor,  # noqa: A002
        size: int,
        alpha: float = 1e-4,
        beta: float = 0.75,
        k: float = 1.0,
    ) -> tuple[Tensor, int, float, float, float]:
        return input, size, alpha, beta, k

    x, size, alpha, beta, k = parse(*args, **kwargs)
    squares = F.pad(x.square().flatten(2).unsqueeze(1), (0, 0, size // 2, (size - 1) // 2))
    mean = F.avg_pool2d(squares, (size, 1), stride=1).squeeze(1).view_as(x)
    return recorder.record_local(name, torch.div, (x, (mean * alpha + k) ** beta), {})


def record_cosine_similarity(
    recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any
) -> Any:
    """The product of two vectors, divided by their lengths."""

    def parse(
        x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8
    ) -> tuple[Tensor, Tensor, int, float]:
        return x1, x2, dim, eps

    a, b, dim, eps = parse(*args, **kwargs)
    with recorder:
        product = (a * b).sum(dim)
        return product / (a.norm(2, dim).clamp_min(eps) * b.norm(2, dim).clamp_min(eps))


def record_log_softmax(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Less the logarithm of the sum of exponentials, which is a constant as any bias."""
    x = args[0] if args else kwargs["input"]
    y: Tensor = func(*args, **kwargs)
    if y.dtype != x.dtype:
        x = recorder.record_local("to", torch.Tensor.to, (x, y.dtype), {})
    return recorder.record_local(name, torch.sub, (x, x - y), {})
