"""The body of `isnet check`: headers, tables and a look at the images; writes nothing."""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from isnet_cli.check.pixels import Glance, choose, glances_of_run, look_at, with_shapes
from isnet_cli.check.verdicts import ask, looked_lines, near_duplicates, verdicts
from isnet_cli.config.schema import Config
from isnet_cli.core.pseudonyms import new_salt
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.core.workers import worker_count
from isnet_cli.errors import IsnetError, UnreadableImage
from isnet_cli.images.header_scan import Facts
from isnet_cli.images.kept import limit_size, save_image
from isnet_cli.images.read import read_images
from isnet_cli.images.types import Row
from isnet_cli.ingest.catalogue import Candidate, Plan, make_plan
from isnet_cli.ingest.label_sources import MAIN
from isnet_cli.ingest.rows import Line, counts, divide, early_lines, stated_view
from isnet_cli.ingest.set_checks import UNKNOWN, Finding, check_sets, class_table, table_lines

TIMED = 6  # images that are read to measure how long reading takes
EXAMPLES = 5


def audit(
    config: Config, context: RunContext, *, images: int = 0, run: RunFolder | None = None
) -> dict[str, Any]:
    """Reads label files and headers, joins, deals out the sets, looks at images, judges all of it.

    A few images are read whole to measure the time per image. Damaged and blank images are found by
    `ingest`. Labels that cannot be used are a problem among others; when they are those of the main
    images, the sets, which follow from them, are not judged.

    Args:
        config: The configuration.
        context: Side effects.
        images: How many images to look at, for near-duplicates and probes; 0 for none.
        run: A run whose kept images, sets and masks are looked at instead of the input files, when
            its ingest stage is finished.

    Returns:
        JSON-able facts: ``images``, ``labels``, ``classes``, ``sets``, ``sources``, ``patients``,
        ``masks``, ``near_duplicates``, ``probes``, ``verdicts`` (the last three only with
        `images`), ``estimate``, ``problems`` (each with severity, text, fix, details) and ``ok``.

    Raises:
        IsnetError: When images or settings are so wrong that nothing can be said of the images.
    """
    plan = make_plan(config, context, lenient=True)
    # keys in messages only need to tell patients apart, so any salt will do
    lines = early_lines(plan.candidates, config, new_salt())
    problems = [_error(fault) for fault in plan.faults.values()]
    problems += [Finding("warning", text) for text in plan.warnings]
    if MAIN in plan.faults:
        problems.append(Finding("warning", "data.sets: not judged, since that takes the labels"))
    else:
        lines, found = _judged(lines, plan, config)
        problems += found
    rows = [line.row for line in lines]
    task = config.data.labels.task
    if not any(row.status == "ok" for row in rows):
        problems.append(Finding("error", f"data.images: none of {len(rows)} files can be used"))
    seen, found = _seen(plan, rows, config, context, images, run) if images else ({}, [])
    problems += found
    return {
        "images": _images(plan, rows),
        "labels": _labels(plan, lines),
        "classes": list(plan.classes),
        "sets": class_table(rows, "set", task),
        "sources": class_table(rows, "source", task),
        "patients": _patients(rows),
        "masks": {"given": counts(rows)["masks"], "left_out_of_images": plan.masks_left_out},
        **seen,
        "estimate": _estimate(plan.candidates, rows, config),
        "problems": [_plain(problem) for problem in problems],
        "ok": all(problem.severity != "error" for problem in problems),
    }


def _seen(
    plan: Plan,
    rows: Sequence[Row],
    config: Config,
    context: RunContext,
    images: int,
    run: RunFolder | None,
) -> tuple[dict[str, Any], list[Finding]]:
    """What looking at at most `images` images says, and what is wrong with them."""
    if run is not None and run.stage_record("ingest") is not None:
        glances = glances_of_run(run, config)
    else:
        glances = [
            Glance(row, candidate.path, False, candidate.masks)
            for candidate, row in zip(plan.candidates, rows, strict=True)
            if row.status == "ok"
        ]
    chosen = with_shapes(choose(glances, images, config.seed), config)
    looks = look_at(chosen, config, context)
    copies, problems = near_duplicates(looks)
    probes = ask(looks, config)
    copies["of"] = len(glances)
    return {
        "near_duplicates": copies, "probes": probes, "verdicts": verdicts(probes, config)
    }, problems  # fmt: skip


def _judged(lines: list[Line], plan: Plan, config: Config) -> tuple[list[Line], list[Finding]]:
    """The lines with their sets, and what is wrong with the sets.

    Sets that lack their own labels may be empty for that reason alone, which is told already.
    """
    problems = []
    try:
        lines = divide(lines, config)
    except IsnetError as error:
        problems.append(_error(error))
    rows = [line.row for line in lines]
    data = config.data
    sets = {name: entry for name, entry in data.sets.items() if name not in plan.faults}
    problems += check_sets(rows, sets, data.split, data.labels.task)
    problems += _unknown_sets(rows, config, frozenset(plan.faults))
    return lines, problems


