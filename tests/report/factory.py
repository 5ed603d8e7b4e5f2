"""Whole run folders with the files that a report reads, made from the stages' contracts alone."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from isnet_cli.config.load import dump
from isnet_cli.config.schema import Config, Intervals
from isnet_cli.core.files import write_bytes, write_csv, write_json
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.evaluate.background_scores import VARIANTS, Answers, Images, background_reliance
from isnet_cli.images.kept import save_image
from isnet_cli.images.mask_files import save_mask
from isnet_cli.images.types import ROW_FIELDS
from isnet_cli.output.images import compose_panel, png_bytes
from isnet_cli.stats.intervals import add_intervals
from isnet_cli.stats.reliance import summarise
from isnet_cli.stats.sample import make_sample
from isnet_cli.stats.scores import scores
from isnet_cli.stats.shift import Test, shift_tables
from tests.support.runs import QC_FIELDS, lungs

SETTINGS = Intervals(draws=1000, bootstrap=200)


def make_full_scores(
    p: np.ndarray, truth: np.ndarray, classes: Sequence[str]
) -> tuple[dict[str, Any], Test]:
    """Scores with intervals and calibration of images that are each of their own patient."""
    found, sample = scores(p, truth, classes), make_sample(p, truth, classes)
    return {**found, **add_intervals(found, sample, SETTINGS, 0)}, Test(found, sample)


def make_background(
    p: np.ndarray, truth: np.ndarray, classes: Sequence[str], keys: Sequence[str]
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Background reliance and its table: on another class's background every third image flips."""
    other = p.copy()
    other[::3] = p[::3, ::-1]
    variants = dict(zip(VARIANTS, (p, p, np.full_like(p, 1 / p.shape[1]), other, p), strict=True))
    answers = {name: Answers.of(values.tolist(), p.shape[1]) for name, values in variants.items()}
    images = Images(truth, classes, None, [""] * len(p), SETTINGS)
    found = {**background_reliance(answers, images), "left_out": {"no label": 2}}
    lines = [
        {"key": key, "variant": name, "partner": "", "label": classes[truth[i]],
         "predicted": classes[int(values[i].argmax())],
         "flipped": str(int(values[i].argmax() != p[i].argmax()))}
        for name, values in variants.items()
        for i, key in enumerate(keys)
    ]  # fmt: skip
    return found, lines


def make_deltas(tests: dict[tuple[str, str], Test], reference: str) -> list[dict[str, Any]]:
    """Differences between the tests."""
    return shift_tables(tests, reference, SETTINGS, 0)


VERSIONS = ("biased", "standard", "deceiving")
STAGES = ("ingest", "masks", "train", "evaluate", "heatmap")
INDEX = (
    "set", "version", "key", "target", "label", "predicted", "probability", "outside_share",
    "conservation_error", "png", "npz", "error",
)  # fmt: skip
Maker = Callable[[int, int], tuple[np.ndarray, np.ndarray]]


