"""Norms: linear maps whose statistics are constants of the pass; names, recording and rules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

from isnet_lrp.record.graph import Local, Op, Place, Signals
from isnet_lrp.record.sites import PendingSite, Sites, count_channels, gather_zeros
from isnet_lrp.record.table import Signature, records

if TYPE_CHECKING:
    from isnet_lrp.record.recorder import Recorder


BATCH_NORM = Signature("input running_mean running_var", weight=None, bias=None, training=False,
                       momentum=0.1, eps=1e-5)  # fmt: skip
LAYER_NORM = Signature("input normalized_shape", weight=None, bias=None, eps=1e-5)
RMS_NORM = Signature("input normalized_shape", weight=None, eps=None)
GROUP_NORM = Signature("input num_groups", weight=None, bias=None, eps=1e-5)
INSTANCE_NORM = Signature("input", running_mean=None, running_var=None, weight=None, bias=None,
                          use_input_stats=True, momentum=0.1, eps=1e-5)  # fmt: skip
NORMALIZE = Signature("input", p=2.0, dim=1, eps=1e-12, out=None)
LOCAL_RESPONSE_NORM = Signature("input size", alpha=1e-4, beta=0.75, k=1.0)
COSINE_SIMILARITY = Signature("x1 x2", dim=1, eps=1e-8)


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
    place: ClassVar[Place] = Place.NORM
    merges_sites: ClassVar[bool] = True

    @property
    def fuses(self) -> str:
        """Where its statistics are constants."""
        return "scale" if self.through is None else ""

    def scale(self) -> Tensor:
        """gamma·invstd [C]."""
        return self.invstd if self.gamma is None else self.gamma * self.invstd

    def shift(self, *, constant: bool = True) -> Tensor:
        """Beta - mean·gamma·invstd [C].

        Args:
            constant: Whether beta is a constant (docs/lrp.md, section 2.12).
        """
        shift = -self.mean * self.scale()
        if self.beta is None:
            return shift
        return shift + (self.beta.detach() if constant else self.beta)

    def as_affine(self) -> tuple[Tensor, Tensor] | None:
        """Factor and term per channel [C], unless its statistics are no constants."""
        if self.through is not None:
            return None
        return self.scale(), self.shift(constant=False)

    def takes_in_sites(self) -> bool:
        """One affine map with what it reads."""
        return True

    def make_sites(
        self, read: Sequence[Sites], inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]
    ) -> Sites:
        """All channels; the biases are its own and those of the convolutions before it."""
        channels = count_channels(outputs[0])
        inner = gather_zeros(read[0], channels)
        zero = None if inner is None else self.scale().detach() * inner
        if self.beta is not None:
            beta = self.beta.detach() - self.beta
            zero = beta if zero is None else zero + beta
        return (PendingSite(0, channels, zero=zero, denominator=self._recompute(inner)),)

    def _recompute(self, zero: Tensor | None) -> Tensor | None:
        """The pre-activation with the batch's statistics as constants.

        Source: docs/lrp.md, sections 2.2, 2.12.
        """
        if not self.batch or self.value is None:
            return None
        shape = (-1, *([1] * (self.value.dim() - 2)))
        x = self.value if zero is None else self.value + zero.view(shape)
        return x * self.scale().view(shape) + self.shift().view(shape)

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

    def share(self, relevance: Signals, epsilon: float) -> Signals:
        """The relevance itself."""
        return relevance


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


@records({"batch_norm"})
def record_batch_norm(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Tensor:
    """BatchNorm; its statistics are constants of the pass unless "full" is given."""
    given = BATCH_NORM.read(args, kwargs)
    x, running_mean, running_var, gamma, beta, training, momentum, eps = given
    rules = recorder.rules
    through = training and rules.full_batch_norm and not (rules.sites or rules.values)
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
        value=x if rules.values or (rules.sites and training) else None, batch=training,
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


@records({"layer_norm"})
def record_layer_norm(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Tensor:
    """Layer norm over the last axes."""
    x, shape, gamma, _, eps = LAYER_NORM.read(args, kwargs)
    y: Tensor = func(*args, **kwargs)
    view = _last_axes(x, shape)
    invstd = invert_deviation(x.reshape(view), eps)
    recorder.record(GroupedNorm(name, (), shape=view, invstd=invstd, gamma=gamma), (x,), (y,))
    return y


@records({"rms_norm"})
def record_rms_norm(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Tensor:
    """RMS norm over the last axes: no mean is taken away."""
    x, shape, gamma, eps = RMS_NORM.read(args, kwargs)
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    y: Tensor = func(*args, **kwargs)
    view = _last_axes(x, shape)
    invstd = (x.reshape(view).square().mean(-1, keepdim=True) + eps).rsqrt()
    op = GroupedNorm(name, (), shape=view, invstd=invstd, gamma=gamma, centred=False)
    recorder.record(op, (x,), (y,))
    return y


def _last_axes(x: Tensor, shape: Any) -> tuple[int, int]:
    n = math.prod([shape] if isinstance(shape, int) else shape)
    return x.numel() // n, n


@records({"group_norm"})
def record_group_norm(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Tensor:
    """Group norm."""
    x, groups, gamma, _, eps = GROUP_NORM.read(args, kwargs)
    y: Tensor = func(*args, **kwargs)
    _record_channels(recorder, name, x, y, groups, gamma, eps)
    return y


@records({"instance_norm"})
def record_instance_norm(
    recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any
) -> Tensor:
    """Instance norm; with running statistics it is a BatchNorm."""
    x, mean, var, gamma, beta, own, _, eps = INSTANCE_NORM.read(args, kwargs)
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


@records({"normalize"})
def record_normalize(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Division by the p-norm along an axis."""
    x, p, dim, eps, _ = NORMALIZE.read(args, kwargs)
    length = x.norm(p, dim, keepdim=True).clamp_min(eps)
    return recorder.record_local(name, torch.div, (x, length), {})


@records({"local_response_norm"})
def record_local_response_norm(
    recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any
) -> Any:
    """Division by the neighbouring channels' strength."""
    x, size, alpha, beta, k = LOCAL_RESPONSE_NORM.read(args, kwargs)
    squares = F.pad(x.square().flatten(2).unsqueeze(1), (0, 0, size // 2, (size - 1) // 2))
    mean = F.avg_pool2d(squares, (size, 1), stride=1).squeeze(1).view_as(x)
    return recorder.record_local(name, torch.div, (x, (mean * alpha + k) ** beta), {})


@records({"cosine_similarity"})
def record_cosine_similarity(
    recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any
) -> Any:
    """The product of two vectors, divided by their lengths."""
    a, b, dim, eps = COSINE_SIMILARITY.read(args, kwargs)
    with recorder:
        product = (a * b).sum(dim)
        return product / (a.norm(2, dim).clamp_min(eps) * b.norm(2, dim).clamp_min(eps))


@records({"log_softmax"})
def record_log_softmax(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Less the logarithm of the sum of exponentials, which is a constant as any bias."""
    x = args[0] if args else kwargs["input"]
    y: Tensor = func(*args, **kwargs)
    if y.dtype != x.dtype:
        x = recorder.record_local("to", torch.Tensor.to, (x, y.dtype), {})
    return recorder.record_local(name, torch.sub, (x, x - y), {})
