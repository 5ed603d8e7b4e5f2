"""Time of all scores, intervals, curves and differences of 10,000 predictions.

    python benchmarks/evaluate.py [--images 10000]

Predictions are simulated; everything after them is what `isnet evaluate` does with a set: scores,
posterior (100,000 draws), DeLong, bootstrap by patient (2,000 draws), calibration, figures, and
for two versions and a second set the paired and independent differences.
"""

from __future__ import annotations

import argparse
import time
from types import SimpleNamespace
from typing import Any

import numpy as np

from isnet_cli.config.schema import Config
from isnet_cli.evaluate.scoring import compute_shifts, score_part
from isnet_cli.images.types import Row

CASES = {  # name: classes, several labels, images a patient
    "2 classes": (2, False, 1),
    "3 classes": (3, False, 1),
    "3 classes, 4 images a patient": (3, False, 4),
    "14 labels": (14, True, 1),
}


def make_predictions(
    n: int, size: int, several: bool, each: int, seed: int
) -> tuple[list[Row], np.ndarray, list[str]]:
    """Images with labels and patients, and probabilities [n, size]."""
    rng, names = np.random.default_rng(seed), [f"class{k}" for k in range(size)]
    logits = rng.normal(size=(n, size))
    if several:
        truth = rng.random((n, size)) < 0.15
        p = 1 / (1 + np.exp(-(logits + 1.5 * truth - 2)))
        labels = [";".join(f"{a}={int(b)}" for a, b in zip(names, t, strict=True)) for t in truth]
    else:
        truth = rng.integers(0, size, n)
        logits[np.arange(n), truth] += 1.5
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        labels = [names[k] for k in truth]
    rows = [
        Row(key=f"f{i}", patient=f"{i // each:012x}", label=label) for i, label in enumerate(labels)
    ]
    return rows, p, names


def make_predictor(names: list[str], several: bool) -> Any:
    task = "multilabel" if several else "multiclass"
    limits = [0.5] * len(names) if several else None
    return SimpleNamespace(classes=names, task=task, thresholds=limits, config=Config())


def read_clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def format_spent(began: tuple[float, float]) -> str:
    wall, work = (end - start for end, start in zip(read_clocks(), began, strict=True))
    return f"{wall:.1f} ({work:.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    n = parser.parse_args().images
    print(f"{n} images; seconds by the clock, in brackets seconds of processor time\n")
    print("| case | scores, intervals, figures of one test | paired | independent differences |")
    print("|---|---|---|---|")
    for name, (size, several, each) in CASES.items():
        rows, p, names = make_predictions(n, size, several, each, 0)
        model = make_predictor(names, several)
        began = read_clocks()
        biased = score_part(("near", "biased"), rows, p, model).test
        spent = [format_spent(began)]
        other = score_part(("near", "standard"), rows, p**1.1 / (p**1.1 + (1 - p) ** 1.1), model)
        far_rows, q, _ = make_predictions(n, size, several, each, 1)
        far = score_part(("far", "standard"), far_rows, q, model).test
        versions = {("near", "biased"): biased, ("near", "standard"): other.test}
        sets = {("near", "standard"): other.test, ("far", "standard"): far}
        for tests in (versions, sets):
            began = read_clocks()
            assert compute_shifts(model.config, tests, "near")
            spent.append(format_spent(began))
        print(f"| {name} | " + " | ".join(spent) + " |", flush=True)


if __name__ == "__main__":
    main()
