"""Reads what a report says from the files of a run; a stage without files is told as missing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from isnet_cli.config.load import dump, load, plain
from isnet_cli.config.schema import Config
from isnet_cli.core.files import read_csv, sha256_file
from isnet_cli.core.run_folder import STAGES, RunFolder
from isnet_cli.errors import IsnetError
from isnet_cli.labels.values import UnknownValueError, decode_findings
from isnet_cli.output.curves import PrecisionRecall, thinned
from isnet_cli.output.figures import Roc
from isnet_cli.report.facts import Cohort, FileFacts, MapFacts, RunFacts
from isnet_cli.stats.scores import pr_points, roc_points

READ: Mapping[str, Sequence[str]] = {  # stage -> tables and records that the page is made from
    "ingest": ("manifest.csv",),
    "masks": ("qc.csv",),
    "train": ("history.csv", "model.json"),
    "evaluate": ("metrics.json",),
    "heatmap": ("index.csv",),
}


def run_names(folders: Sequence[RunFolder]) -> list[str]:
    """Short names that differ: the folder's name, with as many parents as it takes."""
    paths = [folder.path.absolute() for folder in folders]
    for depth in range(1, max(len(path.parts) for path in paths)):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [f"run {number}" for number, _ in enumerate(paths, 1)]


def read_run(folder: RunFolder, name: str, maps: Sequence[MapFacts] = ()) -> RunFacts:
    """Everything about one run but its images and masks.

    Raises:
        IsnetError: Kind "data", when a file of a finished stage is damaged.
    """
    config = _config(folder)
    settings = plain(config) if config else {}
    done = {stage for stage in STAGES if folder.stage_record(stage) is not None}
    train, evaluate = folder.stage_dir("train"), folder.stage_dir("evaluate")
    metrics = _json(evaluate / "metrics.json") if "evaluate" in done else {}
    history = train / "history.csv"
    curves = _curves(evaluate, metrics)
    return RunFacts(
        name,
        settings,
        dump(config) if config else "",
        folder.record(),
        read_table(history) if history.is_file() else [],
        _json(train / "model.json") if "train" in done else {},
        metrics,
        {test: rocs for test, (rocs, _) in curves.items()},
        maps,
        missing(folder, settings),
        {test: prs for test, (_, prs) in curves.items()},
        files=_files(folder, metrics),
    )


def read_cohort(folder: RunFolder, name: str, users: Sequence[str]) -> Cohort:
    """Images and masks of one run, without pictures.

    Args:
        folder: The run that made them.
        name: What to call it.
        users: Runs of the report that use them.

    Raises:
        IsnetError: Kind "data", when a file of a finished stage is damaged.
    """
    config = _config(folder) or Config()
    found: dict[str, list[dict[str, str]]] = {"ingest": [], "masks": []}
    for stage, file in (("ingest", "manifest.csv"), ("masks", "qc.csv")):
        if folder.stage_record(stage) is not None:
            found[stage] = read_table(folder.stage_dir(stage) / file)
    return Cohort(
        name,
        users,
        found["ingest"],
        found["masks"],
        task=config.data.labels.task,
        on_suspect=config.masks.on_suspect,
        missing=missing(folder, plain(config)),
    )


def missing(folder: RunFolder, settings: dict[str, Any]) -> dict[str, str]:
    """Stage -> why there is nothing of it and how to make it, for stages that are not done."""
    found = {}
    for stage in STAGES:
        if folder.stage_record(stage) is not None:
            continue
        owner = folder.owner(stage)
        entry = owner.record()["stages"].get(stage)
        state = "was started and is not finished" if entry else "has not been run"
        name = owner.path.absolute().name
        found[stage] = f"stage '{stage}' {state}; isnet {stage} CONFIG -o {name} makes it."
    if settings.get("evaluate", {}).get("model") and "train" in found:
        found["train"] = "this run evaluates the model of another run."
    return found


def _config(folder: RunFolder) -> Config | None:
    """The resolved configuration, absolute paths shortened to their last part."""
    path = folder.path / "isnet.yaml"
    if not path.is_file():
        return None
    return Config.model_validate(_shortened(plain(load(path))))


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shortened(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shortened(item) for item in value]
    if isinstance(value, str):
        for path in (PurePosixPath(value), PureWindowsPath(value)):
            if path.is_absolute() and path.name:
                return f"…/{path.name}"
    return value


def _files(folder: RunFolder, metrics: dict[str, Any]) -> list[FileFacts]:
    """Tables and records that are read, those that exist, with their hashes."""
    parts = [part for versions in metrics.get("sets", {}).values() for part in versions.values()]
    tables = [f for part in parts for f in part.get("files", ()) if f.endswith(".csv")]
    found = []
    for stage, names in (*READ.items(), ("evaluate", tables)):
        outputs = (folder.stage_record(stage) or {}).get("outputs", {})
        for name in names:
            path = folder.stage_dir(stage) / name
            if path.is_file():
                recorded = str(outputs.get(name, ""))
                found.append(FileFacts(f"{stage}/{name}", sha256_file(path), recorded))
    return found


def _curves(
    evaluate: Path, metrics: dict[str, Any]
) -> dict[tuple[str, str], tuple[list[Roc], list[PrecisionRecall]]]:
    """Curves from the predictions that ``metrics.json`` names."""
    found = {}
    for name, versions in metrics.get("sets", {}).items():
        for version, content in versions.items():
            paths = [f for f in content.get("files", ()) if f.endswith("predictions.csv")]
            if paths and (evaluate / paths[0]).is_file():
                found[name, version] = _of_test(evaluate / paths[0], metrics, content)
    return found


def _of_test(
    path: Path, metrics: dict[str, Any], content: dict[str, Any]
) -> tuple[list[Roc], list[PrecisionRecall]]:
    rows = read_table(path)
    rocs, prs = [], []
    for name in metrics.get("classes", ()):
        try:
            truth = [_truth(row["label"], name, str(metrics.get("task"))) for row in rows]
            p = [float(row[f"p_{name}"]) for row in rows]
        except (KeyError, ValueError, UnknownValueError) as error:
            raise _damaged(path, f"labels and a column p_{name}") from error
        points, steps = roc_points(p, truth), pr_points(p, truth)
        entry = content.get("per_class", {}).get(name, {})
        if points is not None:
            rocs.append(Roc(name, *points, entry.get("auc")))
        if steps is not None and entry.get("ap") is not None:
            recall, precision = (thinned(side) for side in steps)
            prs.append(PrecisionRecall(name, recall, precision, entry["ap"]))
    return rocs, prs


def _truth(label: str, name: str, task: str) -> float:
    """1, 0, or NaN where the label does not say."""
    if not label:
        return float(np.nan)
    if task == "multilabel":
        return decode_findings(label).get(name, float(np.nan))
    return float(label == name)


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise _damaged(path, "JSON") from error
    if not isinstance(content, dict):
        raise _damaged(path, "a JSON object")
    return content


def read_table(path: Path) -> list[dict[str, str]]:
    """A CSV of a finished stage.

    Raises:
        IsnetError: Kind "data", when it is missing or damaged.
    """
    try:
        return read_csv(path)
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(path, "CSV") from error


def _damaged(path: Path, expected: str) -> IsnetError:
    return IsnetError(
        "data",
        f"{path}: missing or damaged, expected {expected}",
        fix=f"isnet {path.parent.name if path.parent.name in STAGES else 'run'} CONFIG --overwrite",
    )
