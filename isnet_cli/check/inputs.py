"""The body of `isnet check`: headers, tables and a look at the images; writes nothing."""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from isnet_cli.check.drawn_findings import check_drawn_findings, describe_drawn_findings
from isnet_cli.check.features import (
    ImageSource,
    add_shapes,
    choose_images,
    extract_features,
    list_run_images,
)
from isnet_cli.check.verdicts import (
    ask_probes,
    describe_features,
    judge_near_duplicates,
    judge_probes,
)
from isnet_cli.config.schema import Config
from isnet_cli.core.pseudonyms import new_salt
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.core.workers import make_budget, run_tasks, worker_count
from isnet_cli.errors import IsnetError, UnreadableImage
from isnet_cli.guard.worker import Lost
from isnet_cli.images.header_scan import HeaderFacts
from isnet_cli.images.kept import limit_size, save_image
from isnet_cli.images.read import read_images
from isnet_cli.images.types import Row
from isnet_cli.ingest.catalogue import Candidate, Catalogue, Contents
from isnet_cli.ingest.common_notes import find_common_notes
from isnet_cli.ingest.label_sources import is_main
from isnet_cli.ingest.rows import Line, count_rows, make_early_lines, split_into_sets
from isnet_cli.ingest.set_checks import UNKNOWN, Finding, check_sets, count_classes
from isnet_cli.ingest.summary import title_labels
from isnet_cli.text.tables import format_counts

TIMED = 6  # images that are read to measure how long reading takes
EXAMPLES = 5


def check_inputs(
    config: Config, context: RunContext, *, images: int = 0, run: RunFolder | None = None
) -> dict[str, Any]:
    """Reads label files and headers, joins them, splits the sets, and judges all of it.

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
        ``masks``, ``annotations`` (where there are any), ``near_duplicates``, ``probes``,
        ``verdicts`` (the last three only with `images`), ``estimate``, ``problems`` (each with
        severity, text, fix, details) and ``ok``.

    Raises:
        IsnetError: When images or settings are so wrong that nothing is known of the images.
    """
    contents = Catalogue(config).read(context, lenient=True)
    # keys in messages only need to tell patients apart, so any salt will do
    salt = new_salt()
    lines = make_early_lines(contents.candidates, config, salt)
    problems = [_make_error(fault) for fault in contents.faults.values()]
    problems += [Finding("warning", text) for text in contents.warnings]
    if any(map(is_main, contents.faults)):
        problems.append(Finding("warning", "data.sets: not judged, since that takes the labels"))
    else:
        lines, found = _check_division(lines, contents, config)
        problems += found
    rows = [line.row for line in lines]
    task = config.data.labels.task
    if not any(row.status == "ok" for row in rows):
        problems.append(Finding("error", f"data.images: none of {len(rows)} files can be used"))
    seen, found = (
        _check_images(contents, rows, config, context, images, run) if images else ({}, [])
    )
    problems += found
    sized = [
        replace(row, height=candidate.header.height or 0, width=candidate.header.width or 0)
        for candidate, row in zip(contents.candidates, rows, strict=True)
    ]
    drawn, found = check_drawn_findings(sized, config, salt)
    problems += found
    estimate, notes = _estimate_work(contents.candidates, rows, config)
    problems += find_common_notes(notes, "images that were read on trial")
    return {
        "images": _describe_images(contents, rows),
        "labels": _count_labels(contents, lines),
        "classes": list(contents.classes),
        "sets": count_classes(rows, "set", task),
        "sources": count_classes(rows, "source", task),
        "patients": _count_patients(rows),
        "masks": {
            "given": count_rows(rows)["masks"],
            "left_out_of_images": contents.masks_left_out,
        },
        **({"annotations": drawn} if drawn else {}),
        **seen,
        "estimate": estimate,
        "problems": [_write_problem(problem) for problem in problems],
        "ok": all(problem.severity != "error" for problem in problems),
    }


def _check_images(
    contents: Contents,
    rows: Sequence[Row],
    config: Config,
    context: RunContext,
    images: int,
    run: RunFolder | None,
) -> tuple[dict[str, Any], list[Finding]]:
    """What a look at no more than `images` images shows, and what is wrong with them."""
    if run is not None and run.stage_record("ingest") is not None:
        sources = list_run_images(run, config)
    else:
        sources = [
            ImageSource(row, candidate.path, False, candidate.masks)
            for candidate, row in zip(contents.candidates, rows, strict=True)
            if row.status == "ok"
        ]
    chosen = add_shapes(choose_images(sources, images, config.seed), config)
    features = extract_features(chosen, config, context)
    copies, problems = judge_near_duplicates(features)
    probes = ask_probes(features, config)
    copies["of"] = len(sources)
    return {
        "near_duplicates": copies, "probes": probes, "verdicts": judge_probes(probes, config)
    }, problems  # fmt: skip


def _check_division(
    lines: list[Line], contents: Contents, config: Config
) -> tuple[list[Line], list[Finding]]:
    """The lines with their sets, and what is wrong with the sets.

    Sets that lack their own labels may be empty for that reason alone, which is reported already.
    """
    problems = []
    try:
        lines = split_into_sets(lines, config)
    except IsnetError as error:
        problems.append(_make_error(error))
    rows = [line.row for line in lines]
    data = config.data
    sets = {name: entry for name, entry in data.sets.items() if name not in contents.faults}
    problems += check_sets(rows, sets, data.split, data.labels.task)
    problems += _check_requested_sets(rows, config, frozenset(contents.faults))
    return lines, problems


