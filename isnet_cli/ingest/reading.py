"""Reading the files: decode, check, reduce and keep their images, each only once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from isnet_cli.config.schema import Config, Dicom, Limits
from isnet_cli.core.files import atomic_path, fingerprint, sha256_file
from isnet_cli.core.journal import Journal
from isnet_cli.core.pseudonyms import pseudonym
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.workers import describe_loss, make_budget, run_tasks, worker_count
from isnet_cli.errors import UnreadableImage, explain_error
from isnet_cli.guard.worker import Lost
from isnet_cli.images.find import name_frame
from isnet_cli.images.kept import limit_size, save_image
from isnet_cli.images.read import read_images
from isnet_cli.images.sanity import check_sanity
from isnet_cli.images.types import XRay
from isnet_cli.ingest.catalogue import Candidate, stamp_file

FORMAT = 2  # of the kept images and what is recorded about them
PASSING = frozenset(
    {"missing", "no_access", "crashed", "changed", "too_slow"}
)  # may be cured by the next run


@dataclass(frozen=True)
class ReadTask:
    """One file to read.

    Attributes:
        path: The file.
        key: Its key in the outputs.
        folder: The stage's folder; images go to ``images/`` inside.
        dicom: How DICOM pixels become intensities.
        scale: What white means.
        max_side: Longest side of the kept image, px.
        view: ``frontal`` refuses images known to be lateral.
        stated_view: View by the label file, which overrules the header; or ``unknown``.
        limits: What the file may be and take.
    """

    path: Path
    key: str
    folder: Path
    dicom: Dicom
    scale: Literal["bits", "range", "percentile"]
    max_side: int
    view: Literal["frontal", "any"]
    stated_view: str = "unknown"
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class FrameFacts:
    """What is recorded of one frame of a file; nothing of it identifies a patient.

    Attributes:
        key: Key of the image.
        frame: Frame number, from 0.
        image_file: The kept image relative to the stage's folder; empty when skipped.
        height: Rows of the original, px.
        width: Columns of the original, px.
        bits: As `XRay.bits`.
        format: As `XRay.format`.
        view: As `XRay.view`.
        notes: As `Row.notes`.
        spacing: As `Row.spacing`.
        reason: ``code: sentence`` when skipped.
    """

    key: str
    frame: int = 0
    image_file: str = ""
    height: int = 0
    width: int = 0
    bits: int = 0
    format: str = ""
    view: str = "unknown"
    notes: str = ""
    spacing: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What is recorded of one file.

    Attributes:
        sha256: Of its bytes; empty when it could not be read at all.
        frames: One per image in it, at least one.
    """

    sha256: str = ""
    frames: tuple[FrameFacts, ...] = field(default_factory=tuple)

    @property
    def passing(self) -> bool:
        """Whether a fault may be gone when the same file is tried again."""
        return any(frame.reason.partition(":")[0] in PASSING for frame in self.frames)

    def images(self) -> list[str]:
        """The kept images, relative to the stage's folder."""
        return [frame.image_file for frame in self.frames if frame.image_file]

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        return asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> FileFacts:
        """Reads what `to_dict` gave."""
        frames = tuple(FrameFacts(**frame) for frame in values["frames"])
        return FileFacts(values["sha256"], frames)


def skip_file(key: str, reason: str, sentence: str, sha256: str = "") -> FileFacts:
    """Facts of a file that is left out as a whole."""
    return FileFacts(sha256, (FrameFacts(key, reason=f"{reason}: {sentence}"),))


def read_file(task: ReadTask) -> FileFacts:
    """Reads a file and keeps its usable images, reduced to ``max_side``.

    Images are written by rename. A file that is lost, unreadable or no chest image gives a reason;
    nothing is raised for it but `MemoryError`. Runs in worker processes.
    """
    try:
        before = os.stat(task.path)
        images = read_images(task.path, task.dicom, task.scale, task.limits)
        digest = sha256_file(task.path)
        after = os.stat(task.path)
    except UnreadableImage as fault:
        if isinstance(fault.__cause__, MemoryError):
            raise fault.__cause__ from None
        digest = _hash_file(task.path, task.limits)
        return skip_file(task.key, fault.reason, fault.detail, digest)
    except FileNotFoundError:
        return skip_file(task.key, "missing", "no such file")
    except OSError as error:
        words = f"the file cannot be read ({explain_error(error)})"
        return skip_file(task.key, "no_access", words)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        return skip_file(task.key, "changed", "the file was written to while it was read")
    frames = [_keep_image(task, image, n, len(images)) for n, image in enumerate(images)]
    return FileFacts(digest, tuple(frames))


