"""One call: relevance maps of an untouched network, differentiable in its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from isnet_lrp.errors import RelevanceError
from isnet_lrp.families import BUILT_IN, compose
from isnet_lrp.family import Family, Rule, find_family
from isnet_lrp.layers import LayerWatch, choose_layers, make_masks, name_modules
from isnet_lrp.options import Choice, Compute
from isnet_lrp.record.recorder import Recorder, Rules, check_visible
from isnet_lrp.record.recording import Bounds, Recording, check_pixels, read_bounds
from isnet_lrp.record.tracing import is_tracing
from isnet_lrp.targets import EVERY, TARGETS, Target, choose_classes

FamilyName = Literal["flex", "block", "z+", "dual"]  # those that a training has settings for
FAMILIES: tuple[str, ...] = BUILT_IN


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
    family: FamilyName | str = "flex",
    epsilon: float = 0.01,
    zb: Bounds | None = None,
    rules: Mapping[str | type[nn.Module], Rule] | None = None,
    layers: Sequence[str] | Literal["auto"] = (),
    conditions: Mapping[str, Sequence[int] | Tensor] | None = None,
    create_graph: bool = False,
    batch_norm: Literal["constant", "full"] = "constant",
    choice: Choice | None = None,
    compute: Compute | None = None,
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
            docs/relevance.md has the others. Epsilon 0 with "flex" is LRP-0, which is gradient x
            input in networks of ReLUs.
        epsilon: Stabiliser, >= 0.
        zb: (low, high) bounds of the pixels, numbers or tensors [C]: the first layer follows the
            zB rule; None: it follows the family's rule. For images normalised by mean and
            s.d. the bounds are (0-mean)/sd and (1-mean)/sd per channel.
        rules: Rules of some layers, by name or class of the module, for families that carry
            relevance ("epsilon" and others): {"features.0": ZB(0, 1), nn.Linear: Epsilon(1e-6)}.
        layers: Names of modules whose outputs' relevance is wanted too, or "auto": the last
            activation of each spatial size.
        conditions: Only relevance that passes through these channels of these layers counts
            (concept relevance; Achtibat et al. 2023, arXiv 2206.03208): {"layer4": [12, 40]}. The
            channels are the output's second axis, or its last if it has three. A tensor is a
            factor of the output's relevance.
        create_graph: True for training: maps can be differentiated with respect to the weights.
        batch_norm: BatchNorm in training mode. "constant": batch statistics are constants of the
            pass, so no relevance of one image lands on another. "full": as the published code, to
            compare (LRP-Flex differentiates through them, LRP Block takes the unbiased variance).
        choice: How a class is chosen where the target chooses.
        compute: Precision, memory, checks.

    Returns:
        Maps, logits and layers. Without `create_graph` all are detached.

    Raises:
        UnsupportedOperation: An operation has no rule, or zB finds no first layer.
        RelevanceError: Unknown family or target, a bad shape, class index, epsilon or layer, NaN
            among the pixels, pixels outside the bounds, or outputs that do not depend on the image.
    """
    choice, compute = choice or Choice(), compute or Compute()
    families = find_family(family)
    if rules:
        families = tuple(compose(part, net, rules) for part in families)
    _check(x, target, family, families, batch_norm)
    if not 0 <= epsilon < float("inf"):
        raise RelevanceError(f"epsilon {epsilon}: expected a number >= 0")
    choice.check()
    bounds = None if zb is None else read_bounds(zb, x)
    if compute.check and x.numel() > 0 and not is_tracing():
        check_pixels(x, bounds)
    compute.check_for(x, families, create_graph)
    image = x.clone() if x.is_inference() else x.detach()
    if zb is None or not all(p.requires_grad for p in net.parameters()):
        image = image.requires_grad_()
    full, mixed = batch_norm == "full", compute.precision == "mixed"
    asked = Rules.of(families, epsilon, full_batch_norm=full, mixed=mixed)
    recorder = Recorder(asked, image, stem=zb is not None)
    masked = conditions or {}
    logits, hidden, conditioned = _record(net, recorder, layers, tuple(masked), bool(rules))
    explained: Target | Tensor = target if len(families) == 1 else "every-logit-at-once"
    with nullcontext() if create_graph else torch.no_grad():
        chosen = _chosen(logits, explained, choice, compute.check)
        call = Recording(
            recorder, image, logits, bounds, hidden, make_masks(conditioned, masked),
            compute.memory, compute.checkpoint,
        )  # fmt: skip
        found = _run(call, families, explained, chosen, choice.delta)
    return found if create_graph else _detached(found)


def _chosen(logits: Tensor, target: Target | Tensor, choice: Choice, check: bool) -> Tensor | None:
    """The class of every image [B], or None for the targets that concern all logits."""
    if isinstance(target, str) and target in EVERY:
        return None
    return choose_classes(
        logits, target, probability=choice.probability, generator=choice.generator,
        classes=choice.classes, draws=choice.draws, check=check,
    )  # fmt: skip


def _run(
    call: Recording,
    families: tuple[Family, ...],
    target: Target | Tensor,
    chosen: Tensor | None,
    delta: float,
) -> Relevance:
    """Maps and layers of every family that the record was made for, one after the other."""
    begin = call.begin(target, chosen, delta)
    parts = [call.propagate(family, family.start(begin)) for family in families]
    maps = torch.cat([p[0] for p in parts]).transpose(0, 1)
    deep = {n: torch.cat([p[1][n] for p in parts]).transpose(0, 1) for n in call.hidden}
    return Relevance(maps, call.logits, deep)


def _detached(found: Relevance) -> Relevance:
    deep = {name: layer.detach() for name, layer in found.layers.items()}
    return Relevance(found.maps.detach(), found.logits.detach(), deep)


def _record(
    net: nn.Module,
    recorder: Recorder,
    layers: Sequence[str] | Literal["auto"],
    conditions: tuple[str, ...],
    named: bool,
) -> tuple[Tensor, dict[str, tuple[int, Tensor]], dict[str, tuple[int, Tensor]]]:
    """Runs the network; its logits, hidden layers and conditioned ones (node, activation)."""
    check_visible(net)
    automatic, image = layers == "auto", recorder.image
    watches = [
        LayerWatch(net, () if automatic else layers, recorder),
        LayerWatch(net, conditions, recorder),
    ]
    with torch.enable_grad(), ExitStack() as stack:
        for watch in watches:
            stack.enter_context(watch)
        if named:
            stack.enter_context(name_modules(net, recorder))
        stack.enter_context(recorder)
        logits = net(image)
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise RelevanceError(f"the network returned {found}: expected logits [B, K]")
    hidden, conditioned = (watch.collect_layers() for watch in watches)
    return logits, choose_layers(recorder, image, logits) if automatic else hidden, conditioned


def _check(
    x: Tensor, target: Target | Tensor, family: str, families: tuple[Family, ...], norm: str
) -> None:
    if isinstance(target, str) and target not in TARGETS:
        raise RelevanceError(
            f"target {target!r}: expected one of {', '.join(TARGETS)} or class indices [B]"
        )
    if isinstance(target, str) and not all(target in part.targets for part in families):
        raise RelevanceError(
            f"target {target!r} with family {family!r}: the rule of the softmax is its "
            "gradient, which belongs to 'flex'"
        )
    if norm not in ("constant", "full"):
        raise RelevanceError(f"batch_norm {norm!r}: expected 'constant' or 'full'")
    if x.dim() != 4 or not x.is_floating_point():
        raise RelevanceError(
            f"images {tuple(x.shape)} {x.dtype}: expected floating point [B, C, H, W]"
        )
