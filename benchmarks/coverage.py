"""How often the 95 % intervals hold the truth: simulated test sets whose truth is known.

    python benchmarks/coverage.py [--sets 200] [--images 50,200,1000] [--quick]

Every simulated set has a truth of its own: the classes' recalls are drawn from 0.6 to 0.97, their
frequencies and confusions at random (count scores); areas from 0.65 to 0.97 (ROC-AUC); and a fixed
population of overlapping classes (average precision, Brier score), with one image or with one to
four images a patient. A cell is the share of sets whose interval holds the truth; its own standard
error is about 0.7 % at 1,000 sets.
"""

from __future__ import annotations

import argparse
from statistics import NormalDist

import numpy as np

from isnet_cli.config.schema import Intervals
from isnet_cli.stats.calibration import calibration
from isnet_cli.stats.intervals import interval_cells
from isnet_cli.stats.posterior import densest_interval, equal_tails_interval, posterior_scores
from isnet_cli.stats.roc import area_interval, area_variance, compute_areas
from isnet_cli.stats.sample import (
    Counts,
    Path,
    Sample,
    compute_rates,
    count_scores,
    make_sample,
    read_values,
)
from isnet_cli.stats.scores import scores

DRAWS = 10_000  # of the posterior; 100,000 in the product
PATHS: dict[str, Path] = {
    "accuracy": ("accuracy",),
    "balanced acc.": ("balanced_accuracy",),
    "macro F1": ("macro", "f1"),
    "macro precision": ("macro", "precision"),
    "recall": ("per_class", "c0", "recall"),
    "precision": ("per_class", "c0", "precision"),
    "specificity": ("per_class", "c0", "specificity"),
    "F1": ("per_class", "c0", "f1"),
}


def row(cells: list[object]) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def percent(held: float, sets: int) -> str:
    return f"{100 * held / sets:.1f}"


def heads(names: list[str]) -> None:
    row(names)
    row(["---"] * len(names))


def a_truth(size: int, rng: np.random.Generator) -> np.ndarray:
    """Probabilities [K, K] of true and predicted class."""
    recall, truth = rng.uniform(0.6, 0.97, size), np.zeros((size, size))
    for k in range(size):
        truth[k, np.arange(size) != k] = rng.dirichlet(np.ones(size - 1)) * (1 - recall[k])
        truth[k, k] = recall[k]
    frequencies = rng.dirichlet(np.full(size, 5.0))
    return truth * frequencies[:, None]


def from_table(table: np.ndarray) -> tuple[Sample, dict[Path, float | None]]:
    """Predictions with this confusion matrix, and their scores."""
    true, chosen = np.indices(table.shape).reshape(2, -1).repeat(table.ravel(), axis=1)
    names = [f"c{k}" for k in range(len(table))]
    p = np.eye(len(table))[chosen]
    return make_sample(p, true, names), read_values(scores(p, true, names))


def true_scores(truth: np.ndarray, sample: Sample, valid: dict[Path, float | None]) -> dict:
    parts = (np.diag(truth), truth.sum(1), truth.sum(0), np.ones(len(truth)))
    counts = Counts(*(part[None] for part in parts))
    return count_scores(counts, compute_rates(counts), sample, valid)


def count_coverage(sets: int, images: list[int], seed: int = 0) -> None:
    print("\nScores made of counts, in per cent of the sets\n")
    heads(["classes", "images", "prior", "shape", *PATHS])
    shapes = {"densest": densest_interval, "equal tails": equal_tails_interval}
    for size in (2, 3, 5):
        for n in images:
            for prior in ("jeffreys", "uniform"):
                held, tried = np.zeros((len(shapes), len(PATHS))), np.zeros(len(PATHS))
                for number in range(sets):
                    rng = np.random.default_rng([seed, size, n, number])
                    truth = a_truth(size, rng)
                    table = rng.multinomial(n, truth.ravel()).reshape(size, size)
                    sample, valid = from_table(table)
                    drawn = posterior_scores(sample, valid, DRAWS, rng, prior)
                    expected = true_scores(truth, sample, valid)
                    for place, path in enumerate(PATHS.values()):
                        if path not in drawn or path not in expected:
                            continue  # a class without images, or never predicted
                        tried[place] += 1
                        for shape, bounds in enumerate(shapes.values()):
                            low, high = bounds(drawn[path])
                            held[shape, place] += low <= expected[path][0] <= high
                for name, hits in zip(shapes, held, strict=True):
                    cells = [f"{100 * h / t:.1f}" for h, t in zip(hits, tried, strict=True)]
                    row([size, n, prior, name, *cells])


def area_coverage(sets: int, images: list[int]) -> None:
    print("\nAreas under ROC curves (DeLong, logit), in per cent of the sets\n")
    heads(["images", "true area", "40 % positive", "10 % positive", "macro of 3 classes"])
    for n in images:
        for area in (0.65, 0.8, 0.9, 0.97):
            cells = [
                percent(sum(one_area(n, area, share, number) for number in range(sets)), sets)
                for share in (0.4, 0.1)
            ]
            macro = sum(one_macro(n, area, number) for number in range(sets))
            row([n, area, *cells, percent(macro, sets)])


