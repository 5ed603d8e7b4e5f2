"""The findings of a run's images from what ``evaluate.annotations`` names."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from isnet_cli.annotations.coco import Box, read_coco_findings
from isnet_cli.annotations.findings import Finding, check_shape
from isnet_cli.annotations.tables import read_boxes
from isnet_cli.config.schema import Config, Limits
from isnet_cli.core.files import sha256_file
from isnet_cli.core.pseudonyms import pseudonym, read_salt
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.errors import IsnetError, UnreadableImage
from isnet_cli.images.find import normalise_path, strip_suffix
from isnet_cli.images.mask_files import (
    PAIR,
    find_masks,
    has_same_end,
    list_pictures,
    take_last_part,
)
from isnet_cli.images.types import Row

UNKNOWN = "names no image of the run"
AMBIGUOUS = "fits several images"
OUTSIDE = "box outside the image"
EMPTY = "box without area"
OTHER_SIZE = "not shaped like its image"
FIX = "evaluate.annotations: a .csv of boxes, a COCO .json, or a folder of masks"
SALT = ".salt"  # of the ingest stage's folder


@dataclass(frozen=True)
class Annotations:
    """The findings of one set.

    Attributes:
        findings: Key of an image -> what is drawn in it, at least one finding.
        left_out: Reason -> number of annotations that are not used.
    """

    findings: Mapping[str, tuple[Finding, ...]] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Entry:
    """One annotation as read; without `finding`, its image is said to have none."""

    name: str
    finding: Finding | None
    whole: tuple[float, float] | None = None


def locate_annotations(config: Config, name: str) -> Path | None:
    """Where the annotations of set `name` are; None where there are none."""
    given = config.evaluate.annotations
    found = given.get(name) if isinstance(given, dict) else given
    return None if found is None else Path(found)


def check_annotations(config: Config) -> None:
    """Refuses sources that no image is needed to refuse: before hours of training, not after.

    Raises:
        IsnetError: Kind "data": a source is missing or malformed.
    """
    for place in dict.fromkeys(_list_sources(config)):
        _require(place)
        for _ in _list_entries(place, [], config.limits, None):
            break


def _list_sources(config: Config) -> list[Path]:
    given = config.evaluate.annotations
    found = given.values() if isinstance(given, dict) else [given] if given else []
    return [Path(source) for source in found]


def hash_annotations(config: Config) -> list[tuple[str, str]]:
    """Names and content hashes of all annotation files, for a fingerprint.

    Raises:
        IsnetError: Kind "data": a file is not there or cannot be read.
    """
    found: list[tuple[str, str]] = []
    for place in _list_sources(config):
        _require(place)
        try:
            if place.is_dir():
                paths = {os.path.relpath(path, place): path for path in list_pictures(place)}
            else:
                paths = {place.name: place}
            found += [(name, sha256_file(path)) for name, path in paths.items()]
        except OSError as error:
            why = (error.strerror or "unreadable").lower()
            raise IsnetError("data", f"{place}: {why}, expected annotations", fix=FIX) from error
    return found


def read_all_annotations(
    config: Config,
    salt: bytes | None,
    sets: Mapping[str, Sequence[Row]],
    rows: Sequence[Row],
    *,
    needed: bool = True,
) -> dict[str, Annotations]:
    """The annotations of each set, those of one file read once.

    Args:
        config: The configuration.
        salt: As `find_salt`.
        sets: Name -> images.
        rows: All images of the run, so that an unknown name is told from one of another set.
        needed: Refuse a source that has no finding in an image of its sets.

    Returns:
        One entry for each set that has annotations named.

    Raises:
        IsnetError: Kind "data": a source is missing, malformed, or none of it belongs to an image
            of its sets.
    """
    by_place: dict[Path, list[str]] = defaultdict(list)
    for name in sets:
        if (place := locate_annotations(config, name)) is not None:
            by_place[place].append(name)
    found: dict[str, Annotations] = {}
    for place, names in by_place.items():
        wanted = [row for name in names for row in sets[name]]
        whole = _read(place, wanted, rows, config.limits, salt)
        if needed and not whole.findings:
            counts = tuple(f"{count} left out: {why}" for why, count in whole.left_out.items())
            raise IsnetError(
                "data",
                f"{place}: no finding in an image of the set{'s'[: len(names) > 1]}"
                f" {', '.join(names)}",
                details=counts,
                fix="name images as the run does: column key of ingest/manifest.csv",
            )
        left_out = whole.left_out
        for name in names:
            keys = {row.key for row in sets[name]}
            own = {key: found for key, found in whole.findings.items() if key in keys}
            found[name] = Annotations(own, left_out)
    return found


def find_salt(config: Config, folder: RunFolder) -> bytes | None:
    """What keys of a run are made with where they are pseudonyms; None where they are not."""
    if not config.data.privacy.rename:
        return None
    given = config.data.privacy.salt_file
    return read_salt(Path(given) if given else folder.stage_dir("ingest") / SALT)


def _require(place: Path) -> None:
    if not place.exists():
        raise IsnetError("data", f"{place}: no such file or folder, expected annotations", fix=FIX)


def _read(
    place: Path, wanted: Sequence[Row], rows: Sequence[Row], limits: Limits, salt: bytes | None
) -> Annotations:
    _require(place)
    known = {row.key: row for row in wanted}
    finder = _KeyFinder(list(known), salt)
    everyone = _KeyFinder([row.key for row in rows], salt)
    left_out: Counter[str] = Counter()
    found: dict[str, list[Finding]] = defaultdict(list)
    for entry in _list_entries(place, list(known), limits, salt):
        keys = everyone.find(entry.name)  # a name in full is that of one image, whatever its set
        if len(keys) != 1:
            keys = finder.find(entry.name) or keys[:1]
        if len(keys) != 1:
            left_out[AMBIGUOUS if keys else UNKNOWN] += 1
            continue
        if entry.finding is None or keys[0] not in known:
            continue
        fitted = _fit(entry, known[keys[0]])
        if isinstance(fitted, str):
            left_out[fitted] += 1
        else:
            found[keys[0]].append(fitted)
    findings = {key: tuple(own) for key, own in found.items()}
    return Annotations(findings, dict(sorted(left_out.items())))


def _list_entries(
    place: Path, keys: Sequence[str], limits: Limits, salt: bytes | None
) -> Iterator[_Entry]:
    if place.is_dir():
        return _list_masks(place, keys, salt)
    if place.suffix.lower() == ".json":
        return _list_pictures(place, limits)
    return (
        _Entry(row.image, None if row.box is None else Finding(row.label, row.box), row.whole)
        for row in read_boxes(place, limits)
    )


def _list_masks(folder: Path, keys: Sequence[str], salt: bytes | None) -> Iterator[_Entry]:
    pictures = list(list_pictures(folder))
    if not pictures:
        raise IsnetError("data", f"{folder}: no picture found, expected masks", fix=FIX)
    used: set[str] = set()
    if salt is None:  # pseudonyms are no names to look for
        for key, mask in zip(keys, find_masks(folder, keys), strict=True):
            if mask:
                used.update(mask.split(PAIR))
                yield _Entry(key, Finding(mask=mask))
    for picture in pictures:
        if str(picture) not in used:
            yield _Entry(picture.relative_to(folder).as_posix(), Finding(mask=str(picture)))


def _list_pictures(path: Path, limits: Limits) -> Iterator[_Entry]:
    for picture in read_coco_findings(path, limits):
        whole = float(picture.height), float(picture.width)
        for label, drawn in picture.findings:
            if isinstance(drawn, tuple):
                yield _Entry(picture.file, Finding(label, drawn), whole)
            else:
                yield _Entry(picture.file, Finding(label, outlines=drawn), whole)
        if not picture.findings:
            yield _Entry(picture.file, None)


def _fit(entry: _Entry, row: Row) -> Finding | str:
    """The finding in pixels of the original image; or why it is left out."""
    finding = entry.finding
    assert finding is not None  # noqa: S101 - `_read` checked it
    if entry.whole is not None:
        try:
            size = round(entry.whole[0]), round(entry.whole[1])
            check_shape(size if min(size) > 0 else (1, 1), (row.height, row.width))
        except UnreadableImage:
            return OTHER_SIZE
    if finding.box is None:
        return finding
    return _fit_box(finding.label, finding.box, entry.whole, row)


def _fit_box(label: str, box: Box, whole: tuple[float, float] | None, row: Row) -> Finding | str:
    left, top, right, bottom = box
    if right <= left or bottom <= top:
        return EMPTY
    if whole is not None:
        down, across = row.height / whole[0], row.width / whole[1]
        left, top, right, bottom = left * across, top * down, right * across, bottom * down
    left, right = max(left, 0.0), min(right, float(row.width))
    top, bottom = max(top, 0.0), min(bottom, float(row.height))
    if right <= left or bottom <= top:
        return OUTSIDE
    return Finding(label, (left, top, right, bottom))


class _KeyFinder:
    """Finds the image that an annotation names.

    A name belongs to an image when it is the image's key or one of the two paths ends like the
    other, folder by folder; failing that, when only the last parts agree and no other image has
    that one.

    Args:
        keys: Of the images.
        salt: Where keys are pseudonyms: a name must then be the image's whole path below the input
            folder.
    """

    def __init__(self, keys: Sequence[str], salt: bytes | None) -> None:
        self._salt = salt
        self._keys = {key.casefold(): key for key in keys}
        self._by_end: dict[str, list[str]] = defaultdict(list)
        for key in keys:
            self._by_end[take_last_part(key)].append(key)

    def find(self, name: str) -> list[str]:
        """The keys that fit; one where it is clear."""
        path = PurePosixPath(normalise_path(name.replace("\\", "/")).lstrip("/"))
        stem = path.with_name(strip_suffix(path.name)) if path.name else path
        for form in dict.fromkeys((stem.as_posix(), path.as_posix())):
            if self._salt is not None:
                key = self._keys.get(pseudonym(self._salt, form, 16))
                ends: list[str] = []
            else:
                key = self._keys.get(form.casefold())
                ends = self._by_end.get(take_last_part(form), [])
            exact = [key] if key is not None else [k for k in ends if has_same_end(form, k)]
            if exact or ends:
                return exact or ends
        return []
