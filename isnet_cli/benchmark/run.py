"""`isnet benchmark`: methods x seeds x data settings, each cell an ordinary run, and their tables.

Written: ``benchmark.yaml``, ``images/`` (runs of images and masks, shared), ``cells/`` (runs of
trainings and evaluations), ``benchmark.json``, ``benchmark.md``, ``tables/``, ``cost.json``,
``compare-*.html`` and ``logs/``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isnet_cli import __version__
from isnet_cli.benchmark.cells import (
    CELLS,
    IMAGE_RUNS,
    PHANTOMS,
    Cell,
    CellGrid,
    TaskState,
    find_states,
    list_tasks,
    make_grid,
    refuse_cells,
)
from isnet_cli.benchmark.cost import Measure, measure_costs
from isnet_cli.benchmark.pages import compare_cells
from isnet_cli.benchmark.pool import (
    Ended,
    Launch,
    Watch,
    count_warnings,
    make_launcher,
    read_failure,
    read_progress,
    run_tasks,
    share_threads,
)
from isnet_cli.benchmark.scores import (
    COLUMNS,
    BenchmarkScores,
    format_number,
    list_score_rows,
    read_results,
)
from isnet_cli.benchmark.tables import (
    BIAS,
    COST,
    COST_COLUMNS,
    DOMAINS,
    FIGURE_COLUMNS,
    BenchmarkTable,
    build_cost_table,
    build_score_tables,
    render_markdown,
)
from isnet_cli.benchmark.tuning import COLUMNS as COLUMNS_TRIED
from isnet_cli.benchmark.tuning import (
    TUNING,
    build_tuning_table,
    choose_settings,
    read_trials,
)
from isnet_cli.config.benchmark import Benchmark
from isnet_cli.config.load import dump
from isnet_cli.core.files import refuse_foreign, write_csv, write_text
from isnet_cli.core.pipeline import preflight
from isnet_cli.core.records.read import Record
from isnet_cli.core.records.schemas import NotNegative
from isnet_cli.core.records.sealed import read_sealed, write_sealed
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.demo.images import make_images
from isnet_cli.errors import IsnetError
from isnet_cli.phantoms.collection import plan_images
from isnet_cli.train.setup import read_method_settings

SCHEMA = 2
CONFIG, RECORD, PAGE, TABLES = "benchmark.yaml", "benchmark.json", "benchmark.md", "tables"
FAILED_COLUMNS = ("task", "status", "code", "error")
WAITING = Ended("stopped")  # a cell whose turn is still to come
OWN = {
    "logs",
    PHANTOMS,
}  # of a benchmark that ended before its record was written


@dataclass(frozen=True)
class Outcome:
    """The result of a benchmark.

    Attributes:
        content: Of ``benchmark.json``.
        tables: The tables.
        complete: False when it was stopped; the same call continues.
    """

    content: dict[str, Any]
    tables: list[BenchmarkTable]
    complete: bool


def run_benchmark(
    bench: Benchmark,
    grid: CellGrid,
    file: Path,
    output: Path,
    context: RunContext,
    *,
    jobs: int = 1,
    overwrite: bool = False,
    launch: Launch | None = None,
    measure: Measure | None = None,
) -> Outcome:
    """Starts, continues, or finds up to date; a cell that fails leaves the others alone.

    Args:
        bench: The benchmark.
        grid: Its cells, made for `output`.
        file: Where it was read, for messages.
        output: Its folder; made when missing.
        context: Side effects.
        jobs: Cells that run at once; they share the processor's cores.
        overwrite: Replace finished results of other settings or inputs.
        launch: Starts one task; None: a process of its own.
        measure: Measures one cost; None: in a process of its own.

    Raises:
        IsnetError: Kind "config": a setting of a method is wrong, finished cells of other settings
            are in the way; "usage": foreign files in `output`; "data": images are missing;
            "machine": another process works there.
    """
    output = output.absolute()
    refuse_foreign(output, CONFIG, OWN, "benchmark")
    _preflight(bench, grid, file)
    with RunFolder(output).lock():
        _make_images(bench, output, context)
        ended = _find_ended(bench, grid, output, overwrite=overwrite)
        write_text(output / CONFIG, dump(bench))
        before = _read_seconds(output, context)
        threads = share_threads(jobs)
        start = launch or make_launcher(output, threads, overwrite=overwrite)

        def so_far(ended: Mapping[str, Ended]) -> None:
            with contextlib.suppress(IsnetError):  # reported at the end
                _record(bench, grid, output, ended, before)

        watch = Watch(
            describe=lambda task: read_failure(output, task.name),
            remark=lambda task: count_warnings(output, task.name),
            progress=lambda task: read_progress(output / task.name, task.config.train.epochs),
            after=so_far,
            counted=lambda task: task.name.startswith(f"{CELLS}/"),
        )
        tasks = list_tasks(bench, grid)
        ended = run_tasks(tasks, start, context, jobs=jobs, ended=ended, watch=watch)
        choices = choose_settings(bench, read_trials(bench, grid, output, ended), ended)
        if choices and not any(one.status == "stopped" for one in ended.values()):
            grid = make_grid(bench, file, output, choices)
            chosen = {f"{CELLS}/{cell.name}" for cell in grid.cells if cell.trial and cell.final}
            kept = {name: one for name, one in ended.items() if name not in chosen}
            current = _find_ended(bench, grid, output, overwrite=overwrite)
            kept |= {name: one for name, one in current.items() if name in chosen}
            tasks = list_tasks(bench, grid)
            ended = run_tasks(tasks, start, context, jobs=jobs, ended=kept, watch=watch)
        return _finish(bench, grid, output, context, ended, before, measure)


def _find_ended(
    bench: Benchmark, grid: CellGrid, output: Path, *, overwrite: bool
) -> dict[str, Ended]:
    """Tasks that have nothing to do.

    Raises:
        IsnetError: Kind "config", when finished results of other settings are in the way.
    """
    found = find_states(bench, grid, output)
    if not overwrite:
        _check_states(found, output)
    return {name: Ended("current") for name, state in found.items() if state.plan == "current"}


def plan_benchmark(
    bench: Benchmark, grid: CellGrid, file: Path, output: Path
) -> dict[str, TaskState]:
    """What `run_benchmark` would find, by task; reads only.

    Raises:
        IsnetError: As there.
    """
    output = output.absolute()
    refuse_foreign(output, CONFIG, OWN, "benchmark")
    _preflight(bench, grid, file)
    return find_states(bench, grid, output)


def _preflight(bench: Benchmark, grid: CellGrid, file: Path) -> None:
    """Refuses what a stage of any cell would refuse before it begins."""
    faults: dict[str, None] = {}
    names = ["train", "evaluate", *(["heatmap"] if bench.heatmaps else [])]
    for cell in grid.cells:
        try:
            if cell.waits:  # its teacher may be still to come
                read_method_settings(cell.config)
            preflight(cell.config, names[1:] if cell.waits else names)
        except IsnetError as error:
            faults[f"{cell.place}: {error.message}"] = None
    if faults:
        raise refuse_cells(file, list(faults))


def _make_images(bench: Benchmark, output: Path, context: RunContext) -> None:
    if bench.phantoms is not None:
        d = bench.phantoms
        make_images(
            output / PHANTOMS, plan_images(d.hospital_a, d.hospital_b, d.seed, d.side), context
        )


def _check_states(found: Mapping[str, TaskState], output: Path) -> None:
    old = {name: state for name, state in found.items() if state.plan == "outdated"}
    if not old:
        return
    lines = [
        f"{name}: changed: {', '.join(state.changed)}" if state.changed
        else f"{name}: the input files changed"
        for name, state in old.items()
    ]  # fmt: skip
    more = [f"... and {len(lines) - 5} more"] if len(lines) > 5 else []
    count = "1 run was" if len(old) == 1 else f"{len(old)} runs were"
    raise IsnetError(
        "config",
        f"{output}: {count} finished with other settings or inputs",
        details=(*lines[:5], *more),
        fix="--overwrite replaces them; -o DIR writes a new benchmark",
    )


def _finish(
    bench: Benchmark,
    grid: CellGrid,
    output: Path,
    context: RunContext,
    ended: Mapping[str, Ended],
    before: Mapping[str, float],
    measure: Measure | None,
) -> Outcome:
    """Figures, tables and pages of what is finished."""
    found = _record(bench, grid, output, ended, before)
    if any(one.status == "stopped" for one in ended.values()):
        return found
    cells = _list_finished(grid, ended)
    pages = compare_cells(cells, output, context)
    classes = read_results(cells[:1], output).classes
    cost, complete = measure_costs(bench, cells, classes, output, context, measure)
    return _record(bench, grid, output, ended, before, cost, pages, complete=complete)


def _list_finished(grid: CellGrid, ended: Mapping[str, Ended]) -> list[Cell]:
    good = {name for name, one in ended.items() if one.status in ("current", "done")}
    return [cell for cell in grid.cells if cell.final and f"{CELLS}/{cell.name}" in good]


def _record(
    bench: Benchmark,
    grid: CellGrid,
    output: Path,
    ended: Mapping[str, Ended],
    before: Mapping[str, float],
    cost: Mapping[str, Mapping[str, Any]] | None = None,
    pages: Sequence[str] = (),
    *,
    complete: bool = False,
) -> Outcome:
    """Writes the tables of what is finished, and how far everything is."""
    results = read_results(_list_finished(grid, ended), output)
    methods = list(bench.methods)
    tables = build_score_tables(results, methods, len(bench.seeds))
    trials = read_trials(bench, grid, output, ended)
    tuned = build_tuning_table(bench, trials, choose_settings(bench, trials, ended))
    tables += [tuned] if tuned is not None else []
    tables += [build_cost_table(cost, methods)] if cost else []
    content = _build_content(bench, grid, before, ended, cost or {}, pages, complete=complete)
    _write_tables(output, bench, results, tables, content)
    return Outcome(content, tables, complete)


def _build_content(
    bench: Benchmark,
    grid: CellGrid,
    before: Mapping[str, float],
    ended: Mapping[str, Ended],
    cost: Mapping[str, Mapping[str, Any]],
    pages: Sequence[str],
    *,
    complete: bool,
) -> dict[str, Any]:
    cells = []
    for cell in grid.cells:
        name = f"{CELLS}/{cell.name}"
        one = ended.get(name, WAITING)
        seconds = before.get(name) if one.seconds is None else one.seconds
        cells.append(
            {
                "data": cell.data, "method": cell.method, "seed": cell.seed, "run": name,
                **({"trial": cell.trial, "chosen": cell.final} if cell.trial else {}),
                "images": f"{IMAGE_RUNS}/{cell.images}" if cell.images else cell.config.upstream,
                "status": one.status, "seconds": None if seconds is None else round(seconds, 1),
            }
        )  # fmt: skip
    return {
        "schema": SCHEMA,
        "isnet": __version__,
        "name": bench.name,
        "status": "done" if complete else "incomplete",
        "cells": cells,
        "failed": [
            {"task": name, "status": one.status, "code": one.code, "error": one.error}
            for name, one in ended.items()
            if one.status in ("failed", "blocked")
        ],
        "cost": cost,
        "pages": list(pages),
    }


class CellRecord(Record):
    """A cell in ``benchmark.json``."""

    run: str
    seconds: NotNegative | None


class BenchmarkRecord(Record):
    """``benchmark.json``, as far as a later call uses it."""

    cells: list[CellRecord]


def _read_seconds(output: Path, context: RunContext) -> dict[str, float]:
    """Durations by run, from the record of an earlier call; none where it is damaged."""
    if not (output / RECORD).exists():
        return {}
    try:
        found = read_sealed(output / RECORD, BenchmarkRecord, what="a benchmark's record", fix="")
    except IsnetError as error:
        context.warn("data", f"{error.message}: durations of finished cells are not known")
        return {}
    return {one["run"]: one["seconds"] for one in found["cells"] if one["seconds"] is not None}


def _write_tables(
    output: Path,
    bench: Benchmark,
    results: BenchmarkScores,
    tables: Sequence[BenchmarkTable],
    content: dict[str, Any],
) -> None:
    folder = output / TABLES
    write_csv(folder / "scores.csv", COLUMNS, list_score_rows(results))
    for kind in (BIAS, DOMAINS):
        write_csv(folder / f"{kind}.csv", FIGURE_COLUMNS, _list_figures(tables, kind))
    if any(table.kind == TUNING for table in tables):
        write_csv(folder / "tuning.csv", COLUMNS_TRIED, _list_figures(tables, TUNING))
    write_csv(folder / "cost.csv", COST_COLUMNS, _list_figures(tables, COST))
    write_csv(folder / "failed.csv", FAILED_COLUMNS, content["failed"])
    states = [cell["status"] for cell in content["cells"]]
    left = states.count("stopped")
    note = f"{len(states) - left} of {len(states)} cells have ended: not complete" if left else ""
    write_text(output / PAGE, render_markdown(bench.name, tables, content["failed"], note))
    shown = [table.document for table in tables]
    write_sealed(output / RECORD, {**content, "tables": shown})


def _list_figures(tables: Sequence[BenchmarkTable], kind: str) -> list[dict[str, str]]:
    lines = [line for table in tables if table.kind == kind for line in table.figures]
    return [{key: format_number(value) for key, value in line.items()} for line in lines]


def describe_cells(cells: Sequence[Cell]) -> str:
    """How many cells of what."""
    counts = [len({getattr(cell, key) for cell in cells}) for key in ("method", "seed", "data")]
    words = ("method", "seed", "data setting")
    parts = [f"{n} {word}{'' if n == 1 else 's'}" for n, word in zip(counts, words, strict=True)]
    return f"{len(cells)} cell{'' if len(cells) == 1 else 's'}: {', '.join(parts)}"