def plain_image(index: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy 96 x 80 image and its lungs."""
    rng = np.random.default_rng(index)
    mask = lungs(96)[:, 8:88]
    image = 0.7 - 0.4 * mask + rng.normal(0, 0.02, mask.shape)
    return np.clip(image, 0, 1).astype(np.float32), mask


@dataclass(frozen=True, eq=False)
class Plan:
    """What a synthetic run holds.

    Attributes:
        classes: Names, in the order of the columns.
        sets: Set -> images.
        sources: Set -> source of its images.
        skill: Version -> how well predictions follow the labels, -1 to 1.
        outside: Mean share of relevance outside the lungs.
        method: Training method.
        biased: Three versions of each test set.
        stages: Stages that are finished.
        formats: Of maps.
        make: (index, class) -> image, mask.
        config: Further sections of the configuration.
        hostile: Names of sets are not fit for files; folders get numbers.
        full: Also intervals, calibration, background reliance and deltas (slower).
    """

    classes: Sequence[str] = ("normal", "tb")
    sets: dict[str, int] = field(
        default_factory=lambda: {"train": 4, "val": 2, "test": 6, "montgomery": 4}
    )
    sources: dict[str, str] = field(default_factory=lambda: {"montgomery": "Montgomery"})
    skill: dict[str, float] = field(
        default_factory=lambda: {"biased": 0.8, "standard": 0.8, "deceiving": 0.8}
    )
    outside: float = 0.1
    method: str = "isnet"
    biased: bool = True
    stages: Sequence[str] = STAGES
    formats: Sequence[str] = ("png", "npz")
    make: Maker = plain_image
    config: dict[str, Any] = field(default_factory=dict)
    hostile: bool = False
    full: bool = False

    def __hash__(self) -> int:
        return hash(repr(self))

    def __eq__(self, other: object) -> bool:
        return repr(self) == repr(other)


def make_report_run(path: Path, plan: Plan | None = None, **options: Any) -> RunFolder:
    """A run folder after `plan` (or ``Plan(**options)``); equal plans are built once and copied."""
    plan = plan or Plan(**options)
    if plan.config.get("upstream"):
        return _build(path, plan)
    shutil.copytree(Path(_template(plan).name) / "run", path, dirs_exist_ok=True)
    return RunFolder(path)


@lru_cache(maxsize=32)
def _template(plan: Plan) -> TemporaryDirectory[str]:
    place: TemporaryDirectory[str] = TemporaryDirectory()
    _build(Path(place.name) / "run", plan)
    return place


def _build(path: Path, plan: Plan) -> RunFolder:
    upstream = plan.config.get("upstream")
    folder = RunFolder(path, RunFolder(Path(upstream)) if upstream else None)
    sections = {
        "name": "synthetic",
        "bias": {"kind": "shapes" if plan.biased else "none"},
        "train": {"method": plan.method, "epochs": 6},
        "data": {"images": "/home/someone/xrays"},
        **plan.config,
    }
    folder.save_config(dump(Config.model_validate(sections)))
    rows, images = _rows(plan), {}
    for index, row in enumerate(rows):
        if row["status"] == "ok":
            images[row["key"]] = plan.make(index, list(plan.classes).index(row["label"]))
    builders = {
        "ingest": lambda: _ingest(folder, rows, images),
        "masks": lambda: _masks(folder, images),
        "train": lambda: _train(folder, plan),
        "evaluate": lambda: _evaluate(folder, plan, rows),
        "heatmap": lambda: _heatmap(folder, plan, rows, images),
    }
    for stage in plan.stages:
        if folder.owner(stage) is folder:
            outputs = builders[stage]()
            folder.begin(stage, f"{stage}-fingerprint")
            folder.finish(stage, f"{stage}-fingerprint", outputs, {})
    return folder


def _rows(plan: Plan) -> list[dict[str, str]]:
    rows = []
    for name, count in plan.sets.items():
        for number in range(count):
            folder = f"set{len(rows) - number}" if plan.hostile else name
            rows.append(
                _row(
                    key=f"{folder}/{number:03d}",
                    image_file=f"images/{folder}/{number:03d}.png",
                    source=plan.sources.get(name, "Shenzhen"),
                    patient=f"{len(rows):012x}",
                    label=plan.classes[number % len(plan.classes)],
                    set=name,
                )
            )
    rows.append(_row(key="odd/side", status="skipped", reason="lateral_view: a lateral image"))
    rows.append(_row(key="odd/empty", status="skipped", reason="no_pixels: an empty file"))
    rows.append(_row(key="odd/none", status="skipped", reason="no_pixels: an empty file"))
    return rows


def _row(**cells: str) -> dict[str, str]:
    base = dict.fromkeys(ROW_FIELDS, "") | {"status": "ok", "frame": "0", "height": "96"}
    base["bits"] = "16"
    return base | {"width": "80", "path": "/home/someone/xrays/secret.dcm"} | cells


def _ingest(
    folder: RunFolder, rows: list[dict[str, str]], images: dict[str, tuple[np.ndarray, np.ndarray]]
) -> list[Path]:
    root = folder.stage_dir("ingest")
    for key, (image, _) in images.items():
        path = root / "images" / f"{key}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_image(path, image)
    write_csv(root / "manifest.csv", ROW_FIELDS, rows)
    return [root / "manifest.csv"]


def _masks(folder: RunFolder, images: dict[str, tuple[np.ndarray, np.ndarray]]) -> list[Path]:
    root, lines = folder.stage_dir("masks"), []
    for number, (key, (_, mask)) in enumerate(images.items()):
        verdict = "suspect" if number == 3 else "ok"
        path = root / f"{key}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_mask(path, mask)
        line = {
            "key": key,
            "origin": "lung-unet",
            "area": f"{mask.mean():.4f}",
            "balance": "0.9",
            "components": "2",
            "borders": "0",
            "margin": "0.95",
            "verdict": verdict,
            "reason": "one_lung: one piece" if number == 3 else "",
        }
        lines.append(line)
    write_csv(root / "qc.csv", QC_FIELDS, lines)
    return [root / "qc.csv"]


def _train(folder: RunFolder, plan: Plan) -> list[Path]:
    root = folder.stage_dir("train")
    history = []
    for epoch in range(1, 7):
        decay = math.exp(-epoch / 3)
        row = {"epoch": epoch, "lr": 0.01, "train_loss": decay, "val_loss": decay + 0.1,
               "train_classification": decay, "val_auc": 1 - decay / 2, "seconds": 2.5}  # fmt: skip
        if plan.method == "isnet":
            row |= {"train_heatmap": 2 * decay, "val_heatmap": 2 * decay + 0.1}
        history.append({name: f"{value:.6g}" for name, value in row.items()})
    write_csv(root / "history.csv", list(history[0]), history)
    write_json(root / "model.json", {**_model(plan), "selected_by": "loss", "seed": 0})
    return [root / "model.json", root / "history.csv"]


def _model(plan: Plan) -> dict[str, Any]:
    return {
        "classes": list(plan.classes), "task": "multiclass", "arch": "small",
        "input": [64, 64], "method": plan.method, "epoch": 5,
    }  # fmt: skip


def _evaluate(folder: RunFolder, plan: Plan, rows: list[dict[str, str]]) -> list[Path]:
    root, sets, tests = folder.stage_dir("evaluate"), {}, {}
    classes, tables = list(plan.classes), []
    for name in (n for n in plan.sets if n not in {"train", "val"}):
        images = [row for row in rows if row["set"] == name]
        sets[name] = {}
        for number, version in enumerate(VERSIONS if plan.biased else ("standard",)):
            rng = np.random.default_rng([number, len(images)])
            truth = np.array([classes.index(row["label"]) for row in images])
            logits = rng.normal(0, 0.5, (len(images), len(classes)))
            logits[np.arange(len(images)), truth] += 2 * plan.skill[version]
            p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            shares = np.clip(rng.normal(plan.outside, 0.05, len(images)), 0, 1)
            place = f"{number}{len(sets)}" if plan.hostile else f"{name}/{version}"
            place = f"{place}/predictions.csv"
            tables.append(root / place)
            found, files = scores(p, truth, classes), [place]
            if plan.full:
                keys = [row["key"] for row in images]
                found, tests[name, version] = make_full_scores(p, truth, classes)
                found["background"], lines = make_background(p, truth, classes, keys)
                files.append(place.replace("predictions", "background"))
                write_csv(root / files[-1], list(lines[0]), lines)
            sets[name][version] = {
                "images": len(images),
                **found,
                "relevance_outside": summarise(shares.tolist(), p.argmax(axis=1), classes),
                "files": files,
            }
            lines = [
                {"key": row["key"], "label": row["label"], "predicted": classes[values.argmax()],
                 **{f"p_{c}": f"{v:.9g}" for c, v in zip(classes, values, strict=True)},
                 "outside_share": f"{share:.6f}"}
                for row, values, share in zip(images, p, shares, strict=True)
            ]  # fmt: skip
            write_csv(root / place, list(lines[0]), lines)
    content = {"schema": 1, "classes": classes, "task": "multiclass", "model": _model(plan)}
    more = (
        {"shift": make_deltas(tests, next(iter(sets))), "reference": next(iter(sets))}
        if tests
        else {}
    )
    write_json(root / "metrics.json", {**content, "sets": sets, **more})
    return [root / "metrics.json", *tables]


def _heatmap(
    folder: RunFolder,
    plan: Plan,
    rows: list[dict[str, str]],
    images: dict[str, tuple[np.ndarray, np.ndarray]],
) -> list[Path]:
    root, lines = folder.stage_dir("heatmap"), []
    tested = [row for row in rows if row["set"] in plan.sets and row["set"] not in {"train", "val"}]
    for version in VERSIONS if plan.biased else ("standard",):
        for row in tested:
            image, mask = images[row["key"]]
            relevance = _relevance(mask, plan.outside, row["key"])
            stem = f"{row['key']}_{version}"
            paths = {kind: f"{stem}.{kind}" for kind in plan.formats}
            if "png" in paths:
                panel = compose_panel(
                    image, relevance, mask, title=row["key"], caption="c", height=96
                )
                write_bytes(root / paths["png"], png_bytes(panel))
            if "npz" in paths:
                (root / paths["npz"]).parent.mkdir(parents=True, exist_ok=True)
                np.savez_compressed(root / paths["npz"], relevance=relevance)
            cells = {"set": row["set"], "version": version, "key": row["key"],
                     "target": row["label"], "label": row["label"], "predicted": row["label"],
                     "probability": "0.87", "outside_share": f"{plan.outside:.6f}"}  # fmt: skip
            lines.append(dict.fromkeys(INDEX, "") | cells | paths)
    write_csv(root / "index.csv", INDEX, lines)
    return [root / "index.csv"]


def _relevance(mask: np.ndarray, outside: float, key: str) -> np.ndarray:
    """Noise, positive on the whole, with about the given share outside the lungs."""
    rng = np.random.default_rng(list(key.encode()))
    noise = (rng.normal(0.3, 1, mask.shape)).astype(np.float32)
    inside, around = np.abs(noise[mask]).sum(), np.abs(noise[~mask]).sum()
    return np.where(mask, noise * (1 - outside) / inside, noise * outside / around)
