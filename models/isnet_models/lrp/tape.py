"""Sees every operation of an untouched network during one forward pass and gives it its rule.

A `TorchFunctionMode` intercepts ReLU and BatchNorm in every spelling (module, functional, method,
in place), so networks need no wrapper, no renaming and no rebuilding; it is active in this thread
and this call alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from isnet_models.lrp.convolution import ConvOptions, RelevanceConv, pair
from isnet_models.lrp.rules import Phase, RelevanceBatchNorm, RelevanceReLU

RELU = {F.relu, torch.relu, Tensor.relu}
RELU_INPLACE = {torch.relu_, Tensor.relu_}
CONV = {F.conv2d, torch.conv2d}
# Activations and gates whose plain gradient is not LRP; a ReLU network has none of them.
NO_RULE = {
    F.relu6, F.elu, F.selu, F.celu, F.gelu, F.silu, F.mish, F.hardswish, F.hardsigmoid,
    F.hardtanh, F.leaky_relu, F.prelu, F.softplus, F.softmax, F.layer_norm, F.group_norm,
    F.instance_norm, F.scaled_dot_product_attention, F.multi_head_attention_forward,
    torch.sigmoid, Tensor.sigmoid, torch.tanh, Tensor.tanh, torch.softmax, Tensor.softmax,
    torch.nn.functional.local_response_norm,
}  # fmt: skip


class UnsupportedOperation(ValueError):  # noqa: N818 - the name says what is wrong
    """The network uses an operation without a relevance rule; the message names it."""


@dataclass
class FirstLayer:
    """The chain convolution (-> BatchNorm) -> ReLU at the network's input, for the zB rule.

    Attributes:
        weight: Convolution weight [O, I, kh, kw].
        bias: Convolution bias [O] or None.
        options: Keyword arguments stride, padding, dilation, groups of the convolution.
        norm: (gamma or None, beta or None, mean, 1/s.d.), each [O], or None without BatchNorm.
        output: The ReLU's output [B, O, h, w].
    """

    weight: Tensor
    bias: Tensor | None
    options: dict[str, Any]
    current: Tensor
    norm: tuple[Tensor | None, Tensor | None, Tensor, Tensor] | None = None
    output: Tensor | None = None


class Tape(TorchFunctionMode):
    """Gives rules to the operations of one forward pass.

    Args:
        phase: State of the call.
        image: The network's input; its first layer is kept in `first`.
    """

    def __init__(self, phase: Phase, image: Tensor) -> None:
        super().__init__()
        self.phase = phase
        self.image = image
        self.first: FirstLayer | None = None
        self.relus = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Replaces an operation by the one with a rule; passes all others on."""
        kwargs = kwargs or {}
        if func in RELU or func in RELU_INPLACE:
            return self._relu(func, *args, **kwargs)
        if func is F.batch_norm:
            return self._batch_norm(*args, **kwargs)
        if func in NO_RULE:
            raise UnsupportedOperation(
                f"{getattr(func, '__name__', func)}: no relevance rule; LRP-Flex needs a network "
                "whose only activations are ReLU and whose only norms are BatchNorm"
            )
        if func in CONV:
            return self._convolution(func, *args, **kwargs)
        return func(*args, **kwargs)

    def _relu(self, func: Callable[..., Any], input: Tensor, inplace: bool = False) -> Tensor:  # noqa: A002
        self.relus += 1
        chained = self.first is not None and self.first.current is input
        y: Tensor = RelevanceReLU.apply(input, self.phase, inplace or func in RELU_INPLACE)
        if chained and self.first is not None and self.first.output is None:
            self.first.output = y
        return y

    def _batch_norm(
        self,
        input: Tensor,  # noqa: A002
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        y: Tensor
        y, mean, invstd = RelevanceBatchNorm.apply(
            input, weight, bias, running_mean, running_var, training, momentum, eps, self.phase
        )
        if self.first is not None and self.first.current is input and self.first.output is None:
            self.first.current, self.first.norm = y, (weight, bias, mean, invstd)
        return y

    def _convolution(
        self,
        func: Callable[..., Any],
        input: Tensor,  # noqa: A002
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        if isinstance(padding, str) or input.dim() != 4:  # torch's own operation, also right
            y: Tensor = func(input, weight, bias, stride, padding, dilation, groups)
            return y
        options = ConvOptions(pair(stride), pair(padding), pair(dilation), groups)
        y = RelevanceConv.apply(input, weight, bias, options, self.phase)
        if input is self.image and self.first is None:
            self.first = FirstLayer(weight, bias, vars(options), y)
        return y
