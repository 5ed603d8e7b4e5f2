"""Stage ``ingest``: X-rays of any format to kept images and one manifest, with labels and sets."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from isnet_cli.config.schema import Config
from isnet_cli.core import files
from isnet_cli.core.journal import Journal
from isnet_cli.core.pseudonyms import new_salt, pseudonym, read_salt
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.core.stage import StageResult
from isnet_cli.core.workers import run_tasks, worker_count
from isnet_cli.errors import IsnetError, UnreadableImage
from isnet_cli.images.find import collect
from isnet_cli.images.manifest import rows_to_dicts
from isnet_cli.images.mask_files import PAIR, load_mask, pictures, save_mask
from isnet_cli.images.types import ROW_FIELDS, Row
from isnet_cli.ingest import read_file as ingest_read
from isnet_cli.ingest.catalogue import Candidate, Plan, collections, make_plan
from isnet_cli.ingest.label_sources import MAIN
from isnet_cli.ingest.read_file import FileFacts, ReadTask, read_file, skipped
from isnet_cli.ingest.rows import (
    counts,
    divide,
    early_fault,
    early_lines,
    image_key,
    lines_of,
    without_copies,
)
from isnet_cli.ingest.set_checks import check_sets, class_table, refuse, table_lines

NAME = "ingest"
FORMAT = 1  # raised when the same input gives another manifest
MANIFEST, SKIPPED = "manifest.csv", "skipped.csv"
SALT = ".salt"
GIVEN = "given_masks"  # copies of given masks under salted names
TEMPORARY = re.compile(r"\..+\.\d+\.tmp(\.\w+)?")  # as `runs.files.atomic_path` names them
LISTS = {".csv", ".tsv", ".txt"}
SKIPPED_FIELDS = ("key", "path", "reason")


def fingerprint(config: Config, folder: RunFolder) -> str:
    """Hash of the settings, the files (path, size, time of change), the label files and the salt.

    Raises:
        IsnetError: When images are missing.
    """
    parts: list[Any] = [FORMAT, ingest_read.FORMAT, config.data.model_dump(mode="json")]
    parts += [config.seed, config.masks.files]
    for collection in collections(config):
        parts += [_stamp(path) for _, path in collect(collection.images).images]
        lists = collection.images if isinstance(collection.images, list) else [collection.images]
        parts += [_content(Path(entry)) for entry in lists if Path(entry).suffix in LISTS]
        if collection.labels.file is not None:
            parts.append(_content(Path(collection.labels.file)))
    if config.data.privacy.salt_file is not None:
        parts.append(_content(Path(config.data.privacy.salt_file)))
    if config.masks.files is not None and Path(config.masks.files).is_dir():
        parts += [_stamp(path) for path in pictures(Path(config.masks.files))]
    return files.fingerprint(parts)


def run(config: Config, folder: RunFolder, context: RunContext) -> StageResult:
    """Writes ``images/<key>.png``, ``manifest.csv`` and ``skipped.csv``.

    What labels, headers and sets can be refused for is refused before pixels are read. Images that
    an earlier run kept are used again when neither the file (size, time of change) nor the way of
    reading has changed.

    Raises:
        IsnetError: Kind "data" or "config": images, labels, joins, sets; or no image can be used.
    """
    root = folder.stage_dir(NAME)
    root.mkdir(parents=True, exist_ok=True)
    salt = _salt(config, root)
    plan = make_plan(config, context)
    _report_plan(plan, context)
    _check_early(plan, config, salt)
    facts = _read_all(plan.candidates, config, root, salt, context)
    if facts is None:
        return StageResult([], {"found": len(plan.candidates)}, complete=False)
    lines = [
        line
        for candidate, found in zip(plan.candidates, facts, strict=True)
        for line in lines_of(candidate, found, config, salt)
    ]
    lines = divide(without_copies(lines), config)
    rows = [line.row for line in lines]
    if config.data.privacy.rename:
        rows = [_with_own_mask(row, root) for row in rows]
    _write_skipped(rows, root)
    _refuse_empty(rows)
    _check(rows, config, context)
    files.write_csv(root / MANIFEST, ROW_FIELDS, rows_to_dicts(rows))
    _remove_stale(rows, root)
    _report(rows, config, context)
    return StageResult([root / MANIFEST, root / SKIPPED], _summary(rows, config))


def _salt(config: Config, root: Path) -> bytes:
    """The configured salt, or this run's own, which is made once."""
    if config.data.privacy.salt_file is not None:
        return read_salt(Path(config.data.privacy.salt_file))
    path = root / SALT
    if not path.exists():
        files.write_bytes(path, new_salt())
        path.chmod(0o600)
    return read_salt(path)