def audit_text(found: Mapping[str, Any]) -> str:
    """The result of `audit` for people: facts first, problems last."""
    images, estimate = found["images"], found["estimate"]
    lines = [f"images: {images['found']} found, {images['usable']} usable by their headers"]
    for name in ("formats", "bits", "views", "unusable"):
        if images[name]:
            shown = ", ".join(f"{key} {n}" for key, n in images[name].items())
            lines.append(f"  {name}: {shown}")
    photometric = images["photometric"]
    if any(
        kind.startswith(("MONO", "PALETTE")) for kinds in photometric.values() for kind in kinds
    ):
        lines += [f"  {line}" for line in table_lines(photometric, "photometric")]
    for name, entry in found["labels"].items():
        where = f"labels of set '{name}'" if name != MAIN else "labels"
        lines.append(f"{where}: {entry['labelled']} images labelled, {entry['no_label']} not")
        lines += [f"  {line}" for line in entry["match"]]
    for name in ("sources", "sets"):
        if found[name]:
            lines += [*table_lines(found[name], name.rstrip("s")), ""]
    patients = found["patients"]
    lines.append(
        f"patients: {patients['known']} known, {patients['images_unknown']} images of unknown ones,"
        f" {patients['shared']} in more than one set"
    )
    lines.append(f"masks: {found['masks']['given']} images have one")
    if "probes" in found:
        lines += looked_lines(found)
    if estimate:
        lines.append(
            f"estimate: reading {estimate['read_seconds']:.0f} s with {estimate['workers']}"
            f" processes (by {estimate['measured_on']} images),"
            f" {estimate['store_bytes'] / 2**20:.0f} MiB for all images at the network's size"
        )
    for problem in found["problems"]:
        lines.append(f"{problem['severity']}: {problem['text']}")
        lines += [f"  {line}" for line in problem["details"]]
        lines += [f"  fix: {problem['fix']}"] if problem["fix"] else []
    lines.append("no errors" if found["ok"] else "errors: see above")
    return "\n".join(lines)


def _images(plan: Plan, rows: Sequence[Row]) -> dict[str, Any]:
    facts = [candidate.facts for candidate in plan.candidates]
    photometric: dict[str, Counter[str]] = defaultdict(Counter)
    for candidate in plan.candidates:
        if candidate.facts.photometric:
            name = candidate.said.source or candidate.collection or UNKNOWN
            photometric[name][candidate.facts.photometric] += 1
    lost = [row for row in rows if row.status == "skipped"]
    return {
        "found": len(rows),
        "usable": len(rows) - len(lost),
        "formats": _count(fact.format or "none" for fact in facts),
        "bits": _count(str(fact.bits) if fact.bits else UNKNOWN for fact in facts),
        "sizes": _sizes(facts),
        "views": _count(map(stated_view, plan.candidates)),
        "photometric": {name: dict(sorted(n.items())) for name, n in sorted(photometric.items())},
        "unusable": _count(row.reason.partition(":")[0] for row in lost),
        "examples": [f"{row.key}: {row.reason}" for row in lost[:EXAMPLES]],
    }


def _sizes(facts: Sequence[Facts]) -> dict[str, list[int]]:
    """Smallest, median and largest longest side, px."""
    sides = sorted(max(fact.height, fact.width) for fact in facts if fact.height and fact.width)
    return {"longest_side": [sides[0], sides[len(sides) // 2], sides[-1]]} if sides else {}


def _labels(plan: Plan, lines: Sequence[Line]) -> dict[str, Any]:
    return {
        name: {
            "match": list(match),
            "labelled": sum(bool(x.row.label) for x in lines if x.collection == name),
            "no_label": sum(not x.row.label for x in lines if x.collection == name),
        }
        for name, match in plan.match.items()
    }


def _patients(rows: Sequence[Row]) -> dict[str, int]:
    sets: dict[str, set[str]] = defaultdict(set)
    usable = [row for row in rows if row.status == "ok"]
    for row in usable:
        if row.patient:
            sets[row.patient] |= {row.set} - {""}
    return {
        "known": len(sets),
        "images_unknown": sum(not row.patient for row in usable),
        "shared": sum(len(names) > 1 for names in sets.values()),
    }


def _unknown_sets(rows: Sequence[Row], config: Config, excused: frozenset[str]) -> list[Finding]:
    """Sets that evaluate or heatmap ask for and no image is in, but for those excused."""
    found = sorted({row.set for row in rows if row.set})
    return [
        Finding(
            "error",
            f"{key}: no image in set '{name}', found {', '.join(map(repr, found)) or 'no sets'}",
            fix=f"name sets that exist in {key}, or describe '{name}' under data.sets",
        )
        for key, names in (
            ("evaluate.sets", config.evaluate.sets),
            ("heatmap.sets", config.heatmap.sets),
        )
        for name in names or ()
        if name not in found and name not in excused
    ]


def _estimate(
    candidates: Sequence[Candidate], rows: Sequence[Row], config: Config
) -> dict[str, Any]:
    """Time to read all images, measured on a few; memory of all images at the network's size.

    The image store holds a 16-bit image and an 8-bit mask per pixel of the network's input.
    """
    usable = [c for c in candidates if c.facts.fault is None]
    step = max(1, len(usable) // TIMED)
    seconds = []
    for candidate in usable[::step][:TIMED]:
        start = time.perf_counter()
        try:
            for image in read_images(candidate.path, config.data.dicom, config.data.scale):
                save_image(Path(os.devnull), limit_size(image.pixels, config.data.max_side))
        except UnreadableImage:
            continue
        seconds.append(time.perf_counter() - start)
    if not seconds:
        return {}
    workers = max(1, worker_count(config.machine.workers, len(usable)))
    height, width = config.model.input
    images = sum(row.status == "ok" for row in rows)
    return {
        "read_seconds": sum(seconds) / len(seconds) * len(usable) / workers,
        "measured_on": len(seconds),
        "workers": workers,
        "store_bytes": images * height * width * 3,
    }


def _error(fault: IsnetError) -> Finding:
    return Finding("error", fault.message, fault.fix, fault.details)


def _count(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def _plain(problem: Finding) -> dict[str, Any]:
    return {
        "severity": problem.severity,
        "text": problem.text,
        "fix": problem.fix,
        "details": list(problem.details),
    }
