"""Relevance of a whole step, forward pass and maps, compiled by `torch.compile`.

A compiler that meets the network alone takes its first derivative only. Here the forward pass
and the relevance pass are traced together as forward operations, so that the compiler derives the
gradient of the maps as it derives any other. One compilation per shape: minutes on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.stateless import _reparametrize_module

from isnet_lrp.errors import RelevanceError
from isnet_lrp.families import FLEX
from isnet_lrp.maps import Relevance
from isnet_lrp.record.recorder import Recorder, Rules
from isnet_lrp.record.recording import Bounds, Recording, check_pixels, read_bounds
from isnet_lrp.record.tracing import trace
from isnet_lrp.record.visibility import check_visible
from isnet_lrp.targets import (
    EVERY,
    TARGETS,
    Target,
    check_classes,
    choose_classes,
    draw_chances,
)

Step = Callable[..., Any]
EQUAL = 1e-4  # largest difference between the same operations run by torch, of the largest value
MAPS, LOGITS = "maps", "logits"
Tried = dict[str, dict[str, Tensor]]  # {what: {parameter: values}}
ALIKE = 0.99  # least cosine between results of different kernels, whose rounding can tip a ReLU
# Dropout's random numbers as without compiler; a memory layout in which convolutions are quick.
INDUCTOR = (("fallback_random", True), ("layout_optimization", False))


@dataclass(frozen=True)
class Options:
    """What is compiled; see `isnet_lrp.relevance` for each."""

    target: Target = "predicted"
    epsilon: float = 0.01
    zb: Bounds | None = None
    delta: float = 0.01
    probability: float = 0.5


class CompiledRelevance:
    """LRP-Flex maps of a network, compiled, with exact gradients for training.

    Parameters and BatchNorm statistics are read and, in training mode, updated where they are, so
    optimisers and checkpoints work as with the plain network. Every new combination of shape, type
    and training mode is compiled at its first use and tried against the plain way: the traced
    operations must give its maps and weight gradients, and the compiled ones the same but for
    rounding.

    Args:
        net: The network, as for `relevance`.
        options: What is explained.
        generator: Random source of the stochastic target (on the CPU).
        backend: Backend of `torch.compile`.

    Raises:
        RelevanceError: An unknown target.
    """

    def __init__(
        self,
        net: nn.Module,
        options: Options,
        generator: torch.Generator | None = None,
        backend: str = "inductor",
    ) -> None:
        if options.target not in TARGETS:
            raise RelevanceError(f"target {options.target!r}: expected one of {', '.join(TARGETS)}")
        check_visible(net)
        self.net = net
        self.options = options
        self.generator = generator
        self.backend = backend
        self._made: dict[tuple[Any, ...], Step] = {}

    def __call__(self, x: Tensor, classes: Tensor | None = None) -> Relevance:
        """Maps and logits, differentiable in the weights while gradients are enabled.

        Args:
            x: Images [B, C, H, W], finite.
            classes: For the target "selective": the class contrasted with the others, int64 [B];
                None: the smallest logit.

        Raises:
            RelevanceError: A bad shape or class, or a compiled step that disagrees with the plain
                one.
        """
        given = self._given(x, classes)
        step = self._made_for(x, given)
        maps, logits = step(self._state(), x.detach(), given)
        if classes is not None:
            check_classes(classes, logits)
        return Relevance(maps, logits)

    def prepare(self, x: Tensor) -> None:
        """Compiles for images like `x`, in the network's present mode.

        Args:
            x: Images [B, C, H, W], finite and within the bounds.

        Raises:
            RelevanceError: They are not.
        """
        zb = self.options.zb
        check_pixels(x, None if zb is None else read_bounds(zb, x))
        draws = torch.zeros(2, len(x), device=x.device)
        self._made_for(x, {"draws": draws} if self.options.target == "stochastic" else {})

    def _made_for(self, x: Tensor, given: dict[str, Tensor]) -> Step:
        if x.dim() != 4 or not x.is_floating_point():
            raise RelevanceError(
                f"images {tuple(x.shape)} {x.dtype}: expected floating point [B, C, H, W]"
            )
        modes = tuple(module.training for module in self.net.modules())
        key = (x.shape, x.dtype, x.device, modes, tuple(sorted(given)), torch.is_grad_enabled())
        if key not in self._made:
            self._made[key] = self._compile(x, given)
        return self._made[key]

    def _given(self, x: Tensor, classes: Tensor | None) -> dict[str, Tensor]:
        """What is decided outside the compiled step."""
        if self.options.target == "stochastic":
            return {"draws": draw_chances(len(x), self.generator).to(x.device)}
        return {} if classes is None else {"classes": classes}

    def _state(self) -> list[Tensor]:
        return [*self.net.parameters(), *self.net.buffers()]

    def _step(
        self, state: list[Tensor], x: Tensor, given: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Maps [B, K', C, H, W] and logits [B, K] as a function of parameters and buffers."""
        o = self.options
        names = [name for name, _ in self.net.named_parameters()]
        names += [name for name, _ in self.net.named_buffers()]
        image = x.detach().requires_grad_()
        recorder = Recorder(Rules(o.epsilon), image)
        named = dict(zip(names, state, strict=True))
        with _reparametrize_module(self.net, named), torch.enable_grad():
            with recorder:
                logits = self.net(image)
            chosen = None
            if o.target not in EVERY:
                chosen = choose_classes(
                    logits, o.target, probability=o.probability, draws=given.get("draws"),
                    classes=given.get("classes"),
                )  # fmt: skip
            recording = Recording(recorder, image, logits, o.zb)
            begin = recording.begin(o.target, chosen, o.delta)
            maps, _ = recording.propagate(FLEX, FLEX.start(begin))
        return maps.transpose(0, 1), logits

    def _compile(self, x: Tensor, given: dict[str, Tensor]) -> Step:
        graph = trace(self._step, self._state(), x, given)
        plain = self._trial(self._step, x, given)
        _require_equal(plain, self._trial(graph, x, given))
        step = torch.compile(
            graph, backend=self.backend, fullgraph=True, dynamic=False,
            options=dict(INDUCTOR) if self.backend == "inductor" else None,
        )  # fmt: skip
        _require_alike(plain, self._trial(step, x, given))
        return step

    def _trial(self, step: Step, x: Tensor, given: dict[str, Tensor]) -> Tried:
        """Maps, logits and gradients of random sums of each, leaving the network as it is."""
        buffers = [b.clone() for b in self.net.buffers()]
        found: Tried = {}
        for what in (MAPS, LOGITS):
            try:
                with torch.random.fork_rng([x.device] if x.device.type == "cuda" else []):
                    found |= self._tried(what, step, x, given)
            finally:
                with torch.no_grad():
                    for b, before in zip(self.net.buffers(), buffers, strict=True):
                        b.copy_(before)
        return found

    def _tried(self, what: str, step: Step, x: Tensor, given: dict[str, Tensor]) -> Tried:
        values = dict(zip((MAPS, LOGITS), step(self._state(), x.detach(), given), strict=True))
        value = values[what]
        named = {n: p for n, p in self.net.named_parameters() if p.requires_grad}
        found = {what: {"": value.detach()}}
        if torch.is_grad_enabled() and value.requires_grad:
            w = torch.randn(value.shape, generator=torch.Generator().manual_seed(0)).to(value)
            grads = torch.autograd.grad((w * value).sum(), list(named.values()), allow_unused=True)
            found[f"gradients of {what}"] = {
                n: torch.zeros_like(named[n]) if g is None else g
                for n, g in zip(named, grads, strict=True)
            }
        elif torch.is_grad_enabled() and named:
            found[f"gradients of {what}"] = {n: torch.zeros_like(p) for n, p in named.items()}
        return found


