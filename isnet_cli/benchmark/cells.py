"""From a benchmark's file to its cells and tasks, and what each of them would find."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import MappingProxyType
from typing import Any

from isnet_cli.benchmark.pool import Task
from isnet_cli.config.benchmark import TUNE, Benchmark, Keys, list_trials, row_lines
from isnet_cli.config.load import Option, changed_keys, load, plain, rooted
from isnet_cli.config.load import refusal as config_refusal
from isnet_cli.config.schema import Config
from isnet_cli.config.yaml_tree import parse
from isnet_cli.core.files import fingerprint
from isnet_cli.core.pipeline import Plan, open_run, plan
from isnet_cli.core.run_folder import SHARED_STAGES, RunFolder
from isnet_cli.demo.images import IMAGES, LABELS
from isnet_cli.errors import IsnetError
from isnet_cli.guard.opening import read_text
from isnet_cli.ingest.catalogue import list_inputs
from isnet_models.methods import registry

CELLS, IMAGE_RUNS, PHANTOMS = "cells", "images", "phantoms"
REFERENCE = re.compile(r"cell:([^/]+)(/.*)?", re.DOTALL)  # cell:ROW, cell:ROW/path/inside
WORST: tuple[Plan, ...] = ("outdated", "depends", "continue", "new", "current")
UNLIKE = ("name", "machine", "upstream")  # keys that no result depends on
OF_IMAGES = ("data", "masks", "seed")  # all that images and masks depend on
EXAMPLES = 5
Choices = Mapping[tuple[str, str], int]  # data setting and row -> number of the chosen settings


@dataclass(frozen=True)
class Cell:
    """One training with its evaluation.

    Attributes:
        data: Name of the data setting.
        method: Name of the method's row.
        seed: Seed of the training.
        config: Its pipeline.
        images: Name of the run whose images and masks it uses; "" for one that the user named.
        waits: Rows of methods whose cells of the same seed and data setting come first.
        place: Where the file has its method's row, for messages.
        trial: Number of the settings that it tries, from 1; 0 where the row tries none.
        tried: These settings.
        final: Whether it is in the tables: its settings are given, or were chosen.
    """

    data: str
    method: str
    seed: int
    config: Config
    images: str = ""
    waits: tuple[str, ...] = ()
    place: str = ""
    trial: int = 0
    tried: Keys = field(default_factory=dict)
    final: bool = True

    @property
    def name(self) -> str:
        """Its place below the folder of cells."""
        return cell_name(self.data, self.method, self.seed, self.trial)


@dataclass(frozen=True)
class CellGrid:
    """All that a benchmark consists of.

    Attributes:
        cells: In the order of work: seed by seed, data setting by data setting.
        images: Runs of images and masks by name.
    """

    cells: tuple[Cell, ...]
    images: Mapping[str, Config]


def cell_name(data: str, method: str, seed: int, trial: int = 0) -> str:
    """``DATA/METHOD/seed-N``, or ``DATA/METHOD~TRIAL/seed-N``."""
    return f"{data}/{method}{f'~{trial}' if trial else ''}/seed-{seed}"


def make_grid(
    bench: Benchmark, file: Path, output: Path, choices: Choices = MappingProxyType({})
) -> CellGrid:
    """Loads the pipeline of every cell; nothing is read but configurations.

    Args:
        bench: The benchmark.
        file: Where it was read, for messages.
        output: Its folder.
        choices: Number of the chosen settings of rows that try several. Without a choice the first
            seed tries them all, and the other seeds wait.

    Raises:
        IsnetError: Kind "config", with every fault of every cell, by row of the file.
    """
    lines = row_lines(file)
    faults: dict[str, None] = {}  # in order, each once
    cells: list[Cell] = []
    for seed in bench.seeds:
        for data in bench.data:
            for method in bench.methods:
                for trial, tried in _list_tried(bench, method, seed, choices.get((data, method))):
                    try:
                        layers = _list_layers(bench, file, lines, data, method, tried)
                        cell = _make_cell(bench, layers, output.absolute(), data, method, seed)
                    except IsnetError as error:
                        faults |= dict.fromkeys(error.details or (error.message,))
                        continue
                    final = trial in (0, choices.get((data, method)))
                    cells.append(replace(cell, trial=trial, tried=tried, final=final))
    for cell in cells:
        faults |= dict.fromkeys(_find_cycle(cell, cells, file))
    if faults:
        raise refuse_cells(file, list(faults))
    return _share_images(bench, cells, output.absolute())


def _list_tried(
    bench: Benchmark, method: str, seed: int, chosen: int | None
) -> list[tuple[int, Keys]]:
    """Numbers and keys of what a row does with a seed."""
    trials = list(enumerate(list_trials(bench.methods[method]), 1))
    if not trials:
        return [(0, {})]
    if seed == bench.seeds[0]:
        return trials
    return [one for one in trials if one[0] == chosen]


def refuse_cells(file: Path, faults: list[str]) -> IsnetError:
    """One error that names all faults."""
    return config_refusal(str(file), faults, f"isnet benchmark {file} --dry-run   tries again")


@dataclass(frozen=True)
class _Layer:
    """Keys of one row, and where the file has them."""

    file: Path
    lines: Mapping[Any, int]
    key: tuple[str, ...]
    keys: Keys

    def place(self, *inner: str) -> str:
        """``file:line: row`` of the row, or of a key in it."""
        line = self.lines.get((*self.key, *inner))
        where = f"{self.file}:{line}" if line else str(self.file)
        return f"{where}: {'.'.join(self.key)}"


def _list_layers(
    bench: Benchmark, file: Path, lines: Mapping[Any, int], data: str, method: str, tried: Keys
) -> list[_Layer]:
    """What makes a cell, the last word last."""
    found = [
        _Layer(file, lines, ("pipeline",), bench.pipeline or {}),
        _Layer(file, lines, ("set",), bench.set),
        _Layer(file, lines, ("data", data), bench.data[data] or {}),
    ]
    given = {key: v for key, v in (bench.methods[method] or {}).items() if key != TUNE}
    row = _Layer(file, lines, ("methods", method), given)
    trial = _Layer(file, lines, ("methods", method, TUNE), tried)
    own = replace(row, keys=_add_method(method, row, varied=bool(tried)))
    return [*found, own, trial]


def _add_method(name: str, row: _Layer, *, varied: bool) -> Keys:
    """The row's keys; a row that is called as a method trains by it.

    Args:
        name: Of the row.
        row: Its keys.
        varied: Whether it tries settings besides.
    """
    section = row.keys.get("train")
    if "train.method" in row.keys or (isinstance(section, dict) and "method" in section):
        return row.keys
    try:
        registry.parts(name)
    except ValueError as error:
        if row.keys or varied:
            return row.keys  # a variant of the base's own method
        raise IsnetError("config", f"{row.place()}: {error}") from error
    return {**row.keys, "train.method": name}


def _make_cell(
    bench: Benchmark, layers: list[_Layer], output: Path, data: str, method: str, seed: int
) -> Cell:
    waits: dict[str, None] = {}

    def replace_references(value: Any, place: str) -> Any:
        """`value` with references to other cells replaced by their folders."""
        if isinstance(value, dict):
            return {key: replace_references(item, place) for key, item in value.items()}
        if isinstance(value, list):
            return [replace_references(item, place) for item in value]
        found = REFERENCE.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            return value
        if found[1] not in bench.methods:
            raise IsnetError(
                "config",
                f"{place}: '{value}': no such row, expected one of {', '.join(bench.methods)}",
            )
        if list_trials(bench.methods[found[1]]):
            raise IsnetError("config", f"{place}: '{value}': a row that tries several settings")
        waits[found[1]] = None
        return str(output / CELLS / cell_name(data, found[1], seed)) + (found[2] or "")

    root = Path(bench.root or ".")
    options = []
    for layer in layers:
        for key, value in layer.keys.items():
            place = layer.place(key)
            options.append(Option(place, key, rooted(key, replace_references(value, place), root)))
    options += [Option("seeds", "seed", seed), Option("name", "name", bench.name)]
    if bench.phantoms is not None:
        images = output / PHANTOMS
        options.append(Option("phantoms", "data.images", str(images / IMAGES)))
        options.append(Option("phantoms", "data.labels.file", str(images / LABELS)))
        options.append(Option("phantoms", "data.collections", {}))
    base = None if bench.base is None else Path(bench.base)
    config = load(base, (), options)
    return Cell(data, method, seed, config, waits=tuple(waits), place=layers[-2].place())


def _find_cycle(cell: Cell, cells: list[Cell], file: Path) -> Iterator[str]:
    """The fault of a cell that waits for itself, however far around."""
    group = [c for c in cells if (c.data, c.seed) == (cell.data, cell.seed)]
    try:
        TopologicalSorter({c.method: c.waits for c in group}).prepare()
    except CycleError as error:
        names = list(reversed(error.args[1]))
        yield f"{file}: methods: rows wait for each other: {' -> '.join(names)}"


def _share_images(bench: Benchmark, cells: list[Cell], output: Path) -> CellGrid:
    """Cells whose images are made by the same settings and seed share one run of them."""
    names: dict[str, str] = {}
    images: dict[str, Config] = {}
    placed = []
    for cell in cells:
        if cell.config.upstream is not None:
            placed.append(cell)
            continue
        seed = cell.seed if bench.images_seed is None else bench.images_seed
        config = cell.config.model_copy(update={"seed": seed})
        key = fingerprint(seed, config.data.model_dump(), config.masks.model_dump())
        if key not in names:
            name = f"{cell.data}-seed-{seed}"
            if name in images:
                name = f"{cell.data}--{cell.method}--seed-{seed}"
            names[key] = name
            images[names[key]] = config
        own = cell.config.model_copy(update={"upstream": str(output / IMAGE_RUNS / names[key])})
        placed.append(replace(cell, config=own, images=names[key]))
    return CellGrid(tuple(placed), images)


@dataclass(frozen=True)
class TaskState:
    """What a task would find.

    Attributes:
        plan: As `isnet_cli.core.pipeline.plan`, of the whole task.
        changed: Dotted keys that differ from the finished run's, at most a few.
    """

    plan: Plan
    changed: tuple[str, ...] = ()


def list_tasks(bench: Benchmark, grid: CellGrid) -> list[Task]:
    """Every run of images, then every cell, after what it waits for."""
    until = "heatmap" if bench.heatmaps else "evaluate"
    images = [Task(f"{IMAGE_RUNS}/{name}", config, "masks") for name, config in grid.images.items()]
    cells = []
    for cell in grid.cells:
        waits = [f"{IMAGE_RUNS}/{cell.images}"] if cell.images else []
        waits += [f"{CELLS}/{cell_name(cell.data, row, cell.seed)}" for row in cell.waits]
        last = until if cell.final else "train"  # what is not chosen sees no test image
        cells.append(Task(f"{CELLS}/{cell.name}", cell.config, last, tuple(waits)))
    return [*images, *cells]


def find_states(bench: Benchmark, grid: CellGrid, output: Path) -> dict[str, TaskState]:
    """The state of every task, by name; reads only.

    Raises:
        IsnetError: Kind "data" or "config", when images, labels or an upstream run are missing.
    """
    found: dict[str, TaskState] = {}
    awaited = bench.phantoms is not None and not (output / PHANTOMS / LABELS).is_file()
    for name, config in grid.images.items():
        task = f"{IMAGE_RUNS}/{name}"
        if awaited:
            found[task] = TaskState("new")
            continue
        folder = RunFolder(output / task)
        if folder.stage_record(SHARED_STAGES[0]) is None:
            list_inputs(config)  # refuses what is missing
        found[task] = _find_state(config, output / task, SHARED_STAGES)
    later = {f"{CELLS}/{cell.name}": cell for cell in grid.cells}
    waits = {task.name: task.waits for task in list_tasks(bench, grid)}
    while later:
        ready = [name for name in later if not any(one in later for one in waits[name])]
        for name in ready:
            sound = all(found[one].plan == "current" for one in waits[name])
            found[name] = _find_cell_state(bench, later.pop(name), output / name, sound=sound)
    return found


def _find_cell_state(bench: Benchmark, cell: Cell, path: Path, *, sound: bool) -> TaskState:
    """The state of a cell; not `sound`: what it needs will change or is not there yet."""
    stages = ("train", "evaluate", *(("heatmap",) if bench.heatmaps else ()))
    stages = stages if cell.final else stages[:1]
    if sound:
        return _find_state(cell.config, path, stages)
    folder = RunFolder(path)
    if not any(folder.stage_record(stage) for stage in stages):
        return TaskState("continue" if folder.record()["stages"] else "new")
    changed = _list_changed(path, cell.config)
    return TaskState("outdated", _limit_keys(changed)) if changed else TaskState("depends")


def _find_state(config: Config, path: Path, stages: Sequence[str]) -> TaskState:
    plans = plan(config, open_run(path, config), stages).values()
    worst = next(state for state in WORST if state in plans)
    if worst == "new" and any(state != "new" for state in plans):
        worst = "continue"
    found = _list_changed(path, config) if worst == "outdated" else ()
    if tuple(stages) == SHARED_STAGES:
        found = tuple(key for key in found if key.split(".")[0] in OF_IMAGES)
    return TaskState(worst, _limit_keys(found))


def _limit_keys(keys: Sequence[str]) -> tuple[str, ...]:
    return (*keys[:EXAMPLES], *(["..."] if len(keys) > EXAMPLES else []))


def _list_changed(path: Path, config: Config) -> tuple[str, ...]:
    record = path / "isnet.yaml"
    old = parse(read_text(record)).value if record.is_file() else {}
    keys = changed_keys(old, plain(config)) if isinstance(old, dict) and old else []
    return tuple(key for key in keys if key.split(".")[0] not in UNLIKE)
