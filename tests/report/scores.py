"""What `evaluate` writes beside plain scores, computed by the package for the synthetic runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from isnet_cli.config.schema import Intervals
from isnet_cli.evaluate.background_scores import VARIANTS, Answers, Images, background_reliance
from isnet_cli.stats.intervals import with_intervals
from isnet_cli.stats.sample import make_sample
from isnet_cli.stats.scores import scores
from isnet_cli.stats.shift import Test, shift_tables

SETTINGS = Intervals(draws=1000, bootstrap=200)


def full_scores(
    p: np.ndarray, truth: np.ndarray, classes: Sequence[str]
) -> tuple[dict[str, Any], Test]:
    """Scores with intervals and calibration of images that are each of their own patient."""
    found, sample = scores(p, truth, classes), make_sample(p, truth, classes)
    return {**found, **with_intervals(found, sample, SETTINGS, 0)}, Test(found, sample)


def swapped(
    p: np.ndarray, truth: np.ndarray, classes: Sequence[str], keys: Sequence[str]
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Background reliance and its table: on another class's background every third image flips."""
    other = p.copy()
    other[::3] = p[::3, ::-1]
    variants = dict(zip(VARIANTS, (p, p, np.full_like(p, 1 / p.shape[1]), other, p), strict=True))
    answers = {name: Answers.of(values.tolist(), p.shape[1]) for name, values in variants.items()}
    images = Images(truth, classes, None, [""] * len(p), SETTINGS)
    found = {**background_reliance(answers, images), "left_out": {"no label": 2}}
    lines = [
        {"key": key, "variant": name, "partner": "", "label": classes[truth[i]],
         "predicted": classes[int(values[i].argmax())],
         "flipped": str(int(values[i].argmax() != p[i].argmax()))}
        for name, values in variants.items()
        for i, key in enumerate(keys)
    ]  # fmt: skip
    return found, lines


def drops(tests: dict[tuple[str, str], Test], reference: str) -> list[dict[str, Any]]:
    """Differences between the tests."""
    return shift_tables(tests, reference, SETTINGS, 0)
