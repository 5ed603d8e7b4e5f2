"""Intervals for every score of one test set, each with the method that made it.

A cell is ``{value, low, high, sd, method}``, ``mean`` beside it for posteriors; where there is no
interval, ``low`` and ``high`` are None and ``why`` says the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from isnet_cli.config.schema import Intervals
from isnet_cli.stats.bootstrap import (
    EVERYTHING,
    bootstrap_scores,
    keep_usable_draws,
    logit_interval,
    percentile_interval,
)
from isnet_cli.stats.calibration import NO_INTERVAL, calibration
from isnet_cli.stats.posterior import LEVEL, posterior_interval, posterior_scores
from isnet_cli.stats.roc import area_interval, area_variance, compute_areas
from isnet_cli.stats.sample import Floats, Path, Sample, read_values

Cell = dict[str, Any]
NO_IMAGES = "no labelled image in this set"
ONE_PATIENT = "all images are of one patient"
SAME_DRAWS = "every draw gave the same value"


def add_intervals(
    metrics: Mapping[str, Any], sample: Sample, settings: Intervals, seed: int
) -> dict[str, Any]:
    """What `scores` leaves out: units, intervals of all scores, calibration.

    Args:
        metrics: `scores` of the images in `sample`.
        sample: The same predictions.
        settings: Method, prior and numbers of draws.
        seed: Of all draws.

    Returns:
        ``patients`` (number, an image without patient being its own), ``intervals``: ``level`` and
        the tree of `scores` (``accuracy``, ``macro``, ``per_class``, also ``calibration``) with a
        cell for each figure; ``calibration``.
    """
    if not len(sample):
        empty: dict[str, Any] = {"brier": None, "ece": None, "per_class": {}, "why": NO_IMAGES}
        return {
            "patients": 0,
            "intervals": {"level": LEVEL, "why": NO_IMAGES},
            "calibration": empty,
        }
    values = read_values(metrics)
    found = calibration(sample, settings.bootstrap, seed)
    values["calibration", "brier"] = found["brier"]
    cells = interval_cells(sample, values, settings, seed)
    reasons = _reasons(metrics)
    for path, value in values.items():
        if value is None:
            cells[path] = empty_cell(None, reasons.get(path, "the score has no value"))
    tree = nest_cells({path: cells[path] for path in values})
    tree["calibration"]["ece"] = empty_cell(found["ece"], NO_INTERVAL)
    return {
        "patients": sample.clusters,
        "intervals": {"level": LEVEL, **tree},
        "calibration": found,
    }


def interval_cells(
    sample: Sample, values: Mapping[Path, float | None], settings: Intervals, seed: int
) -> dict[Path, Cell]:
    """The cell of each score that has a value."""
    kinds, closed = choose_kinds(sample, settings)
    cells: dict[Path, Cell] = {}
    if "counts" in closed:
        cells |= _counted(sample, values, settings, seed)
    if "auc" in closed:
        cells |= _areas(sample, values)
    if sample.clusters < 2:
        drawn: dict[Path, Floats] = {}
    else:
        drawn = bootstrap_scores([sample], [values], settings.bootstrap, seed, kinds)[0]
    for path, value in values.items():
        if value is not None and path not in cells:
            cells[path] = _bootstrapped(sample, path, value, drawn)
    constant = [path for path, cell in cells.items() if cell.get("why") == SAME_DRAWS]
    if constant and "counts" not in closed:
        # A bootstrap of a score without a single error says nothing: the posterior does.
        fallback = _counted(sample, values, settings, seed)
        cells |= {path: fallback[path] for path in constant if path in fallback}
    return cells


def choose_kinds(sample: Sample, settings: Intervals) -> tuple[frozenset[str], set[str]]:
    """Kinds of scores that are bootstrapped, and kinds with intervals in closed form.

    ``auto``: closed form for count scores unless patients have several images (a posterior counts
    images as independent), and for areas always (DeLong's variance takes images by patient).
    """
    closed: set[str] = set()
    if settings.method == "closed" or (settings.method == "auto" and not sample.repeated):
        closed.add("counts")
    if settings.method != "bootstrap":
        closed.add("auc")
    needed = EVERYTHING - closed
    if sample.task == "multilabel":
        needed |= {"counts"}  # scores over several labels have no posterior
    return frozenset(needed), closed


def _counted(
    sample: Sample, values: Mapping[Path, float | None], settings: Intervals, seed: int
) -> dict[Path, Cell]:
    rng = np.random.default_rng(seed)
    drawn = posterior_scores(sample, values, settings.draws, rng, settings.prior)
    cells = {}
    for path, draws in drawn.items():
        low, high = posterior_interval(draws, settings.shape)
        cells[path] = {
            "value": values[path], "low": low, "high": high, "sd": float(draws.std()),
            "mean": float(draws.mean()), "method": "dirichlet",
        }  # fmt: skip
    return cells


def _areas(sample: Sample, values: Mapping[Path, float | None]) -> dict[Path, Cell]:
    areas = compute_areas(sample)
    usable_classes = [k for k, auc in enumerate(areas.auc) if not np.isnan(auc)]
    cells: dict[Path, Cell] = {}
    for k in usable_classes:
        var = area_variance(areas.psi[:, k], sample.patients)
        cells["per_class", sample.classes[k], "auc"] = _area(areas.auc[k], var, areas.pairs[k])
    if usable_classes:
        var = area_variance(areas.psi[:, usable_classes].mean(axis=1), sample.patients)
        smallest = min((areas.pairs[k] for k in usable_classes), key=lambda pair: pair.prod())
        cells["macro", "auc"] = _area(areas.auc[usable_classes].mean(), var, smallest)
    return {path: cell for path, cell in cells.items() if values.get(path) is not None}


def _area(auc: float, var: float, pairs: Floats) -> Cell:
    low, high, method = area_interval(float(auc), var, (float(pairs[0]), float(pairs[1])))
    sd = None if np.isnan(var) else float(np.sqrt(var))
    return {"value": float(auc), "low": low, "high": high, "sd": sd, "method": method}


def _bootstrapped(sample: Sample, path: Path, value: float, drawn: Mapping[Path, Floats]) -> Cell:
    if sample.clusters < 2:
        return empty_cell(value, ONE_PATIENT if len(sample) > 1 else "one image")
    draws = keep_usable_draws(drawn[path])
    if draws is None:
        return empty_cell(value, "too many draws without an image that the score needs")
    sd = float(draws.std(ddof=1))
    if sd < 1e-12:
        return empty_cell(value, SAME_DRAWS)
    if path[-1] == "ap" and 0 < value < 1:
        low, high = logit_interval(value, draws, _positives(sample, path))
        method = "bootstrap-logit"
    else:
        low, high = percentile_interval(draws, sample.clusters)
        method = "bootstrap"
    return {"value": value, "low": low, "high": high, "sd": sd, "method": method}


def _positives(sample: Sample, path: Path) -> int:
    """Patients with positive images: of a class, or on the whole for macro means."""
    positive = sample.truth
    if path[0] == "per_class":
        positive = positive[:, [sample.classes.index(path[1])]]
    return len(np.unique(sample.patients[positive.any(axis=1)]))


def empty_cell(value: float | None, why: str) -> Cell:
    """A cell without interval."""
    return {"value": value, "low": None, "high": None, "sd": None, "why": why}


def nest_cells(cells: Mapping[Path, Any]) -> dict[str, Any]:
    """Cells by path as a tree."""
    tree: dict[str, Any] = {}
    for path, cell in cells.items():
        place = tree
        for name in path[:-1]:
            place = place.setdefault(name, {})
        place[path[-1]] = cell
    return tree


def _reasons(metrics: Mapping[str, Any]) -> dict[Path, str]:
    """The scores' own reasons for having no value."""
    found: dict[Path, str] = {(k,): why for k, why in metrics.get("why", {}).items()}
    found |= {("macro", k): why for k, why in metrics["macro"].get("why", {}).items()}
    for name, entry in metrics["per_class"].items():
        found |= {("per_class", name, k): why for k, why in entry.get("why", {}).items()}
    return found
