"""One recorded forward pass, and the maps that are made from it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from isnet_lrp.backward import BackwardPass, replace_nonfinite
from isnet_lrp.errors import RelevanceError, UnsupportedOperation
from isnet_lrp.families.zb import find_first_layer, propagate_zb
from isnet_lrp.families.zplus import PositivePass
from isnet_lrp.kernels.mixed import HALF
from isnet_lrp.ops.activation import Activation, ReLU
from isnet_lrp.record.graph import Graph
from isnet_lrp.record.recorder import Recorder
from isnet_lrp.record.tracing import is_tracing

Bounds = tuple["float | Tensor", "float | Tensor"]
TOLERANCE = 1e-4  # of the bounds' distance, by which rounded pixels may lie outside
PER_ACTIVATION = 3  # tensors of an activation's size that a map keeps or needs on its way


@dataclass(frozen=True)
class Recording:
    """A recorded forward pass, ready for the backward pass of any family.

    Attributes:
        recorder: The recording.
        image: The network's input [B, C, H, W].
        logits: Its outputs [B, K].
        zb: Bounds of the zB rule, or None.
        epsilon: Stabiliser.
        hidden: Layers whose relevance is wanted: {name: (node, activation)}.
        mixed: Whether signals are bfloat16.
        memory: Bytes that the maps of one pass may take; None: all maps at once.
        checkpoint: Whether the pass is repeated in the training backward pass instead of kept.
    """

    recorder: Recorder
    image: Tensor
    logits: Tensor
    zb: Bounds | None
    epsilon: float
    hidden: dict[str, tuple[int, Tensor]]
    mixed: bool = False
    memory: int | None = None
    checkpoint: bool = False

    def propagate_signals(self, seed: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Maps [K', B, C, H, W] and layers by signals: relevance is activation times signal.

        Args:
            seed: Signal at the logits [K', B, K].

        Raises:
            RelevanceError: The pixels get no signal.
        """
        rows = len(seed)
        if self.memory is not None:
            rows = count_maps_that_fit(self.recorder.graph, len(seed), self.memory)
        parts = [self._signals_once_or_twice(part) for part in torch.split(seed, rows)]
        if len(parts) == 1:
            return parts[0]
        deep = {name: torch.cat([p[1][name] for p in parts]) for name in self.hidden}
        return torch.cat([p[0] for p in parts]), deep

    def _signals_once_or_twice(self, seed: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        if not (self.checkpoint and torch.is_grad_enabled()):
            return self._signals(seed)
        found: tuple[Tensor, dict[str, Tensor]] = checkpoint(
            self._signals, seed, use_reentrant=False, preserve_rng_state=False
        )
        return found

    def _signals(self, seed: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        stop, value = self._end()
        wanted = frozenset(node for node, _ in self.hidden.values())
        backward = BackwardPass(self.recorder.graph, self.epsilon, wanted, stop)
        found = backward.run(self._start(), seed.to(HALF) if self.mixed else seed)
        found = {node: replace_nonfinite(g) for node, g in found.items()}
        deep = {name: value * found[node] if node in found else
                value.new_zeros(seed.shape[0], *value.shape)
                for name, (node, value) in self.hidden.items()}  # fmt: skip
        if stop not in found:
            raise _independent()
        return self._pixels(value * found[stop]), deep

    def propagate_positive(self, chosen: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Maps [K', B, C, H, W] and layers by the z+ rule.

        Args:
            chosen: Which logits every map explains, 0/1 [K', B, K].

        Raises:
            RelevanceError: The pixels get no relevance.
        """
        stop, _ = self._end()
        wanted = frozenset(node for node, _ in self.hidden.values())
        backward = PositivePass(self.recorder.graph, self.epsilon, wanted, stop)
        found = backward.run(self._start(), self.logits, chosen)
        if stop not in found:
            raise _independent()
        for name, (node, _) in self.hidden.items():
            if node not in found:
                raise RelevanceError(
                    f"layer {name!r}: no z+ relevance rests on its output, which BatchNorm behind "
                    "it takes into its own rule, or nothing reads; name the layer behind"
                )
        deep = {name: found[node] for name, (node, _) in self.hidden.items()}
        return self._pixels(found[stop]), deep

    def find_logit_correction(self) -> Tensor | None:
        """The zero-valued tensor [K] that makes the logits' biases constants, or None."""
        pending = self.recorder.graph.pending.get(self._start(), ())
        return pending[0].zero if len(pending) == 1 else None

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
        for name, (node, _) in self.hidden.items():
            if node < self.recorder.first[0]:
                raise RelevanceError(
                    f"layer {name!r} lies inside the first layer, which the zB rule takes as a "
                    "whole: name a layer behind its activation, or use zb=None"
                )
        return self.recorder.first

    def _pixels(self, relevance: Tensor) -> Tensor:
        if self.zb is None or self.recorder.first is None:
            return relevance
        low, high = read_bounds(self.zb, self.image)
        layer = find_first_layer(self.recorder.graph, self.recorder.first[0], self.recorder.stem)
        return propagate_zb(self.image, relevance, layer, self.epsilon, low, high)


def _independent() -> RelevanceError:
    return RelevanceError(
        "the network's output does not depend on the image by operations that carry relevance: "
        "look for detached, compiled or constant parts between them"
    )


def count_maps_that_fit(graph: Graph, maps: int, memory: int) -> int:
    """How many maps may be made in one pass within `memory` bytes, 1 to `maps`."""
    acts = [op.value for op in graph.ops if isinstance(op, (ReLU, Activation))]
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
        bound = torch.as_tensor(value, dtype=image.dtype, device=image.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise RelevanceError(f"zB bound {value!r}: expected a number or a tensor [C]") from error
    if bound.dim() > 1 or bound.numel() not in (1, image.shape[1]):
        raise RelevanceError(
            f"zB bounds {tuple(bound.shape)}: expected a number or one per channel "
            f"[{image.shape[1]}]"
        )
    return bound.reshape(-1).expand(image.shape[1])
