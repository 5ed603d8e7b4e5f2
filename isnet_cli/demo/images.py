"""The demonstration's images on disk: made once, in several processes, complete or not at all."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from isnet_cli.core import files
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.workers import run_tasks, worker_count
from isnet_cli.errors import IsnetError
from isnet_cli.guard.leftovers import clear_leftovers
from isnet_cli.guard.opening import read_text
from isnet_cli.guard.worker import Lost
from isnet_cli.phantoms.collection import COLUMNS, ImagePlan, draw_image

FORMAT = 3  # raise when the same plan writes other files
IMAGES, LUNGS, LESIONS = "images", "lungs", "lesions"
LABELS, RECORD = "labels.csv", "images.json"


@dataclass(frozen=True)
class _Task:
    plan: ImagePlan
    folder: str


def make_images(folder: Path, plans: list[ImagePlan], context: RunContext) -> None:
    """Writes ``images/``, ``lungs/``, ``lesions/`` and ``labels.csv``; keeps what is there already.

    Args:
        folder: The demonstration's folder.
        plans: The images.
        context: Side effects.

    Raises:
        IsnetError: Kind "data", when the folder holds images that this function did not write.
        KeyboardInterrupt: When a stop was asked for; the next call continues.
    """
    identity = refuse_others(folder, plans)
    files.write_json(folder / RECORD, {"identity": identity, "images": len(plans)})
    clear_leftovers(folder)
    missing = [plan for plan in plans if not _paths(folder, plan)[0].is_file()]
    for plan in missing:
        for path in _paths(folder, plan):
            path.parent.mkdir(parents=True, exist_ok=True)
    tasks = [_Task(plan, str(folder)) for plan in missing]
    stop = context.stop_requested
    done = run_tasks(_write, tasks, worker_count(None, len(tasks)), stop=stop)
    for index, written in context.progress.track(done, "making images", len(tasks)):
        if isinstance(written, Lost):
            raise IsnetError(
                "machine",
                f"{tasks[index].plan.file}: the process that made this image died",
                fix="free some memory and run the same command again",
            )
    if stop():
        raise KeyboardInterrupt
    rows = [plan.row() for plan in plans]
    if not (folder / LABELS).is_file():
        files.write_csv(folder / LABELS, COLUMNS, rows)


def refuse_others(folder: Path, plans: list[ImagePlan]) -> str:
    """Refuses a folder with images of another origin; returns what tells these images from others.

    Raises:
        IsnetError: Kind "data", when `make_images` did not write the images that are there.
    """
    identity = files.fingerprint(FORMAT, [asdict(plan) for plan in plans])
    record = folder / RECORD
    ours = record.is_file() and f'"{identity}"' in read_text(record)
    if (folder / IMAGES).exists() and not ours:
        raise IsnetError(
            "data",
            f"{folder}: holds images of another demonstration (other seed or version), or of your"
            " own",
            fix="choose an empty folder with -o DIR, or move this one aside",
        )
    return identity


def _paths(folder: Path, plan: ImagePlan) -> tuple[Path, Path, Path]:
    return (
        folder / IMAGES / plan.file, locate_lungs(folder, plan.key), locate_lesion(folder, plan.key)
    )  # fmt: skip


def _write(task: _Task) -> bool:
    """Writes the masks, then the image: an image that is there is complete."""
    image, lungs, lesion = (files.atomic_path(p) for p in _paths(Path(task.folder), task.plan))
    with image as image_part, lungs as lungs_part, lesion as lesion_part:
        draw_image(task.plan, image_part, lungs_part, lesion_part)
    return True


def locate_lungs(folder: Path, key: str) -> Path:
    """File of the true lungs of an image by its key (8-bit PNG, 0 or 255)."""
    return folder / LUNGS / f"{key}.png"


def locate_lesion(folder: Path, key: str) -> Path:
    """File of the drawn lesion of an image by its key (8-bit PNG, 0 or 255; black if normal)."""
    return folder / LESIONS / f"{key}.png"


def count_images(plans: list[ImagePlan]) -> dict[str, Any]:
    """Counts of the collection: images and patients per hospital, images per kind of file."""
    kinds: dict[str, int] = {}
    for plan in plans:
        kinds[plan.kind] = kinds.get(plan.kind, 0) + 1
    return {
        "images": len(plans),
        "patients": len({(plan.hospital, plan.patient) for plan in plans}),
        "hospital_b": sum(plan.hospital == "B" for plan in plans),
        "kinds": dict(sorted(kinds.items())),
    }
