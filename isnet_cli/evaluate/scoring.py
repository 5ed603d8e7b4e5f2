"""Scores of one set in one version: figures with intervals, curves, and deltas between tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isnet_cli.config.schema import Config
from isnet_cli.core.runtime import derive_seed
from isnet_cli.dataset.image_dataset import encode_labels
from isnet_cli.errors import IsnetError
from isnet_cli.images.types import Row
from isnet_cli.inference.predictor import Predictor
from isnet_cli.output.curves import (
    PrecisionRecall,
    Roc,
    pr_figure,
    reliability_figure,
    roc_figure,
    thin_curve,
)
from isnet_cli.output.figures import confusion_figure
from isnet_cli.output.plotting import svg_text
from isnet_cli.stats.intervals import add_intervals
from isnet_cli.stats.sample import make_sample
from isnet_cli.stats.scores import pr_points, roc_points, scores
from isnet_cli.stats.shift import Test, shift_tables

Key = tuple[str, str]  # set, version


@dataclass(frozen=True)
class Scored:
    """What is known of one set in one version.

    Attributes:
        metrics: JSON-able: `scores`, ``patients``, ``intervals``, ``calibration``.
        pictures: File name -> SVG.
        test: What differences from other tests are made of.
    """

    metrics: dict[str, Any]
    pictures: dict[str, str]
    test: Test


def score_part(
    key: Key, rows: Sequence[Row], p: NDArray[np.float64], predictor: Predictor
) -> Scored:
    """Scores predictions of images.

    Args:
        key: Set and version, for titles and the seed of the draws.
        rows: The images, N.
        p: Probabilities [N, K].
        predictor: Model, thresholds and settings.

    Raises:
        IsnetError: Kind "weights", when probabilities are not finite.
    """
    classes, config = predictor.classes, predictor.config
    labels = encode_labels(rows, classes, predictor.task)
    found = scores(p, labels, classes, predictor.thresholds)
    patients = [row.patient for row in rows]
    sample = make_sample(p, labels, classes, predictor.thresholds, patients)
    seed = derive_seed(config.seed, "intervals", *key)
    metrics = {**found, **add_intervals(found, sample, config.evaluate.intervals, seed)}
    pictures = _pictures(", ".join(key), metrics, p, labels, classes) if found["n"] else {}
    return Scored(metrics, pictures, Test(found, sample))


def _pictures(
    title: str,
    metrics: dict[str, Any],
    p: NDArray[np.float64],
    labels: NDArray[Any],
    classes: Sequence[str],
) -> dict[str, str]:
    """File name -> SVG of the curves that exist for this set."""
    rocs, curves = [], []
    for k, name in enumerate(classes):
        truth = labels[:, k] if labels.ndim == 2 else np.where(labels < 0, np.nan, labels == k)
        entry = metrics["per_class"][name]
        points, steps = roc_points(p[:, k], truth), pr_points(p[:, k], truth)
        if points is not None:
            rocs.append(Roc(name, *points, entry["auc"]))
        if steps is not None and entry["ap"] is not None:
            recall, precision = (thin_curve(side) for side in steps)
            curves.append(PrecisionRecall(name, recall, precision, entry["ap"]))
    found = {"roc.svg": svg_text(roc_figure(title, rocs))} if rocs else {}
    if curves:
        found["pr.svg"] = svg_text(pr_figure(title, curves))
    if metrics["task"] == "multiclass":
        figure = confusion_figure(title, metrics["confusion"], classes)
        found["confusion.svg"] = svg_text(figure)
    found["reliability.svg"] = svg_text(reliability_figure(title, _reliability(metrics)))
    return found


def _reliability(metrics: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The predicted class's curve; of several labels each one's."""
    calibration = metrics["calibration"]
    if "curve" in calibration:
        return {"predicted class": calibration["curve"]}
    entries = calibration["per_class"].items()
    return {name: entry["curve"] for name, entry in entries if entry["curve"]}


def reference_set(config: Config, names: Sequence[str]) -> str:
    """The set that the others are compared with.

    Raises:
        IsnetError: Kind "config", when ``evaluate.reference`` is none of the sets scored.
    """
    chosen = config.evaluate.reference
    if chosen is not None and chosen not in names:
        raise IsnetError(
            "config",
            f"evaluate.reference: '{chosen}' is not scored, expected one of {', '.join(names)}",
            fix="name one of evaluate.sets, or leave evaluate.reference out",
        )
    return chosen or names[0]


def compute_shifts(
    config: Config, tests: Mapping[Key, Test], reference: str
) -> list[dict[str, Any]]:
    """Deltas between versions and between sets, as of `shift_tables`."""
    seed = derive_seed(config.seed, "shift")
    return shift_tables(tests, reference, config.evaluate.intervals, seed)


def summarise_scores(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of one test that a table on the terminal shows, ranges beside them."""
    macro = metrics["intervals"].get("macro", {})
    found: dict[str, Any] = {"n": metrics["n"]}
    for rate in ("f1", "auc"):
        cell = macro.get(rate, {})
        known = cell.get("low") is not None
        found[f"macro_{rate}"] = metrics["macro"][rate]
        found[f"macro_{rate}_range"] = [cell["low"], cell["high"]] if known else None
    return found


def summarise_shifts(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same of differences: macro-F1 and AUC of each pair of tests."""
    return [
        {
            "from": pair["from"],
            "to": pair["to"],
            **{
                f"macro_{rate}": {
                    end: pair["differences"]["macro"][rate][end] for end in ("value", "low", "high")
                }
                for rate in ("f1", "auc")
            },
        }
        for pair in found
    ]