def _require_equal(plain: Tried, traced: Tried) -> None:
    """Raises unless values and gradients are the same to `EQUAL`."""
    for what, values in plain.items():
        scale = max(float(a.abs().max()) for a in values.values())
        for name, a in values.items():
            apart = float((a - traced[what][name]).abs().max()) / max(scale, 1e-30)
            if not apart <= EQUAL:
                raise _disagree(f"{what} {name} differ by {apart:.2g} of the largest value")


def _require_alike(plain: Tried, compiled: Tried) -> None:
    """Raises unless values, and gradients as a whole, point the same way to `ALIKE`."""
    for what, values in plain.items():
        a, b = (torch.cat([t[what][n].flatten() for n in values]) for t in (plain, compiled))
        cosine = float(torch.nn.functional.cosine_similarity(a.double(), b.double(), dim=0))
        if not (cosine >= ALIKE or torch.equal(a, b)):
            raise _disagree(f"{what} have a cosine of {cosine:.3f}")


def _disagree(how: str) -> RelevanceError:
    return RelevanceError(
        f"compiled relevance: {how}, compared with the plain one; use isnet_lrp.relevance "
        "and report this network"
    )


def compiled_relevance(
    net: nn.Module,
    example_x: Tensor,
    target: Target = "predicted",
    *,
    epsilon: float = 0.01,
    zb: Bounds | None = None,
    delta: float = 0.01,
    probability: float = 0.5,
    generator: torch.Generator | None = None,
    backend: str = "inductor",
) -> CompiledRelevance:
    """Compiles LRP-Flex relevance of a network for images like `example_x`.

    Args:
        net: The network; arguments not named here are as in `isnet_lrp.relevance`.
        example_x: Images [B, C, H, W] of the shape and type that will come; other ones are
            compiled when they come.
        target: As in `relevance`, but for class indices.
        epsilon: Stabiliser, >= 0.
        zb: Bounds of the pixels, or None.
        delta: Offset of the selective target.
        probability: Of the predicted class in the stochastic target.
        generator: Random source of the stochastic target.
        backend: Backend of `torch.compile`; "inductor" needs a C++ compiler on the CPU.

    Returns:
        A callable: images -> `Relevance`.

    Raises:
        UnsupportedOperation: An operation has no rule, or cannot be compiled with one.
        RelevanceError: A bad argument, or a compiled result that disagrees with the plain one.
    """
    options = Options(target, epsilon, zb, delta, probability)
    made = CompiledRelevance(net, options, generator, backend)
    made.prepare(example_x)
    return made
