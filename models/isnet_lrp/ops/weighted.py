"""Convolutions and linear layers: names, recording and rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from isnet_lrp.errors import UnsupportedOperation
from isnet_lrp.kernels.convolution import ConvOptions, as_pair
from isnet_lrp.kernels.mixed import apply_linear_mixed, convolve_mixed
from isnet_lrp.ops.product import is_gate, record_product
from isnet_lrp.record.graph import Op, Place, Signals
from isnet_lrp.record.sites import PendingSite, Sites, count_channels
from isnet_lrp.record.table import Signature, records

if TYPE_CHECKING:
    from typing import Self

    from isnet_lrp.record.recorder import Recorder

CONVOLUTIONS = frozenset({"conv1d", "conv3d", "conv_transpose1d", "conv_transpose2d",
                          "conv_transpose3d"})  # fmt: skip
CONV2D = Signature("input weight", bias=None, stride=1, padding=0, dilation=1, groups=1)
LINEAR = Signature("input weight", bias=None)


@dataclass(eq=False)
class Weighted(Op):
    """An affine map W a + b with learned weights.

    Attributes:
        weight: W, outputs on its first axis.
        bias: b [O] or None.
        value: The input, kept where a family needs it.
        output: The output, kept of the network's first layer.
        options: Geometry of a convolution, else None.
        positive: Whether the input is known not to be negative.
        splits: Whether the z+ rule looks at the input's sign (docs/lrp.md, section 2.11).
    """

    weight: Tensor = None  # type: ignore[assignment]
    bias: Tensor | None = None
    value: Tensor | None = None
    output: Tensor | None = None
    options: ConvOptions | None = None
    positive: bool = False
    weighs: ClassVar[bool] = True
    splits: ClassVar[bool] = True
    place: ClassVar[Place] = Place.WEIGHTED

    def forward(self, weight: Tensor, bias: Tensor | None, a: Tensor) -> Tensor:
        """The same map with other weights, of another input."""
        raise NotImplementedError

    def transpose(self, weight: Tensor, s: Tensor) -> Tensor:
        """Wᵀs: [K, *input.shape] from [K, *output.shape], for other weights."""
        raise NotImplementedError

    def propagate(self, signals: Signals) -> Signals:
        """Wᵀg."""
        g = signals[0]
        return [None if g is None else self.transpose(self.weight.to(g.dtype), g)]

    def begin(self, output: Tensor) -> None:
        """Keeps the output of the network's first layer."""
        self.output = output

    def kept(self) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """The input is kept; the output is computed anew."""
        return [self.input()], [self.forward(self.weight, self.bias, self.input())]

    def input(self) -> Tensor:
        """The input, which a family that carries relevance keeps."""
        assert self.value is not None  # noqa: S101 - recorded for such a family
        return self.value

    def prepare(
        self, scale: Tensor | None, shift: Tensor | None, *, constant: bool, positive: bool
    ) -> Self:
        """A copy for families that carry relevance.

        Args:
            scale: Factor [O] of a BatchNorm behind it, taken into this map (docs/lrp.md, section
                2.2), or None.
            shift: Its term [O].
            constant: Whether the bias is a constant.
            positive: Whether the input is known not to be negative.
        """
        bias = self.bias.detach() if constant and self.bias is not None else self.bias
        weight = self.weight
        if scale is not None and shift is not None:
            bias = shift if bias is None else shift + bias * scale
            weight = weight * scale.view(-1, *([1] * (weight.dim() - 1)))
        found = replace(self, weight=weight, bias=bias, positive=positive)
        found.module = self.module
        return found

    def make_sites(
        self, read: Sequence[Sites], inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]
    ) -> Sites:
        """All channels."""
        zero = None
        if self.bias is not None and self.has_channels(outputs[0]):
            zero = self.bias.detach() - self.bias
        return (PendingSite(0, count_channels(outputs[0]), zero=zero),)

    def has_channels(self, output: Tensor) -> bool:
        """Whether the output's second axis is that of the biases."""
        return True


@dataclass(eq=False)
class Conv(Weighted):
    """Two-dimensional convolution, weights [O, I/groups, kh, kw].

    Attributes:
        size: Height and width of the input.
    """

    options: ConvOptions = None  # type: ignore[assignment]
    size: tuple[int, int] = (0, 0)
    moves_over_pixels: ClassVar[bool] = True

    @property
    def fuses(self) -> str:
        """Always."""
        return "carry"

    def forward(self, weight: Tensor, bias: Tensor | None, a: Tensor) -> Tensor:
        """The convolution."""
        return self.options.apply(a, weight, bias)

    def transpose(self, weight: Tensor, s: Tensor) -> Tensor:
        """The transposed convolution."""
        found = self.options.transpose(s.flatten(0, 1), weight, self.size)
        return found.view(*s.shape[:2], *found.shape[1:])


@dataclass(eq=False)
class Linear(Weighted):
    """Linear layer on the last axis, weights [O, I]."""

    splits: ClassVar[bool] = False

    def forward(self, weight: Tensor, bias: Tensor | None, a: Tensor) -> Tensor:
        """The linear layer."""
        return F.linear(a, weight, bias)

    def transpose(self, weight: Tensor, s: Tensor) -> Tensor:
        """A plain product: its weight gradient is added in place, that of a transposed is not."""
        found = torch.mm(s.reshape(-1, s.shape[-1]), weight)
        return found.view(*s.shape[:-1], found.shape[-1])

    def has_channels(self, output: Tensor) -> bool:
        """Whether there is no axis between images and outputs."""
        return output.dim() == 2


