"""What is known of all images before a pixel is read: files, headers, labels, masks.

`ingest` and `isnet check` share it, so that whatever can be refused is refused early.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

from isnet_cli.config.schema import COLLECTIONS, Config, Labels
from isnet_cli.core.files import sha256_file
from isnet_cli.core.names import make_name
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.workers import describe_loss, make_budget, run_tasks, worker_count
from isnet_cli.errors import IsnetError
from isnet_cli.guard.worker import Lost
from isnet_cli.images.find import Collected, collect_images, number_keys
from isnet_cli.images.header_scan import HeaderFacts, scan_header
from isnet_cli.images.mask_files import PAIR, find_masks, list_pictures
from isnet_cli.ingest.label_sources import (
    MAIN,
    NONE,
    Collection,
    Labelling,
    is_main,
    name_key,
    name_plainly,
)
from isnet_cli.labels.lists import merge_spellings
from isnet_cli.labels.tables import LabelRow, order_classes

LISTS = {".csv", ".tsv", ".txt"}  # files that name images; their content counts
FEW_HEADERS = 2000  # headers are quick: processes pay off only for more


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that may be an image.

    Attributes:
        collection: Name of its collection.
        key: Its name in all outputs, unless images are renamed.
        path: The file.
        header: What its header states.
        stated: What its label row states; a row without a label when it has none.
        masks: Given mask files as `Row.mask_file`.
    """

    collection: str
    key: str
    path: Path
    header: HeaderFacts
    stated: LabelRow
    masks: str = ""

    @property
    def view(self) -> str:
        """The view by the label file, else by the header."""
        return self.stated.view if self.stated.view != "unknown" else self.header.view

    @property
    def source(self) -> str:
        """Hospital or collection: by the label file, else the name of the set that has it."""
        return self.stated.source or name_plainly(self.collection)


@dataclass(frozen=True)
class Contents:
    """All candidates, and what was found out on the way.

    Attributes:
        candidates: In the order of the manifest.
        classes: Class names of the main images (of all, when there are no main images), in order.
        match: Lines of the match table, or a sentence, per collection.
        warnings: What the user should know, one sentence each.
        masks_left_out: Files among the images that are masks of others.
        faults: Why a collection has no labels, by its name; only when read leniently.
        lost: Lines of the label file whose rows found no image, per collection that has such a
            file.
    """

    candidates: tuple[Candidate, ...]
    classes: tuple[str, ...]
    match: Mapping[str, tuple[str, ...]]
    warnings: tuple[str, ...]
    masks_left_out: int
    faults: Mapping[str, IsnetError] = field(default_factory=dict)
    lost: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Labelled:
    """One collection, read."""

    candidates: tuple[Candidate, ...]
    classes: tuple[str, ...]
    match: tuple[str, ...]
    warnings: tuple[str, ...]
    masks_left_out: int
    lost: tuple[int, ...] | None


