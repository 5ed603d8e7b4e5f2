"""Attention rollout: how much each patch of the image flows into a transformer's class token."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from isnet_models.explanations.explanation import Explanation, MethodError
from isnet_models.explanations.gradcam import watched


def attention_rollout(net: nn.Module, x: Tensor) -> Explanation:
    """The rollout to the class token, at the images' size (bilinear), >= 0; the same for all K.

    R = product over layers, last first, of (A_l + 1)/2 with A_l the attention averaged over heads;
    the map is the class token's row over the patches (Abnar and Zuidema, ACL 2020, eq. 1).

    Args:
        net: Vision transformer [B, C, H, W] -> [B, K] with ``nn.MultiheadAttention`` and the class
            token first, as torchvision's, in evaluation mode.
        x: Images [B, C, H, W].

    Returns:
        Maps [B, 1, 1, H, W].

    Raises:
        MethodError: The network is no such transformer.
    """
    with torch.no_grad(), watched(net) as seen, _attention_of(net) as layers:
        logits = net(x)
    if not layers:
        raise MethodError("the network has no multi-head attention (it is no vision transformer)")
    patches = seen.features
    height, width = (0, 0) if patches is None else patches.shape[2:]
    N = 1 + height * width
    if patches is None or any(A.shape[1:] != (N, N) for A in layers):
        raise MethodError(
            "its attention is not one class token and one token for each patch of the image"
        )
    flow = torch.eye(N, dtype=layers[0].dtype, device=x.device)
    for A in layers:
        flow = (A + torch.eye(N, dtype=A.dtype, device=A.device)) / 2 @ flow
    grid = flow[:, 0, 1:].reshape(-1, 1, height, width)
    maps = interpolate(grid, (x.shape[2], x.shape[3]), mode="bilinear", align_corners=False)
    return Explanation(logits, maps[:, None])


@contextmanager
def _attention_of(net: nn.Module) -> Iterator[list[Tensor]]:
    """Collects the attention [B, N, N] of each layer, averaged over heads, in order."""
    found: list[Tensor] = []

    def ask(module: nn.Module, inputs: Any, options: dict[str, Any]) -> Any:
        if len(inputs) != 3:
            raise MethodError("its attention is called in a way that hides the weights")
        return inputs, {**options, "need_weights": True, "average_attn_weights": True}

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        found.append(output[1])

    handles = []
    for module in net.modules():
        if isinstance(module, nn.MultiheadAttention):
            handles.append(module.register_forward_pre_hook(ask, with_kwargs=True))
            handles.append(module.register_forward_hook(keep))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
