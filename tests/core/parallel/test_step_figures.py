"""Figures of steps: sums as the host would make them, and the first step that was not finite."""

from __future__ import annotations

import math

import pytest
import torch

from isnet_cli.core.parallel.step_figures import StepFigures, describe_fault

CPU = torch.device("cpu")


def test_means_are_those_of_floats() -> None:
    figures, weights = StepFigures(CPU), (5, 6, 7)
    values = torch.rand(3, dtype=torch.float32)
    for value, images in zip(values, weights, strict=True):
        figures.add({"loss": value}, images)
    total = 0.0
    for value, images in zip(values, weights, strict=True):
        total += float(value) * images
    found = figures.read()
    assert found.means == {"loss": total / 18}  # to the last bit
    assert found.last == {"loss": float(values[2])}
    assert found.bad_step is None


def test_a_figure_that_some_steps_lack_counts_where_it_is() -> None:
    figures = StepFigures(CPU)
    figures.add({"loss": torch.tensor(1.0)}, 2)
    figures.add({"loss": torch.tensor(2.0), "heat": torch.tensor(4.0)}, 2)
    figures.add({"loss": torch.tensor(3.0)}, 4)
    found = figures.read()
    assert found.means == {"loss": (2 + 4 + 12) / 8, "heat": 4.0}
    assert found.last == {"loss": 3.0}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_first_bad_step_is_kept_with_its_figures(bad: float) -> None:
    figures = StepFigures(CPU)
    for loss, norm in ((1.0, 2.0), (0.5, bad), (math.nan, math.nan), (0.1, 0.1)):
        figures.add({"loss": torch.tensor(loss), "norm": torch.tensor(norm)}, 4)
    found = figures.read()
    assert found.bad_step == 1
    assert found.bad["loss"] == 0.5
    assert describe_fault(found.bad) == f"loss 0.5, gradient norm {bad:g}"


def test_nothing_is_read_before_it_is_asked_for() -> None:
    figures = StepFigures(torch.device("meta"))
    for _ in range(3):  # values of the meta device cannot be read
        figures.add({"loss": torch.zeros((), device="meta")}, 4)
    with pytest.raises((RuntimeError, NotImplementedError)):
        figures.read()
    assert StepFigures(CPU).read().means == {}
