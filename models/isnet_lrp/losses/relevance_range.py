"""C1 and C2 of the heat-map loss from the relevance of a plainly trained network.

docs/lrp.md, section 4.1; all classes are averaged.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

Bound = float | tuple[float, float]


def estimate_range(totals: Tensor) -> tuple[float, float]:
    """C1 and C2 from the whole-map relevance of a plainly trained network.

    Source: docs/lrp.md, section 4.1.

    C1 = max(m/5, m - 3s), C2 = min(25·C1, m + 3s), m and s the mean and sample s.d., in float64.
    Totals that are not finite are left out. The host waits for the device.

    Args:
        totals: T = mean over classes of Σ|H| per image [N], N >= 2.

    Raises:
        ValueError: A negative total, fewer than two finite totals, or no relevance at all.
    """
    known = totals.detach().flatten().cpu().double()
    known = known[torch.isfinite(known)]
    if bool((known < 0).any()):
        raise ValueError(
            f"totals of relevance {known.min().item():.4g}: sums of |H| are never negative"
        )
    if len(known) < 2:
        raise ValueError(
            f"the range needs the maps of at least 2 images, found {len(known)} with finite "
            "relevance; measure more images, or give the range"
        )
    m, s = known.mean().item(), known.std().item()
    if not m > 0:
        raise ValueError("the maps hold no relevance at all: there is no range to take from them")
    C1 = max(m / 5, m - 3 * s)
    return C1, max(min(25 * C1, m + 3 * s), C1)


def sum_relevance(maps: Tensor) -> Tensor:
    """T [B] of each image: mean over classes of Σ|H| over the whole map.

    Args:
        maps: Signed relevance [B, K', ...].
    """
    maps = maps.detach()
    maps = maps if maps.dtype == torch.float64 else maps.float()
    return maps.abs().flatten(2).sum(2).mean(1)


class RangeEstimator:
    """Collects the maps' relevance batch by batch, and gives C1 and C2 of every layer.

    Args:
        dual: Whether the class axis holds z+ maps and then as many epsilon maps (Dual ISNet), so
            that C1 and C2 become pairs.
    """

    def __init__(self, *, dual: bool = False) -> None:
        self.dual = dual
        self._totals: dict[str, list[tuple[Tensor, ...]]] = {}

    def update(self, layers: Mapping[str, Tensor]) -> None:
        """Takes the maps of one batch; the host does not wait for the device.

        Args:
            layers: Map name to signed relevance [B, K', ...].

        Raises:
            ValueError: Not a batch of maps, or an odd number of maps per image with `dual`.
        """
        for name, maps in layers.items():
            if maps.dim() < 3 or (self.dual and maps.shape[1] % 2):
                expected = "[B, K', C, h, w]" + (" with K' even: z+, epsilon" if self.dual else "")
                raise ValueError(f"maps {name} {list(maps.shape)}: expected {expected}")
            parts = maps.chunk(2, dim=1) if self.dual else (maps,)
            self._totals.setdefault(name, []).append(tuple(sum_relevance(part) for part in parts))

    def values(self) -> dict[str, tuple[Bound, Bound]]:
        """C1 and C2 of every layer seen so far, each a pair [z+, epsilon] with `dual`.

        Raises:
            ValueError: A layer with fewer than two finite totals, or without relevance.
        """
        found: dict[str, tuple[Bound, Bound]] = {}
        for name, batches in self._totals.items():
            try:
                ranges = [estimate_range(torch.cat(part)) for part in zip(*batches, strict=True)]
            except ValueError as error:
                raise ValueError(f"layer {name}: {error}") from None
            if self.dual:
                (a1, a2), (b1, b2) = ranges
                found[name] = ((a1, b1), (a2, b2))
            else:
                found[name] = ranges[0]
        return found
