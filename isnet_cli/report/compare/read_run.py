"""Reads what a comparison needs from one evaluated run, and refuses what cannot be compared."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isnet_cli.config.schema import Config
from isnet_cli.core.files import read_csv, sha256_file
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.errors import IsnetError
from isnet_cli.images.manifest import read_manifest
from isnet_cli.images.types import Row
from isnet_cli.labels.values import UnknownValueError, labels_of
from isnet_cli.stats.sample import make_sample
from isnet_cli.stats.scores import scores
from isnet_cli.stats.shift import Test

METRICS, PREDICTIONS = "metrics.json", "predictions.csv"
Key = tuple[str, str]  # set, version


@dataclass(frozen=True)
class Evaluated:
    """One run whose model was evaluated.

    Attributes:
        name: Unlike those of the other runs.
        folder: Where it lies.
        config: Its settings.
        metrics: ``evaluate/metrics.json``.
        rows: Key -> line of the manifest of the images.
        record: What ``run.json`` says about the finished stage.
    """

    name: str
    folder: RunFolder
    config: Config
    metrics: Mapping[str, Any]
    rows: Mapping[str, Row]
    record: Mapping[str, Any]

    @property
    def classes(self) -> list[str]:
        """Classes of the model, in the order of its outputs."""
        return list(self.metrics["classes"])

    @property
    def task(self) -> str:
        """``multiclass`` or ``multilabel``."""
        return str(self.metrics["task"])

    @property
    def tests(self) -> list[Key]:
        """What it was evaluated on."""
        return [(name, v) for name, versions in self.metrics["sets"].items() for v in versions]

    def scores(self, test: Key) -> Mapping[str, Any]:
        """Figures of one test."""
        found: Mapping[str, Any] = self.metrics["sets"][test[0]][test[1]]
        return found

    def predictions(self, test: Key) -> str:
        """Where the predictions of one test lie, below the stage's folder."""
        return _tables(self.scores(test))[0]


@dataclass(frozen=True)
class Predictions:
    """The table of one test; N images.

    Attributes:
        path: The file.
        labels: Key -> label, in the order of the lines.
        p: Probabilities [N, K], columns in the order that was asked for.
    """

    path: Path
    labels: Mapping[str, str]
    p: NDArray[np.float64]

    def ordered(self, keys: Sequence[str]) -> NDArray[np.float64]:
        """Probabilities of the images `keys`, in that order."""
        places = {key: i for i, key in enumerate(self.labels)}
        return self.p[[places[key] for key in keys]]


def read_evaluated(folder: RunFolder, config: Config, name: str) -> Evaluated:
    """A run with its metrics and its images.

    Raises:
        IsnetError: Kind "data", when it was not evaluated or a file is damaged.
    """
    record = folder.stage_record("evaluate")
    if record is None:
        raise IsnetError(
            "data",
            f"{folder.path}: stage 'evaluate' is not finished, expected a run with scores",
            fix=f"isnet evaluate {folder.path}",
        )
    path = folder.stage_dir("evaluate") / METRICS
    metrics = _metrics(path)
    _check_hash(path, record, METRICS)
    rows = read_manifest(folder.stage_dir("ingest") / "manifest.csv")
    return Evaluated(name, folder, config, metrics, {row.key: row for row in rows}, record)


def _metrics(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text, parse_constant=_refused)
        classes = content["classes"]
        sound = isinstance(classes, list) and isinstance(content["task"], str)
        for found in (one for versions in content["sets"].values() for one in versions.values()):
            sound &= isinstance(found["n"], int) and isinstance(found["macro"], dict)
            sound &= len(_tables(found)) == 1 and set(found["per_class"]) == set(classes)
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, "the scores of isnet evaluate") from error
    if not sound:
        raise _damaged(path, "the scores of isnet evaluate")
    return dict(content)


def _tables(scores: Mapping[str, Any]) -> list[str]:
    """The tables of predictions that one test names."""
    return [str(name) for name in scores["files"] if name.rpartition("/")[2] == PREDICTIONS]


def _refused(constant: str) -> float:
    raise ValueError(constant)  # NaN and Infinity are no JSON


def _check_hash(path: Path, record: Mapping[str, Any], name: str) -> None:
    expected = record.get("outputs", {}).get(name)
    if expected is not None and sha256_file(path) != expected:
        raise IsnetError(
            "data",
            f"{path}: changed since isnet evaluate wrote it (SHA-256 is not that of run.json)",
            fix="isnet evaluate CONFIG --overwrite",
        )