@dataclass(eq=False)
class Scaled(Weighted):
    """A factor and a term per channel, weights [C]: what a BatchNorm is by itself.

    Attributes:
        pool: A pooling before it, taken with it as one map (docs/lrp.md, section 2.7), or None.
    """

    pool: Op | None = None
    place: ClassVar[Place] = Place.ELSEWHERE

    def forward(self, weight: Tensor, bias: Tensor | None, a: Tensor) -> Tensor:
        """The scaled input, or pooled input."""
        pooled = a if self.pool is None else self.pool.kept()[1][0]
        shape = (-1, *([1] * (pooled.dim() - 2)))
        y = pooled * weight.view(shape)
        return y if bias is None else y + bias.view(shape)

    def transpose(self, weight: Tensor, s: Tensor) -> Tensor:
        """The scaled signal, or its pixels'."""
        g = s * weight.view(-1, *([1] * (s.dim() - 3)))
        found = g if self.pool is None else self.pool.propagate([g])[0]
        assert found is not None  # noqa: S101 - a pooling's signal
        return found


@records({"conv2d"})
def record_convolution(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Two-dimensional convolution."""
    x, weight, bias, stride, padding, dilation, groups = CONV2D.read(args, kwargs)
    if _depend(recorder, weight, bias) or x.dim() != 4:
        return record_other_convolution(recorder, name, func, args, kwargs)
    if isinstance(padding, str):
        x, padding = _explicit_padding(recorder, x, weight, padding, as_pair(dilation))
    options = ConvOptions(as_pair(stride), as_pair(padding), as_pair(dilation), groups)
    if recorder.rules.mixed:
        y = convolve_mixed(x, weight, bias, options)
    else:
        y = options.apply(x, weight, bias)
    op = Conv(
        name, (), weight=weight, bias=bias, options=options,
        size=(x.shape[2], x.shape[3]), value=x if recorder.rules.values else None,
    )  # fmt: skip
    recorder.record(op, (x,), (y,))
    recorder.extend_first(op, y)
    return y


def _depend(recorder: Recorder, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether weights or bias come from the image, other than mixed from learned ones by gates."""
    learned = recorder.find_node(weight) is None or is_gate(recorder, weight, kernel=True)
    return not learned or (bias is not None and recorder.find_node(bias) is not None)


@records(CONVOLUTIONS)
def record_other_convolution(
    recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any
) -> Any:
    """Convolutions of another dimension, transposed, or with weights made from the image.

    Weights that depend on the image share the relevance with the input, as a product's factors.

    Raises:
        UnsupportedOperation: The bias depends on the image.
    """
    bias = args[2] if len(args) > 2 else kwargs.get("bias")
    if isinstance(bias, Tensor) and recorder.find_node(bias) is not None:
        raise UnsupportedOperation(f"{name}: its bias depends on the image; add it apart")
    return record_product(recorder, name, func, args, kwargs)


def _explicit_padding(
    recorder: Recorder, x: Tensor, weight: Tensor, padding: str, dilation: tuple[int, int]
) -> tuple[Tensor, tuple[int, int]]:
    """The words "valid" and "same" (whose odd remainder torch puts at the end)."""
    if padding == "valid":
        return x, (0, 0)
    total = [dilation[i] * (weight.shape[2 + i] - 1) for i in (0, 1)]
    if total[0] % 2 or total[1] % 2:
        rest = (0, total[1] % 2, 0, total[0] % 2)
        with recorder:
            x = F.pad(x, rest)
    return x, (total[0] // 2, total[1] // 2)


@records({"linear"})
def record_linear(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Linear layer."""
    x, weight, bias = LINEAR.read(args, kwargs)
    if _depend(recorder, weight, bias):
        return record_other_convolution(recorder, name, func, args, kwargs)
    y = apply_linear_mixed(x, weight, bias) if recorder.rules.mixed else F.linear(x, weight, bias)
    op = Linear(name, (), weight=weight, bias=bias, value=x if recorder.rules.values else None)
    recorder.record(op, (x,), (y,))
    recorder.extend_first(op, y)
    return y


@records({"matmul", "mm"})
def record_matrix_product(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """Matrix products; with a constant matrix on the right it is a linear layer."""
    if (
        len(args) == 2
        and recorder.find_node(args[0]) is not None
        and recorder.find_node(args[1]) is None
    ):
        x, matrix = args
        if matrix.dim() == 2 and x.dim() > 1:
            return record_linear(recorder, name, F.linear, (x, matrix.t()), {})
    return record_product(recorder, name, func, args, kwargs)


@records({"addmm", "baddbmm"})
def record_addmm(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """The sum beta·c + alpha·a·b of a matrix (or batches of them) and a matrix product."""
    c, a, b = args[:3] if len(args) > 2 else (*args, *(kwargs[k] for k in _rest(args, kwargs)))
    alpha, beta = kwargs.get("alpha", 1), kwargs.get("beta", 1)
    with recorder:
        product = torch.matmul(a, b)
        product = product if alpha == 1 else product * alpha
        return product + (c if beta == 1 else c * beta)


def _rest(args: Any, kwargs: dict[str, Any]) -> list[str]:
    """Names of the matrices that were given by name."""
    names = ["input", "mat1" if "mat1" in kwargs else "batch1",
             "mat2" if "mat2" in kwargs else "batch2"]  # fmt: skip
    return names[len(args) :]
