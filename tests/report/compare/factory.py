"""Evaluated runs for the tests of comparisons, made from the stages' contracts alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from isnet_cli.config.load import dump, load
from isnet_cli.config.schema import Config, Intervals
from isnet_cli.core.files import write_csv, write_json
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.images.manifest import rows_to_dicts
from isnet_cli.images.types import ROW_FIELDS, Row
from isnet_cli.report.results import RunResults, read_evaluated
from isnet_cli.stats.intervals import add_intervals
from isnet_cli.stats.reliance import summarise
from isnet_cli.stats.sample import make_sample
from isnet_cli.stats.scores import scores

CLASSES = ("normal", "tb")
QUICK = Intervals(draws=1000, bootstrap=200)
Images = dict[str, str]  # key -> label


def images(count: int, classes: Sequence[str] = CLASSES, head: str = "f") -> Images:
    """Images with the classes in turns."""
    return {f"{head}/{i:02d}": classes[i % len(classes)] for i in range(count)}


def compared_run(
    path: Path,
    sets: Mapping[str, Images] | None = None,
    *,
    skill: float = 1.0,
    noise: int = 0,
    classes: Sequence[str] = CLASSES,
    versions: Sequence[str] = ("standard",),
    several: int = 2,
    described: Mapping[str, Any] | None = None,
    content: Callable[[str], str] = lambda key: key,
    **config: Any,
) -> RunFolder:
    """A run whose ingest and evaluate stages are finished.

    Args:
        path: Where.
        sets: Set -> images with their labels.
        skill: How well the predictions follow the labels.
        noise: Seed of the predictions.
        classes: Order of the columns.
        versions: Of each set.
        several: Images of each patient.
        described: Entries of the model's description.
        content: Key -> what the image's hash is made of.
        config: Sections of the configuration.
    """
    sets = {"test": images(24, classes)} if sets is None else sets
    folder = RunFolder(path)
    task = config.get("data", {}).get("labels", {}).get("task", "multiclass")
    folder.save_config(dump(Config.model_validate(config)))
    rows = [
        Row(
            key=key, image_file=f"images/{key}.png", label=label, set=name, height=96, width=80,
            sha256=hashlib.sha256(content(key).encode()).hexdigest(),
            patient=f"{i // several:012x}",
        )
        for name, own in sets.items()
        for i, (key, label) in enumerate(own.items())
    ]  # fmt: skip
    write_csv(folder.stage_dir("ingest") / "manifest.csv", ROW_FIELDS, rows_to_dicts(rows))
    _finish(folder, "ingest", ["manifest.csv"])
    names = write_evaluation(
        folder, sets, rows, task=task, skill=skill, noise=noise, classes=classes,
        versions=versions, described=described,
    )  # fmt: skip
    _finish(folder, "evaluate", names)
    return folder


def write_evaluation(
    folder: RunFolder,
    sets: Mapping[str, Images],
    rows: Sequence[Row],
    *,
    task: str = "multiclass",
    skill: float = 1.0,
    noise: int = 0,
    classes: Sequence[str] = CLASSES,
    versions: Sequence[str] = ("standard",),
    described: Mapping[str, Any] | None = None,
) -> list[str]:
    """Writes what `evaluate` writes; the names of the files, the arguments as of `compared_run`."""
    found: dict[str, Any] = {}
    for place, (name, own) in enumerate(sets.items()):
        for number, version in enumerate(versions):
            people = [row.patient for row in rows if row.set == name]
            found.setdefault(name, {})[version] = _part(
                folder, (name, version), own, classes, task, skill, people, (noise, place, number)
            )
    description = {"arch": "small", "input": [64, 64], "method": "isnet", **(described or {})}
    write_json(
        folder.stage_dir("evaluate") / "metrics.json",
        {
            "schema": 2, "classes": list(classes), "task": task, "model": description,
            "thresholds": [0.5] * len(classes) if task == "multilabel" else None, "sets": found,
        },
    )  # fmt: skip
    return ["metrics.json", *(f"{s}/{v}/predictions.csv" for s in sets for v in versions)]


def _finish(folder: RunFolder, stage: str, names: Sequence[str]) -> None:
    folder.begin(stage, stage)
    folder.finish(stage, stage, [folder.stage_dir(stage) / name for name in names], {})


def truth_of(label: str, classes: Sequence[str], task: str) -> Any:
    """A label as `scores` takes it."""
    if task == "multiclass":
        return classes.index(label) if label else -1
    said = dict(part.split("=") for part in label.split(";")) if label else {}
    values = {"1": 1.0, "0": 0.0}
    return [values.get(said.get(name, "?"), np.nan) for name in classes]


def _part(
    folder: RunFolder,
    test: tuple[str, str],
    own: Images,
    classes: Sequence[str],
    task: str,
    skill: float,
    people: Sequence[str],
    seed: tuple[int, ...],
) -> dict[str, Any]:
    classes = tuple(classes)
    p, metrics = _score(tuple(own.values()), classes, task, skill, tuple(people), seed)
    place = f"{test[0]}/{test[1]}/predictions.csv"
    lines = [
        {"key": key, "label": label, "predicted": classes[int(row.argmax())],
         **{f"p_{c}": repr(float(v)) for c, v in zip(classes, row, strict=True)},
         "outside_share": "0.1"}
        for (key, label), row in zip(own.items(), p, strict=True)
    ]  # fmt: skip
    columns = ["key", "label", "predicted", *(f"p_{c}" for c in classes), "outside_share"]
    write_csv(folder.stage_dir("evaluate") / place, columns, lines)
    shares = [0.1 + 0.01 * i for i in range(len(own))]
    return {
        "images": len(own), **metrics,
        "relevance_outside": summarise(shares, p.argmax(axis=1).tolist(), classes),
        "background": {"n": 0, "why": "evaluate.background is false"}, "files": [place],
    }  # fmt: skip


@lru_cache(maxsize=64)
def _score(
    own: tuple[str, ...],
    classes: tuple[str, ...],
    task: str,
    skill: float,
    people: tuple[str, ...],
    seed: tuple[int, ...],
) -> tuple[np.ndarray, dict[str, Any]]:
    """Made-up probabilities [N, K] and their scores with intervals; many tests ask for the same."""
    labels = np.array([truth_of(label, classes, task) for label in own])
    hot = np.eye(len(classes))[labels.astype(int)] if labels.ndim == 1 else np.nan_to_num(labels)
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(len(own), len(classes))) + 2 * skill * hot
    p = 1 / (1 + np.exp(-logits))
    p = p if task == "multilabel" else p / p.sum(axis=1, keepdims=True)
    thresholds = [0.5] * len(classes) if task == "multilabel" else None
    metrics = scores(p, labels, classes, thresholds)
    sample = make_sample(p, labels, classes, thresholds, people)
    return p, {**metrics, **add_intervals(metrics, sample, QUICK, 0)}


def opened(folder: RunFolder) -> tuple[RunFolder, Config]:
    """A run with its settings, as the command opens it."""
    config = load(folder.path / "isnet.yaml")
    upstream = RunFolder(Path(config.upstream)) if config.upstream else None
    return RunFolder(folder.path, upstream), config


def read(folder: RunFolder, name: str = "") -> RunResults:
    """The same, read."""
    return read_evaluated(*opened(folder), name or folder.path.name)


def edit_predictions(folder: RunFolder, old: str, new: str, *, record: bool = True) -> Path:
    """Replaces text in the predictions of the set `test`; `record`: as if evaluate had done it."""
    path = folder.stage_dir("evaluate") / "test/standard/predictions.csv"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    if record:
        _finish(folder, "evaluate", ["metrics.json", "test/standard/predictions.csv"])
    return path