class Catalogue:
    """The images that a configuration names; each part is looked up when it is first needed.

    Listing the files opens nothing but lists; `read` opens label files and headers.

    Args:
        config: The configuration.
    """

    def __init__(self, config: Config) -> None:
        self.config = config

    @cached_property
    def collections(self) -> tuple[Collection, ...]:
        """The main images and the sets that have images of their own.

        Raises:
            IsnetError: Kind "config", when there are none, or labels are described but not given.
        """
        found = tuple(_list_collections(self.config))
        if not found:
            raise IsnetError(
                "config", "data.images: nothing given, expected X-rays", fix="data.images: FOLDER"
            )
        for collection in found:
            if collection.labels.columns is not None and collection.labels.file is None:
                where = name_key(collection.name)
                raise IsnetError(
                    "config",
                    f"{where}.labels.columns: columns without a label file",
                    fix=f"{where}.labels.file: labels.csv",
                )
        return found

    @cached_property
    def files(self) -> tuple[Collected, ...]:
        """The files of each collection, in the order of `collections`.

        Raises:
            IsnetError: When images are missing.
        """
        return tuple(collect_images(collection.images) for collection in self.collections)

    def hash_inputs(self, hash_file: Callable[[Path], str]) -> list[object]:
        """What changes when an input file changes: names and hashes, not times.

        Args:
            hash_file: Gives the hash of a file's content.

        Raises:
            IsnetError: When images are missing.
        """
        parts: list[object] = []
        for collection, found in zip(self.collections, self.files, strict=True):
            parts += [(os.path.abspath(path), hash_file(path)) for _, path in found.images]
            images = collection.images
            lists = images if isinstance(images, list) else [images]
            parts += [hash_content(entry) for entry in lists if Path(entry).suffix in LISTS]
            if collection.labels.file is not None:
                parts.append(hash_content(collection.labels.file))
        if self.config.data.privacy.salt_file is not None:
            parts.append(hash_content(self.config.data.privacy.salt_file))
        if self.config.masks.files is not None and Path(self.config.masks.files).is_dir():
            masks = list_pictures(Path(self.config.masks.files))
            copied = self.config.data.privacy.rename
            parts += [(str(path), hash_file(path) if copied else "") for path in masks]
        return parts

    def read(self, context: RunContext, *, lenient: bool = False) -> Contents:
        """Reads headers and labels, and joins them; reads no pixels.

        Labels that need nothing but file names are joined before any file is opened.

        Args:
            context: Side effects.
            lenient: Images whose labels are at fault go on without any; `Contents.faults` has why.

        Raises:
            IsnetError: Whatever is wrong with images, label files, joins or mask folders.
        """
        found: dict[str, _Labelled] = {}
        faults: dict[str, IsnetError] = {}
        for collection, files in zip(self.collections, self.files, strict=True):
            known = _list_main_classes(found)
            images = _leave_out_masks(files, self.config)
            labelling = Labelling(collection, images, known)
            try:
                headers, rows = self._label(labelling, context)
            except IsnetError as error:
                if not lenient or error.kind != "data":
                    raise
                faults[collection.name] = error
                labelling.match = ("no labels could be given: see the errors",)
                headers = self._scan_headers(labelling.images, context)
                rows = [(NONE, "")] * len(headers)
            left_out = len(files.images) - len(labelling.images.images)
            found[collection.name] = _Labelled(
                tuple(_make_candidates(collection.name, labelling.images, headers, rows)),
                labelling.classes,
                labelling.match,
                tuple(labelling.warnings),
                left_out,
                labelling.lost,
            )
        return self._combine(found, faults)

    def _label(
        self, labelling: Labelling, context: RunContext
    ) -> tuple[list[HeaderFacts], list[tuple[LabelRow, str]]]:
        """The headers, and the label row and masks of each image."""
        labelling.join_by_names()
        headers = self._scan_headers(labelling.images, context)
        return headers, labelling.find_rows(headers)

    def _scan_headers(self, images: Collected, context: RunContext) -> list[HeaderFacts]:
        paths = [path for _, path in images.images]
        headers: list[HeaderFacts | None] = [None] * len(paths)
        several = len(paths) > FEW_HEADERS
        workers = worker_count(self.config.machine.workers, len(paths)) if several else 0
        limits, stop = self.config.limits, context.stop_requested
        scan = partial(scan_header, limits=limits)
        done = run_tasks(scan, paths, workers, budget=make_budget(limits), stop=stop)
        for index, header in context.progress.track(done, "reading headers", len(paths)):
            if isinstance(header, Lost):
                header = HeaderFacts(fault=describe_loss(header, limits))  # noqa: PLW2901
            headers[index] = header
        found = [header for header in headers if header is not None]
        if len(found) < len(paths):
            raise KeyboardInterrupt  # labels cannot be joined to headers that were not read
        return found

    def _combine(
        self, found: Mapping[str, _Labelled], faults: Mapping[str, IsnetError]
    ) -> Contents:
        config = self.config
        candidates = [c for part in found.values() for c in part.candidates]
        candidates = _add_folder_masks(_make_keys_unique(candidates), config)
        named = not config.data.privacy.rename
        every = dict.fromkeys(c for part in found.values() for c in part.classes)
        main = self._order_classes(found, candidates, strict=not faults)
        return Contents(
            tuple(candidates),
            main or tuple(every),
            {name: part.match for name, part in found.items()},
            (
                *(text for part in found.values() for text in part.warnings),
                *_warn_of_missing_masks(candidates, named=named),
            ),
            sum(part.masks_left_out for part in found.values()),
            faults,
            {name: part.lost for name, part in found.items() if part.lost is not None},
        )

    def _order_classes(
        self, found: Mapping[str, _Labelled], candidates: Sequence[Candidate], *, strict: bool
    ) -> tuple[str, ...]:
        """Classes of all main images; together they must have those that are configured."""
        names = _list_main_classes(found)
        labels = self.config.data.labels
        if not self.config.data.collections or not names:
            return names
        if strict and labels.task == "multiclass":
            count = Counter(c.stated.label for c in candidates if is_main(c.collection))
            del count[""]
            return order_classes(count, labels, "data.collections", 2)
        return tuple(labels.classes or sorted(names))


