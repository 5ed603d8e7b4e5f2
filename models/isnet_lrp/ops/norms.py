"""How norms are run and recorded: linear maps whose statistics are constants of the pass."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from isnet_lrp.ops.activation import GroupedNorm, inverse_deviation
from isnet_lrp.ops.affine import BatchNorm
from isnet_lrp.record.graph import Local

if TYPE_CHECKING:
    from isnet_lrp.record.recorder import Tape


def batch_norm(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Tensor:
    """BatchNorm; its statistics are constants of the pass unless the authors' way is asked."""

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
    rules = tape.rules
    if training and x.numel() == x.shape[1]:
        raise ValueError(f"Expected more than 1 value per channel when training, got {x.shape}")
    through = training and rules.authors and not (rules.block or rules.values)
    inner = x.view_as(x) if through else x
    y, mean, invstd = torch.native_batch_norm(
        inner, gamma, beta, running_mean, running_var, training, momentum, eps
    )
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError("BatchNorm in evaluation mode without running statistics")
        mean, invstd = running_mean, (running_var + eps).rsqrt()
    mean, invstd = mean.detach(), invstd.detach()
    if training and rules.authors:  # also in LRP-Flex, for the zB rule
        invstd = _unbiased(invstd, x.numel() // x.shape[1], eps)
    op = BatchNorm(
        name, (), gamma=gamma, beta=beta, mean=mean, invstd=invstd,
        value=x if rules.values or (rules.block and training) else None, batch=training,
        through=Local(name, (), inputs=(inner,), outputs=(y,)) if through else None,
    )  # fmt: skip
    tape.record(op, (x,), (y,))
    tape.extend_first(op, y)
    return y


def _unbiased(invstd: Tensor, n: int, eps: float) -> Tensor:
    """1/sqrt(var·n/(n-1) + eps) from 1/sqrt(var + eps) (LRP_SPEC 2.2, training mode)."""
    variance = invstd**-2 - eps
    return (variance * (n / (n - 1)) + eps).rsqrt()


def layer_norm(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Tensor:
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
    invstd = inverse_deviation(x.reshape(view), eps)
    tape.record(GroupedNorm(name, (), shape=view, invstd=invstd, gamma=gamma), (x,), (y,))
    return y


def rms_norm(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Tensor:
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
    tape.record(op, (x,), (y,))
    return y


def _last_axes(x: Tensor, shape: Any) -> tuple[int, int]:
    n = math.prod([shape] if isinstance(shape, int) else shape)
    return x.numel() // n, n


def group_norm(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Tensor:
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
    _record_channels(tape, name, x, y, groups, gamma, eps)
    return y


def instance_norm(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Tensor:
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
        return batch_norm(tape, name, F.batch_norm, given, {})
    y: Tensor = func(*args, **kwargs)
    _record_channels(tape, name, x, y, x.shape[1], gamma, eps)
    return y


def _record_channels(
    tape: Tape, name: str, x: Tensor, y: Tensor, groups: int, gamma: Tensor | None, eps: float
) -> None:
    view = (x.shape[0] * groups, x.numel() // (x.shape[0] * groups))
    if gamma is not None:
        gamma = gamma.view(-1, *([1] * (x.dim() - 2)))
    invstd = inverse_deviation(x.reshape(view), eps)
    tape.record(GroupedNorm(name, (), shape=view, invstd=invstd, gamma=gamma), (x,), (y,))


def normalize(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Any:
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
    return tape.local(name, torch.div, (x, length), {})


def local_response_norm(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Any:
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
    return tape.local(name, torch.div, (x, (mean * alpha + k) ** beta), {})


def cosine_similarity(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """The product of two vectors, divided by their lengths."""

    def parse(
        x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8
    ) -> tuple[Tensor, Tensor, int, float]:
        return x1, x2, dim, eps

    a, b, dim, eps = parse(*args, **kwargs)
    with tape:
        product = (a * b).sum(dim)
        return product / (a.norm(2, dim).clamp_min(eps) * b.norm(2, dim).clamp_min(eps))


def log_softmax(tape: Tape, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Less the logarithm of the sum of exponentials, which is a constant as any bias."""
    x = args[0] if args else kwargs["input"]
    y: Tensor = func(*args, **kwargs)
    if y.dtype != x.dtype:
        x = tape.local("to", torch.Tensor.to, (x, y.dtype), {})
    return tape.local(name, torch.sub, (x, x - y), {})
