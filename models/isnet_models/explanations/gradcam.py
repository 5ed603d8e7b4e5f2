"""Grad-CAM: the last feature map, weighted by how much each of its channels raises a class."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from isnet_models.explanations.explanation import Explanation, MethodError, explained_classes

_POOLS = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


@dataclass
class LastMap:
    """The last feature map seen in a forward pass.

    Attributes:
        features: [B, C, h, w], more than one position; None when there was none.
        tokens: Whether sequences [B, N, D] followed it, as in vision transformers.
    """

    features: Tensor | None = None
    tokens: bool = False

    def see(self, module: nn.Module, inputs: Any, output: Any) -> None:
        """Forward hook of every module; containers report what their last part gave."""
        if not isinstance(output, Tensor) or isinstance(module, _POOLS):
            return
        if output.dim() == 4 and output.shape[2] * output.shape[3] > 1:
            self.features, self.tokens = output, False
        elif output.dim() == 3 and output.shape[1] > 1:
            self.tokens = True


@contextmanager
def watched(net: nn.Module) -> Iterator[LastMap]:
    """Notes the last feature map of a forward pass inside the block; no hook outlives it."""
    seen = LastMap()
    handles = [module.register_forward_hook(seen.see) for module in net.modules()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def feature_map(seen: LastMap) -> Tensor:
    """The map [B, C, h, w] that Grad-CAM weighs, with its graph.

    Raises:
        MethodError: The network has no such feature map, or works on it as a sequence of tokens.
    """
    A = seen.features
    if A is None or not A.requires_grad:
        raise MethodError("the network has no convolutional feature map")
    if seen.tokens:
        raise MethodError(
            "the network turns its feature map into tokens (a vision transformer), so the last "
            "convolution is its first layer"
        )
    return A


def class_map(y: Tensor, A: Tensor) -> Tensor:
    """Signed Grad-CAM sum_k a_k A_k, differentiable in A [B, 1, h, w], at least in float32.

    a_k, the mean over positions of dy/dA_k, is a constant (Selvaraju et al., ICCV 2017, eq. 1).

    Args:
        y: What is explained, of every image [B]; its graph is kept.
        A: Feature map of the same pass [B, C, h, w].
    """
    (slope,) = torch.autograd.grad(y.sum(), A, retain_graph=True)
    weight = slope.mean(dim=(2, 3), keepdim=True)
    wide = torch.promote_types(A.dtype, torch.float32)
    return (weight.to(wide) * A.to(wide)).sum(1, keepdim=True)


def enlarged(maps: Tensor, images: Tensor) -> Tensor:
    """Maps [B, C, h, w] at the size of `images`, bilinear."""
    size = (images.shape[2], images.shape[3])
    return interpolate(maps, size, mode="bilinear", align_corners=False)


@torch.inference_mode(False)
def grad_cam(net: nn.Module, x: Tensor, target: str | Tensor) -> Explanation:
    """Grad-CAM maps at the images' size (bilinear), >= 0; they promise no sum.

    L_c = ReLU(sum_k a_k A_k) with a_k the mean over positions of dy_c/dA_k, A the last feature map
    of more than one position before the final pooling (Selvaraju et al., ICCV 2017, eqs. 1, 2).

    Args:
        net: Network [B, C, H, W] -> [B, K], in evaluation mode.
        x: Images [B, C, H, W].
        target: As in `explained_classes`.

    Raises:
        MethodError: The network has no such feature map, or works on it as a sequence of tokens.
    """
    image = x.detach().clone().requires_grad_()
    with torch.enable_grad(), watched(net) as seen:
        logits = net(image)
    A = feature_map(seen)
    classes = explained_classes(logits, target)
    maps = []
    for chosen in classes.unbind(1):
        y = logits.gather(1, chosen[:, None])
        maps.append(enlarged(class_map(y, A).detach().relu(), x))
    return Explanation(logits.detach(), torch.stack(maps, 1))
