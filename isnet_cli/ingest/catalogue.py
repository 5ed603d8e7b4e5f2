"""What is known of all images before a pixel is read: files, headers, labels, masks.

`ingest` and `isnet check` share it, so that whatever can be refused is refused early.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from isnet_cli.config.schema import Config, Labels
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.workers import run_tasks, worker_count
from isnet_cli.errors import IsnetError
from isnet_cli.images.find import Collected, collect, printable
from isnet_cli.images.header_scan import Facts, scan_header
from isnet_cli.images.mask_files import PAIR, find_masks
from isnet_cli.ingest.label_sources import MAIN, NONE, Collection, Labelling
from isnet_cli.labels.tables import LabelRow


@dataclass(frozen=True)
class Candidate:
    """A file that may be an image.

    Attributes:
        collection: Name of its collection.
        key: Its name in all outputs, unless keys are salted.
        path: The file.
        facts: What its header says.
        said: What its label row says; a row without a label when it has none.
        masks: Given mask files as `Row.mask_file`.
    """

    collection: str
    key: str
    path: Path
    facts: Facts
    said: LabelRow
    masks: str = ""


@dataclass(frozen=True)
class Plan:
    """All candidates, and what was found out on the way.

    Attributes:
        candidates: In the order of the manifest.
        classes: Class names of the main images (of all, when there are no main images).
        match: Lines of the match table, or a sentence, per collection.
        warnings: Doubts, one sentence each.
        masks_left_out: Files among the images that are masks of others.
        faults: Why a collection has no labels, by its name; only in a lenient plan.
    """

    candidates: tuple[Candidate, ...]
    classes: tuple[str, ...]
    match: Mapping[str, tuple[str, ...]]
    warnings: tuple[str, ...]
    masks_left_out: int
    faults: Mapping[str, IsnetError] = field(default_factory=dict)


def collections(config: Config) -> list[Collection]:
    """The main images and the sets that have images of their own.

    Raises:
        IsnetError: Kind "config", when there are none, or labels are described but not given.
    """
    data = config.data
    found = []
    if data.images is not None:
        found.append(Collection(MAIN, data.images, data.labels, data.columns))
    for name, entry in data.sets.items():
        if entry.images is not None:
            labels = entry.labels or Labels(task=data.labels.task, uncertain=data.labels.uncertain)
            found.append(Collection(name, entry.images, labels, entry.columns or data.columns))
        elif entry.labels is not None:
            raise IsnetError(
                "config",
                f"data.sets.{name}.labels: labels without images, expected both or neither",
                fix=f"data.sets.{name}.images: FOLDER",
            )
    if not found:
        raise IsnetError(
            "config", "data.images: nothing given, expected X-rays", fix="data.images: FOLDER"
        )
    for collection in found:
        if collection.labels.columns is not None and collection.labels.file is None:
            where = f"data.sets.{collection.name}" if collection.name else "data"
            raise IsnetError(
                "config",
                f"{where}.labels.columns: columns without a label file",
                fix=f"{where}.labels.file: labels.csv",
            )
    return found


def make_plan(config: Config, context: RunContext, *, lenient: bool = False) -> Plan:
    """Finds the files, reads headers and labels, and joins them; reads no pixels.

    Labels that need nothing but file names are joined before any file is opened.

    Args:
        config: The configuration.
        context: Side effects.
        lenient: Images whose labels are at fault go on without any, and `Plan.faults` says why.

    Raises:
        IsnetError: Whatever is wrong with images, label files, joins or mask folders.
    """
    candidates: list[Candidate] = []
    match: dict[str, tuple[str, ...]] = {}
    warnings: list[str] = []
    classes: dict[str, tuple[str, ...]] = {}
    faults: dict[str, IsnetError] = {}
    left_out = 0
    for collection in collections(config):
        images = collect(collection.images)
        labelling = Labelling(collection, _outside_masks(images, config), classes.get(MAIN, ()))
        try:
            facts, said = _label(labelling, config, context)
        except IsnetError as error:
            if not lenient or error.kind != "data":
                raise
            faults[collection.name] = error
            labelling.match = ("no labels could be given: see the errors",)
            facts = _peek_all(labelling.images, config, context)
            said = [(NONE, "")] * len(facts)
        named = labelling.images.images
        match[collection.name] = labelling.match
        warnings += labelling.warnings
        classes[collection.name] = labelling.classes
        left_out += len(images.images) - len(named)
        candidates += [
            Candidate(collection.name, _key(collection.name, key), path, fact, row, masks)
            for (key, path), fact, (row, masks) in zip(named, facts, said, strict=True)
        ]
    candidates = _with_mask_folder(_unique_keys(candidates), config)
    warnings += _missing_masks(candidates, named=not config.data.privacy.rename)
    known = classes.get(MAIN) or tuple(
        dict.fromkeys(c for found in classes.values() for c in found)
    )
    return Plan(tuple(candidates), known, match, tuple(warnings), left_out, faults)


def _outside_masks(found: Collected, config: Config) -> Collected:
    """The files that do not lie in the configured folder of masks."""
    if config.masks.files is None:
        return found
    folder = Path(os.path.realpath(config.masks.files))
    images = [(k, p) for k, p in found.images if folder not in Path(os.path.realpath(p)).parents]
    return Collected(found.root, images)


def _label(
    labelling: Labelling, config: Config, context: RunContext
) -> tuple[list[Facts], list[tuple[LabelRow, str]]]:
    """What the headers say, and the label row and masks of each image."""
    labelling.join_by_names()
    facts = _peek_all(labelling.images, config, context)
    return facts, labelling.rows(facts)


def _peek_all(images: Collected, config: Config, context: RunContext) -> list[Facts]:
    paths = [path for _, path in images.images]
    facts: list[Facts] = [Facts()] * len(paths)
    # headers are quick: processes pay off only for thousands
    workers = worker_count(config.machine.workers, len(paths)) if len(paths) > 2000 else 0
    found = run_tasks(scan_header, paths, workers)
    for index, fact in context.progress.track(found, "reading headers", len(paths)):
        facts[index] = fact or Facts()
    return facts


def _key(name: str, key: str) -> str:
    return f"{printable(name).replace('/', '_')}/{key}" if name != MAIN else key


def _unique_keys(candidates: list[Candidate]) -> list[Candidate]:
    """Main images keep their keys; a set's image that would share one gets a number."""
    taken: set[str] = set()
    kept = []
    for candidate in candidates:
        key, number = candidate.key, 2
        while key.casefold() in taken:
            key, number = f"{candidate.key}~{number}", number + 1
        taken.add(key.casefold())
        kept.append(replace(candidate, key=key))
    return kept


def _with_mask_folder(candidates: list[Candidate], config: Config) -> list[Candidate]:
    if config.masks.files is None:
        return candidates
    found = find_masks(Path(config.masks.files), [candidate.key for candidate in candidates])
    return [
        replace(candidate, masks=mask) if mask else candidate
        for candidate, mask in zip(candidates, found, strict=True)
    ]


def _missing_masks(candidates: Sequence[Candidate], *, named: bool) -> list[str]:
    lost = [
        candidate.key
        for candidate in candidates
        if candidate.masks and not all(map(os.path.isfile, candidate.masks.split(PAIR)))
    ]
    if not lost:
        return []
    examples = f", such as {', '.join(lost[:5])}" if named else ""
    return [f"{len(lost)} images name a mask file that does not exist{examples}"]