def list_inputs(config: Config) -> None:
    """Looks for all files that a configuration names, and opens none.

    Raises:
        IsnetError: When images are missing.
    """
    Catalogue(config).hash_inputs(lambda path: "")


def stamp_file(path: Path) -> tuple[str, int, int, int]:
    """Absolute path, size in bytes, and when content and state changed, in ns; -1, 0, 0: missing.

    Whoever writes to a file can set the first time back, but not the second.
    """
    whole = os.path.abspath(path)
    try:
        status = os.stat(whole)
    except OSError:
        return whole, -1, 0, 0
    return whole, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def hash_content(path: str | Path) -> str:
    """SHA-256 of a file, or ``missing``."""
    try:
        return sha256_file(Path(path))
    except OSError:
        return "missing"


def _list_collections(config: Config) -> Iterator[Collection]:
    data = config.data
    if data.images is not None:
        yield Collection(
            MAIN, data.images, data.labels, data.columns, config.limits, data.repeated,
            partial=bool(data.collections),
        )  # fmt: skip
    for name, part in data.collections.items():
        shared = {key: getattr(data.labels, key) for key in ("task", "classes", "uncertain")}
        labels = (part.labels or Labels()).model_copy(update=shared)
        yield Collection(
            COLLECTIONS + name, part.images, labels, part.columns or data.columns,
            config.limits, data.repeated, partial=True,
        )  # fmt: skip
    for name, entry in data.sets.items():
        if entry.images is not None:
            labels = entry.labels or Labels(task=data.labels.task, uncertain=data.labels.uncertain)
            columns = entry.columns or data.columns
            yield Collection(
                name, entry.images, labels, columns, config.limits, data.repeated, partial=True
            )
        elif entry.labels is not None:
            raise IsnetError(
                "config",
                f"data.sets.{name}.labels: labels without images, expected both or neither",
                fix=f"data.sets.{name}.images: FOLDER",
            )


def _list_main_classes(found: Mapping[str, _Labelled]) -> tuple[str, ...]:
    """Classes of the main images read so far; the first spelling of a name counts."""
    names: dict[str, None] = {}
    for name, part in found.items():
        if is_main(name):
            known = tuple(names)
            names.update(dict.fromkeys(merge_spellings({c: 1}, known)[c] for c in part.classes))
    return tuple(names)


def _leave_out_masks(found: Collected, config: Config) -> Collected:
    """The files that do not lie in the configured folder of masks."""
    if config.masks.files is None:
        return found
    folder = Path(os.path.realpath(config.masks.files))
    images = [(k, p) for k, p in found.images if folder not in Path(os.path.realpath(p)).parents]
    return Collected(found.root, images)


def _make_candidates(
    name: str,
    files: Collected,
    headers: Sequence[HeaderFacts],
    rows: Sequence[tuple[LabelRow, str]],
) -> Iterator[Candidate]:
    before = "" if name == MAIN else f"{make_name(name_plainly(name))}/"
    for (key, path), header, (row, masks) in zip(files.images, headers, rows, strict=True):
        yield Candidate(name, before + key, path, header, row, masks)


def _make_keys_unique(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Main images keep their keys; a set's image that would share one gets a number."""
    keys = number_keys([(candidate.key, candidate.key) for candidate in candidates])
    return [replace(one, key=key) for one, key in zip(candidates, keys, strict=True)]


def _add_folder_masks(candidates: list[Candidate], config: Config) -> list[Candidate]:
    """Gives each image its mask of the configured folder, where there is one."""
    if config.masks.files is None:
        return candidates
    found = find_masks(Path(config.masks.files), [candidate.key for candidate in candidates])
    return [
        replace(candidate, masks=mask) if mask else candidate
        for candidate, mask in zip(candidates, found, strict=True)
    ]


def _warn_of_missing_masks(candidates: Sequence[Candidate], *, named: bool) -> list[str]:
    lost = [
        candidate.key
        for candidate in candidates
        if candidate.masks and not all(map(os.path.isfile, candidate.masks.split(PAIR)))
    ]
    if not lost:
        return []
    examples = f", such as {', '.join(lost[:5])}" if named else ""
    return [f"{len(lost)} images name a mask file that does not exist{examples}"]
