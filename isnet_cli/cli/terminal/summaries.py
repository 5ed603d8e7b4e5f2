"""Stage results in one line each, and scores as a small table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from isnet_cli.text.forms import for_line
from isnet_cli.text.tables import format_table

if TYPE_CHECKING:
    from isnet_cli.core.pipeline import Outcome

SCORES = {"n": "images", "macro_f1": "macro F1", "macro_auc": "AUC", "outside": "outside lungs"}
POINTING = {"pointing": "map on finding"}
VARIANTS = {
    "full": "full", "lungs_only": "lungs only", "lungs_removed": "no lungs",
    "other_class": "other class", "same_class": "same class",
}  # fmt: skip
STATUS_TEXT = {"current": "up to date", "done": "done", "incomplete": "incomplete"}


def format_outcome(outcome: Outcome) -> str:
    """One stage: name, what became of it, its plain figures."""
    figures = ", ".join(
        f"{key.replace('_', ' ')} {_text(value)}"
        for key, value in outcome.summary.items()
        if isinstance(value, (int, float, str)) and (value != 0 or key == "skipped")
    )
    line = f"{outcome.stage:<9} {STATUS_TEXT[outcome.status]:<10} {figures}"
    return line.rstrip()


def format_scores(summary: dict[str, Any]) -> list[str]:
    """The scores of `evaluate` with their 95 % intervals, one line per set and version."""
    sets = summary.get("sets", {})
    pointed = any("pointing" in one for versions in sets.values() for one in versions.values())
    shown = {**SCORES, **(POINTING if pointed else {})}
    rows = [
        [name, version, *(_ranged(figures, key) for key in shown)]
        for name, versions in sets.items()
        for version, figures in versions.items()
    ]
    if not rows:
        return []
    return format_table(["set", "version", *shown.values()], rows).splitlines()


def format_shifts(summary: dict[str, Any]) -> list[str]:
    """Differences between tests with their 95 % intervals, one line per pair."""
    rows = []
    for pair in summary.get("shift", []):
        (before, version), (after, other) = pair["from"], pair["to"]
        name = f"{before}: {version} to {other}" if before == after else f"{before} to {after}"
        cells = []
        for key in ("macro_f1", "macro_auc"):
            found = pair[key]
            value = "-" if found["value"] is None else f"{found['value']:+.3f}"
            known = found["low"] is not None
            cells.append(f"{value} [{found['low']:+.3f}, {found['high']:+.3f}]" if known else value)
        rows.append([name, *cells])
    return format_table(["difference", "macro F1", "AUC"], rows).splitlines() if rows else []


def format_background(summary: dict[str, Any]) -> list[str]:
    """AUC of whole, cut and pasted images, one line per set and version that was examined."""
    rows, reasons = [], []
    for name, versions in summary.get("sets", {}).items():
        for version, figures in versions.items():
            found = figures.get("background", {})
            if not found.get("n"):
                reasons += [found["why"]] if "why" in found else []
                continue
            cells = [_cell(found["auc"].get(variant)) for variant in VARIANTS]
            rows.append([name, version, *cells, _percent(found["flips"]), _cell(found["gap"])])
    if not rows:
        return [f"background reliance: {reason}" for reason in dict.fromkeys(reasons)]
    head = ["AUC by background", "version", *VARIANTS.values(), "flips", "gap"]
    return format_table(head, rows).splitlines()


FLAGS = {
    "mask": "lung mask suspect or missing", "ood": "differs from the training images",
    "margin": "near another answer",
}  # fmt: skip


def format_predictions(summary: dict[str, Any]) -> list[str]:
    """Images of each class, and uncertain images by reason (an image may have several)."""
    images, expected = summary["images"], summary["expected_ood_share"]
    rows = [[name, str(count)] for name, count in summary["predicted"].items()]
    rows.append(["uncertain", f"{summary['uncertain']} of {images}"])
    for flag, count in summary["flags"].items():
        rows.append([f"  {FLAGS[flag]}", "not known" if count is None else str(count)])
    lines = format_table(["predicted", "images"], rows).splitlines()
    if expected is not None:
        lines.append(f"(of images like those of training, {100 * expected:.1f} % are flagged)")
    if 2 * (summary["flags"]["ood"] or 0) > images:
        lines += [
            "most images differ from the training images: another hospital, device or kind;",
            "isnet evaluate on labelled images of this source shows what the model is worth there",
        ]
    return lines


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else for_line(str(value))


def format_demo(document: dict[str, Any]) -> str:
    """The demo's comparison: macro F1 of both methods on each version of the test images."""
    scores: dict[str, dict[str, float]] = document["macro_f1"]
    versions = list(next(iter(scores.values())))
    rows = [
        [name, *(_score(found[version]) for version in versions)] for name, found in scores.items()
    ]
    head = ["macro F1", *versions]
    pointing = document.get("pointing", {})
    if pointing:
        rows.append(["map on lesion", *([""] * len(versions))])
        rows += [
            [f"  {name}", *(_percent(found[version]) for version in versions)]
            for name, found in pointing.items()
        ]
    return f"{format_table(head, rows)}\n\nreport: {document['report']}"


def _cell(value: float | None) -> str:
    return str(value) if isinstance(value, int) else _score(value)


def _ranged(figures: dict[str, Any], key: str) -> str:
    """A figure, with its interval where there is one."""
    text, ends = _cell(figures.get(key)), figures.get(f"{key}_range")
    return f"{text} [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else text


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def format_agreement(summary: dict[str, Any]) -> list[str]:
    """Agreement with given masks, one line for all images and one per source and verdict."""
    groups = [("all images", summary["all"])]
    groups += [(f"source {name}", found) for name, found in summary["sources"].items()]
    groups += [(f"verdict {name}", found) for name, found in summary["verdicts"].items()]
    rows = []
    for name, found in groups:
        if not found["dice"]["images"]:
            continue
        distances = [
            f"{found[key]['mean']:.1f} {key[-2:]}"
            for key in ("distance95_mm", "distance95_px")
            if key in found
        ]
        dice = [found["dice"][key] for key in ("mean", "sd", "p5", "min")]
        cells = ["-" if value is None else f"{value:.3f}" for value in dice]
        rows.append(
            [name, str(found["dice"]["images"]), *cells, f"{found['iou']['mean']:.3f}",
             ", ".join(distances)]
        )  # fmt: skip
    head = ["compared with", "images", "Dice", "s.d.", "p5", "least", "IoU", "95th distance"]
    lines = format_table(head, rows).splitlines() if rows else []
    worst = ", ".join(
        f"{entry['key']} {'-' if entry['dice'] is None else format(entry['dice'], '.3f')}"
        for entry in summary["worst"][:5]
    )
    return [*lines, f"worst: {worst}"]
