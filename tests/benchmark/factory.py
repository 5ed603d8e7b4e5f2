"""Small benchmarks: inputs of tiny images, tasks done in this process, made-up results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isnet_cli.benchmark.cells import Grid, make_grid
from isnet_cli.benchmark.launch import Launch, Process, Task, prepare
from isnet_cli.benchmark.logs import log_of
from isnet_cli.benchmark.read_results import Figure, Results
from isnet_cli.config.benchmark import Benchmark, load_benchmark
from isnet_cli.config.load import load
from isnet_cli.config.schema import Config
from isnet_cli.report.compare.figures import EMPTY
from tests.cli.factory import isnet, write_inputs

QUICK = """\
  train.epochs: 1
  evaluate.background: false
  evaluate.intervals: {draws: 1000, bootstrap: 200}
"""
METHODS = """\
  standard: {}
  isnet: {train.heatmap_loss.variant: flex, train.heatmap_loss.cuts: [1, 25]}
"""
TEXT = """\
version: 1
name: tiny
base: c.yaml
set:
{set}seeds: [{seeds}]
methods:
{methods}data:
{data}cost: {cost}
"""


def text(**parts: str) -> str:
    """The file's text; parts replace the usual ones."""
    usual = {"set": QUICK, "seeds": "0", "methods": METHODS, "data": "  all: {}\n", "cost": "null"}
    return TEXT.format(**{**usual, **parts})


def write(folder: Path, **parts: str) -> Path:
    """Images, their pipeline ``c.yaml`` and the benchmark ``b.yaml`` in `folder`."""
    if not (folder / "c.yaml").exists():
        write_inputs(folder)
    path = folder / "b.yaml"
    path.write_text(text(**parts), encoding="utf-8")
    return path


def loaded(file: Path, output: Path) -> tuple[Benchmark, Grid]:
    bench = load_benchmark(file)
    return bench, make_grid(bench, file, output)


def config(folder: Path) -> Config:
    return load(folder / "c.yaml")


@dataclass(frozen=True)
class Finished:
    """A process that has ended."""

    code: int

    def poll(self) -> int | None:
        return self.code

    def send_signal(self, number: int, /) -> None:
        pass

    def wait(self, timeout: float | None = None) -> int:
        return self.code

    def kill(self) -> None:
        pass


def in_process(
    output: Path, *, overwrite: bool = False, watch: Callable[[Task], None] = lambda task: None
) -> Launch:
    """Does each task in this process, by the words that a process of its own would get."""

    def launch(task: Task) -> Process:
        watch(task)
        done = isnet(*prepare(task, output, 1, overwrite=overwrite), "-j", "0")
        log = log_of(output, task.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(done.err, encoding="utf-8")
        log.with_suffix(".json").write_text(done.out, encoding="utf-8")
        return Finished(done.code)

    return launch


def figure(seed: int, value: float | None, low: float | None = None, high: float | None = None,
           **more: Any) -> Figure:  # fmt: skip
    return Figure(seed, {**EMPTY, "value": value, "low": low, "high": high, **more})


def results(
    figures: dict[tuple[str, str, str, str, str], list[Figure]], configs: dict[str, Config]
) -> Results:
    """Results of one data setting, ``d``."""
    tests = {(name, version): None for _, _, name, version, _ in figures}
    first = next(iter(tests))[0]
    return Results(
        figures, {"d": list(tests)}, {"d": first},
        {("d", name): one for name, one in configs.items()}, 2,
    )  # fmt: skip
