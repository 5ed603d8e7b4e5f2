"""One batch for all methods, every method ready to train, and the ISNet from its settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from isnet_models.explanations.gradcam import grad_cam
from isnet_models.explanations.rollout import attention_rollout
from isnet_models.lrp import relevance
from isnet_models.methods import registry
from isnet_models.methods.base import Batch, Context, Method, NetSpec
from isnet_models.methods.isnet import ISNet, ISNetSettings

# Methods as `train.method` has them: every entry of the registry at least once.
CASES: tuple[str, ...] = (
    "standard", "isnet", "grad_input", "softmax_grad_input", "rrr", "gain", "ham",
)  # fmt: skip
SIZES: dict[str, int] = {"ham": 64}  # methods whose network needs larger images than SIZE
SIZE = 32


@dataclass(frozen=True)
class Prepared:
    """A method, a network for it, and how its maps are made."""

    name: str
    net: nn.Module
    method: Method
    explain: Callable[[nn.Module, Tensor], Tensor]
    size: int


def batch(B: int = 6, size: int = SIZE) -> Batch:
    """Random films with a square lung, three classes."""
    g = torch.Generator().manual_seed(0)
    masks = torch.zeros(B, 1, size, size)
    masks[..., size // 4 : 3 * size // 4, size // 4 : 3 * size // 4] = 1
    return Batch(torch.rand(B, 1, size, size, generator=g), masks, torch.arange(B) % 3)


def isnet(settings: ISNetSettings | None = None) -> ISNet:
    """The ISNet with these settings."""
    return ISNet(context=Context(isnet=settings))


def prepare(name: str, *, autocast: bool = False) -> Prepared:
    """The method `name` with a reproducible network of three classes."""
    first = registry.parts(name)[0]
    size = SIZES.get(name, SIZE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        net = first.load().build(NetSpec("small", 3, size=(size, size)))
    context = Context(autocast=autocast)
    return Prepared(name, net, registry.make(name, context), EXPLAIN[first.explains], size)


def _lrp(net: nn.Module, images: Tensor) -> Tensor:
    return relevance(net, images, "predicted", family="flex", epsilon=0.01).maps


def _grad_input(net: nn.Module, images: Tensor) -> Tensor:
    return relevance(net, images, "predicted", family="flex", epsilon=0.0).maps


EXPLAIN: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "lrp": _lrp,
    "grad_input": _grad_input,
    "gradcam": lambda net, images: grad_cam(net, images, "predicted").maps,
    "attention_rollout": lambda net, images: attention_rollout(net, images).maps,
}