def _keep_image(task: ReadTask, image: XRay, frame: int, frames: int) -> FrameFacts:
    key = name_frame(task.key, frame, frames)
    if task.stated_view != "unknown":
        image = replace(image, view=task.stated_view)
    height, width = image.pixels.shape
    facts = FrameFacts(
        key,
        frame,
        height=height,
        width=width,
        bits=image.bits,
        format=image.format,
        view=image.view,
        notes="; ".join(image.notes),
        spacing=_write_spacing(image.spacing),
    )
    fault = check_sanity(image, task.view)
    if fault is not None:
        return replace(facts, reason=f"{fault.reason}: {fault.detail}")
    name = f"images/{key}.png"
    with atomic_path(task.folder / name) as temporary:
        save_image(temporary, limit_size(image.pixels, task.max_side))
    return replace(facts, image_file=name)


def _write_spacing(spacing: tuple[float, float] | None) -> str:
    return "" if spacing is None else f"{spacing[0]:.10g};{spacing[1]:.10g}"


def _hash_file(path: Path, limits: Limits) -> str:
    """The hash of a file that is left out; empty when there is none, or it is too large."""
    try:
        return sha256_file(path) if os.stat(path).st_size <= limits.file_bytes else ""
    except OSError:
        return ""


def name_image(candidate: Candidate, config: Config, salt: bytes) -> str:
    """The image's name in outputs: its place in the input, or a pseudonym of that."""
    return pseudonym(salt, candidate.key, 16) if config.data.privacy.rename else candidate.key


def find_early_fault(candidate: Candidate, config: Config, key: str) -> FileFacts | None:
    """Why a file need not be read, as far as its header and label row say; None when it must be."""
    if candidate.header.fault is not None:
        return skip_file(key, *candidate.header.fault)
    if candidate.stated.fault is not None:
        return skip_file(key, *candidate.stated.fault)
    if config.data.view == "frontal" and candidate.view == "lateral":
        return skip_file(key, "lateral", "a lateral image, expected frontal (data.view: frontal)")
    return None


def read_files(
    candidates: Sequence[Candidate], config: Config, root: Path, salt: bytes, context: RunContext
) -> list[FileFacts] | None:
    """Reads the files; those that an earlier call finished and that have not changed are not read.

    Args:
        candidates: The files.
        config: The configuration.
        root: The stage's folder, where the journal and the images are.
        salt: Of the run's pseudonyms.
        context: Side effects.

    Returns:
        What became of each file, in order; None when a stop was requested before the end, or
        only a share was asked for.
    """
    data = config.data
    settings = (data.dicom.model_dump(), data.scale, data.max_side, data.view)
    options = fingerprint(FORMAT, *settings, config.limits.model_dump())
    with Journal(root, options, context.share) as journal:
        parts = [_name_part(candidate, salt, config) for candidate in candidates]
        facts: list[FileFacts | None] = []
        for candidate, part in zip(candidates, parts, strict=True):
            early = find_early_fault(candidate, config, name_image(candidate, config, salt))
            known = journal.get(part) if early is None else None
            facts.append(early if known is None else FileFacts.from_dict(known))
        share = context.share
        to_read = [i for i, found in enumerate(facts) if found is None and share.owns(i)]
        tasks = [_make_task(candidates[i], config, root, salt) for i in to_read]
        for place, found in _read_tasks(tasks, config, context):
            i = to_read[place]
            facts[i] = found
            if not found.passing:
                journal.add(parts[i], found.to_dict(), [root / name for name in found.images()])
            if context.stop_requested():
                break
        else:
            journal.end_share()
    return [found for found in facts if found is not None] if None not in facts else None


def _read_tasks(
    tasks: Sequence[ReadTask], config: Config, context: RunContext
) -> Iterator[tuple[int, FileFacts]]:
    """(index, facts) of each task as it is done."""
    if not tasks:
        return
    workers = worker_count(config.machine.workers, len(tasks), least=1)
    budget = make_budget(config.limits)
    done = run_tasks(read_file, tasks, workers, budget=budget, stop=context.stop_requested)
    for index, found in context.progress.track(done, "reading images", len(tasks)):
        if isinstance(found, Lost):
            found = skip_file(tasks[index].key, *describe_loss(found, config.limits))  # noqa: PLW2901
        yield index, found


def _make_task(candidate: Candidate, config: Config, root: Path, salt: bytes) -> ReadTask:
    data = config.data
    return ReadTask(
        path=Path(os.path.abspath(candidate.path)),
        key=name_image(candidate, config, salt),
        folder=root,
        dicom=data.dicom,
        scale=data.scale,
        max_side=data.max_side,
        view=data.view,
        stated_view=candidate.stated.view,
        limits=config.limits,
    )


def _name_part(candidate: Candidate, salt: bytes, config: Config) -> str:
    """Name of a file's state in the journal: changes with path, key, size, times, stated view."""
    state = (
        *stamp_file(candidate.path),
        name_image(candidate, config, salt),
        candidate.stated.view,
    )
    return pseudonym(salt, "\0".join(map(str, state)), 32)
