"""One call: relevance maps of an untouched network, differentiable in its weights."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from isnet_lrp.errors import RelevanceError
from isnet_lrp.layers import LayerWatch, choose_layers
from isnet_lrp.record.recorder import Recorder, Rules, check_visible
from isnet_lrp.record.recording import Bounds, Recording, check_pixels, read_bounds
from isnet_lrp.record.tracing import is_tracing
from isnet_lrp.targets import (
    TARGETS,
    Target,
    choose_classes,
    make_block_seed,
    make_flex_seed,
    make_one_hot,
)

Family = Literal["flex", "block", "z+", "dual"]
FAMILIES: tuple[str, ...] = ("flex", "block", "z+", "dual")


@dataclass(frozen=True)
class Relevance:
    """Result of `relevance`.

    Attributes:
        maps: Signed relevance of the pixels [B, K', C, H, W]; K' is K for target "all", 2 for
            family "dual" (z+ map, epsilon map), else 1.
        logits: The network's outputs [B, K] of the same forward pass, with their graph.
        layers: Relevance of the asked hidden layers {name: [B, K', C, h, w]}.
    """

    maps: Tensor
    logits: Tensor
    layers: dict[str, Tensor] = field(default_factory=dict)


@torch.inference_mode(False)
def relevance(
    net: nn.Module,
    x: Tensor,
    target: Target | Tensor = "predicted",
    *,
    family: Family = "flex",
    epsilon: float = 0.01,
    zb: Bounds | None = None,
    layers: Sequence[str] | Literal["auto"] = (),
    create_graph: bool = False,
    delta: float = 0.01,
    probability: float = 0.5,
    generator: torch.Generator | None = None,
    draws: Tensor | None = None,
    classes: Tensor | None = None,
    batch_norm: Literal["constant", "full"] = "constant",
    precision: Literal["float32", "mixed"] = "float32",
    memory: int | None = None,
    checkpoint: bool = False,
    check: bool = True,
) -> Relevance:
    """Makes layer-wise relevance propagation maps (Bassi et al. 2024; docs/lrp.md, sections 2, 3).

    The network is not changed: its mode, parameters and the random state stay as they are
    (BatchNorm in training mode updates its running statistics, as in any forward pass). The
    forward pass is recorded, and the backward pass reads the record from its end.

    Args:
        net: Network [B, C, H, W] -> [B, K]; docs/networks.md lists what was tried.
        x: Images [B, C, H, W].
        target: What a map explains. "all": every logit (K maps); "predicted": the largest;
            "stochastic": the largest with `probability`, else another; "selective": the contrast
            of the smallest (or of `classes`) with the others; "every-logit-at-once": the sum of all
            maps; "max-probability" ("flex"): the largest softmax; or class indices, int64 [B].
        family: "flex": LRP-Flex, epsilon factors at ReLUs. "block": LRP Block, at every affine
            output. "z+": only positive contributions. "dual": z+ map and block map together.
            Epsilon 0 with "flex" is LRP-0, which is gradient x input.
        epsilon: Stabiliser, >= 0.
        zb: (low, high) bounds of the pixels, numbers or tensors [C]: the first layer follows the
            zB rule; None: it follows the family's rule. For images normalised by mean and
            s.d. the bounds are (0-mean)/sd and (1-mean)/sd per channel.
        layers: Names of modules whose outputs' relevance is wanted too, or "auto": the last
            activation of each spatial size.
        create_graph: True for training: maps can be differentiated with respect to the weights.
        delta: Offset of the selective target of LRP-Flex, >= 0.
        probability: Of the predicted class in the stochastic target.
        generator: Random source of the stochastic target (on the CPU).
        draws: Chance of the stochastic target drawn before, [2, B] in [0, 1), instead.
        classes: Class of the selective contrast, int64 [B]; None: the smallest logit.
        batch_norm: BatchNorm in training mode. "constant": batch statistics are constants of the
            pass, so no relevance of one image lands on another. "full": as the published code, to
            compare (LRP-Flex differentiates through them, LRP Block takes the unbiased variance).
        precision: "float32": all in the type of the images. "mixed": the forward pass so, the
            relevance pass and the training backward pass in bfloat16 (not for "z+" and "dual").
        memory: Bytes that the maps of one pass may take: several maps are then made in series,
            as many at once as fit, at least one; None: all at once.
        checkpoint: True makes the relevance pass anew in the training backward pass instead of
            keeping it: less memory for one more pass (not for "z+" and the z+ map of "dual").
        check: Look at the values of images, bounds and class indices, which waits for the device;
            False: trust them, as a training does whose images are known.

    Returns:
        Maps, logits and layers. Without `create_graph` all are detached.

    Raises:
        UnsupportedOperation: An operation has no rule, or zB finds no first layer.
        RelevanceError: Unknown family or target, a bad shape, class index, epsilon or layer, NaN
            among the pixels, pixels outside the bounds, or outputs that do not depend on the image.
    """
    _check(x, target, family, batch_norm)
    _check_numbers(epsilon, delta, probability)
    if memory is not None and memory < 0:
        raise RelevanceError(f"memory {memory}: expected bytes, 0 or more, or None")
    bounds = None if zb is None else read_bounds(zb, x)
    if check and x.numel() > 0 and not is_tracing():
        check_pixels(x, bounds)
    _check_precision(x, family, precision, create_graph)
    image = x.clone() if x.is_inference() else x.detach()
    if zb is None or not all(p.requires_grad for p in net.parameters()):
        image = image.requires_grad_()
    block, positive = family in ("block", "dual"), family in ("z+", "dual")
    full_batch_norm, mixed = batch_norm == "full", precision == "mixed"
    rules = Rules(epsilon, block, positive, full_batch_norm, mixed)
    recorder = Recorder(rules, image, stem=zb is not None)
    logits, hidden = _record(net, image, recorder, layers)
    explained = "every-logit-at-once" if family == "dual" else target
    with nullcontext() if create_graph else torch.no_grad():
        chosen = _chosen(logits, explained, probability, generator, draws, classes, check)
        call = Recording(
            recorder, image, logits, bounds, epsilon, hidden, mixed, memory, checkpoint
        )
        found = _run_families(call, explained, chosen, delta)
    return found if create_graph else _detached(found)


def _chosen(
    logits: Tensor,
    target: Target | Tensor,
    probability: float,
    generator: torch.Generator | None,
    draws: Tensor | None,
    classes: Tensor | None,
    check: bool,
) -> Tensor | None:
    """The class of every image [B], or None for the targets that concern all logits."""
    if isinstance(target, str) and target in ("all", "every-logit-at-once"):
        return None
    return choose_classes(
        logits, target, probability=probability, generator=generator, draws=draws, classes=classes,
        check=check,
    )  # fmt: skip


def _run_families(
    call: Recording, target: Target | Tensor, chosen: Tensor | None, delta: float
) -> Relevance:
    """Maps and layers of every family that the record was made for, one after the other."""
    rules, logits, parts = call.recorder.rules, call.logits, []
    if rules.values:
        parts.append(call.propagate_positive(make_one_hot(logits, target, chosen)))
    if rules.block:
        zero = call.find_logit_correction()
        seed = make_block_seed(logits, target, chosen, rules.epsilon, zero)
        parts.append(call.propagate_signals(seed))
    if not (rules.values or rules.block):
        parts.append(call.propagate_signals(make_flex_seed(logits, target, chosen, delta)))
    maps = torch.cat([p[0] for p in parts]).transpose(0, 1)
    deep = {n: torch.cat([p[1][n] for p in parts]).transpose(0, 1) for n in call.hidden}
    return Relevance(maps, logits, deep)


def _detached(found: Relevance) -> Relevance:
    deep = {name: layer.detach() for name, layer in found.layers.items()}
    return Relevance(found.maps.detach(), found.logits.detach(), deep)


def _record(
    net: nn.Module, image: Tensor, recorder: Recorder, layers: Sequence[str] | Literal["auto"]
) -> tuple[Tensor, dict[str, tuple[int, Tensor]]]:
    """Runs the network; its logits, and the hidden layers (node, activation) by name."""
    check_visible(net)
    watch = LayerWatch(net, () if layers == "auto" else layers, recorder)
    with torch.enable_grad(), watch, recorder:
        logits = net(image)
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise RelevanceError(f"the network returned {found}: expected logits [B, K]")
    if layers == "auto":
        return logits, choose_layers(recorder, image, logits)
    return logits, watch.collect_layers()


def _check(x: Tensor, target: Target | Tensor, family: str, norm: str) -> None:
    if family not in FAMILIES:
        raise RelevanceError(f"family {family!r}: expected one of {', '.join(FAMILIES)}")
    if isinstance(target, str) and target not in TARGETS:
        raise RelevanceError(
            f"target {target!r}: expected one of {', '.join(TARGETS)} or class indices [B]"
        )
    if isinstance(target, str) and target == "max-probability" and family != "flex":
        raise RelevanceError(
            f"target 'max-probability' with family {family!r}: the rule of the softmax is its "
            "gradient, which belongs to 'flex'"
        )
    if norm not in ("constant", "full"):
        raise RelevanceError(f"batch_norm {norm!r}: expected 'constant' or 'full'")
    if x.dim() != 4 or not x.is_floating_point():
        raise RelevanceError(
            f"images {tuple(x.shape)} {x.dtype}: expected floating point [B, C, H, W]"
        )


def _check_numbers(epsilon: float, delta: float, probability: float) -> None:
    if not 0 <= epsilon < float("inf"):
        raise RelevanceError(f"epsilon {epsilon}: expected a number >= 0")
    if not delta >= 0:
        raise RelevanceError(f"delta {delta}: expected >= 0")
    if not 0 <= probability <= 1:
        raise RelevanceError(f"probability {probability}: expected a number from 0 to 1")


def _check_precision(x: Tensor, family: str, precision: str, create_graph: bool) -> None:
    if precision not in ("float32", "mixed"):
        raise RelevanceError(f"precision {precision!r}: expected 'float32' or 'mixed'")
    if precision == "mixed" and (family not in ("flex", "block") or x.dtype != torch.float32):
        raise RelevanceError(
            f"precision 'mixed' with family {family!r} and {x.dtype} images: it exists for float32 "
            "images with 'flex' and 'block'"
        )
    half = x.dtype in (torch.float16, torch.bfloat16)
    kind = x.device.type
    autocast = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    if create_graph and (half or autocast):
        raise RelevanceError(
            "a forward pass in half precision turns the gradient of a map loss: leave autocast, "
            "give float32 images, and use precision='mixed' for speed"
        )
