"""One call: relevance maps of an untouched network, differentiable in its weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from isnet_models.lrp.rules import Phase
from isnet_models.lrp.tape import FirstLayer, Tape, UnsupportedOperation
from isnet_models.lrp.targets import Target, quantities
from isnet_models.lrp.zb import first_layer_relevance

Bounds = tuple[float | Tensor, float | Tensor]


@dataclass(frozen=True)
class Relevance:
    """Result of `relevance`.

    Attributes:
        maps: Signed relevance of the pixels [B, K', C, H, W]; K' is 1, or K for target "all".
        logits: The network's outputs [B, K] of the same forward pass, with their graph.
    """

    maps: Tensor
    logits: Tensor


def relevance(
    net: nn.Module,
    x: Tensor,
    target: Target | Tensor = "predicted",
    *,
    epsilon: float = 0.01,
    zb: Bounds | None = None,
    create_graph: bool = False,
    delta: float = 0.01,
    probability: float = 0.5,
    generator: torch.Generator | None = None,
) -> Relevance:
    """Makes LRP-Flex heat maps (Faster ISNet, IEEE Access 2024; LRP_SPEC section 3).

    R = t ⊙ G: G is the gradient of the explained quantity with each ReLU's backward signal
    multiplied by a/(a+epsilon); t is the image or, with `zb`, the first ReLU's output, whose
    relevance is carried to the pixels by the zB rule. The network is not changed; its mode and
    parameters stay as they are (BatchNorm in training mode updates its running statistics, as in
    any forward pass, and its batch statistics are constants of the map).

    Args:
        net: Network of linear operations, ReLU, BatchNorm and pooling; [B, C, H, W] -> [B, K].
        x: Images [B, C, H, W].
        target: See `isnet_models.lrp.targets.quantities`.
        epsilon: Stabiliser, >= 0; 0 is gradient x input.
        zb: (low, high) bounds of the pixels, numbers or tensors [C]; None: no zB rule.
        create_graph: True for training: maps can be differentiated with respect to the weights.
        delta: Offset of the selective target.
        probability: Of the predicted class in the stochastic target.
        generator: Random source of the stochastic target.

    Returns:
        Maps and logits. Without `create_graph`, both are detached.

    Raises:
        UnsupportedOperation: The network has an operation without rule, or zB finds no first
            layer of the form convolution (-> BatchNorm) -> ReLU.
        ValueError: Negative epsilon or unknown target.
    """
    if epsilon < 0:
        raise ValueError(f"epsilon {epsilon}: expected >= 0")
    phase = Phase(epsilon)
    image = x.detach()
    if zb is None:
        image = image.requires_grad_()
    with torch.enable_grad():
        tape = Tape(phase, image)
        with tape:
            logits = net(image)
        start = image if zb is None else _first_output(tape)
        quantity = quantities(
            logits, target, delta=delta, probability=probability, generator=generator
        )
        gradients = _explain(phase, quantity, start, create_graph)
        maps = [start * torch.nan_to_num(g) for g in gradients]
        if zb is not None and tape.first is not None:
            low, high = (_bound(b, image) for b in zb)
            maps = [first_layer_relevance(image, r, tape.first, epsilon, low, high) for r in maps]
    stacked = torch.stack(maps, 1)
    if not create_graph:
        return Relevance(stacked.detach(), logits.detach())
    return Relevance(stacked, logits)


def _explain(
    phase: Phase, quantity: list[Tensor], start: Tensor, create_graph: bool
) -> list[Tensor]:
    """Relevance backward pass of each quantity to `start`, [B, ...] each."""
    phase.explaining = True
    try:
        last = len(quantity) - 1
        return [
            torch.autograd.grad(
                q.sum(), start, create_graph=create_graph, retain_graph=create_graph or i < last
            )[0]
            for i, q in enumerate(quantity)
        ]
    finally:
        phase.explaining = False


def _first_output(tape: Tape) -> Tensor:
    first: FirstLayer | None = tape.first
    if first is None or first.output is None:
        raise UnsupportedOperation(
            "zB rule: the network does not start with convolution (-> BatchNorm) -> ReLU"
        )
    return first.output


def _bound(value: float | Tensor, image: Tensor) -> Tensor:
    bound = torch.as_tensor(value, dtype=image.dtype, device=image.device)
    return bound.expand(image.shape[1])
