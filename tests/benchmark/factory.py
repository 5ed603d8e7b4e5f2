"""Small benchmarks: inputs of tiny images, tasks done in this process, made-up results."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from isnet_cli.benchmark.cells import CellGrid, make_grid
from isnet_cli.benchmark.pool import Launch, Process, Task, locate_log, prepare_task
from isnet_cli.benchmark.scores import BenchmarkScores, SeedScore
from isnet_cli.config.benchmark import Benchmark, load_benchmark
from isnet_cli.config.load import load
from isnet_cli.config.schema import Config
from isnet_cli.core.files import write_csv, write_json, write_text
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.core.stage import StageResult
from isnet_cli.dataset.evaluation_sets import BIASED
from isnet_cli.errors import IsnetError
from isnet_cli.images.manifest import read_manifest
from isnet_cli.inference.predictor import CARD, WEIGHTS
from isnet_cli.report.compare.figures import EMPTY
from isnet_cli.train.setup import build_net
from tests.cli.factory import isnet, write_inputs
from tests.report.compare.factory import write_evaluation

DIVERGES = 1000.0  # a learning rate at which a made-up training fails
QUICK = """\
  train.epochs: 1
  evaluate.background: false
  evaluate.intervals: {draws: 1000, bootstrap: 200}
"""
METHODS = """\
  standard: {}
  isnet: {train.settings.isnet: {variant: flex, relevance_range: [1, 25]}}
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
    usual = {"set": QUICK, "seeds": "0", "methods": METHODS, "data": "  all: {}\n", "cost": "none"}
    return TEXT.format(**{**usual, **parts})


def write(folder: Path, **parts: str) -> Path:
    """Images, their pipeline ``c.yaml`` and the benchmark ``b.yaml`` in `folder`."""
    if not (folder / "c.yaml").exists():
        write_inputs(folder)
    path = folder / "b.yaml"
    path.write_text(text(**parts), encoding="utf-8")
    return path


def loaded(file: Path, output: Path) -> tuple[Benchmark, CellGrid]:
    bench = load_benchmark(file)
    return bench, make_grid(bench, file, output)


def config(folder: Path) -> Config:
    return load(folder / "c.yaml")


def make_stages_quick(patch: pytest.MonkeyPatch) -> None:
    """Training and evaluation write made-up files of the right form; the rest is as it is."""
    patch.setattr("isnet_cli.train.stage.run", _train)
    patch.setattr("isnet_cli.evaluate.stage.run", _evaluate)


def _train(config: Config, folder: RunFolder, context: RunContext) -> StageResult:
    build_net(config, 2)
    if config.train.optimizer.lr >= DIVERGES:
        raise IsnetError("weights", "training diverged in epoch 1")
    root = folder.stage_dir("train")
    epochs = [{"epoch": epoch} for epoch in range(config.train.epochs)]
    write_csv(root / "history.csv", ["epoch"], epochs)
    write_json(root / CARD, {"method": config.train.method, "seed": config.seed})
    write_text(root / WEIGHTS, f"{config.train.method} {config.seed}")
    return StageResult([root / CARD, root / WEIGHTS], {})


def _evaluate(config: Config, folder: RunFolder, context: RunContext) -> StageResult:
    rows = read_manifest(folder.stage_dir("ingest") / "manifest.csv")
    tested = {row.key: row.label for row in rows if row.set == "test"}
    names = write_evaluation(
        folder, {"test": tested}, rows, classes=("sick", "well"),
        noise=zlib.crc32(f"{config.train.method} {config.seed}".encode()),
        versions=BIASED if config.bias.kind != "none" else ("standard",),
        described={"method": config.train.method},
    )  # fmt: skip
    return StageResult([folder.stage_dir("evaluate") / name for name in names], {})


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
        done = isnet(*prepare_task(task, output, 1, overwrite=overwrite), "-j", "0")
        log = locate_log(output, task.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(done.err, encoding="utf-8")
        log.with_suffix(".json").write_text(done.out, encoding="utf-8")
        return Finished(done.code)

    return launch


def figure(seed: int, value: float | None, low: float | None = None, high: float | None = None,
           **more: Any) -> SeedScore:  # fmt: skip
    return SeedScore(seed, {**EMPTY, "value": value, "low": low, "high": high, **more})


def results(
    figures: dict[tuple[str, str, str, str, str], list[SeedScore]], configs: dict[str, Config]
) -> BenchmarkScores:
    """Results of one data setting, ``d``."""
    tests = {(name, version): None for _, _, name, version, _ in figures}
    first = next(iter(tests))[0]
    return BenchmarkScores(
        figures, {"d": list(tests)}, {"d": first},
        {("d", name): one for name, one in configs.items()}, 2,
    )  # fmt: skip
