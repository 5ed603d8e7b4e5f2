"""SmoothGrad of relevance maps: the mean over noisy copies of the images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from isnet_lrp.errors import RelevanceError
from isnet_lrp.maps import Relevance, relevance
from isnet_lrp.options import Choice
from isnet_lrp.targets import EVERY, Target, choose_classes


def smooth_relevance(
    net: nn.Module,
    x: Tensor,
    target: Target | Tensor = "predicted",
    *,
    samples: int = 16,
    noise: float = 0.1,
    generator: torch.Generator | None = None,
    **options: Any,
) -> Relevance:
    """The mean map of images with Gaussian noise (Smilkov et al. 2017, arXiv 1706.03825).

    Every noisy copy explains the class that the clean image has. With bounds `zb` noisy pixels are
    cut to them. The maps can be trained through as those of `relevance`.

    Args:
        net: As in `relevance`, as are all other arguments.
        x: Images [B, C, H, W].
        target: What a map explains; of "stochastic" one draw for all copies.
        samples: Number of copies, >= 1.
        noise: Standard deviation of the noise, in shares of each image's range, >= 0.
        generator: Source of the noise (on the CPU).
        options: Of `relevance`.

    Returns:
        The mean maps and layers, and the logits of the clean images.

    Raises:
        RelevanceError: A bad number, or as `relevance`.
    """
    if samples < 1 or not noise >= 0:
        raise RelevanceError(f"samples {samples}, noise {noise}: expected >= 1 and >= 0")
    with torch.set_grad_enabled(bool(options.get("create_graph"))):
        logits = net(x)
    target, options["choice"] = _fix(target, logits.detach(), options.get("choice") or Choice())
    flat = x.flatten(1)
    spread = (flat.amax(1) - flat.amin(1)).view(-1, 1, 1, 1) * noise
    found: list[Relevance] = []
    for _ in range(samples):
        drawn = torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)
        noisy = _cut(x + spread * drawn, options.get("zb"))
        found.append(relevance(net, noisy, target, **options))
    maps = sum((each.maps for each in found), torch.zeros_like(found[0].maps)) / samples
    layers = {
        name: sum((each.layers[name] for each in found), torch.zeros_like(layer)) / samples
        for name, layer in found[0].layers.items()
    }
    return Relevance(maps, logits, layers)


def _fix(target: Target | Tensor, logits: Tensor, choice: Choice) -> tuple[Target | Tensor, Choice]:
    """The target with the class that the clean images have."""
    if isinstance(target, str) and target in (*EVERY, "max-probability"):
        return target, choice
    chosen = choose_classes(
        logits, target, probability=choice.probability, generator=choice.generator,
        classes=choice.classes, draws=choice.draws,
    )  # fmt: skip
    if isinstance(target, str) and target == "selective":
        return target, replace(choice, classes=chosen)
    return chosen, choice


def _cut(x: Tensor, zb: Any) -> Tensor:
    if zb is None:
        return x
    low, high = (torch.as_tensor(b, dtype=x.dtype, device=x.device).reshape(-1, 1, 1) for b in zb)
    return torch.minimum(torch.maximum(x, low), high)
