"""Stage ``ingest``: X-rays of any format to kept images and one manifest, with labels and sets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from isnet_cli.config.schema import Config, Limits
from isnet_cli.core import files
from isnet_cli.core.pseudonyms import new_salt, pseudonym, read_salt
from isnet_cli.core.records import facts as coarse
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.core.stage import StageResult
from isnet_cli.core.workers import make_budget, run_tasks, worker_count
from isnet_cli.errors import IsnetError, UnreadableImage
from isnet_cli.images.manifest import read_manifest, rows_to_dicts
from isnet_cli.images.mask_files import PAIR, load_mask, save_mask
from isnet_cli.images.types import ROW_FIELDS, Row
from isnet_cli.ingest import reading
from isnet_cli.ingest.catalogue import Catalogue, Contents
from isnet_cli.ingest.hashes import is_there, listed, open_hashes
from isnet_cli.ingest.label_sources import name_key
from isnet_cli.ingest.reading import name_image
from isnet_cli.ingest.rows import Line, make_early_lines, make_lines, skip_copies, split_into_sets
from isnet_cli.ingest.set_checks import Finding, check_sets, refuse_errors
from isnet_cli.ingest.summary import (
    refuse_empty,
    report_contents,
    report_rows,
    report_warnings,
    summarise_rows,
    warn_of_notes,
)

NAME = "ingest"
LATE = True  # files are hashed while they are read
SHARES = True
FORMAT = 4  # raised when the same input gives another manifest
MANIFEST, SKIPPED, UNMATCHED = "manifest.csv", "skipped.csv", "unmatched.csv"
SALT = ".salt"
MOST_GROUPS = 50  # values of a column of `data.columns.groups`
GIVEN = "given_masks"  # copies of given masks under pseudonyms
SKIPPED_FIELDS = ("key", "path", "reason")
UNMATCHED_FIELDS = ("set", "what", "line", "key")


def prepare(config: Config) -> Catalogue:
    """The catalogue that fingerprint and run share, so that files are listed once."""
    return Catalogue(config)


def fingerprint(config: Config, folder: RunFolder, prepared: Catalogue | None = None) -> str:
    """Hash of the settings and of the content of all files: images, labels, lists and the salt.

    Files that have not been touched since they were read are not read again.

    Raises:
        IsnetError: When images are missing.
    """
    catalogue = prepared or Catalogue(config)
    hashes = open_hashes(config, folder.stage_dir(NAME))
    return files.fingerprint(settings(config), *catalogue.hash_inputs(hashes.of))


def settings(config: Config) -> list[Any]:
    """What of the configuration the manifest and the kept images depend on."""
    data = config.data.model_dump(mode="json")
    limits = config.limits.model_dump()
    return [FORMAT, reading.FORMAT, data, limits, config.seed, config.masks.files]


def find_lost(config: Config, folder: RunFolder, prepared: Catalogue | None = None) -> str:
    """Which images, labels or salt are not where they were, in words; or ""."""
    data = config.data
    named: list[tuple[str, list[str]]] = [
        ("data.privacy.salt_file", listed(data.privacy.salt_file))
    ]
    for collection in (prepared or Catalogue(config)).collections:
        key = name_key(collection.name)
        named += [
            (f"{key}.images", listed(collection.images)),
            (f"{key}.labels.file", listed(collection.labels.file)),
        ]
    lost = [
        f"{key} ({paths[0]})" for key, paths in named if paths and not any(map(is_there, paths))
    ]
    return f"{', '.join(lost)}: not there" if lost else ""


def run(
    config: Config, folder: RunFolder, context: RunContext, prepared: Catalogue | None = None
) -> StageResult:
    """Writes ``images/<key>.png``, ``manifest.csv``, ``facts.csv`` and what was left out.

    What labels, headers and sets can be refused for is refused before pixels are read. Images that
    an earlier run kept are used again when neither the file (size, time of change) nor the way of
    reading has changed.

    Raises:
        IsnetError: Kind "data" or "config": images, labels, joins, sets; or no image can be used.
    """
    root = folder.stage_dir(NAME)
    root.mkdir(parents=True, exist_ok=True)
    salt = _find_salt(config, root)
    contents = (prepared or Catalogue(config)).read(context)
    report_contents(contents, context)
    early = split_into_sets(make_early_lines(contents.candidates, config, salt), config)
    _refuse_unsound([line.row for line in early], config)
    hashes = open_hashes(config, root)
    facts = reading.read_files(contents.candidates, config, root, salt, context)
    if facts is None:
        return StageResult([], {"found": len(contents.candidates)}, complete=False)
    hashes.note((c.path, found.sha256) for c, found in zip(contents.candidates, facts, strict=True))
    lines: list[Line] = []
    for candidate, found in zip(contents.candidates, facts, strict=True):
        lines += make_lines(candidate, found, config, salt)
    rows = [line.row for line in split_into_sets(skip_copies(lines), config)]
    if config.data.privacy.rename:
        rows = _copy_masks(rows, root, config, context)
    _write_skipped(rows, root)
    _write_unmatched(contents, config, salt, root)
    report_warnings(_refuse_unsound(rows, config), rows, config, context)
    files.write_csv(root / MANIFEST, ROW_FIELDS, rows_to_dicts(rows))
    _write_facts(contents, facts, rows, config, root, salt)
    _remove_stale(rows, root)
    report_rows(rows, config, context)
    kept = [root / row.image_file for row in rows if row.image_file]
    renamed = [row.mask_file for row in rows if config.data.privacy.rename and row.mask_file]
    copies = [root / name for name in renamed if (root / name).is_file()]
    outputs = [root / name for name in (MANIFEST, SKIPPED, UNMATCHED, coarse.TABLE)]
    return StageResult(outputs, summarise_rows(rows, config), products=[*kept, *copies])


def remind(folder: RunFolder, context: RunContext) -> None:
    """Warns of notes that most of the images have, as the stage did when it read them."""
    warn_of_notes(read_manifest(folder.stage_dir(NAME) / MANIFEST), context)


def _refuse_unsound(rows: Sequence[Row], config: Config) -> list[Finding]:
    """Raises when no row can be used or the sets have errors; else all that is doubtful in them."""
    refuse_empty(rows)
    data = config.data
    findings = check_sets(rows, data.sets, data.split, data.labels.task)
    refuse_errors(findings)
    return findings


def _find_salt(config: Config, root: Path) -> bytes:
    """The configured salt, or this run's own, which is made once."""
    if config.data.privacy.salt_file is not None:
        return read_salt(Path(config.data.privacy.salt_file))
    path = root / SALT
    if not path.exists():
        files.write_once(path, new_salt())
    return read_salt(path)


