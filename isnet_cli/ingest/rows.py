"""From what is known of files, headers and labels to the lines of the manifest."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from isnet_cli.config.schema import Config, chosen_images
from isnet_cli.core.pseudonyms import pseudonym
from isnet_cli.images.header_scan import without_placeholder
from isnet_cli.images.types import Row
from isnet_cli.ingest.catalogue import Candidate
from isnet_cli.ingest.label_sources import MAIN
from isnet_cli.ingest.read_file import FileFacts, FrameFacts, skipped
from isnet_cli.ingest.splits import assign_sets


@dataclass(frozen=True)
class Line:
    """A manifest line and what may not be written.

    Attributes:
        row: The line.
        collection: Name of the collection.
        patient: The patient as found, empty when unknown; memory only.
    """

    row: Row
    collection: str
    patient: str


def image_key(candidate: Candidate, config: Config, salt: bytes) -> str:
    """The image's name in outputs: its place in the input, or a salted hash of that."""
    return pseudonym(salt, candidate.key, 16) if config.data.privacy.rename else candidate.key


def writable(path: str) -> str:
    """A path as UTF-8 text; bytes that are none are shown as hexadecimal escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def early_fault(candidate: Candidate, config: Config, key: str) -> FileFacts | None:
    """Why a file need not be read, as far as its header and label row say."""
    if candidate.facts.fault is not None:
        return skipped(key, *candidate.facts.fault)
    if config.data.view == "frontal" and stated_view(candidate) == "lateral":
        return skipped(key, "lateral", "a lateral image, expected frontal (data.view: frontal)")
    return None


def stated_view(candidate: Candidate) -> str:
    """The view by the label file, else by the header."""
    return candidate.said.view if candidate.said.view != "unknown" else candidate.facts.view


def lines_of(
    candidate: Candidate, facts: FileFacts | None, config: Config, salt: bytes
) -> list[Line]:
    """Manifest lines of a file: one per image; one without image facts when it was not read yet."""
    patient = _patient(candidate, config)
    source = candidate.said.source or candidate.collection
    frames = (
        facts.frames if facts is not None else (FrameFacts(image_key(candidate, config, salt)),)
    )
    path = "" if config.data.privacy.rename else writable(os.path.abspath(candidate.path))
    main = candidate.collection == MAIN
    return [
        Line(
            Row(
                key=frame.key,
                path=path,
                frame=frame.frame,
                sha256=facts.sha256 if facts is not None else "",
                image_file=frame.image_file,
                height=frame.height,
                width=frame.width,
                bits=frame.bits,
                format=frame.format,
                view=frame.view if frame.view != "unknown" else stated_view(candidate),
                source=source,
                patient=pseudonym(salt, patient),
                label=candidate.said.label,
                set=candidate.said.set if main else _own_set(candidate, source, config),
                mask_file=candidate.masks,
                status="skipped" if frame.reason else "ok",
                reason=frame.reason,
                notes=frame.notes,
                spacing=frame.spacing,
            ),
            candidate.collection,
            patient,
        )
        for frame in frames
    ]


def early_lines(candidates: Iterable[Candidate], config: Config, salt: bytes) -> list[Line]:
    """Manifest lines by what headers and labels say, before any pixel is read and without sets."""
    return [
        line
        for candidate in candidates
        for line in lines_of(
            candidate,
            early_fault(candidate, config, image_key(candidate, config, salt)),
            config,
            salt,
        )
    ]


def divide(lines: Sequence[Line], config: Config) -> list[Line]:
    """Deals the main images out to the sets; the others have theirs already."""
    places = [i for i, line in enumerate(lines) if line.collection == MAIN]
    data = config.data
    rows = assign_sets(
        [lines[i].row for i in places],
        [lines[i].patient for i in places],
        data.sets,
        data.split,
        seed=config.seed,
        task=data.labels.task,
    )
    result = list(lines)
    for i, row in zip(places, rows, strict=True):
        result[i] = replace(lines[i], row=row)
    return [
        replace(line, row=replace(line.row, set="")) if line.row.status != "ok" else line
        for line in result
    ]


def without_copies(lines: Sequence[Line]) -> list[Line]:
    """Skips images that are in a collection more than once (same bytes, same frame).

    The first labelled one stays, or the first; the others become ``duplicate``. When their labels
    differ, nobody can tell which is right, and all become ``duplicate_conflict``.
    """
    copies: dict[tuple[str, str, int], list[int]] = defaultdict(list)
    for i, line in enumerate(lines):
        if line.row.status == "ok" and line.row.sha256:
            copies[line.collection, line.row.sha256, line.row.frame].append(i)
    result = list(lines)
    for places in copies.values():
        if len(places) < 2:
            continue
        keys = [lines[i].row.key for i in places]
        if len({lines[i].row.label for i in places} - {""}) > 1:
            for i in places:
                words = f"{len(places)} files with the same bytes and different labels: "
                words += ", ".join(keys[:5])
                result[i] = _skip(lines[i], f"duplicate_conflict: {words}")
            continue
        kept = next((i for i in places if lines[i].row.label), places[0])
        for i in places:
            if i != kept:
                words = f"duplicate: the same bytes as {lines[kept].row.key}"
                result[i] = _skip(lines[i], words)
    return result


def counts(rows: Sequence[Row]) -> Mapping[str, int]:
    """How many images were found, read, skipped and labelled."""
    usable = [row for row in rows if row.status == "ok"]
    return {
        "found": len(rows),
        "read": len(usable),
        "skipped": len(rows) - len(usable),
        "labelled": sum(bool(row.label) for row in usable),
        "no_label": sum(not row.label for row in usable),
        "no_patient": sum(not row.patient for row in usable),
        "masks": sum(bool(row.mask_file) for row in usable),
    }


def _skip(line: Line, reason: str) -> Line:
    return replace(
        line, row=replace(line.row, status="skipped", reason=reason, image_file="", set="")
    )


def _patient(candidate: Candidate, config: Config) -> str:
    """The patient by the label file, else by the header; per source when ids are counted anew."""
    stated = candidate.said.patient
    patient = stated if stated.isdigit() else without_placeholder(stated)
    patient = patient or without_placeholder(candidate.facts.identity.patient)
    if patient and config.data.split.ids == "source":
        return f"{candidate.said.source or candidate.collection}\0{patient}"
    return patient


def _own_set(candidate: Candidate, source: str, config: Config) -> str:
    chosen = chosen_images(config.data.sets[candidate.collection])
    wanted = not chosen or (source, None) in chosen or (source, candidate.said.label) in chosen
    return candidate.collection if wanted else ""