def held_by(areas: np.ndarray, psi: np.ndarray, sample: Sample, pairs: object, area: float) -> bool:
    var = area_variance(psi, sample.patients)
    low, high, _ = area_interval(float(areas), var, pairs)  # type: ignore[arg-type]
    return low <= area <= high


def one_area(n: int, area: float, share: float, number: int) -> bool:
    """Normal scores of two classes, sqrt(2) z(area) apart."""
    rng = np.random.default_rng([1, n, number, int(1000 * area)])
    truth = rng.random(n) < share
    truth[:2] = (True, False)
    score = rng.normal(size=n) + 2**0.5 * NormalDist().inv_cdf(area) * truth
    p = 1 / (1 + np.exp(-score))
    sample = make_sample(np.stack([1 - p, p], 1), truth.astype(int), ["no", "yes"])
    found = compute_areas(sample)
    return held_by(found.auc[1], found.psi[:, 1], sample, found.pairs[1], area)


def one_macro(n: int, area: float, number: int) -> bool:
    """Three classes; each class's logit is higher by the same amount for its own images."""
    rng = np.random.default_rng([2, n, number, int(1000 * area)])
    labels = rng.integers(0, 3, n)
    labels[:3] = (0, 1, 2)
    shift = 2**0.5 * NormalDist().inv_cdf(area)
    p = 1 / (1 + np.exp(-(rng.normal(size=(n, 3)) + shift * np.eye(3)[labels])))
    sample = make_sample(p, labels, ["a", "b", "c"])
    found = compute_areas(sample)
    return held_by(found.auc.mean(), found.psi.mean(axis=1), sample, found.pairs.min(axis=0), area)


def images_of(patients: int, grouped: bool, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Patient of each image, truth, probability of the class."""
    sizes = rng.integers(1, 5, patients) if grouped else np.ones(patients, int)
    own = np.arange(patients).repeat(sizes)
    truth = (rng.random(patients) < 0.4)[own]
    common, single = rng.normal(size=patients)[own], rng.normal(size=len(own))
    noise = 0.6 * common + 0.8 * single if grouped else single
    return own, truth, 1 / (1 + np.exp(-(np.log(2 / 3) + 1.2 * (noise + 1.2 * truth) - 0.72)))


BOOTSTRAPPED: dict[str, Path] = {
    "avg. precision": ("per_class", "yes", "ap"),
    "AUC": ("per_class", "yes", "auc"),
    "Brier": ("calibration", "brier"),
    "accuracy": ("accuracy",),
    "recall": ("per_class", "yes", "recall"),
    "F1": ("per_class", "yes", "f1"),
}


def predictions(own: np.ndarray, truth: np.ndarray, p: np.ndarray) -> tuple[Sample, dict]:
    both, names = np.stack([1 - p, p], axis=1), ["no", "yes"]
    sample = make_sample(both, truth.astype(int), names, None, own.tolist())
    valid = read_values(scores(both, truth.astype(int), names))
    valid["calibration", "brier"] = float(((p - truth) ** 2).mean())
    return sample, valid


def bootstrap_coverage(sets: int, patients: list[int]) -> None:
    print("\nBootstrap by patient (2,000 draws), in per cent of the sets\n")
    heads(["patients", "images each", *BOOTSTRAPPED])
    settings = Intervals(method="bootstrap")
    for grouped in (False, True):
        own, truth, p = images_of(400_000, grouped, np.random.default_rng(9))
        expected = predictions(own, truth, p)[1]
        for n in patients:
            held = np.zeros(len(BOOTSTRAPPED))
            for number in range(sets):
                rng = np.random.default_rng([3, n, number, grouped])
                sample, valid = predictions(*images_of(n, grouped, rng))
                cells = interval_cells(sample, valid, settings, number)
                for place, path in enumerate(BOOTSTRAPPED.values()):
                    cell = cells[path]
                    held[place] += cell["low"] is not None and (
                        cell["low"] <= expected[path] <= cell["high"]
                    )
            row([n, "1 to 4" if grouped else "1", *(percent(h, sets) for h in held)])


def calibration_level(sets: int, images: list[int]) -> None:
    print("\nCalibrated models: share of sets whose ECE has p below 5 %, in per cent\n")
    heads(["images", "p < 0.05"])
    for n in images:
        below = 0
        for number in range(sets):
            rng = np.random.default_rng([4, n, number])
            p = rng.random(n)
            sample = predictions(np.arange(n), rng.random(n) < p, p)[0]
            below += calibration(sample, 400, number)["ece_if_calibrated"]["p"] < 0.05
        row([n, percent(below, sets)])


def whole_numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", type=int, default=200)
    parser.add_argument("--images", type=whole_numbers, default=[50, 200, 1000])
    parser.add_argument("--quick", action="store_true", help="20 sets of 50: does it run at all")
    parser.add_argument("--part", choices=["counts", "areas", "bootstrap", "ece"], default=None)
    return parser.parse_args()


def main() -> None:
    given = arguments()
    sets, images = (20, [50]) if given.quick else (given.sets, given.images)
    parts = {
        "counts": count_coverage, "areas": area_coverage,
        "bootstrap": bootstrap_coverage, "ece": calibration_level,
    }  # fmt: skip
    for name, part in parts.items():
        if given.part in (None, name):
            part(sets, images)


if __name__ == "__main__":
    main()
