"""Integrated gradients: the gradient along the way from a black image to the image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from isnet_models.explanations.explanation import Explanation, explained_classes

STEPS = 64


@torch.inference_mode(False)
def integrated_gradients(
    net: nn.Module, x: Tensor, target: str | Tensor, *, steps: int = STEPS
) -> Explanation:
    """Signed maps whose sum is the logit minus the logit of a black image (completeness).

    R_i = x_i · 1/n · sum_k dy_c/dx_i at ((k - 1/2)/n)·x, k = 1..n: the midpoint rule for the
    integral of Sundararajan et al. (ICML 2017, eqs. 1, 3) with the baseline 0.

    Args:
        net: Network [B, C, H, W] -> [B, K], in evaluation mode.
        x: Images [B, C, H, W].
        target: As in `explained_classes`.
        steps: n, points on the way; the error of the sum falls with n.
    """
    image = x.detach().clone()
    with torch.no_grad():
        logits, black = net(image), net(torch.zeros_like(image))
    classes = explained_classes(logits, target)
    slopes = image.new_zeros(classes.shape[1], *image.shape)
    for k in range(steps):
        point = (image * ((k + 0.5) / steps)).requires_grad_()
        with torch.enable_grad():
            outputs = net(point).gather(1, classes).sum(0)
        for n, y in enumerate(outputs):
            slopes[n] += torch.autograd.grad(y, point, retain_graph=n + 1 < len(outputs))[0]
    maps = (image * slopes / steps).transpose(0, 1)
    return Explanation(logits, maps, logits.gather(1, classes) - black.gather(1, classes))
