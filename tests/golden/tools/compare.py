"""The comparison rule of the golden numbers, and a ledger that refuses to be empty."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from tests.golden.tools.folder import Array


def as_array(value: Any) -> Array:
    """Tensor, list or number as float64; the words inf, -inf and nan are numbers too."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().double().numpy()
    return np.asarray(value, dtype=np.float64)


def error(ours: Any, theirs: Any, scale: float | None = None) -> float:
    """max|a-b| / max|b|, or / `scale`; absolute where that is 0; infinite for a wrong shape.

    Where the expected value is not finite, ours must be the same.
    """
    a, b = as_array(ours), as_array(theirs)
    if a.shape != b.shape:
        return math.inf
    finite = np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return math.inf
    a, b = a[finite], b[finite]
    if b.size == 0:
        return 0.0
    largest = float(np.abs(b).max()) if scale is None else scale
    worst = float(np.abs(a - b).max())
    return math.inf if math.isnan(worst) else worst / (largest or 1.0)


class Ledger:
    """Comparisons of one test: `close` fails when one is off, or when nothing was compared."""

    def __init__(self) -> None:
        self.count = 0
        self.off: list[str] = []

    def equal(
        self, what: str, ours: Any, theirs: Any, tolerance: float, scale: float | None = None
    ) -> None:
        """Notes one comparison."""
        found = error(ours, theirs, scale)
        self.count += 1
        if not found <= tolerance:
            shapes = f"{as_array(ours).shape} for {as_array(theirs).shape}"
            self.off.append(f"{what}: {found:.3g}, at most {tolerance:.3g} ({shapes})")

    def close(self) -> None:
        """Fails for what was off, or for an empty ledger."""
        assert self.count, "nothing was compared"
        assert not self.off, f"{len(self.off)} of {self.count} differ\n" + "\n".join(self.off)
