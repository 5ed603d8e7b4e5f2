"""`isnet demo`: makes images, trains an ISNet and a standard classifier on them, compares the two.

Everything after the images goes through the same configuration file and the same stages that
users have. Written: ``images/``, ``lungs/`` (the true lungs), ``lesions/`` (the drawn disease),
``labels.csv``, ``demo.yaml``, the runs ``isnet/`` and ``standard/``, and ``report.html``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from isnet_cli.config.load import load
from isnet_cli.core import files
from isnet_cli.core.events import EventLog
from isnet_cli.core.pipeline import open_run, run_pipeline
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.demo.images import (
    IMAGES,
    LABELS,
    LESIONS,
    count_images,
    locate_lungs,
    make_images,
    refuse_others,
)
from isnet_cli.guard.opening import read_text
from isnet_cli.images.manifest import read_manifest
from isnet_cli.images.mask_files import load_mask
from isnet_cli.phantoms.collection import ImagePlan, plan_images
from isnet_cli.report.write import build_report

CONFIG, REPORT = "demo.yaml", "report.html"
VERSIONS = ("biased", "standard", "deceiving")
OTHER = "hospital_b"
TEXT = """\
# The demonstration. `isnet demo` makes chest images of two invented hospitals and runs this file
# twice: as it stands, and without the heat-map loss. By hand, after `isnet demo`:
#
#   isnet run demo.yaml -o my_isnet
#   isnet run demo.yaml -o my_standard --set upstream=my_isnet --set train.method=standard
#   isnet report my_isnet my_standard
#
# Paths start at this file. Keys left out have their defaults.
version: 1
name: demo
seed: {seed}

data:
  images: {images}
  labels: {{file: {labels}, columns: [label], classes: [disease, normal]}}
  sets:                         # hospital A is split by patient; B is kept for testing
    train: {{source: A, fraction: 0.7}}
    val: {{source: A, fraction: 0.1}}
    test: {{source: A, fraction: 0.2}}
    hospital_b: {{source: B}}

# The trap: every training image of a sick patient carries a triangle, every normal one a circle,
# outside the lungs. The test images are tried with these marks (biased), without any (standard) and
# with the marks exchanged (deceiving).
bias:
  kind: shapes
  shapes: [triangle, circle]    # in the order of data.labels.classes
  size: 0.15

model: {{arch: small, input: 96}}

train:                          # 24 epochs with backgrounds of other images, 16 of the ISNet
  method: isnet
  epochs: 40
  batch_size: 16
  optimizer: {{name: adamw, lr: 0.001}}

evaluate:
  annotations: {lesions}   # where the disease was drawn: do the maps point at it?

heatmap:
  sets: [test, hospital_b]
  limit: 6
