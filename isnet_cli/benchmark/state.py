"""How far a benchmark is: its tasks, and what each would find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from isnet_cli.benchmark.cells import CELLS, DRAWN, IMAGE_RUNS, Cell, Grid, cell_name
from isnet_cli.benchmark.launch import Task
from isnet_cli.config.benchmark import Benchmark
from isnet_cli.config.load import changed_keys, plain
from isnet_cli.config.schema import Config
from isnet_cli.config.yaml_tree import parse
from isnet_cli.core.pipeline import Plan, open_run, plan, stage_module
from isnet_cli.core.run_folder import SHARED_STAGES, RunFolder
from isnet_cli.demo.images import LABELS

WORST: tuple[Plan, ...] = ("outdated", "undecided", "continue", "new", "current")
UNLIKE = ("name", "machine", "upstream")  # keys that no result depends on
OF_IMAGES = ("data", "masks", "seed")  # all that images and masks depend on
EXAMPLES = 5


@dataclass(frozen=True)
class State:
    """What a task would find.

    Attributes:
        plan: As `isnet_cli.core.pipeline.plan`, of the whole task.
        changed: Dotted keys that differ from the finished run's, at most a few.
    """

    plan: Plan
    changed: tuple[str, ...] = ()


def tasks_of(bench: Benchmark, grid: Grid) -> list[Task]:
    """Every run of images, then every cell, after what it waits for."""
    until = "heatmap" if bench.heatmaps else "evaluate"
    images = [Task(f"{IMAGE_RUNS}/{name}", config, "masks") for name, config in grid.images.items()]
    cells = []
    for cell in grid.cells:
        waits = [f"{IMAGE_RUNS}/{cell.images}"] if cell.images else []
        waits += [f"{CELLS}/{cell_name(cell.data, row, cell.seed)}" for row in cell.waits]
        cells.append(Task(f"{CELLS}/{cell.name}", cell.config, until, tuple(waits)))
    return [*images, *cells]


def states(bench: Benchmark, grid: Grid, output: Path) -> dict[str, State]:
    """The state of every task, by name; reads only.

    Raises:
        IsnetError: Kind "data" or "config", when images, labels or an upstream run are missing.
    """
    found: dict[str, State] = {}
    undrawn = bench.drawn is not None and not (output / DRAWN / LABELS).is_file()
    for name, config in grid.images.items():
        task = f"{IMAGE_RUNS}/{name}"
        if undrawn:
            found[task] = State("new")
            continue
        folder = RunFolder(output / task)
        stage_module(SHARED_STAGES[0]).fingerprint(config, folder)  # looks for all files
        found[task] = _state(config, output / task, SHARED_STAGES)
    later = {f"{CELLS}/{cell.name}": cell for cell in grid.cells}
    waits = {task.name: task.waits for task in tasks_of(bench, grid)}
    while later:
        ready = [name for name in later if not any(one in later for one in waits[name])]
        for name in ready:
            sound = all(found[one].plan == "current" for one in waits[name])
            found[name] = _cell_state(bench, later.pop(name), output / name, sound=sound)
    return found


def _cell_state(bench: Benchmark, cell: Cell, path: Path, *, sound: bool) -> State:
    """The state of a cell; not `sound`: what it needs will change or is not there yet."""
    stages = ("train", "evaluate", *(("heatmap",) if bench.heatmaps else ()))
    if sound:
        return _state(cell.config, path, stages)
    folder = RunFolder(path)
    if not any(folder.stage_record(stage) for stage in stages):
        return State("continue" if folder.record()["stages"] else "new")
    changed = _changed(path, cell.config)
    return State("outdated", _few(changed)) if changed else State("undecided")


def _state(config: Config, path: Path, stages: Sequence[str]) -> State:
    plans = plan(config, open_run(path, config), stages).values()
    worst = next(state for state in WORST if state in plans)
    if worst == "new" and any(state != "new" for state in plans):
        worst = "continue"
    found = _changed(path, config) if worst == "outdated" else ()
    if tuple(stages) == SHARED_STAGES:
        found = tuple(key for key in found if key.split(".")[0] in OF_IMAGES)
    return State(worst, _few(found))


def _few(keys: Sequence[str]) -> tuple[str, ...]:
    return (*keys[:EXAMPLES], *(["..."] if len(keys) > EXAMPLES else []))


def _changed(path: Path, config: Config) -> tuple[str, ...]:
    record = path / "isnet.yaml"
    old = parse(record.read_text(encoding="utf-8")).value if record.is_file() else {}
    keys = changed_keys(old, plain(config)) if isinstance(old, dict) and old else []
    return tuple(key for key in keys if key.split(".")[0] not in UNLIKE)
