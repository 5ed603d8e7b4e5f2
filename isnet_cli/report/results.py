"""Reads the results of a run: the one reader of the report, of comparisons and of benchmarks.

`read_run` reads whatever is there and says what is missing (for a report). `read_evaluated` asks
for a finished evaluation whose files are as the stage wrote them (for a comparison).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isnet_cli.config.load import dump, load, plain
from isnet_cli.config.schema import Config
from isnet_cli.core.files import sha256_file
from isnet_cli.core.pipeline import hash_settings, stage_module
from isnet_cli.core.records.cards import CARD, read_head
from isnet_cli.core.records.map_check import MapCheck
from isnet_cli.core.records.metrics import Metrics
from isnet_cli.core.records.read import read_record, read_rows
from isnet_cli.core.run_folder import REPORT, STAGES, RunFolder
from isnet_cli.errors import IsnetError
from isnet_cli.images.manifest import read_manifest
from isnet_cli.images.types import ROW_FIELDS, Row
from isnet_cli.labels.values import UnknownValueError, parse_label
from isnet_cli.output.curves import PrecisionRecall, Roc, thin_curve
from isnet_cli.output.figures import number
from isnet_cli.stats.scores import pr_points, roc_points

SCORES = "the scores of isnet evaluate"
METRICS, PREDICTIONS = "metrics.json", "predictions.csv"
CHECK = "check/check.json"
READ: Mapping[str, Sequence[str]] = {  # stage -> tables and records that a page is made from
    "ingest": ("manifest.csv",),
    "masks": ("qc.csv",),
    "train": ("history.csv", "model.json"),
    "evaluate": (METRICS,),
    "heatmap": ("index.csv", CHECK),
}
FILE_COLUMNS = ("image_file", "png", "npz")
COLUMNS: Mapping[str, Sequence[str]] = {  # table -> what pages read of it
    "manifest.csv": ROW_FIELDS,
    "qc.csv": ("key", "verdict", "reason", "area"),
    "index.csv": (
        *("set", "version", "key", "label", "target", "predicted", "probability", "outside_share"),
        *("error", "png", "npz"),
    ),
    PREDICTIONS: ("key", "label", "predicted"),
    "background.csv": ("key", "variant", "predicted", "flipped"),
}
Cells = Mapping[str, str]  # one line of a CSV file
TestKey = tuple[str, str]  # set, version


@dataclass(frozen=True)
class FileHash:
    """A file that a page was made from.

    Attributes:
        name: Relative to the run folder.
        sha256: Of its content when it was read.
        recorded: The same as the stage wrote it to ``run.json``, or empty.
    """

    name: str
    sha256: str
    recorded: str = ""


@dataclass(frozen=True)
class RunResults:
    """What the files of one run say.

    Attributes:
        name: Short name, unlike those of the other runs.
        settings: The resolved configuration as plain data, absolute paths shortened to their last
            part; empty when it is missing.
        settings_text: The same as YAML.
        record: ``run.json``.
        history: ``train/history.csv``.
        card: ``train/model.json``; empty when training is not finished.
        metrics: ``evaluate/metrics.json``; empty when evaluate is not finished.
        rocs: (set, version) -> ROC curves, one a class.
        prs: (set, version) -> precision-recall curves, one a class.
        missing: Stage -> how to make it, for stages that are not finished.
        files: The tables and records that were read.
        config: The configuration itself, for a comparison.
        folder: The run, for a comparison.
        images: Key -> line of the manifest, for a comparison.
        map_check: ``heatmap/check/check.json``; empty where the maps were not checked.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    settings_text: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)
    history: Sequence[Cells] = ()
    card: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    rocs: Mapping[TestKey, Sequence[Roc]] = field(default_factory=dict)
    prs: Mapping[TestKey, Sequence[PrecisionRecall]] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[FileHash] = ()
    config: Config = field(default_factory=Config)
    folder: RunFolder = field(default_factory=lambda: RunFolder(Path()))
    images: Mapping[str, Row] = field(default_factory=dict)
    map_check: Mapping[str, Any] = field(default_factory=dict)

    @property
    def classes(self) -> list[str]:
        """Classes of the evaluated model, in the order of its outputs; empty without one."""
        return list(self.metrics.get("classes", ()))

    @property
    def task(self) -> str:
        """``multiclass`` or ``multilabel``; empty without an evaluated model."""
        return str(self.metrics.get("task", ""))

    @property
    def tests(self) -> list[TestKey]:
        """What the model was evaluated on."""
        sets = self.metrics.get("sets", {})
        return [(name, version) for name, versions in sets.items() for version in versions]

    @property
    def model(self) -> dict[str, Any]:
        """Method, network, input size and seed of the model that was evaluated, or was trained."""
        given = {
            "method": self.setting("train.method"),
            "arch": self.setting("model.arch"),
            "input": self.settings.get("model", {}).get("input"),
            "seed": self.setting("seed"),
        }
        used = self.metrics.get("model") or self.card
        return {name: used.get(name) or value for name, value in given.items()}

    def setting(self, path: str, default: str = "unknown") -> str:
        """A setting by its dotted name as text, `default` where it is not there."""
        value: Any = self.settings
        for key in path.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        return default if value is None else str(value)

    def scores(self, test: TestKey) -> Mapping[str, Any]:
        """Scores on one (set, version); empty where there are none."""
        return find_cell(self.metrics, "sets", *test)

    def cell(self, test: TestKey, *path: str) -> Mapping[str, Any]:
        """The cell of ``intervals`` at `path`; empty where there is none."""
        return find_cell(self.scores(test), "intervals", *path)

    def background(self, test: TestKey) -> Mapping[str, Any]:
        """Predictions on cut and pasted images of one (set, version); empty without any."""
        return find_cell(self.scores(test), "background")

    def attack(self, test: TestKey) -> Mapping[str, Any]:
        """What changes of background pixels alone do to predictions; empty without any."""
        return find_cell(self.scores(test), "attack")

    def localisation(self, test: TestKey) -> Mapping[str, Any]:
        """Maps against annotated findings on one (set, version); empty without any."""
        return find_cell(self.scores(test), "localisation")

    def list_files(self, test: TestKey, *names: str) -> list[str]:
        """Those of the test's files that are called `names`, relative to the run folder."""
        files = [str(name) for name in self.scores(test).get("files", ())]
        return [f"evaluate/{file}" for file in files if PurePosixPath(file).name in names]

    def macro(self, test: TestKey, rate: str) -> float | None:
        """A macro mean on one (set, version)."""
        return number(self.scores(test).get("macro", {}).get(rate))

    def outside(self, test: TestKey, figure: str = "mean") -> float | None:
        """Share of relevance outside the lungs on one (set, version): ``mean`` or ``p95``."""
        return number((self.scores(test).get("relevance_outside") or {}).get(figure))