"""


@dataclass(frozen=True)
class Scale:
    """Size of the demonstration.

    Attributes:
        patients_a: Patients of hospital A (training, validation, test).
        patients_b: Patients of hospital B (test alone).
        side: Longer side of the images, px.
        overrides: Further ``key=value`` settings of both runs.
    """

    patients_a: int = 440
    patients_b: int = 80
    side: int = 448
    overrides: tuple[str, ...] = ()


def run_demo(
    output: Path, context: RunContext, *, seed: int = 0, scale: Scale | None = None
) -> dict[str, Any]:
    """Runs the demonstration; the same call continues it, or finds it up to date.

    Args:
        output: Folder for everything; made when missing.
        context: Side effects.
        seed: Seed of images and trainings.
        scale: Size; the default takes some minutes on two cores.

    Returns:
        ``report`` (path), ``macro_f1``, ``auc``, ``outside`` (mean share of relevance outside the
        lungs) and ``pointing`` (share of drawn lesions that maps point at), each per method and
        version of the test images (``hospital_b``: the other hospital's images, without stamps);
        ``lung_dice`` (agreement of the lung masks with the true lungs), ``images``, ``runs``,
        ``config``, ``seconds``.

    Raises:
        IsnetError: From the stages; kind "data", when `output` holds other images; kind "machine",
            when another process works in it.
        KeyboardInterrupt: When a stop was asked for.
    """
    began, scale = time.monotonic(), scale or Scale()
    output = output.absolute()
    plans = plan_images(scale.patients_a, scale.patients_b, seed, scale.side)
    refuse_others(output, plans)
    with RunFolder(output).lock():
        found = _make_all(output, plans, context, seed, scale.overrides)
    return {**found, "seconds": round(time.monotonic() - began, 1)}


def _make_all(
    output: Path, plans: list[ImagePlan], context: RunContext, seed: int, overrides: tuple[str, ...]
) -> dict[str, Any]:
    """Images, both runs, the report; what `run_demo` returns, but for the time."""
    make_images(output, plans, context)
    config = output / CONFIG
    text = format_demo_yaml(IMAGES, LABELS, seed)
    if not config.is_file() or read_text(config) != text:
        files.write_text(config, text)
    isnet, standard = output / "isnet", output / "standard"
    plain = (f'upstream="{isnet}"', "train.method=standard", *overrides)
    with_loss = _one_run(isnet, config, overrides, context)  # makes images and masks for both
    found = {"standard": _one_run(standard, config, plain, context), "isnet": with_loss}
    folders = [RunFolder(isnet), RunFolder(standard, RunFolder(isnet))]
    report = build_report(folders, output / REPORT, context)
    return {
        "report": str(report),
        **{name: _table(found, key) for name, key in _FIGURES.items()},
        "lung_dice": _agreement(output, folders[0]),
        "images": count_images(plans),
        "runs": {"standard": str(standard), "isnet": str(isnet)},
        "config": str(config),
    }


def format_demo_yaml(images: str, labels: str, seed: int = 0) -> str:
    """The configuration that users read, change and run, for files at the given paths."""
    lesions = (PurePosixPath(images).parent / LESIONS).as_posix()
    return TEXT.format(images=images, labels=labels, lesions=lesions, seed=seed)


_FIGURES = {
    "macro_f1": "macro_f1", "auc": "macro_auc", "outside": "outside", "pointing": "pointing",
}  # fmt: skip


def _one_run(
    path: Path, config_file: Path, overrides: tuple[str, ...], context: RunContext
) -> dict[str, Any]:
    """Brings one run up to date; the summary of its evaluation."""
    context.say(f"run folder: {path}")
    config = load(config_file, overrides)
    log, shown = EventLog(path), context.event

    def event(name: str, **fields: Any) -> None:
        log(name, **fields)
        shown(name, **fields)

    outcomes = run_pipeline(config, open_run(path, config), replace(context, event=event))
    if outcomes[-1].status == "incomplete":
        raise KeyboardInterrupt
    summaries = {outcome.stage: outcome.summary for outcome in outcomes}
    sets: dict[str, Any] = summaries["evaluate"]["sets"]
    return sets


def _table(found: dict[str, dict[str, Any]], key: str) -> dict[str, dict[str, float | None]]:
    """One figure per method and version of the test images."""
    return {
        name: {
            **{version: sets["test"][version].get(key) for version in VERSIONS},
            OTHER: sets[OTHER]["standard"].get(key),
        }
        for name, sets in found.items()
    }


def _agreement(output: Path, run: RunFolder) -> float | None:
    """Mean Dice overlap of the run's lung masks with the true lungs."""
    overlaps = []
    for row in read_manifest(run.stage_dir("ingest") / "manifest.csv"):
        made = run.stage_dir("masks") / f"{row.key}.png"
        if row.status == "ok" and made.is_file():
            mask, truth = load_mask(made), load_mask(locate_lungs(output, row.key))
            overlaps.append(2 * float((mask & truth).sum()) / float(mask.sum() + truth.sum()))
    return round(float(np.mean(overlaps)), 4) if overlaps else None
