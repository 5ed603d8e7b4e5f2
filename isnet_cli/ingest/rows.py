"""From what is known of files, headers and labels to the lines of the manifest."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from isnet_cli.config.schema import Config, chosen_images
from isnet_cli.core.pseudonyms import pseudonym
from isnet_cli.images.header_scan import drop_placeholder
from isnet_cli.images.types import Row
from isnet_cli.ingest.catalogue import Candidate
from isnet_cli.ingest.label_sources import MAIN, is_main, name_plainly
from isnet_cli.ingest.reading import FileFacts, FrameFacts, find_early_fault, name_image
from isnet_cli.ingest.splits import assign_sets
from isnet_cli.text.forms import make_encodable


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


def make_lines(
    candidate: Candidate, facts: FileFacts | None, config: Config, salt: bytes
) -> list[Line]:
    """Manifest lines of a file: one per image; one without image facts when it was not read yet."""
    unread = FileFacts("", (FrameFacts(name_image(candidate, config, salt)),))
    facts = facts or unread
    patient = _find_patient(candidate, config)
    row = Row(
        key="",
        path="" if config.data.privacy.rename else make_encodable(os.path.abspath(candidate.path)),
        sha256=facts.sha256,
        source=name_source(candidate, config, salt),
        patient=pseudonym(salt, patient),
        label=candidate.stated.label,
        set=_find_set(candidate, config),
        mask_file=candidate.masks,
    )
    return [
        Line(_add_frame(row, frame, candidate), candidate.collection, patient)
        for frame in facts.frames
    ]


def name_source(candidate: Candidate, config: Config, salt: bytes) -> str:
    """The source of an image; a pseudonym when images are renamed and no setting names it."""
    source, data = candidate.source, config.data
    if not data.privacy.rename or not source or source == name_plainly(candidate.collection):
        return source
    typed = {name for entry in data.sets.values() for name, _ in chosen_images(entry)}
    return source if source in typed else f"source-{pseudonym(salt, source, 6)}"


def _add_frame(row: Row, frame: FrameFacts, candidate: Candidate) -> Row:
    return replace(
        row,
        key=frame.key,
        frame=frame.frame,
        image_file=frame.image_file,
        height=frame.height,
        width=frame.width,
        bits=frame.bits,
        format=frame.format,
        view=frame.view if frame.view != "unknown" else candidate.view,
        status="skipped" if frame.reason else "ok",
        reason=frame.reason,
        notes=frame.notes,
        spacing=frame.spacing,
    )


def make_early_lines(candidates: Iterable[Candidate], config: Config, salt: bytes) -> list[Line]:
    """Manifest lines by what headers and labels say, before any pixel is read and without sets."""
    lines = []
    for candidate in candidates:
        fault = find_early_fault(candidate, config, name_image(candidate, config, salt))
        lines += make_lines(candidate, fault, config, salt)
    return lines


def split_into_sets(lines: Sequence[Line], config: Config) -> list[Line]:
    """Splits the main images into the sets; the others have theirs already.

    Raises:
        IsnetError: As `assign_sets`.
    """
    main = [line for line in lines if is_main(line.collection)]
    data = config.data
    rows = iter(
        assign_sets(
            [line.row for line in main],
            [line.patient for line in main],
            data.sets,
            data.split,
            seed=config.seed,
            task=data.labels.task,
        )
    )
    placed = [replace(x, row=next(rows)) if is_main(x.collection) else x for x in lines]
    return [
        line if line.row.status == "ok" else replace(line, row=replace(line.row, set=""))
        for line in placed
    ]


def skip_copies(lines: Sequence[Line]) -> list[Line]:
    """Skips images that are in a collection more than once (same bytes, same frame).

    The first labelled one stays, or the first; the others become ``duplicate``. When their labels
    differ, none is known to be right, and all become ``duplicate_conflict``.
    """
    copies: dict[tuple[str, str, int], list[int]] = defaultdict(list)
    for i, line in enumerate(lines):
        if line.row.status == "ok" and line.row.sha256:
            pool = MAIN if is_main(line.collection) else line.collection
            copies[pool, line.row.sha256, line.row.frame].append(i)
    result = list(lines)
    for places in copies.values():
        for i, reason in _explain_copies(lines, places).items():
            result[i] = _skip_line(lines[i], reason)
    return result


def _explain_copies(lines: Sequence[Line], places: Sequence[int]) -> dict[int, str]:
    """Why each of these copies is skipped; the one that is kept has no reason."""
    if len(places) < 2:
        return {}
    rows = {i: lines[i].row for i in places}
    if len({row.label for row in rows.values()} - {""}) > 1:
        words = f"{len(places)} files with the same bytes and different labels: "
        words += ", ".join([row.key for row in rows.values()][:5])
        return dict.fromkeys(places, f"duplicate_conflict: {words}")
    kept = next((i for i in places if rows[i].label), places[0])
    reason = f"duplicate: the same bytes as {rows[kept].key}"
    return {i: reason for i in places if i != kept}


def count_rows(rows: Sequence[Row]) -> Mapping[str, int]:
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


def _skip_line(line: Line, reason: str) -> Line:
    return replace(
        line, row=replace(line.row, status="skipped", reason=reason, image_file="", set="")
    )


def _find_patient(candidate: Candidate, config: Config) -> str:
    """The patient by the label file, else by the header; per source when ids are counted anew."""
    stated = candidate.stated.patient
    patient = stated if stated.isdigit() else drop_placeholder(stated)
    patient = patient or drop_placeholder(candidate.header.identity.patient)
    if patient and config.data.split.ids == "source":
        return f"{candidate.source}\0{patient}"
    return patient


def _find_set(candidate: Candidate, config: Config) -> str:
    """The set that the label file states, or the set that has the images."""
    if is_main(candidate.collection):
        return candidate.stated.set
    chosen = chosen_images(config.data.sets[candidate.collection])
    source, label = candidate.source, candidate.stated.label
    wanted = not chosen or (source, None) in chosen or (source, label) in chosen
    return candidate.collection if wanted else ""