@dataclass(frozen=True)
class Cohort:
    """The images and masks that one or more runs share.

    Attributes:
        name: Run folder that holds them.
        users: Names of the runs that use them.
        rows: ``ingest/manifest.csv``; empty when ingest is not finished.
        qc: ``masks/qc.csv``; empty when masks is not finished.
        task: ``multiclass`` or ``multilabel``.
        on_suspect: What happens to images with doubtful masks (``masks.on_suspect``).
        missing: Stage -> how to make it, for stages that are not finished.
    """

    name: str
    users: Sequence[str]
    rows: Sequence[Cells] = ()
    qc: Sequence[Cells] = ()
    task: str = "multiclass"
    on_suspect: str = "exclude"
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def images(self) -> list[Cells]:
        """Rows of usable images."""
        return [row for row in self.rows if row["status"] == "ok"]

    @property
    def outside_area(self) -> float | None:
        """Mean share of an image's area outside its lung mask, over sound masks."""
        areas = [number(row["area"]) for row in self.qc if row["verdict"] == "ok"]
        known = [area for area in areas if area is not None]
        return 1 - sum(known) / len(known) if known else None


@dataclass(frozen=True)
class Predictions:
    """The predictions of one test; N images.

    Attributes:
        labels: Key -> label, in the order of the lines.
        p: Probabilities [N, K], columns in the order of the given classes.
    """

    labels: Mapping[str, str]
    p: NDArray[np.float64]

    def reorder(self, keys: Sequence[str]) -> NDArray[np.float64]:
        """Probabilities of the images `keys`, in that order."""
        places = {key: i for i, key in enumerate(self.labels)}
        return self.p[[places[key] for key in keys]]


