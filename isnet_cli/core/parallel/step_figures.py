"""Figures of training steps: added up on the device, read when they are to be shown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Reading:
    """What the host knows of an epoch so far.

    Attributes:
        last: Figures of the last step, by name.
        means: Means over the images of all steps that had the figure.
        bad_step: The first step (from 0) with a figure that is NaN or infinite; None without any.
        bad: The figures of that step.
    """

    last: dict[str, float]
    means: dict[str, float]
    bad_step: int | None
    bad: dict[str, float]


class StepFigures:
    """Adds up the figures of an epoch's steps where they are; only `read` waits for the device.

    Args:
        device: Of the figures.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._names: list[str] = []
        self._images: dict[str, int] = {}
        self._table: Tensor | None = None  # rows: sums, the last step, the first bad step
        self._last: tuple[str, ...] = ()
        self._bad_step: Tensor | None = None  # -1: there is none
        self._bad: list[tuple[str, ...]] = []  # names of each step's figures

    def add(self, values: Mapping[str, Tensor], images: int) -> None:
        """Takes the figures of the next step; the host does not wait.

        Args:
            values: 0-d tensors by name.
            images: Of the step; its weight in the means.
        """
        import torch

        kind = torch.float32 if self.device.type == "mps" else torch.float64
        for name in values:
            if name not in self._images:
                self._names.append(name)
                self._images[name] = 0
            self._images[name] += images
        zero = torch.zeros((), dtype=kind, device=self.device)
        given = [
            values[name].detach().to(self.device, kind) if name in values else zero
            for name in self._names
        ]
        row = torch.stack(given)
        if self._table is None or self._bad_step is None:
            self._table = torch.zeros(3, len(row), dtype=kind, device=self.device)
            self._bad_step = torch.full((), -1, dtype=torch.int64, device=self.device)
        if len(row) > self._table.shape[1]:
            more = self._table.new_zeros(3, len(row) - self._table.shape[1])
            self._table = torch.cat([self._table, more], 1)
        newly = ~torch.isfinite(row).all() & (self._bad_step < 0)
        sums, _, bad = self._table.unbind()
        self._table = torch.stack([sums + row * images, row, torch.where(newly, row, bad)])
        self._bad_step = torch.where(newly, len(self._bad), self._bad_step)
        self._last = tuple(values)
        self._bad.append(self._last)

    def read(self) -> Reading:
        """Everything so far; waits for the device."""
        if self._table is None or self._bad_step is None:
            return Reading({}, {}, None, {})
        sums, last, bad = (dict(zip(self._names, row, strict=True)) for row in self._table.tolist())
        step = int(self._bad_step)
        return Reading(
            {name: last[name] for name in self._last},
            {name: value / self._images[name] for name, value in sums.items()},
            None if step < 0 else step,
            {name: bad[name] for name in self._bad[step]} if step >= 0 else {},
        )


def describe_fault(figures: Mapping[str, float]) -> str:
    """The figures of a step that was not finite, for a message."""
    odd = [f"{n} {v:g}" for n, v in figures.items() if n == "loss" or not math.isfinite(v)]
    words = ", ".join(odd[:1] if "norm" in figures else odd)
    return words + (f", gradient norm {figures['norm']:g}" if "norm" in figures else "")
