"""Has the cost of each method measured, one after the other, and keeps what was measured."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from isnet_cli.benchmark.cells import Cell
from isnet_cli.benchmark.cost import FORMAT, Request
from isnet_cli.benchmark.launch import start, threads_each
from isnet_cli.benchmark.logs import log_of
from isnet_cli.benchmark.pool import POLL_SECONDS
from isnet_cli.config.benchmark import Benchmark
from isnet_cli.config.load import dump, plain
from isnet_cli.core.files import fingerprint, write_json, write_text
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import versions

RECORD, FOLDER = "cost.json", "cost"
Measure = Callable[[Request, str], dict[str, Any] | None]  # the name is the row's; None: stopped


def measure_costs(
    bench: Benchmark,
    cells: Sequence[Cell],
    classes: int,
    output: Path,
    context: RunContext,
    measure: Measure | None = None,
) -> tuple[dict[str, dict[str, Any]], bool]:
    """Costs of the methods of the first data setting; kept in ``cost.json`` by what they depend on.

    Args:
        bench: The benchmark.
        cells: Finished cells.
        classes: Outputs of the networks.
        output: The benchmark's folder.
        context: Side effects.
        measure: Measures one method; None: a process of its own.

    Returns:
        Row -> figures as of `benchmark_cost.measure`, or ``why``; and whether all are there.
    """
    if bench.cost is None or not cells:
        return {}, True
    chosen: dict[str, Cell] = {}
    for cell in cells:
        if cell.data == cells[0].data:
            chosen.setdefault(cell.method, cell)
    kept, found = _kept(output), dict[str, dict[str, Any]]()
    ask = measure or (lambda request, name: _measured(request, name, output, context))
    with context.progress.bar("cost", len(chosen)) as bar:
        for name, cell in chosen.items():
            key = _key(cell, classes, bench)
            figures = kept.get(key)
            if figures is None:
                if context.stop_requested():
                    return found, False
                place = output / FOLDER / f"{name}.yaml"
                write_text(place, dump(cell.config))
                figures = ask(Request(str(place), classes, **bench.cost.model_dump()), name)
                if figures is None:
                    return found, False
                kept[key] = figures
                write_json(output / RECORD, kept)
            found[name] = figures
            bar.advance(1, method=name)
    return found, True


def _key(cell: Cell, classes: int, bench: Benchmark) -> str:
    tree = plain(cell.config)
    parts = [tree[name] for name in ("model", "train", "machine")]
    threads = os.environ.get("OMP_NUM_THREADS")
    return fingerprint(FORMAT, parts, classes, plain(bench)["cost"], versions(), threads)


def _kept(output: Path) -> dict[str, dict[str, Any]]:
    try:
        found: dict[str, dict[str, Any]] = json.loads((output / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _measured(
    request: Request, name: str, output: Path, context: RunContext
) -> dict[str, Any] | None:
    folder = output / FOLDER
    asked, answer = folder / f"{name}.request.json", folder / f"{name}.result.json"
    write_json(asked, asdict(request))
    answer.unlink(missing_ok=True)
    log = log_of(output, f"cost/{name}")
    words = ["-m", "isnet_cli.benchmark.cost", str(asked), str(answer)]
    process = start(words, log, threads_each(1))
    try:
        while process.poll() is None:
            if context.stop_requested():
                return None
            time.sleep(POLL_SECONDS)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)  # it writes one file, by rename
            process.wait()
    if not answer.is_file():
        return {"why": f"the process ended with code {process.returncode}, see {log}"}
    figures: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    return figures
