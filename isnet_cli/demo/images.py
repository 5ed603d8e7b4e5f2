"""The demonstration's films on disk: drawn once, in several processes, complete or not at all."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from isnet_cli.core import files
from isnet_cli.core.run_context import Ports
from isnet_cli.core.workers import each, worker_count
from isnet_cli.errors import IsnetError
from isnet_cli.phantoms.collection import COLUMNS, FilmPlan, draw_film

FORMAT = 2  # raise when the same plan draws other films
FILMS, LUNGS, LABELS, RECORD = "films", "lungs", "labels.csv", "films.json"


@dataclass(frozen=True)
class _Task:
    plan: FilmPlan
    folder: str


def make_films(folder: Path, plans: list[FilmPlan], ports: Ports) -> None:
    """Writes ``films/``, ``lungs/`` and ``labels.csv`` into `folder`; keeps what is there already.

    Args:
        folder: The demonstration's folder.
        plans: The films.
        ports: Side effects.

    Raises:
        IsnetError: Kind "data", when the folder holds films that this function did not write.
        KeyboardInterrupt: When a stop was asked for; the next call continues.
    """
    identity = files.fingerprint(FORMAT, [asdict(plan) for plan in plans])
    _check(folder, identity)
    files.write_json(folder / RECORD, {"identity": identity, "films": len(plans)})
    missing = [plan for plan in plans if not _paths(folder, plan)[0].is_file()]
    for plan in missing:
        for path in _paths(folder, plan):
            path.parent.mkdir(parents=True, exist_ok=True)
    tasks = [_Task(plan, str(folder)) for plan in missing]
    done = each(_write, tasks, worker_count(None, len(tasks)))
    for index, written in ports.progress.track(done, "drawing films", len(tasks)):
        if written is None:
            raise IsnetError(
                "machine",
                f"{tasks[index].plan.file}: the process that drew this film died",
                fix="free some memory and run the same command again",
            )
        if ports.stop_requested():
            raise KeyboardInterrupt
    rows = [plan.row() for plan in plans]
    if not (folder / LABELS).is_file():
        files.write_csv(folder / LABELS, COLUMNS, rows)


def _check(folder: Path, identity: str) -> None:
    """Refuses a folder with films of another origin."""
    if not (folder / FILMS).exists():
        return
    record = folder / RECORD
    if record.is_file() and f'"{identity}"' in record.read_text(encoding="utf-8"):
        return
    raise IsnetError(
        "data",
        f"{folder}: holds films of another demonstration (other seed or version), or of your own",
        fix="choose an empty folder with -o DIR, or move this one aside",
    )


def _paths(folder: Path, plan: FilmPlan) -> tuple[Path, Path]:
    return folder / FILMS / plan.file, folder / LUNGS / f"{plan.key}.png"


def _write(task: _Task) -> bool:
    """Writes the lungs, then the film: a film that is there is complete."""
    film, lungs = _paths(Path(task.folder), task.plan)
    with files.atomic_path(lungs) as lungs_part, files.atomic_path(film) as film_part:
        draw_film(task.plan, film_part, lungs_part)
    return True


def lungs_path(folder: Path, key: str) -> Path:
    """The drawn lungs of a film by its key (8-bit PNG, 0 or 255)."""
    return folder / LUNGS / f"{key}.png"


def describe(plans: list[FilmPlan]) -> dict[str, Any]:
    """Counts of the collection: films and patients per hospital, films per kind of file."""
    kinds: dict[str, int] = {}
    for plan in plans:
        kinds[plan.kind] = kinds.get(plan.kind, 0) + 1
    return {
        "films": len(plans),
        "patients": len({(plan.hospital, plan.patient) for plan in plans}),
        "hospital_b": sum(plan.hospital == "B" for plan in plans),
        "kinds": dict(sorted(kinds.items())),
    }
