"""From a benchmark's file to its cells: their pipelines, the images they share, their order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from isnet_cli.config.benchmark import Benchmark, Keys, row_lines
from isnet_cli.config.load import Option, load, rooted
from isnet_cli.config.load import refusal as config_refusal
from isnet_cli.config.schema import Config
from isnet_cli.core.files import fingerprint
from isnet_cli.demo.images import IMAGES, LABELS
from isnet_cli.errors import IsnetError
from isnet_models.methods import registry

CELLS, IMAGE_RUNS, DRAWN = "cells", "images", "drawn"
REFERENCE = re.compile(r"cell:([^/]+)(/.*)?", re.DOTALL)  # cell:ROW, cell:ROW/path/inside


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
    """

    data: str
    method: str
    seed: int
    config: Config
    images: str = ""
    waits: tuple[str, ...] = ()
    place: str = ""

    @property
    def name(self) -> str:
        """Its place below the folder of cells."""
        return cell_name(self.data, self.method, self.seed)


@dataclass(frozen=True)
class Grid:
    """All that a benchmark consists of.

    Attributes:
        cells: In the order of work: seed by seed, data setting by data setting.
        images: Runs of images and masks by name.
    """

    cells: tuple[Cell, ...]
    images: Mapping[str, Config]


def cell_name(data: str, method: str, seed: int) -> str:
    """``DATA/METHOD/seed-N``."""
    return f"{data}/{method}/seed-{seed}"


def make_grid(bench: Benchmark, file: Path, output: Path) -> Grid:
    """Loads the pipeline of every cell; nothing is read but configurations.

    Args:
        bench: The benchmark.
        file: Where it was read, for messages.
        output: Its folder.

    Raises:
        IsnetError: Kind "config", with every fault of every cell, by row of the file.
    """
    lines = row_lines(file)
    faults: dict[str, None] = {}  # in order, each once
    cells: list[Cell] = []
    for seed in bench.seeds:
        for data in bench.data:
            for method in bench.methods:
                try:
                    layers = _layers(bench, file, lines, data, method)
                    cells.append(_cell(bench, layers, output.absolute(), data, method, seed))
                except IsnetError as error:
                    faults |= dict.fromkeys(error.details or (error.message,))
    for cell in cells:
        faults |= dict.fromkeys(_cycle(cell, cells, file))
    if faults:
        raise refusal(file, list(faults))
    return _with_images(bench, cells, output.absolute())


def refusal(file: Path, faults: list[str]) -> IsnetError:
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


def _layers(
    bench: Benchmark, file: Path, lines: Mapping[Any, int], data: str, method: str
) -> list[_Layer]:
    """What makes a cell, the last word last."""
    found = [
        _Layer(file, lines, ("pipeline",), bench.pipeline or {}),
        _Layer(file, lines, ("set",), bench.set),
        _Layer(file, lines, ("data", data), bench.data[data] or {}),
    ]
    row = _Layer(file, lines, ("methods", method), bench.methods[method] or {})
    return [*found, replace(row, keys=_with_method(method, row))]


def _with_method(name: str, row: _Layer) -> Keys:
    """The row's keys; a row that is called as a method trains by it."""
    section = row.keys.get("train")
    if "train.method" in row.keys or (isinstance(section, dict) and "method" in section):
        return row.keys
    try:
        registry.parts(name)
    except ValueError as error:
        if row.keys:
            return row.keys  # a variant of the base's own method
        raise IsnetError("config", f"{row.place()}: {error}") from error
    return {**row.keys, "train.method": name}


def _cell(
    bench: Benchmark, layers: list[_Layer], output: Path, data: str, method: str, seed: int
) -> Cell:
    waits: dict[str, None] = {}

    def given(value: Any, place: str) -> Any:
        """`value` with references to other cells replaced by their folders."""
        if isinstance(value, dict):
            return {key: given(item, place) for key, item in value.items()}
        if isinstance(value, list):
            return [given(item, place) for item in value]
        found = REFERENCE.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            return value
        if found[1] not in bench.methods:
            raise IsnetError(
                "config",
                f"{place}: '{value}': no such row, expected one of {', '.join(bench.methods)}",
            )
        waits[found[1]] = None
        return str(output / CELLS / cell_name(data, found[1], seed)) + (found[2] or "")

    root = Path(bench.root or ".")
    options = []
    for layer in layers:
        for key, value in layer.keys.items():
            place = layer.place(key)
            options.append(Option(place, key, rooted(key, given(value, place), root)))
    options += [Option("seeds", "seed", seed), Option("name", "name", bench.name)]
    if bench.drawn is not None:
        images = output / DRAWN
        options.append(Option("drawn", "data.images", str(images / IMAGES)))
        options.append(Option("drawn", "data.labels.file", str(images / LABELS)))
    base = None if bench.base is None else Path(bench.base)
    config = load(base, (), options)
    return Cell(data, method, seed, config, waits=tuple(waits), place=layers[-1].place())


def _cycle(cell: Cell, cells: list[Cell], file: Path) -> Iterator[str]:
    """The fault of a cell that waits for itself, however far around."""
    group = [c for c in cells if (c.data, c.seed) == (cell.data, cell.seed)]
    try:
        TopologicalSorter({c.method: c.waits for c in group}).prepare()
    except CycleError as error:
        names = list(reversed(error.args[1]))
        yield f"{file}: methods: rows wait for each other: {' -> '.join(names)}"


def _with_images(bench: Benchmark, cells: list[Cell], output: Path) -> Grid:
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
            names[key] = name if name not in images else f"{cell.data}-{cell.method}-seed-{seed}"
            images[names[key]] = config
        own = cell.config.model_copy(update={"upstream": str(output / IMAGE_RUNS / names[key])})
        placed.append(replace(cell, config=own, images=names[key]))
    return Grid(tuple(placed), images)