def _report_plan(plan: Plan, context: RunContext) -> None:
    for name, lines in plan.match.items():
        context.say(f"labels of set '{name}':" if name != MAIN else "labels:")
        for line in lines:
            context.say(f"  {line}")
    if plan.masks_left_out:
        context.say(f"{plan.masks_left_out} files are masks of images and were left out")
    for text in plan.warnings:
        context.warn("data", text)


def _check_early(plan: Plan, config: Config, salt: bytes) -> None:
    """Refuses unsound sets by what headers and labels say, before the slow part."""
    lines = divide(early_lines(plan.candidates, config, salt), config)
    rows = [line.row for line in lines]
    _refuse_empty(rows)
    refuse(check_sets(rows, config.data.sets, config.data.split, config.data.labels.task))


def _read_all(
    candidates: Sequence[Candidate], config: Config, root: Path, salt: bytes, context: RunContext
) -> list[FileFacts] | None:
    """What became of each file, in order; None when asked to stop before the end."""
    data = config.data
    options = files.fingerprint(
        ingest_read.FORMAT, data.dicom.model_dump(), data.scale, data.max_side, data.view
    )
    facts: list[FileFacts | None] = []
    with Journal(root, options) as journal:
        parts = [_part(candidate, salt, config) for candidate in candidates]
        for candidate, part in zip(candidates, parts, strict=True):
            early = early_fault(candidate, config, image_key(candidate, config, salt))
            known = journal.get(part) if early is None else None
            facts.append(early if known is None else FileFacts.from_plain(known))
        to_read = [i for i, found in enumerate(facts) if found is None]
        tasks = [_task(candidates[i], config, root, salt) for i in to_read]
        for place, found in _tracked(tasks, config, context):
            i = to_read[place]
            facts[i] = found
            if not found.passing:
                journal.add(parts[i], found.plain(), [root / name for name in found.images()])
            if context.stop_requested():
                break
    return [found for found in facts if found is not None] if None not in facts else None


def _tracked(
    tasks: Sequence[ReadTask], config: Config, context: RunContext
) -> Iterator[tuple[int, FileFacts]]:
    """(index, facts) of each task as it is done."""
    if not tasks:
        return
    workers = worker_count(config.machine.workers, len(tasks))
    done = run_tasks(read_file, tasks, workers)
    words = "the process that read it died (damaged file or too little memory)"
    for index, found in context.progress.track(done, "reading images", len(tasks)):
        yield index, found or skipped(tasks[index].key, "crashed", words)


def _task(candidate: Candidate, config: Config, root: Path, salt: bytes) -> ReadTask:
    data = config.data
    return ReadTask(
        path=Path(os.path.abspath(candidate.path)),
        key=image_key(candidate, config, salt),
        folder=root,
        dicom=data.dicom,
        scale=data.scale,
        max_side=data.max_side,
        view=data.view,
        stated_view=candidate.said.view,
    )


def _part(candidate: Candidate, salt: bytes, config: Config) -> str:
    """Name of a file's state in the journal: changes with path, key, size, time, stated view."""
    path, size, changed = _stamp(candidate.path)
    state = (path, image_key(candidate, config, salt), size, changed, candidate.said.view)
    return pseudonym(salt, "\0".join(map(str, state)), 32)


