"""Facts of runs for the tests of sections, without any file."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Any

from isnet_cli.output.curves import Roc
from isnet_cli.report.blocks import Picture, Section
from isnet_cli.report.pictures import ChosenImages, MapPicture, ReportPictures
from isnet_cli.report.results import Cohort, RunResults

SHAPES = ("biased", "standard", "deceiving")


def scored(f1: float | None, auc: float | None, outside: float | None = None) -> dict[str, Any]:
    """Scores of one set in one version, classes a and b."""
    rates = {"precision": 0.5, "recall": 0.5, "specificity": 0.5, "ap": 0.5, "f1": f1, "auc": auc}
    found: dict[str, Any] = {
        "n": 20, "accuracy": 0.9, "balanced_accuracy": 0.8, "confusion": [[7, 3], [2, 8]],
        "macro": dict(rates),
        "per_class": {"a": {**rates, "positives": 10}, "b": {**rates, "positives": 10}},
    }  # fmt: skip
    if outside is not None:
        spread = {"n": 20, "mean": outside, "p95": outside + 0.1}
        found["relevance_outside"] = {**spread, "per_class": {"a": spread, "b": spread}}
    return found


def run(
    name: str = "isnet",
    sets: dict[str, dict[str, Any]] | None = None,
    *,
    settings: dict[str, Any] | None = None,
    **facts: Any,
) -> RunResults:
    """A run with the given metrics, ROC curves for each, and a usual configuration."""
    base = {
        "name": "tb", "seed": 3, "train": {"method": "isnet", "select": "loss"},
        "model": {"arch": "small", "input": [64, 64]}, "bias": {"kind": "none", "train": True},
    }  # fmt: skip
    metrics = {"classes": ["a", "b"], "task": "multiclass", "sets": sets} if sets else {}
    curve = [Roc("a", [0, 0.3, 1], [0, 0.7, 1], 0.7), Roc("b", [0, 0.2, 1], [0, 0.8, 1], 0.8)]
    rocs = {(s, v): curve for s, versions in (sets or {}).items() for v in versions}
    return RunResults(name, base | (settings or {}), metrics=metrics, rocs=rocs, **facts)


def biased(name: str, values: Sequence[float], outside: float | None = None) -> RunResults:
    """A run with one set in three versions that have the given scores."""
    versions = {v: scored(x, x, outside) for v, x in zip(SHAPES, values, strict=True)}
    return run(name, {"test": versions})


def relevance_map(key: str, label: str = "a", **facts: Any) -> MapPicture:
    """A map of an image."""
    values: dict[str, Any] = {
        "group": "Set test", "target": "a", "predicted": "a", "probability": 0.75,
        "outside": 0.125, **facts,
    }  # fmt: skip
    picture = Picture("data:image/jpeg;base64,AAAA", "")
    return MapPicture(key=key, label=label, picture=picture, **values)


def pictures(
    runs: Sequence[RunResults],
    cohorts: Sequence[Cohort] = (),
    maps: Sequence[Sequence[MapPicture]] | None = None,
) -> ReportPictures:
    """Maps of the runs, and nothing else."""
    shown = maps or [[] for _ in runs]
    return ReportPictures(shown, [ChosenImages() for _ in runs], [[] for _ in cohorts])


def only(section: Section, kind: type) -> list[Any]:
    """The blocks of one kind."""
    return [block for block in section.blocks if isinstance(block, kind)]


def said(section: Section) -> str:
    """All paragraphs."""
    return " ".join(str(getattr(block, "text", "")) for block in section.blocks)


def letters(picture: Picture) -> str:
    """The letters of a picture that is an SVG drawing."""
    kind, content = picture.uri.split(",")
    assert kind == "data:image/svg+xml;base64"
    root = ET.fromstring(base64.b64decode(content))  # noqa: S314 - our own drawing
    return " ".join("".join(e.itertext()) for e in root.iter("{http://www.w3.org/2000/svg}text"))
