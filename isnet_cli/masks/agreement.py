"""Finished masks against masks of the user's own: a line per image, a summary, the worst first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isnet_cli.config.schema import Limits
from isnet_cli.core import files
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.core.workers import describe_loss, make_budget, run_tasks, worker_count
from isnet_cli.errors import IsnetError, UnreadableImage
from isnet_cli.guard.worker import Lost
from isnet_cli.images.manifest import read_manifest, read_qc
from isnet_cli.images.mask_files import find_masks, load_mask
from isnet_cli.images.types import Row
from isnet_cli.masks.overlap import MaskScore, score_mask, spread

TABLE, SUMMARY = "truth.csv", "truth.json"
FIELDS = ("key", "source", "verdict", "dice", "iou", "distance95", "unit", "reason")
WORST = 20  # images named in the summary
Line = dict[str, Any]


def score_masks(folder: RunFolder, truth: Path, context: RunContext) -> dict[str, Any]:
    """Writes ``truth.csv`` and ``truth.json`` beside the masks; returns the latter's content.

    Args:
        folder: A run whose masks are finished.
        truth: Folder of masks that are taken for true, named like their images.
        context: Side effects.

    Raises:
        IsnetError: Kind "data": masks are not finished, no such folder, or no mask in it belongs to
            an image.
    """
    folder.require("masks")
    root = folder.stage_dir("masks")
    qc = {line["key"]: line for line in read_qc(root)}
    manifest = read_manifest(folder.stage_dir("ingest") / "manifest.csv")
    rows = [row for row in manifest if row.key in qc]
    found = dict(zip((r.key for r in rows), find_masks(truth, [r.key for r in rows]), strict=True))
    rows = [row for row in rows if found[row.key]]
    if not rows:
        raise IsnetError(
            "data",
            f"--truth {truth}: none of its masks is named like one of {len(qc)} images",
            fix="name each mask like its image (a.dcm: a.png, or a_left.png and a_right.png)",
            details=tuple(f"image {key}" for key in list(qc)[:3]),
        )

    tasks = [_Task(row, qc[row.key], found[row.key], root) for row in rows]
    lines, limits = [], Limits()
    done = run_tasks(
        _compare, tasks, worker_count(None, len(tasks), least=1),
        budget=make_budget(limits), stop=context.stop_requested,
    )  # fmt: skip
    for index, line in context.progress.track(done, "comparing masks", len(tasks)):
        if isinstance(line, Lost):
            _, words = describe_loss(line, limits)
            head = _head(tasks[index])
            line = {**head, **_nothing(f"mask_unreadable: {words}")}  # noqa: PLW2901
        lines.append(line)
    if len(lines) < len(tasks):
        raise KeyboardInterrupt
    lines.sort(key=_worst_first)
    files.write_csv(root / TABLE, FIELDS, [_cells(line) for line in lines])
    summary = {"truth": str(truth), "images": len(qc), **summarise(lines)}
    files.write_json(root / SUMMARY, summary)
    return summary


def summarise(lines: Sequence[Line]) -> dict[str, Any]:
    """Figures over all images, by source where known, and by verdict; and the worst images.

    Args:
        lines: With the keys `FIELDS`; figures as numbers, None where there are none.
    """
    sources = sorted({line["source"] for line in lines if line["source"]})
    return {
        "compared": sum(line["dice"] is not None for line in lines),
        "without_mask": sum(line["verdict"] == "missing" for line in lines),
        "unusable_truth": sum(
            line["dice"] is None and line["verdict"] != "missing" for line in lines
        ),
        "all": _figures(lines),
        "sources": {s: _figures([li for li in lines if li["source"] == s]) for s in sources},
        "verdicts": {
            verdict: _figures([line for line in lines if line["verdict"] == verdict])
            for verdict in ("ok", "suspect")
        },
        "worst": [
            {"key": line["key"], "dice": line["dice"], "verdict": line["verdict"]}
            for line in lines[:WORST]
        ],
    }


def _figures(lines: Sequence[Line]) -> dict[str, Any]:
    figures: dict[str, Any] = {
        name: spread([line[name] for line in lines if line[name] is not None])
        for name in ("dice", "iou")
    }
    for unit in ("mm", "px"):
        known = [li["distance95"] for li in lines if li["unit"] == unit]
        known = [value for value in known if value is not None]
        if known:
            figures[f"distance95_{unit}"] = spread(known, high_is_bad=True)
    return figures


@dataclass(frozen=True)
class _Task:
    """One image, its line of ``qc.csv``, its true mask, and the folder of the masks."""

    row: Row
    qc: Mapping[str, str]
    truth: str
    root: Path


def _head(task: _Task) -> Line:
    return {"key": task.row.key, "source": task.row.source, "verdict": task.qc["verdict"]}


def _compare(task: _Task) -> Line:
    row, qc, truth, root = task.row, task.qc, task.truth, task.root
    head = _head(task)
    if qc["verdict"] == "missing":
        return {**head, **_nothing(qc["reason"])}
    try:
        given = load_mask(truth)
        mask = load_mask(root / f"{row.key}.png")
        if given.shape != mask.shape:
            raise UnreadableImage(
                "mask_size",
                f"the true mask has {given.shape[1]} x {given.shape[0]} pixels,"
                f" expected the image's {row.width} x {row.height}",
            )
        if not given.any():
            raise UnreadableImage("mask_values", "the true mask holds no lung")
    except UnreadableImage as fault:
        return {**head, **_nothing(f"{fault.reason}: {fault.detail}")}
    score: MaskScore = score_mask(mask, given, row.pixel_spacing)
    return {
        **head,
        **{name: getattr(score, name) for name in ("dice", "iou", "distance95", "unit")},
        "reason": qc["reason"],
    }


def _nothing(reason: str) -> Line:
    return {"dice": None, "iou": None, "distance95": None, "unit": "", "reason": reason}


def _worst_first(line: Line) -> tuple[float, str]:
    """Images without a mask first, images without a usable truth last."""
    unknown = -1.0 if line["verdict"] == "missing" else 2.0
    return (unknown if line["dice"] is None else line["dice"]), line["key"]


def _cells(line: Line) -> Line:
    return {
        name: "" if value is None else f"{value:.4f}" if isinstance(value, float) else value
        for name, value in line.items()
    }
