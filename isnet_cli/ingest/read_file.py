"""Reading one file: decode, judge, reduce, keep. Runs in worker processes."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from isnet_cli.config.schema import Dicom
from isnet_cli.core.files import atomic_path, sha256_file
from isnet_cli.errors import UnreadableImage
from isnet_cli.images.find import frame_key
from isnet_cli.images.kept import limit_size, save_image
from isnet_cli.images.read import read_images
from isnet_cli.images.sanity import implausible
from isnet_cli.images.types import XRay

FORMAT = 1  # of the kept images and what is recorded about them
PASSING = frozenset({"missing", "no_access", "crashed", "changed"})  # may be cured by the next run


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
    """

    path: Path
    key: str
    folder: Path
    dicom: Dicom
    scale: Literal["bits", "range", "percentile"]
    max_side: int
    view: Literal["frontal", "any"]
    stated_view: str = "unknown"


@dataclass(frozen=True)
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


@dataclass(frozen=True)
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

    def plain(self) -> dict[str, Any]:
        """As JSON-able values."""
        return asdict(self)

    @staticmethod
    def from_plain(values: dict[str, Any]) -> FileFacts:
        """Reads what `plain` gave."""
        frames = tuple(FrameFacts(**frame) for frame in values["frames"])
        return FileFacts(values["sha256"], frames)


def skipped(key: str, reason: str, sentence: str, sha256: str = "") -> FileFacts:
    """A file that is left out as a whole."""
    return FileFacts(sha256, (FrameFacts(key, reason=f"{reason}: {sentence}"),))


def read_file(task: ReadTask) -> FileFacts:
    """Reads a file, keeps its usable images reduced to ``max_side``, and says what became of each.

    Images are written by rename. A file that is lost, unreadable or no chest image gives a reason;
    nothing is raised for it.
    """
    try:
        before = os.stat(task.path)
        images = read_images(task.path, task.dicom, task.scale)
        digest = sha256_file(task.path)
        after = os.stat(task.path)
    except UnreadableImage as fault:
        return skipped(task.key, fault.reason, fault.detail, _digest(task.path))
    except FileNotFoundError:
        return skipped(task.key, "missing", "no such file")
    except OSError as error:
        words = f"the file cannot be read ({type(error).__name__})"
        return skipped(task.key, "no_access", words)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        return skipped(task.key, "changed", "the file was written to while it was read")
    frames = [_keep(task, image, n, len(images)) for n, image in enumerate(images)]
    return FileFacts(digest, tuple(frames))


def _keep(task: ReadTask, image: XRay, frame: int, frames: int) -> FrameFacts:
    key = frame_key(task.key, frame, frames)
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
        spacing=_spacing(image.spacing),
    )
    fault = implausible(image, task.view)
    if fault is not None:
        return replace(facts, reason=f"{fault.reason}: {fault.detail}")
    name = f"images/{key}.png"
    with atomic_path(task.folder / name) as temporary:
        save_image(temporary, limit_size(image.pixels, task.max_side))
    return replace(facts, image_file=name)


def _spacing(spacing: tuple[float, float] | None) -> str:
    return "" if spacing is None else f"{spacing[0]:.10g};{spacing[1]:.10g}"


def _digest(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError:
        return ""