def read_predictions(run: Evaluated, test: Key, classes: Sequence[str]) -> Predictions:
    """Predictions of one test, with every cell checked.

    Args:
        run: The run.
        test: Set and version.
        classes: Order of the columns.

    Raises:
        IsnetError: Kind "data": a file or a column is missing, an image appears twice, a label is
            of no known class, an image is not in the manifest. Kind "weights": a probability is not
            finite.
    """
    name = run.predictions(test)
    path = run.folder.stage_dir("evaluate") / name
    try:
        lines = read_csv(path)
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(path, "the predictions of isnet evaluate") from error
    labels: dict[str, str] = {}
    p = np.empty((len(lines), len(classes)))
    for number, line in enumerate(lines):
        place = f"{path}:{number + 2}"
        if not {"key", "label", *(f"p_{name}" for name in classes)} <= line.keys():
            raise _damaged(path, "columns key, label, " + ", ".join(f"p_{n}" for n in classes))
        if line["key"] in labels or line["key"] not in run.rows:
            found = "twice" if line["key"] in labels else "not in ingest/manifest.csv"
            raise _damaged(
                Path(place), f"each image of the run once, found '{line['key']}' {found}"
            )
        labels[line["key"]] = _known_label(place, line["label"] or "", classes, run.task)
        p[number] = [_probability(place, name, line[f"p_{name}"]) for name in classes]
    _check_hash(path, run.record, name)
    return Predictions(path, labels, p)


def _known_label(place: str, label: str, classes: Sequence[str], task: str) -> str:
    try:
        names = list(labels_of(label, task)) if label else []
    except UnknownValueError:
        names = [label]
    unknown = [name for name in names if name not in classes]
    if unknown:
        raise IsnetError(
            "data",
            f"{place}: label '{unknown[0]}' is no class of the model, expected "
            f"{', '.join(classes)}",
            fix="isnet evaluate CONFIG --overwrite, with labels of the model's classes",
        )
    return label


def _probability(place: str, name: str, cell: str) -> float:
    try:
        value = float(cell)
    except (TypeError, ValueError):
        value = math.inf
    if math.isfinite(value) and 0 <= value <= 1:
        return value
    raise IsnetError(
        "data" if math.isfinite(value) else "weights",
        f"{place}: p_{name} is '{cell}', expected a probability in [0, 1]",
        fix="isnet evaluate CONFIG --overwrite; if it comes again, the training diverged: a lower "
        "train.optimizer.lr",
    )


def paired_tests(runs: Sequence[Evaluated], tables: Sequence[Predictions]) -> list[Test]:
    """Scores and samples of all runs on one test, images in the order of the first run's table.

    Args:
        runs: The runs, of the same classes and task.
        tables: Predictions of each, of the same images and labels, columns as the first's classes.
    """
    first = runs[0]
    keys, classes = list(tables[0].labels), first.classes
    labels = _encoded(list(tables[0].labels.values()), classes, first.task)
    patients = _patients(runs, keys)
    found = []
    for run, table in zip(runs, tables, strict=True):
        thresholds = _thresholds(run, classes)
        p = table.ordered(keys)
        metrics = scores(p, labels, classes, thresholds)
        found.append(Test(metrics, make_sample(p, labels, classes, thresholds, patients)))
    return found


def _encoded(labels: Sequence[str], classes: Sequence[str], task: str) -> NDArray[Any]:
    if task == "multiclass":
        return np.array([classes.index(label) if label else -1 for label in labels], np.int64)
    said = [labels_of(label, task) if label else {} for label in labels]
    table = [[values.get(name, math.nan) for name in classes] for values in said]
    return np.array(table, np.float64).reshape(len(labels), len(classes))


def _patients(runs: Sequence[Evaluated], keys: Sequence[str]) -> list[str]:
    """Patients of the images, from the first run that knows any."""
    for run in runs:
        found = [run.rows[key].patient for key in keys]
        if any(found):
            return found
    return [""] * len(keys)


def _thresholds(run: Evaluated, classes: Sequence[str]) -> list[float] | None:
    given = run.metrics.get("thresholds")
    if given is None or run.task != "multilabel":
        return None
    return [given[run.classes.index(name)] for name in classes]


def _damaged(path: Path, expected: str) -> IsnetError:
    return IsnetError(
        "data",
        f"{path}: missing or damaged, expected {expected}",
        fix="isnet evaluate CONFIG --overwrite",
    )