def _stamp(path: Path) -> tuple[str, int, int]:
    whole = os.path.abspath(path)
    try:
        status = os.stat(whole)
    except OSError:
        return whole, -1, 0
    return whole, status.st_size, status.st_mtime_ns


def _content(path: Path) -> str:
    try:
        return files.sha256_file(path)
    except OSError:
        return "missing"


def _with_own_mask(row: Row, root: Path) -> Row:
    """With salted names, the row points to a copy of its mask, since paths say names."""
    if not row.mask_file or row.status != "ok":
        return replace(row, mask_file="")
    copy = root / GIVEN / f"{row.key}.png"
    try:
        mask = load_mask(row.mask_file)
    except UnreadableImage:  # the masks stage finds no file and reports it
        copy.unlink(missing_ok=True)
    else:
        with files.atomic_path(copy) as temporary:
            save_mask(temporary, mask)
    return replace(row, mask_file=str(copy))


def _write_skipped(rows: Sequence[Row], root: Path) -> None:
    lost = [
        {"key": row.key, "path": row.path, "reason": row.reason}
        for row in rows
        if row.status == "skipped"
    ]
    files.write_csv(root / SKIPPED, SKIPPED_FIELDS, lost)


def _refuse_empty(rows: Sequence[Row]) -> None:
    if any(row.status == "ok" for row in rows):
        return
    reasons = Counter(row.reason.partition(":")[0] for row in rows)
    shown = tuple(f"{row.key}: {row.reason}" for row in rows[:5])
    raise IsnetError(
        "data",
        f"data.images: none of {len(rows)} files can be used"
        f" ({', '.join(f'{name} {n}' for name, n in reasons.most_common())}),"
        " expected frontal chest X-rays",
        details=shown,
        fix="set data.images to the folder of the X-rays; docs/skipped.md explains the reasons",
    )


def _check(rows: Sequence[Row], config: Config, context: RunContext) -> None:
    data = config.data
    findings = check_sets(rows, data.sets, data.split, data.labels.task)
    refuse(findings)
    for finding in findings:
        context.warn("data", finding.text)
    unknown = [row for row in rows if row.status == "ok" and row.set and not row.patient]
    if unknown and data.split.group == "patient":
        context.warn(
            "data",
            f"the patient of {len(unknown)} images is unknown: each counts as a patient of its own"
            " (data.columns.patient names the column)",
        )


def _remove_stale(rows: Sequence[Row], root: Path) -> None:
    """Removes kept images and mask copies of earlier settings, and what a killed run left."""
    kept = {row.image_file for row in rows} | {
        os.path.relpath(part, root) for row in rows for part in row.mask_file.split(PAIR) if part
    }
    for name in ("images", GIVEN):
        for top, _, names in os.walk(root / name, topdown=False):
            for file in names:
                path = Path(top, file)
                if path.suffix == ".png" and path.relative_to(root).as_posix() not in kept:
                    path.unlink()
            if top != str(root / name) and not os.listdir(top):
                os.rmdir(top)
    for path in root.iterdir():
        if TEMPORARY.fullmatch(path.name):
            path.unlink()


def _report(rows: Sequence[Row], config: Config, context: RunContext) -> None:
    number = counts(rows)
    context.say(f"read {number['read']} of {number['found']} images")
    reasons = Counter(row.reason.partition(":")[0] for row in rows if row.reason)
    for name, n in reasons.most_common():
        context.say(f"  skipped {n}: {name}")
    task = config.data.labels.task
    if number["labelled"]:
        for line in table_lines(class_table(rows, "source", task), "source"):
            context.say(f"  {line}")
        for line in table_lines(class_table(rows, "set", task), "set"):
            context.say(f"  {line}")


def _summary(rows: Sequence[Row], config: Config) -> dict[str, Any]:
    task = config.data.labels.task
    reasons = Counter(row.reason.partition(":")[0] for row in rows if row.reason)
    return {
        **counts(rows),
        "sets": class_table(rows, "set", task),
        "sources": class_table(rows, "source", task),
        "reasons": dict(sorted(reasons.items())),
    }
