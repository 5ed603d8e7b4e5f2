"""LRP-Flex by another way: the network itself is changed so that plain input x gradient is the map.

Every function is replaced by one of the same value whose gradient is what the rules say: gates,
attention weights, statistics and denominators are detached, an activation f(z) becomes
z·(f(z)/(z + epsilon·sgn z)) with a detached factor, a product of two activations hands back half
its gradient. Nothing is recorded and nothing is shared with the engine. Parameters are frozen, so a
tensor requires a gradient exactly when relevance reaches it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

SMOOTH = {
    "relu", "relu6", "hardtanh", "elu", "selu", "celu", "gelu", "silu", "mish", "hardswish",
    "leaky_relu", "prelu", "tanh", "softsign", "pow", "square", "sqrt",
}  # fmt: skip
HELD = {
    "softmax", "var", "std", "var_mean", "std_mean", "norm",
    "vector_norm", "rsqrt", "reciprocal", "rtruediv",
}  # fmt: skip
GATES = {"sigmoid": 0.5, "hardsigmoid": 0.5}  # and their values at 0
WEIGHTED = {"conv2d", "conv1d", "linear", "batch_norm"}  # what a gate does not outlive
DOUBLE = {"mul", "multiply", "rmul", "matmul", "bmm", "mm", "einsum", "imul"}


class Surrogate(TorchFunctionMode):
    """While active, functions have the gradients of the rules."""

    def __init__(self, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        spelled = getattr(func, "__name__", "")
        name = spelled.strip("_")
        if name not in SMOOTH | HELD | DOUBLE | {"div", "truediv", *GATES, *OWN}:
            if name in ("conv2d", "linear") and len(args) > 1 and hasattr(args[1], "gate"):
                args = (args[0], args[1].detach(), *args[2:])
            made = func(*args, **(kwargs or {}))
            sources = args[:1] if name.endswith("_as") else args
            if name not in WEIGHTED and made is not None and all_gates(sources):
                mark(made)
            return made
        given = {k: v for k, v in (kwargs or {}).items() if k != "inplace"}
        if not (spelled.endswith("_") and not spelled.startswith("__")) and name != "imul":
            return self._made(name, func, args, given)
        plain = torch.mul if name == "imul" else getattr(torch, name)
        made = self._made(name, plain, (args[0].clone(), *args[1:]), given)
        written = args[0].copy_(made)
        if all_gates((made,)):
            mark(written)
        return written

    def _made(self, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        if name in OWN:
            return OWN[name](*args, **kwargs)
        if name in HELD:
            return detached(func(*args, **kwargs))
        if name in ("div", "truediv"):
            return func(args[0], detached(args[1]), *args[2:], **kwargs)
        if name in DOUBLE:
            return shared(func, args, kwargs)
        if name == "pow" and not isinstance(args[1], Tensor) and args[1] < 0:
            return detached(func(*args, **kwargs))
        made = self._smooth(func, args, kwargs, GATES.get(name, 0.0))
        if name in GATES:
            mark(made)
        return made

    def _smooth(self, func: Any, args: Any, kwargs: Any, at_zero: float) -> Tensor:
        z = args[0] if args else kwargs.pop("input")
        with torch.no_grad():
            value = func(z.clone(), *args[1:], **kwargs)  # it may write in place
            below = torch.where(z >= 0, z + self.epsilon, z - self.epsilon)
            factor = torch.where(below == 0, torch.zeros_like(z), (value - at_zero) / below)
        return following(value, z * factor)


def following(value: Tensor, path: Tensor) -> Tensor:
    """The value of one tensor with the gradient of another."""
    return value.detach() + (path - path.detach())


def detached(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach()
    return tuple(detached(v) for v in value) if isinstance(value, tuple) else value


def tensors(values: Any) -> list[Tensor]:
    if isinstance(values, Tensor):
        return [values] if values.requires_grad else []
    return [t for v in values for t in tensors(v)] if isinstance(values, (tuple, list)) else []


def all_gates(args: Any) -> bool:
    found = tensors(args)
    return bool(found) and all(hasattr(t, "gate") for t in found)


def mark(made: Any) -> None:
    for t in tensors(made):
        t.gate = True


def shared(func: Any, args: Any, kwargs: Any) -> Tensor:
    """A product of which every factor with a gradient gets an equal part, and gates none."""
    where = [i for i, a in enumerate(args) if isinstance(a, Tensor) and a.requires_grad]
    whole: Tensor = func(*args, **kwargs)
    if all_gates(args):
        mark(whole)
    carrying = [i for i in where if not hasattr(args[i], "gate")]
    if len(where) < 2:
        return whole
    where = carrying or where
    parts = []
    for kept in where:
        held = [a if i == kept else detached(a) for i, a in enumerate(args)]
        parts.append(func(*held, **kwargs))
    path = torch.stack(parts).sum(0) / len(where)
    return following(whole, path)


def standardised(x: Tensor, axes: Any, eps: float, centred: bool = True) -> Tensor:
    middle = x.mean(axes, keepdim=True) if centred else 0
    away = x - middle
    return away / (away.square().mean(axes, keepdim=True) + eps).sqrt().detach()


def layer_norm(
    x: Tensor, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    axes = tuple(range(-len(normalized_shape), 0))
    y = standardised(x, axes, eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def rms_norm(x: Tensor, normalized_shape: Any, weight: Any = None, eps: Any = None) -> Tensor:
    axes = tuple(range(-len(normalized_shape), 0))
    y = standardised(x, axes, torch.finfo(x.dtype).eps if eps is None else eps, False)
    return y if weight is None else y * weight


def group_norm(
    x: Tensor, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    y = standardised(x.reshape(len(x), num_groups, -1), -1, eps).reshape(x.shape)
    tail = (-1, *[1] * (x.dim() - 2))
    y = y if weight is None else y * weight.view(tail)
    return y if bias is None else y + bias.view(tail)


def instance_norm(
    x: Tensor, running_mean: Any = None, running_var: Any = None, weight: Any = None,
    bias: Any = None, use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    return group_norm(x, x.shape[1], weight, bias, eps)


def attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Any = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: Any = None, enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    groups = query.shape[-3] // key.shape[-3] if enable_gqa else 1
    key, value = (t.repeat_interleave(groups, -3) if groups > 1 else t for t in (key, value))
    scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = torch.zeros(attn_mask.shape, dtype=scores.dtype).masked_fill(
            ~attn_mask, -math.inf
        )
    scores = scores if attn_mask is None else scores + attn_mask
    return scores.softmax(-1).detach() @ value


def multi_head_attention(
    query: Tensor, key: Tensor, value: Tensor, embed_dim: int, heads: int, in_weight: Tensor,
    in_bias: Tensor, *rest: Any, **given: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    assert not given.get("need_weights", True)
    out_weight, out_bias = rest[4], rest[5]
    w, b = in_weight.chunk(3), in_bias.chunk(3)
    q, k, v = (F.linear(t, w[i], b[i]) for i, t in enumerate((query, key, value)))
    L, B, E = q.shape

    def split(t: Tensor) -> Tensor:
        return t.reshape(t.shape[0], B * heads, E // heads).transpose(0, 1)

    mixed = attention(split(q), split(k), split(v)).transpose(0, 1).reshape(L, B, E)
    return F.linear(mixed, out_weight, out_bias), None


def normalize(
    x: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: None = None
) -> Tensor:
    return x / x.norm(p, dim, keepdim=True).clamp_min(eps).detach()


def log_softmax(x: Tensor, dim: int = -1, **given: Any) -> Tensor:
    return x - x.logsumexp(dim, keepdim=True).detach()


def addcmul(x: Tensor, a: Tensor, b: Tensor, *, value: float = 1) -> Tensor:
    return x + value * shared(torch.mul, (a, b), {})


def glu(x: Tensor, dim: int = -1) -> Tensor:
    value, gate = x.chunk(2, dim)
    return value * gate.sigmoid().detach()


OWN: dict[str, Callable[..., Any]] = {
    "layer_norm": layer_norm, "rms_norm": rms_norm, "group_norm": group_norm,
    "instance_norm": instance_norm, "scaled_dot_product_attention": attention,
    "multi_head_attention_forward": multi_head_attention, "normalize": normalize,
    "log_softmax": log_softmax, "addcmul": addcmul, "glu": glu,
}  # fmt: skip


def surrogate_maps(net: nn.Module, x: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Maps [B, K, C, H, W] of all logits, and the logits; the network was not called before."""
    frozen = copy.deepcopy(net).requires_grad_(False)
    image = x.clone().requires_grad_()
    with Surrogate(epsilon):
        logits = frozen(image)
    maps = []
    for k in range(logits.shape[1]):
        (slope,) = torch.autograd.grad(logits[:, k].sum(), image, retain_graph=True)
        maps.append(x * slope)
    return torch.stack(maps, 1), logits.detach()
