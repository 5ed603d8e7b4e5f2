"""Random predictions and labels for the tests of scores and intervals."""

from __future__ import annotations

from typing import Any

import numpy as np


def random_predictions(
    seed: int, n: int, classes: int, *, multilabel: bool = False, skill: float = 1.0
) -> tuple[Any, Any, list[str]]:
    """Probabilities [n, classes], labels (of several, some unknown), names."""
    rng = np.random.default_rng(seed)
    names = [f"c{k}" for k in range(classes)]
    if multilabel:
        truth = rng.choice([0.0, 1.0, np.nan], (n, classes), p=[0.5, 0.35, 0.15])
        logits = rng.normal(size=(n, classes)) + skill * np.nan_to_num(truth)
        return 1 / (1 + np.exp(-logits)), truth, names
    labels = rng.integers(0, classes, n)
    logits = rng.normal(size=(n, classes))
    logits[np.arange(n), labels] += skill
    p = np.exp(logits)
    return p / p.sum(axis=1, keepdims=True), labels, names
