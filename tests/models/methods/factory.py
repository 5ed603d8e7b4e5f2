"""One batch for all methods, every method ready to train, and the ISNet from its settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from isnet_lrp import relevance
from isnet_models.backbones import build_backbone
from isnet_models.explanations.gradcam import grad_cam
from isnet_models.explanations.rollout import attention_rollout
from isnet_models.methods import registry
from isnet_models.methods.base import Batch, Context, Method, NetSpec
from isnet_models.methods.guided.isnet import ISNet
from isnet_models.methods.settings import (
    ISNetSettings,
    MultitaskSettings,
    SononetSettings,
    ViTSettings,
)

# Methods as `train.method` has them: every entry of the registry at least once.
CASES: tuple[str, ...] = (
    *("standard", "isnet", "grad_input", "softmax_grad_input", "rrr", "gain", "ham"),
    *("segment_then_classify", "multitask_unet", "ag_sononet", "vit"),
    *("background_mix", "isnet+background_mix", "masked_mix", "isnet+masked_mix", "distillation"),
)
SIZES: dict[str, int] = {"ham": 64}  # methods whose network needs larger images than SIZE
SIZE = 32
SETTINGS: dict[str, Any] = {  # of methods whose network is too large for a test by default
    "multitask_unet": MultitaskSettings(width=8, depth=3, hidden=64, dropout=0.1),
    "ag_sononet": SononetSettings(feature_scale=8),
    "vit": ViTSettings(arch="small", patch=8),
}
SEGMENTER = {"decoder_channels": (16, 8, 8, 4, 4)}  # options of a smaller lung U-Net


@dataclass(frozen=True)
class Prepared:
    """A method, a network for it, and how its maps are made."""

    name: str
    net: nn.Module
    method: Method
    explain: Callable[[nn.Module, Tensor], Tensor]
    size: int


def batch(B: int = 6, size: int = SIZE) -> Batch:
    """Random images with a square lung, three classes."""
    g = torch.Generator().manual_seed(0)
    masks = torch.zeros(B, 1, size, size)
    masks[..., size // 4 : 3 * size // 4, size // 4 : 3 * size // 4] = 1
    return Batch(torch.rand(B, 1, size, size, generator=g), masks, torch.arange(B) % 3)


def isnet(*, autocast: bool = False, **settings: Any) -> ISNet:
    """The ISNet with these settings."""
    return ISNet(ISNetSettings(**settings), Context(autocast=autocast))


def prepare(name: str, *, autocast: bool = False) -> Prepared:
    """The method `name` with a reproducible network of three classes."""
    first = registry.parts(name)[0]
    size = SIZES.get(name, SIZE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        net = first.load().build(spec(name))
        for p in net.parameters():  # ViT's last layer begins at zero: nothing before it would learn
            if p.requires_grad and p.dim() == 2 and not p.any():
                torch.nn.init.xavier_uniform_(p)
        teacher = build_backbone("small", 3).eval() if "teacher" in registry.needs(name) else None
    method = registry.make(name, Context(autocast=autocast, teacher=teacher), SETTINGS)
    method.prepare(net)
    return Prepared(name, net, method, EXPLAIN[first.explains], size)


def spec(name: str) -> NetSpec:
    """A network of three classes for the method `name`."""
    first = registry.parts(name)[0].name
    size = SIZES.get(name, SIZE)
    return NetSpec("small", 3, size=(size, size), segmenter=SEGMENTER, settings=SETTINGS.get(first))


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