def find_cell(tree: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """The mapping at `path` of nested mappings; empty where there is none."""
    found: Any = tree
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def name_runs(folders: Sequence[RunFolder]) -> list[str]:
    """Short names that differ: the folder's name, with as many parents as it takes."""
    paths = [folder.path.absolute() for folder in folders]
    for depth in range(1, max(len(path.parts) for path in paths)):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [f"run {number}" for number, _ in enumerate(paths, 1)]


def read_run(folder: RunFolder, name: str) -> RunResults:
    """Everything about one run but its images and masks; `missing` says what is not there.

    Raises:
        IsnetError: Kind "data", when a file of a finished stage is damaged.
    """
    config = _read_config(folder)
    settings = plain(config) if config else {}
    faults = find_faults(folder)
    done = set(STAGES) - set(faults)
    train, evaluate = folder.stage_dir("train"), folder.stage_dir("evaluate")
    metrics = _read_metrics(evaluate / METRICS) if "evaluate" in done else {}
    history = train / "history.csv"
    curves = _read_curves(evaluate, metrics)
    card = _read_card(train / CARD) if "train" in done else {}
    refuse_damage(folder, done)
    return RunResults(
        name,
        settings,
        dump(config) if config else "",
        _read_record(folder),
        _read_history(history) if history.is_file() and _is_present(folder, faults) else [],
        card,
        metrics,
        {test: rocs for test, (rocs, _) in curves.items()},
        {test: prs for test, (_, prs) in curves.items()},
        explain_missing(folder, config, faults),
        _hash_files(folder, metrics, done),
        map_check=_read_map_check(folder) if "heatmap" in done else {},
    )


def _read_map_check(folder: RunFolder) -> dict[str, Any]:
    path = folder.stage_dir("heatmap") / CHECK
    if CHECK not in (folder.stage_record("heatmap") or {}).get("outputs", {}):
        return {}
    with _named(path, "the checks of isnet heatmap --check"):
        return read_record(path, MapCheck, what="checks of maps", fix="")


def read_cohort(folder: RunFolder, name: str, users: Sequence[str]) -> Cohort:
    """Images and masks of one run, without pictures.

    Args:
        folder: The run that made them.
        name: What to call it.
        users: Runs of the report that use them.

    Raises:
        IsnetError: Kind "data", when a file of a finished stage is damaged.
    """
    config = _read_config(folder) or Config()
    found: dict[str, list[dict[str, str]]] = {"ingest": [], "masks": []}
    for stage, file in (("ingest", "manifest.csv"), ("masks", "qc.csv")):
        if not folder.find_fault(stage):
            found[stage] = read_table(folder.stage_dir(stage) / file)
    refuse_damage(folder, [stage for stage, lines in found.items() if lines])
    return Cohort(
        name,
        users,
        found["ingest"],
        found["masks"],
        task=config.data.labels.task,
        on_suspect=config.masks.on_suspect,
        missing=explain_missing(folder, config, find_faults(folder)),
    )


def read_evaluated(folder: RunFolder, config: Config, name: str) -> RunResults:
    """A run whose model was evaluated, with its metrics, which nobody changed, and its images.

    Raises:
        IsnetError: Kind "data", when it was not evaluated, or a file is damaged or changed.
    """
    record = folder.stage_record("evaluate")
    if record is None:
        raise IsnetError(
            "data",
            f"{folder.path}: stage 'evaluate' is not finished, expected a run with scores",
            fix=f"isnet evaluate {folder.path}",
        )
    faults = find_faults(folder)
    for stage in ("evaluate", "heatmap"):
        if stage in faults and folder.stage_record(stage) is not None:
            raise _refuse_result(folder, stage, faults[stage])
    path = folder.stage_dir("evaluate") / METRICS
    metrics = _read_metrics(path)
    _check_hash(path, record, METRICS)
    folder.require("ingest")
    rows = read_manifest(folder.stage_dir("ingest") / "manifest.csv")
    settings = plain(config)
    return RunResults(
        name,
        settings,
        metrics=metrics,
        missing=explain_missing(folder, config, faults),
        config=config,
        folder=folder,
        images={row.key: row for row in rows},
    )


def find_faults(folder: RunFolder) -> dict[str, str]:
    """Stage -> why its result may not be shown as that of the run's settings, where that is so.

    Besides `RunFolder.find_fault`: the result was made with other settings than ``isnet.yaml`` has.

    Raises:
        IsnetError: Kind "config", when ``isnet.yaml`` is damaged.
    """
    path = folder.path / "isnet.yaml"
    config = load(path) if path.is_file() else None
    found = {}
    for stage in STAGES:
        fault = folder.find_fault(stage)
        if not fault and config is not None and folder.owner(stage) is folder:
            fault = _compare_settings(folder, stage, config)
        if fault:
            found[stage] = fault
    return found


def refuse_damage(folder: RunFolder, stages: Iterable[str]) -> None:
    """Refuses files that are not as their stage wrote them.

    Raises:
        IsnetError: Kind "data", naming the file.
    """
    for stage in stages:
        if folder.owner(stage) is folder and (damage := folder.find_damage(stage)):
            raise IsnetError(
                "data",
                f"{folder.path}: {damage}, expected the file that isnet {stage} wrote",
                fix=f"isnet {stage} {folder.path} --overwrite",
            )


def _compare_settings(folder: RunFolder, stage: str, config: Config) -> str:
    recorded = (folder.stage_record(stage) or {}).get("settings")
    if recorded is None:
        return ""
    with contextlib.suppress(IsnetError):  # settings that no stage takes are no other settings
        if hash_settings(stage_module(stage), config) != recorded:
            return "was made with other settings than isnet.yaml has now"
    return ""


def _is_present(folder: RunFolder, faults: Mapping[str, str]) -> bool:
    """Whether the history is that of the present training, finished or going on."""
    return "train" not in faults or folder.stage_record("train") is None


def _refuse_result(folder: RunFolder, stage: str, fault: str) -> IsnetError:
    return IsnetError(
        "data",
        f"{folder.path}: stage '{stage}' {fault}, expected results that belong together",
        fix=f"isnet {stage} {folder.path} --overwrite",
    )


def explain_missing(
    folder: RunFolder, config: Config | None, faults: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Stage -> why there is nothing of it and how to make it, for those of `find_faults`."""
    found = {}
    for stage, fault in (find_faults(folder) if faults is None else faults).items():
        owner = folder.owner(stage)
        again = " --overwrite" if folder.stage_record(stage) is not None else ""
        name = owner.path.absolute().name
        found[stage] = f"stage '{stage}' {fault}; isnet {stage} CONFIG -o {name}{again} makes it."
    if config is not None and config.evaluate.model is not None and "train" in found:
        found["train"] = "this run evaluates the model of another run."
    return found


def read_predictions(run: RunResults, test: TestKey, classes: Sequence[str]) -> Predictions:
    """Predictions of one test, with every cell checked.

    Args:
        run: The run, as `read_evaluated` reads it.
        test: Set and version.
        classes: Order of the columns.

    Raises:
        IsnetError: Kind "data": a file or a column is missing, an image appears twice, a label is
            of no known class, an image is not in the manifest, the file was changed. Kind
            "weights": a probability is not finite.
    """
    name = find_predictions(run.scores(test))[0]
    path = run.folder.stage_dir("evaluate") / name
    lines = _read_prediction_lines(path, classes)
    labels: dict[str, str] = {}
    p = np.empty((len(lines), len(classes)))
    for index, line in enumerate(lines):
        place = f"{path}:{index + 2}"
        if line["key"] in labels or line["key"] not in run.images:
            found = "twice" if line["key"] in labels else "not in ingest/manifest.csv"
            raise damaged(
                Path(place),
                f"each image of the run once, found '{line['key']}' {found}",
                "evaluate",
            )
        labels[line["key"]] = _check_label(place, line["label"] or "", classes, run.task)
        p[index] = [_check_probability(place, label, line[f"p_{label}"]) for label in classes]
    record = run.folder.stage_record("evaluate") or {}
    _check_hash(path, record, name)
    return Predictions(labels, p)


def find_predictions(scores: Mapping[str, Any]) -> list[str]:
    """The tables of predictions of one test, relative to the evaluate folder."""
    files = [str(name) for name in scores.get("files", ())]
    return [name for name in files if PurePosixPath(name).name == PREDICTIONS]


def encode_labels(labels: Sequence[str], classes: Sequence[str], task: str) -> NDArray[np.float64]:
    """Labels as numbers: 1, 0, NaN where the label does not say, [N, K].

    Raises:
        UnknownValueError: When a multi-label text has another form.
    """
    other = math.nan if task == "multilabel" else 0.0
    words = [parse_label(label, task) for label in labels]
    table = [
        [values.get(name, other if values else math.nan) for name in classes] for values in words
    ]
    return np.array(table, np.float64).reshape(len(labels), len(classes))


def read_table(path: Path) -> list[dict[str, str]]:
    """A CSV file of a finished stage.

    Raises:
        IsnetError: Kind "data", when it is missing or damaged.
    """
    with _named(path, "CSV"):
        return read_rows(path, COLUMNS.get(path.name, ()), fix=_remake(path), files=FILE_COLUMNS)


@contextmanager
def _named(path: Path, expected: str) -> Iterator[None]:
    """Says of a damaged file of a run what it is, and then what is wrong."""
    try:
        yield
    except IsnetError as error:
        where, what, fault = error.message.partition(str(path))
        found = (fault.removeprefix(": "), *error.details) if what and not where else ()
        refusal = damaged(path, expected)
        raise IsnetError(
            error.kind, refusal.message, fix=refusal.fix, details=found or (error.message,)
        ) from error


def _remake(path: Path) -> str:
    """The command that makes a file of a run anew."""
    stage = next((part for part in reversed(path.parts[:-1]) if part in STAGES), "run")
    return f"isnet {stage} CONFIG --overwrite"


def damaged(path: Path, expected: str, stage: str = "") -> IsnetError:
    """The error for a file that is missing or damaged.

    Args:
        path: The file.
        expected: What it should hold.
        stage: The stage that writes it; empty: the folder says it.
    """
    return IsnetError(
        "data",
        f"{path}: missing or damaged, expected {expected}",
        fix=f"isnet {stage} CONFIG --overwrite" if stage else _remake(path),
    )


def _read_record(folder: RunFolder) -> dict[str, Any]:
    """``run.json`` without the entry of the page itself."""
    record = folder.record()
    stages = {name: entry for name, entry in record["stages"].items() if name != REPORT}
    return {**record, "stages": stages}


def _read_config(folder: RunFolder) -> Config | None:
    """The resolved configuration, absolute paths shortened to their last part."""
    path = folder.path / "isnet.yaml"
    if not path.is_file():
        return None
    return Config.model_validate(_shorten_paths(plain(load(path))))


def _read_card(path: Path) -> dict[str, Any]:
    with _named(path, "a model's card"):
        return read_head(path, version=False)


def _read_history(path: Path) -> list[dict[str, str]]:
    """The epochs of a training; every cell is empty or a finite number."""
    fix = "isnet train CONFIG --overwrite"
    with _named(path, "the epochs of isnet train"):
        return read_rows(path, ("epoch",), fix=fix, numbers=lambda name: True)


def _shorten_paths(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shorten_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shorten_paths(item) for item in value]
    if isinstance(value, str):
        for path in (PurePosixPath(value), PureWindowsPath(value)):
            if path.is_absolute() and path.name:
                return f"…/{path.name}"
    return value


def _hash_files(
    folder: RunFolder, metrics: Mapping[str, Any], done: Collection[str]
) -> list[FileHash]:
    """Tables and records that are read, those that exist, with their hashes."""
    parts = [part for versions in metrics.get("sets", {}).values() for part in versions.values()]
    tables = [f for part in parts for f in part.get("files", ()) if f.endswith(".csv")]
    found = []
    for stage, names in (*READ.items(), ("evaluate", tables)):
        if stage not in done:
            continue
        outputs = (folder.stage_record(stage) or {}).get("outputs", {})
        for name in names:
            path = folder.stage_dir(stage) / name
            if path.is_file():
                recorded = str(outputs.get(name, ""))
                found.append(FileHash(f"{stage}/{name}", sha256_file(path), recorded))
    return found


def _read_curves(
    evaluate: Path, metrics: Mapping[str, Any]
) -> dict[TestKey, tuple[list[Roc], list[PrecisionRecall]]]:
    """Curves from the predictions that ``metrics.json`` names, where these are there."""
    found = {}
    for name, versions in metrics.get("sets", {}).items():
        for version, content in versions.items():
            paths = find_predictions(content)
            if paths and (evaluate / paths[0]).is_file():
                found[name, version] = _make_curves(evaluate / paths[0], metrics, content)
    return found


def _make_curves(
    path: Path, metrics: Mapping[str, Any], content: Mapping[str, Any]
) -> tuple[list[Roc], list[PrecisionRecall]]:
    classes = list(metrics.get("classes", ()))
    lines = _read_prediction_lines(path, classes)
    try:
        truths = encode_labels([line["label"] for line in lines], classes, str(metrics.get("task")))
    except (ValueError, TypeError) as error:
        raise damaged(path, "labels and probabilities of the classes", "evaluate") from error
    columns = [
        [
            _check_probability(f"{path}:{n}", name, line[f"p_{name}"])
            for n, line in enumerate(lines, 2)
        ]
        for name in classes
    ]
    rocs, prs = [], []
    for name, p, truth in zip(classes, columns, truths.T, strict=True):
        points, steps = roc_points(p, truth), pr_points(p, truth)
        entry = content.get("per_class", {}).get(name, {})
        if points is not None:
            rocs.append(Roc(name, *points, entry.get("auc")))
        if steps is not None and entry.get("ap") is not None:
            recall, precision = (thin_curve(side) for side in steps)
            prs.append(PrecisionRecall(name, recall, precision, entry["ap"]))
    return rocs, prs


def _read_prediction_lines(path: Path, classes: Sequence[str]) -> list[dict[str, str]]:
    columns = ("key", "label", *(f"p_{name}" for name in classes))
    with _named(path, f"columns {', '.join(columns)}"):
        return read_rows(path, columns, fix="")


def _read_metrics(path: Path) -> dict[str, Any]:
    with _named(path, SCORES):
        content = read_record(path, Metrics, what=SCORES, fix="")
        for name, versions in content["sets"].items():
            for version, found in versions.items():
                if len(find_predictions(found)) != 1:
                    place = f"sets.{name}.{version}.files"
                    raise IsnetError("data", f"{path}: {place}: expected one {PREDICTIONS}")
    return content


def _check_hash(path: Path, record: Mapping[str, Any], name: str) -> None:
    expected = record.get("outputs", {}).get(name)
    if expected is not None and sha256_file(path) != expected:
        raise IsnetError(
            "data",
            f"{path}: changed since isnet evaluate wrote it (SHA-256 is not that of run.json)",
            fix="isnet evaluate CONFIG --overwrite",
        )


def _check_label(place: str, label: str, classes: Sequence[str], task: str) -> str:
    try:
        names = list(parse_label(label, task)) if label else []
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


def _check_probability(place: str, name: str, cell: str) -> float:
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