def describe_check(found: Mapping[str, Any]) -> str:
    """The result of `check_inputs` for people: facts first, problems last."""
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
        lines += [f"  {line}" for line in format_counts(photometric, "photometric")]
    for name, entry in found["labels"].items():
        where = title_labels(name)
        lines.append(f"{where}: {entry['labelled']} images labelled, {entry['no_label']} not")
        lines += [f"  {line}" for line in entry["match"]]
    for name in ("sources", "sets"):
        if found[name]:
            lines += [*format_counts(found[name], name.rstrip("s")), ""]
    patients = found["patients"]
    lines.append(
        f"patients: {patients['known']} known, {patients['images_unknown']} images of unknown ones,"
        f" {patients['shared']} in more than one set"
    )
    lines.append(f"masks: {found['masks']['given']} images have one")
    lines += describe_drawn_findings(found.get("annotations", {}))
    if "probes" in found:
        lines += describe_features(found)
    if estimate:
        lines.append(
            f"estimate: reading {estimate['read_seconds']:.0f} s with {estimate['workers']}"
            f" processes (by {estimate['measured_on']} images),"
            f" {estimate['dataset_bytes'] / 2**20:.0f} MiB for all images at the network's size"
        )
    for problem in found["problems"]:
        lines.append(f"{problem['severity']}: {problem['text']}")
        lines += [f"  {line}" for line in problem["details"]]
        lines += [f"  fix: {problem['fix']}"] if problem["fix"] else []
    lines.append("no errors" if found["ok"] else "errors: see above")
    return "\n".join(lines)


def _describe_images(contents: Contents, rows: Sequence[Row]) -> dict[str, Any]:
    headers = [candidate.header for candidate in contents.candidates]
    photometric: dict[str, Counter[str]] = defaultdict(Counter)
    for candidate, row in zip(contents.candidates, rows, strict=True):
        if candidate.header.photometric:
            photometric[row.source or UNKNOWN][candidate.header.photometric] += 1
    lost = [row for row in rows if row.status == "skipped"]
    return {
        "found": len(rows),
        "usable": len(rows) - len(lost),
        "formats": _count_values(header.format or "none" for header in headers),
        "bits": _count_values(str(header.bits) if header.bits else UNKNOWN for header in headers),
        "sizes": _measure_sizes(headers),
        "views": _count_values(candidate.view for candidate in contents.candidates),
        "photometric": {name: dict(sorted(n.items())) for name, n in sorted(photometric.items())},
        "unusable": _count_values(row.reason.partition(":")[0] for row in lost),
        "examples": [f"{row.key}: {row.reason}" for row in lost[:EXAMPLES]],
    }


def _measure_sizes(headers: Sequence[HeaderFacts]) -> dict[str, list[int]]:
    """Smallest, median and largest longest side, px."""
    sides = sorted(
        max(header.height, header.width) for header in headers if header.height and header.width
    )
    return {"longest_side": [sides[0], sides[len(sides) // 2], sides[-1]]} if sides else {}


def _count_labels(contents: Contents, lines: Sequence[Line]) -> dict[str, Any]:
    return {
        name: {
            "match": list(match),
            "labelled": sum(bool(x.row.label) for x in lines if x.collection == name),
            "no_label": sum(not x.row.label for x in lines if x.collection == name),
        }
        for name, match in contents.match.items()
    }


def _count_patients(rows: Sequence[Row]) -> dict[str, int]:
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


def _check_requested_sets(
    rows: Sequence[Row], config: Config, excused: frozenset[str]
) -> list[Finding]:
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


def _estimate_work(
    candidates: Sequence[Candidate], rows: Sequence[Row], config: Config
) -> tuple[dict[str, Any], list[str]]:
    """Time to read all images, measured on a few, and notes on these; memory of all images.

    The dataset in memory holds a 16-bit image and an 8-bit mask per pixel of the network's input.
    """
    usable = [c for c in candidates if c.header.fault is None]
    step = max(1, len(usable) // TIMED)
    tasks = [(candidate.path, config) for candidate in usable[::step][:TIMED]]
    done = run_tasks(
        _time_reading, tasks, worker_count(config.machine.workers, 1, least=1),
        budget=make_budget(config.limits),
    )  # fmt: skip
    trials = [found for _, found in done if found is not None and not isinstance(found, Lost)]
    if not trials:
        return {}, []
    seconds = [taken for taken, _ in trials]
    workers = max(1, worker_count(config.machine.workers, len(usable)))
    height, width = config.model.input
    images = sum(row.status == "ok" for row in rows)
    return {
        "read_seconds": sum(seconds) / len(seconds) * len(usable) / workers,
        "measured_on": len(seconds),
        "workers": workers,
        "dataset_bytes": images * height * width * 3,
    }, [notes for _, found in trials for notes in found]


def _time_reading(task: tuple[Path, Config]) -> tuple[float, list[str]] | None:
    """Seconds to read and keep a file, and its images' notes; None when it cannot be read."""
    path, config = task
    notes = []
    start = time.perf_counter()
    try:
        for image in read_images(path, config.data.dicom, config.data.scale, config.limits):
            save_image(Path(os.devnull), limit_size(image.pixels, config.data.max_side))
            notes.append("; ".join(image.notes))
    except UnreadableImage:
        return None
    return time.perf_counter() - start, notes


def _make_error(fault: IsnetError) -> Finding:
    return Finding("error", fault.message, fault.fix, fault.details)


def _count_values(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def _write_problem(problem: Finding) -> dict[str, Any]:
    return {
        "severity": problem.severity,
        "text": problem.text,
        "fix": problem.fix,
        "details": list(problem.details),
    }
