"""Does a classifier fail at another hospital, or its threshold? From the predictions of runs.

    python benchmarks/threshold_shift.py RUN... [--films 20] [--draws 200]

For each run (also the cells of a benchmark: runs/BENCH/cells/all/*/seed-*) and each labelled set,
of the images without synthetic marks:

AUC       macro, one class against the others
as it is  macro F1 of the most probable class
re-fitted macro F1 after offsets of the classes' log-probabilities (with two classes: the threshold)
          were chosen on N labelled films of the set, drawn at random, for the highest macro F1, and
          tested on the other films; mean over the draws and their standard deviation
ceiling   the same, chosen and tested on all films: no threshold gives more

AUC does not know thresholds. Where it is high and only `re-fitted` is, the ranking carries over and
the threshold does not; where `ceiling` is low, too, the classifier has failed.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isnet_cli.stats.scores import scores
from isnet_cli.text.tables import format_table

Floats = NDArray[np.float64]
GRID = np.linspace(-6.0, 6.0, 49)  # offsets of log-probabilities
ROUNDS = 3  # over the classes


def read_predictions(path: Path) -> tuple[Floats, NDArray[np.int64], list[str]]:
    """Probabilities [N, K], labels [N] and class names of the labelled images of a table."""
    with path.open(encoding="utf-8", newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["label"]]
    names = [name[2:] for name in (lines[0] if lines else {}) if name.startswith("p_")]
    p = np.array([[float(line[f"p_{name}"]) for name in names] for line in lines])
    return p, np.array([names.index(line["label"]) for line in lines]), names


def macro_f1(predicted: NDArray[np.int64], labels: NDArray[np.int64], classes: int) -> float:
    """Mean over the classes that occur of 2 tp / (2 tp + fp + fn)."""
    found = []
    for k in range(classes):
        if not (labels == k).any():
            continue
        hits = ((predicted == k) & (labels == k)).sum()
        found.append(2 * hits / ((predicted == k).sum() + (labels == k).sum()))
    return float(np.mean(found))


def fit_offsets(logs: Floats, labels: NDArray[np.int64]) -> Floats:
    """Offsets [K] of the log-probabilities [N, K] with the highest macro F1, class by class.

    Of equally good neighbours the middle one counts.
    """
    classes = logs.shape[1]
    offsets = np.zeros(classes)
    for _ in range(1 if classes == 2 else ROUNDS):
        for k in range(1, classes):
            tried = []
            for step in GRID:
                moved = offsets.copy()
                moved[k] = step
                tried.append(macro_f1((logs + moved).argmax(1), labels, classes))
            best = np.flatnonzero(np.array(tried) == max(tried))
            offsets[k] = GRID[best[len(best) // 2]]
    return offsets


def draw_films(
    labels: NDArray[np.int64], films: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """A mask [N] of `films` random images, at least one of each class that occurs."""
    chosen = np.zeros(len(labels), bool)
    for k in np.unique(labels):
        chosen[rng.choice(np.flatnonzero(labels == k))] = True
    rest = rng.permutation(np.flatnonzero(~chosen))[: max(0, films - chosen.sum())]
    chosen[rest] = True
    return chosen


def measure(
    p: Floats, labels: NDArray[np.int64], names: list[str], films: int, draws: int
) -> list[str]:
    """The figures of one set as cells."""
    classes = p.shape[1]
    logs = np.log(np.clip(p, 1e-9, 1.0))
    rng = np.random.default_rng(0)
    found = []
    for _ in range(draws if len(labels) > 2 * films else 0):
        chosen = draw_films(labels, films, rng)
        moved = logs + fit_offsets(logs[chosen], labels[chosen])
        found.append(macro_f1(moved[~chosen].argmax(1), labels[~chosen], classes))
    ceiling = macro_f1((logs + fit_offsets(logs, labels)).argmax(1), labels, classes)
    auc = scores(p, labels, names)["macro"]["auc"]
    refit = f"{np.mean(found):.3f} ± {np.std(found, ddof=1):.3f}" if len(found) > 1 else "n/a"
    return [
        str(len(labels)), "n/a" if auc is None else f"{auc:.3f}",
        f"{macro_f1(p.argmax(1), labels, classes):.3f}", refit, f"{ceiling:.3f}",
    ]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--films", type=int, default=20)
    parser.add_argument("--draws", type=int, default=200)
    options = parser.parse_args()
    rows = []
    for run in options.runs:
        tables = sorted(run.glob("evaluate/*/standard/predictions.csv"))
        if not tables:
            print(f"{run}: no predictions, expected a run that was evaluated", file=sys.stderr)
        for table in tables:
            p, labels, names = read_predictions(table)
            if len(np.unique(labels)) > 1:
                cells = measure(p, labels, names, options.films, options.draws)
                rows.append(["/".join(run.parts[-2:]), table.parts[-3], *cells])
    head = ["run", "set", "images", "AUC", "as it is", f"re-fitted on {options.films}", "ceiling"]
    print(format_table(head, rows, left=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
