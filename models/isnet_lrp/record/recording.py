"""One recorded forward pass, and the maps that are made from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from isnet_lrp.backward import BackwardPass, replace_nonfinite
from isnet_lrp.errors import RelevanceError, UnsupportedOperation
from isnet_lrp.families.zb import find_first_layer, propagate_zb
from isnet_lrp.family import Family
from isnet_lrp.kernels.mixed import HALF
from isnet_lrp.record.graph import Graph, Place
from isnet_lrp.record.recorder import Recorder
from isnet_lrp.record.tracing import is_tracing
from isnet_lrp.targets import Begin, Target

Bounds = tuple["float | Tensor", "float | Tensor"]
TOLERANCE = 1e-4  # of the bounds' distance, by which rounded pixels may lie outside
PER_ACTIVATION = 3  # tensors of an activation's size that a map keeps or needs on its way


@dataclass(frozen=True)
class Recording:
    """A recorded forward pass, ready for the backward pass of the families it was recorded for.

    Attributes:
        recorder: The recording.
        image: The network's input [B, C, H, W].
        logits: Its outputs [B, K].
        zb: Bounds of the zB rule, or None.
        hidden: Layers whose relevance is wanted: {name: (node, activation)}.
        masks: Factors of nodes' relevance [C, 1, ..], which restrict the pass.
        memory: Bytes that the maps of one pass may take; None: all maps at once.
        checkpoint: Whether the pass is repeated in the training backward pass instead of kept.
    """

    recorder: Recorder
    image: Tensor
    logits: Tensor
    zb: Bounds | None = None
    hidden: dict[str, tuple[int, Tensor]] = field(default_factory=dict)
    masks: dict[int, Tensor] = field(default_factory=dict)
    memory: int | None = None
    checkpoint: bool = False

    def begin(self, target: Target | Tensor, classes: Tensor | None, delta: float) -> Begin:
        """What a family's pass may begin with."""
        node, sites = self._start(), self.recorder.sites
        pending = () if sites is None else sites.pending.get(node, ())
        zero = pending[0].zero if len(pending) == 1 else None
        last, epsilon = self.recorder.graph.maker[node], self.recorder.rules.epsilon
        return Begin(self.logits, target, classes, epsilon, delta, zero, last)

    def propagate(self, family: Family, seed: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Maps [K', B, C, H, W] and layers of a family.

        Args:
            family: The family.
            seed: What its pass carries, at the logits [K', B, K].

        Raises:
            RelevanceError: The pixels get no relevance.
        """
        rows = len(seed)
        if self.memory is not None:
            rows = count_maps_that_fit(self.recorder.graph, len(seed), self.memory)
        parts = [self._once_or_twice(family, part) for part in torch.split(seed, rows)]
        if len(parts) == 1:
            return parts[0]
        deep = {name: torch.cat([p[1][name] for p in parts]) for name in self.hidden}
        return torch.cat([p[0] for p in parts]), deep

    def _once_or_twice(self, family: Family, seed: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        if not (self.checkpoint and torch.is_grad_enabled()):
            return self._propagate(family, seed)
        found: tuple[Tensor, dict[str, Tensor]] = checkpoint(
            self._propagate, family, seed, use_reentrant=False, preserve_rng_state=False
        )
        return found

    def _propagate(self, family: Family, seed: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        stop, value = self._end()
        nodes = {name: node for name, (node, _) in self.hidden.items()}
        rules, graph = self.recorder.rules, self.recorder.graph
        backward = BackwardPass(
            graph, family, rules.epsilon, frozenset(nodes.values()), stop, self.masks
        )
        found = backward.run(self._start(), seed.to(HALF) if rules.mixed else seed)
        if stop not in found:
            raise _independent()
        carried = family.carries == "relevance"
        self._require(found, [*self.masks, *(nodes.values() if carried else ())])
        values = dict([*self.hidden.values(), (stop, value)])

        def relevance(node: int) -> Tensor:
            if node not in found:
                return values[node].new_zeros(seed.shape[0], *values[node].shape)
            return found[node] if carried else values[node] * replace_nonfinite(found[node])

        return self._pixels(relevance(stop)), {name: relevance(n) for name, n in nodes.items()}

    def _require(self, found: dict[int, Tensor], nodes: Iterable[int]) -> None:
        """Layers that no relevance passes by itself are refused."""
        for node in nodes:
            if node not in found:
                names = [name for name, (n, _) in self.hidden.items() if n == node]
                raise RelevanceError(
                    f"layer {names[0]!r}: no relevance rests on its output, which BatchNorm behind "
                    "it takes into its own rule, or nothing reads; name the layer behind"
                    if names
                    else "conditions: a layer's output is read by nothing that leads to the "
                    "logits, or BatchNorm behind it takes it into its own rule: name the layer "
                    "behind"
                )

    def _start(self) -> int:
        node = self.recorder.find_node(self.logits)
        if node is None:
            raise _independent()
        return node

    def _end(self) -> tuple[int, Tensor]:
        if self.zb is None:
            return 0, self.image
        if self.recorder.first is None:
            stems = self.recorder.stems
            after = f" ({stems.ended_by} comes first)" if stems and stems.ended_by else ""
            raise UnsupportedOperation(
                f"zB rule: the network does not start with a convolution or linear layer{after}, "
                "padding, normalisation by constants and repeated channels before it left aside; "
                "use zb=None"
            )
        find_first_layer(self.recorder.graph, self.recorder.first[0], self.recorder.stem)
        inner = dict.fromkeys(self.masks, "conditions")
        inner |= {node: f"layer {name!r}" for name, (node, _) in self.hidden.items()}
        for node, name in inner.items():
            if node < self.recorder.first[0]:
                raise RelevanceError(
                    f"{name} lies inside the first layer, which the zB rule takes as a "
                    "whole: name a layer behind its activation, or use zb=None"
                )
        return self.recorder.first

    def _pixels(self, relevance: Tensor) -> Tensor:
        if self.zb is None or self.recorder.first is None:
            return relevance
        low, high = read_bounds(self.zb, self.image)
        layer = find_first_layer(self.recorder.graph, self.recorder.first[0], self.recorder.stem)
        return propagate_zb(self.image, relevance, layer, self.recorder.rules.epsilon, low, high)


def _independent() -> RelevanceError:
    return RelevanceError(
        "the network's output does not depend on the image by operations that carry relevance: "
        "look for detached, compiled or constant parts between them"
    )


def count_maps_that_fit(graph: Graph, maps: int, memory: int) -> int:
    """How many maps may be made in one pass within `memory` bytes, 1 to `maps`."""
    acts = [op.activation() for op in graph.ops if op.place == Place.ACTIVATION]
    one = PER_ACTIVATION * sum(a.numel() * a.element_size() for a in acts)
    return max(1, min(maps, memory // max(one, 1)))


def read_bounds(zb: Bounds, image: Tensor) -> tuple[Tensor, Tensor]:
    """The bounds of every channel [C] on the image's device.

    Args:
        zb: (low, high), numbers or tensors [C].
        image: [B, C, H, W].

    Raises:
        RelevanceError: Not two numbers or one per channel, not finite, or in the wrong order.
    """
    if not isinstance(zb, (tuple, list)) or len(zb) != 2:
        raise RelevanceError(f"zB bounds {zb!r}: expected (low, high)")
    low, high = (_bound(b, image) for b in zb)
    if low.device.type == "cpu" and not is_tracing():
        if not bool(torch.isfinite(low).all() & torch.isfinite(high).all()):
            raise RelevanceError(f"zB bounds {zb}: expected finite numbers")
        if not bool((low < high).all()):
            raise RelevanceError(f"zB bounds {zb}: expected the low bound below the high one")
    return low, high


def check_pixels(image: Tensor, bounds: tuple[Tensor, Tensor] | None) -> None:
    """Looks at the pixels: finite, and within the bounds of the zB rule but for rounding.

    Args:
        image: [B, C, H, W].
        bounds: (low, high) per channel [C], or None.

    Raises:
        RelevanceError: They are not; the message has the range found.
    """
    if image.is_meta:  # shapes alone
        return
    least, most = torch.aminmax(image.detach().movedim(1, 0).flatten(1), dim=1)
    if bounds is None:
        if not bool(torch.isfinite(least + most).all()):  # NaN wins in both
            raise RelevanceError("images contain NaN or infinity: replace these pixels first")
        return
    low, high = bounds
    span = (high - low) * max(TOLERANCE, 4 * torch.finfo(image.dtype).eps)
    found = torch.stack([least, most, low, high, span]).double().cpu()
    least, most, low, high, span = found
    if not bool(torch.isfinite(found[:2]).all()):
        raise RelevanceError("images contain NaN or infinity: replace these pixels first")
    outside = (least < low - span) | (most > high + span)
    if bool(outside.any()):
        channel = int(outside.nonzero()[0])
        raise RelevanceError(
            f"zB bounds {float(low[channel]):.4g} to {float(high[channel]):.4g}: pixels of channel "
            f"{channel} are {float(least[channel]):.4g} to {float(most[channel]):.4g}; give the "
            "bounds of the images as the network gets them (after normalising by mean m and "
            "deviation d: (0 - m)/d and (1 - m)/d), or zb=None"
        )


def _bound(value: float | Tensor, image: Tensor) -> Tensor:
    try:
        bound = torch.as_tensor(value, dtype=image.dtype).to(image.device, non_blocking=True)
    except (TypeError, ValueError, RuntimeError) as error:
        raise RelevanceError(f"zB bound {value!r}: expected a number or a tensor [C]") from error
    if bound.dim() > 1 or bound.numel() not in (1, image.shape[1]):
        raise RelevanceError(
            f"zB bounds {tuple(bound.shape)}: expected a number or one per channel "
            f"[{image.shape[1]}]"
        )
    return bound.reshape(-1).expand(image.shape[1])
