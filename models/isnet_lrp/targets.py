"""Which quantity a map explains, per image, as the signal that starts at the logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from isnet_lrp.errors import RelevanceError
from isnet_lrp.kernels.epsilon import apply_epsilon_factor, stabilise
from isnet_lrp.record.graph import Op
from isnet_lrp.record.tracing import is_tracing

Target = Literal[
    "all", "predicted", "stochastic", "selective", "every-logit-at-once", "max-probability"
]
TARGETS: tuple[str, ...] = get_args(Target)
EVERY = ("all", "every-logit-at-once")  # targets that concern all logits
INDEX_TYPES = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def choose_classes(
    logits: Tensor,
    target: Target | Tensor,
    *,
    probability: float = 0.5,
    generator: torch.Generator | None = None,
    classes: Tensor | None = None,
    draws: Tensor | None = None,
    check: bool = False,
) -> Tensor:
    """The class that every image's one map explains, int64 [B].

    Args:
        logits: [B, K].
        target: "predicted", "max-probability": the largest logit. "stochastic": the largest with
            `probability`, else a uniformly drawn other class. "selective": `classes`, or the
            smallest logit. Or class indices [B] themselves.
        probability: 0 to 1.
        generator: Random source of the stochastic choice (on the CPU).
        classes: For "selective", int64 [B].
        draws: Chance of the stochastic choice, drawn before (`draw_chances`), or None.
        check: Look at class indices on any device, not on the CPU alone.

    Raises:
        RelevanceError: Unknown target, or class indices of the wrong shape or range.
    """
    if isinstance(target, Tensor):
        return check_classes(target, logits, check)
    if target in ("predicted", "max-probability"):
        return logits.argmax(1)
    if target == "stochastic":
        return choose_stochastic(logits, probability, generator, draws)
    if target == "selective":
        if logits.shape[1] < 2:
            raise RelevanceError(
                "target 'selective' contrasts classes: it needs two or more logits"
            )
        return logits.argmin(1) if classes is None else check_classes(classes, logits, check)
    raise RelevanceError(
        f"target {target!r}: expected one of {', '.join(TARGETS)} or class indices [B]"
    )


def draw_chances(images: int, generator: torch.Generator | None) -> Tensor:
    """Chance of the stochastic choice of that many images: [2, images], 0 to 1."""
    return torch.rand(2, images, generator=generator)


def choose_stochastic(
    logits: Tensor,
    probability: float,
    generator: torch.Generator | None,
    draws: Tensor | None = None,
) -> Tensor:
    """Class per image, int64 [B]: the largest logit with `probability`, else any other class."""
    B, K = logits.shape
    best = logits.argmax(1)
    if K == 1:
        return best
    draws = draw_chances(B, generator) if draws is None else draws
    draws = draws.to(logits.device, non_blocking=True)
    other = (best + 1 + (draws[1] * (K - 1)).long().clamp(max=K - 2)) % K
    return torch.where(draws[0] < probability, best, other)


def make_one_hot(logits: Tensor, target: Target | Tensor, classes: Tensor | None) -> Tensor:
    """Which logits every map explains: 0/1 [K', B, K].

    Args:
        logits: [B, K].
        target: "all": K' = K, else 1; "every-logit-at-once": all ones.
        classes: For the other targets, int64 [B].
    """
    B, K = logits.shape
    if isinstance(target, str) and target == "all":
        return torch.eye(K, dtype=logits.dtype, device=logits.device)[:, None].expand(K, B, K)
    if classes is None:
        return logits.new_ones(1, B, K)
    every = torch.arange(K, device=logits.device)  # torch's make_one_hot would wait for the device
    return (classes[:, None] == every).to(logits.dtype)[None]


@dataclass(frozen=True)
class Begin:
    """What a pass may begin with.

    Attributes:
        logits: [B, K].
        target: What is explained.
        classes: Class of every image, int64 [B], or None for the targets that concern all logits.
        epsilon: Stabiliser, >= 0.
        delta: Offset of the selective target of LRP-Flex, >= 0.
        zero: Zero-valued correction [K] that makes the logits' biases constants, or None.
        last: The operation that made the logits, as the pass sees it.
    """

    logits: Tensor
    target: Target | Tensor
    classes: Tensor | None
    epsilon: float = 0.01
    delta: float = 0.01
    zero: Tensor | None = None
    last: Op | None = None

    def is_target(self, *names: str) -> bool:
        """Whether the target is one of these."""
        return isinstance(self.target, str) and self.target in names

    def one_hot(self) -> Tensor:
        """Which logits every map explains: 0/1 [K', B, K]."""
        return make_one_hot(self.logits, self.target, self.classes)


def start_with_gradient(begin: Begin) -> Tensor:
    """The gradient of the explained quantity [K', B, K].

    Source: docs/lrp.md, section 3.3.

    The selective quantity is ln(p+delta) - ln(1-p+delta), p the softmax of the chosen class c:
    its gradient is p·(1/(p+delta) + 1/(1-p+delta))·(e_c - softmax). That of the largest
    probability is p·(e_c - softmax).
    """
    chosen, delta = begin.one_hot(), begin.delta
    if not begin.is_target("selective", "max-probability"):
        return chosen
    softmax = begin.logits.softmax(1)
    p = (softmax * chosen[0]).sum(1, keepdim=True)
    factor = p * (1 / (p + delta) + 1 / (1 - p + delta)) if begin.is_target("selective") else p
    return factor * (chosen - softmax)


def start_with_logits(begin: Begin) -> Tensor:
    """Relevance at the logits [K', B, K]: their values; against the others in "selective".

    The relevance of a logit in the selective contrast is that logit times its signal (docs/lrp.md,
    section 2.10).
    """
    if begin.is_target("selective"):
        return begin.logits * start_with_sites(begin)
    return begin.one_hot() * begin.logits


def start_with_sites(begin: Begin) -> Tensor:
    """Signal at the logits for LRP Block [K', B, K] (docs/lrp.md, sections 2.9, 2.10).

    A class' map starts with y/(y + epsilon·sgn y) at its logit y, whose bias is a constant. The
    selective map starts with Z·p'/(Z + epsilon·sgn Z) at each difference Z = y_c - y_k, p' the
    softmax over the classes other than c.
    """
    epsilon = begin.epsilon
    y = begin.logits if begin.zero is None else begin.logits + begin.zero
    chosen = begin.one_hot()
    if not begin.is_target("selective"):
        return apply_epsilon_factor(chosen, y, epsilon)
    Z = (y * chosen[0]).sum(1, keepdim=True) - y
    # exp(-Z)/(sum of the others' exp(-Z) + 1e-5), without overflow.
    shifted = (y - y.detach().amax(1, keepdim=True)).exp()
    own = shifted * chosen[0]
    others = shifted - own
    p = others / (others.sum(1, keepdim=True) + 1e-5 * own.sum(1, keepdim=True))
    s = Z * p / stabilise(Z, epsilon) if epsilon > 0 else p
    return chosen * s.sum(1, keepdim=True) - s


def check_classes(classes: Tensor, logits: Tensor, check: bool = False) -> Tensor:
    """Class indices int64 [B] for logits [B, K].

    Args:
        classes: The indices.
        logits: The network's outputs.
        check: Look at their range on any device, which waits for it, not on the CPU alone.

    Raises:
        RelevanceError: A wrong shape or type, or an index out of range.
    """
    B, K = logits.shape
    if classes.shape != (B,) or classes.dtype not in INDEX_TYPES:
        raise RelevanceError(
            f"class indices {tuple(classes.shape)} {classes.dtype}: expected int64 [{B}]"
        )
    look = (check or classes.device.type == "cpu") and not (classes.is_meta or is_tracing())
    if look and B > 0 and not (int(classes.min()) >= 0 and int(classes.max()) < K):
        raise RelevanceError(
            f"class indices {int(classes.min())} to {int(classes.max())}: the network has "
            f"{K} classes, expected 0 to {K - 1}"
        )
    return classes.long().to(logits.device, non_blocking=True)