@dataclass(frozen=True)
class _Copy:
    """A given mask to copy: the files (two joined by ``|``), where to, and the limits."""

    source: str
    copy: Path
    limits: Limits


def _copy_masks(rows: Sequence[Row], root: Path, config: Config, context: RunContext) -> list[Row]:
    """With pseudonyms, rows point to copies of their masks, since paths contain names.

    Copies are named relative to the stage's folder: they stay where the run is. A mask that cannot
    be read has no copy: the masks stage finds no file and reports it.
    """
    chosen = [row for row in rows if row.mask_file and row.status == "ok"]
    copies = {row.key: root / GIVEN / f"{row.key}.png" for row in chosen}
    tasks = [_Copy(row.mask_file, copies[row.key], config.limits) for row in chosen]
    workers = worker_count(config.machine.workers, len(tasks), least=1)
    done = run_tasks(
        _copy_one, tasks, workers, budget=make_budget(config.limits), stop=context.stop_requested
    )
    finished = 0
    for index, found in done:
        finished += 1
        if found is not True:
            tasks[index].copy.unlink(missing_ok=True)
    if finished < len(tasks):
        raise KeyboardInterrupt
    names = {key: path.relative_to(root).as_posix() for key, path in copies.items()}
    return [replace(row, mask_file=names.get(row.key, "")) for row in rows]


def _copy_one(task: _Copy) -> bool:
    try:
        mask = load_mask(task.source, task.limits)
    except UnreadableImage:
        return False
    with files.atomic_path(task.copy) as temporary:
        save_mask(temporary, mask)
    return True


def _write_skipped(rows: Sequence[Row], root: Path) -> None:
    lost = [
        {"key": row.key, "path": row.path, "reason": row.reason}
        for row in rows
        if row.status == "skipped"
    ]
    files.write_csv(root / SKIPPED, SKIPPED_FIELDS, lost)


def _write_unmatched(contents: Contents, config: Config, salt: bytes, root: Path) -> None:
    """Images without a row of their label file, and rows without an image."""
    alone = [
        {"set": c.collection, "what": "image", "line": "", "key": name_image(c, config, salt)}
        for c in contents.candidates
        if c.collection in contents.lost and c.stated.line == 0
    ]
    lost = [
        {"set": name, "what": "row", "line": line, "key": ""}
        for name, lines in contents.lost.items()
        for line in lines
    ]
    files.write_csv(root / UNMATCHED, UNMATCHED_FIELDS, [*alone, *lost])


def _write_facts(
    contents: Contents,
    found: Sequence[reading.FileFacts],
    rows: Sequence[Row],
    config: Config,
    root: Path,
    salt: bytes,
) -> None:
    """Coarse facts and further groups of each image that is used; none where they are not kept."""
    used = {row.key for row in rows if row.status == "ok"}
    kept, groups = config.data.privacy.facts, config.data.columns.groups
    lines = []
    for candidate, file in zip(contents.candidates, found, strict=True):
        own = candidate.stated.facts.or_else(candidate.header.facts)
        if config.data.privacy.rename:  # texts of devices are free, and may name people or places
            own = own._replace(
                manufacturer=_hide(salt, own.manufacturer), model=_hide(salt, own.model)
            )
        more = dict(zip(groups, candidate.stated.groups, strict=False))
        keys = [frame.key for frame in file.frames if frame.key in used]
        lines += [(key, own if kept else coarse.UNKNOWN, more) for key in keys]
    for name in groups:
        values = {more.get(name, "") for _, _, more in lines}
        if len(values) > MOST_GROUPS:
            raise IsnetError(
                "data",
                f"data.columns.groups: column '{name}' has {len(values)} different values, expected"
                f" {MOST_GROUPS} at most: more are no groups, and may name patients",
                fix="leave it out, or write coarser values into the table",
            )
    coarse.write_facts(root / coarse.TABLE, lines, groups)


def _hide(salt: bytes, device: str) -> str:
    return f"device-{pseudonym(salt, device, 6)}" if device else ""


def _remove_stale(rows: Sequence[Row], root: Path) -> None:
    """Removes kept images and mask copies of earlier settings, and what a killed run left."""
    kept = {row.image_file for row in rows} | {
        os.path.relpath(root / part, root)
        for row in rows
        for part in row.mask_file.split(PAIR)
        if part
    }
    for name in ("images", GIVEN):
        for top, _, names in os.walk(root / name, topdown=False):
            for file in names:
                path = Path(top, file)
                if path.suffix == ".png" and path.relative_to(root).as_posix() not in kept:
                    path.unlink()
            if top != str(root / name) and not os.listdir(top):
                os.rmdir(top)
