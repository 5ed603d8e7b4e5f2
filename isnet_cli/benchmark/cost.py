"""What a training method costs: time and memory of a step, speed and size of its network.

Runs as a process of its own (``python -m isnet_cli.benchmark.cost REQUEST RESULT``), so that
the peak memory is this method's alone. Steps of the method and of `standard` are taken in turn:
whatever else the machine does meets both alike.
"""

from __future__ import annotations

import math
import os
import resource
import signal
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import ConfigDict
from torch import Tensor, nn

from isnet_cli.benchmark.cells import Cell
from isnet_cli.benchmark.pool import POLL_SECONDS, locate_log, share_threads, start_process
from isnet_cli.config.benchmark import Benchmark
from isnet_cli.config.load import dump, load, plain
from isnet_cli.config.schema import Config
from isnet_cli.core.files import fingerprint, write_json, write_text
from isnet_cli.core.records.read import Record, read_record
from isnet_cli.core.records.schemas import Count, Hash, Number
from isnet_cli.core.records.sealed import read_sealed, write_sealed
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import installed_versions
from isnet_cli.core.runtime import choose_device, make_deterministic, make_generator
from isnet_cli.errors import IsnetError
from isnet_cli.guard.memory import keep_freed_memory
from isnet_cli.guard.opening import read_text
from isnet_cli.train.classifier_training import build_optimizer
from isnet_cli.train.setup import build_method, build_net
from isnet_models.methods import registry
from isnet_models.methods.base import Batch, Method

FORMAT = 1  # raise when the same request gives other figures
WARM_UP = 2  # steps that are not counted
MB = 1e6
RECORD, FOLDER = "cost.json", "cost"


@dataclass(frozen=True)
class CostRequest:
    """What to measure.

    Attributes:
        config: Path of the method's pipeline (YAML).
        classes: Outputs of the network K.
        steps: Timed training steps.
        batch_size: Images of each.
        images: Images that the trained network predicts.
    """

    config: str
    classes: int
    steps: int
    batch_size: int
    images: int


class Request(Record):
    """A `CostRequest` as it is handed to another process."""

    model_config = ConfigDict(**{**Record.model_config, "extra": "forbid"})

    config: str
    classes: Count
    steps: Count
    batch_size: Count
    images: Count


@dataclass(frozen=True)
class _Training:
    """A network in training."""

    net: nn.Module
    method: Method
    optimizer: torch.optim.Optimizer
    clip: float

    def step(self, batch: Batch) -> float:
        """One step as the trainer takes it; the loss."""
        losses = self.method.losses(self.net, batch, 0)
        self.optimizer.zero_grad(set_to_none=True)
        losses.total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.clip)
        loss = float(losses.total.detach())
        self.optimizer.step()
        return loss


def measure_cost(request: CostRequest) -> dict[str, Any]:
    """The figures of one method.

    Returns:
        ``step_ms_median``, ``step_ms_min``, ``step_ms_max``; ``ratio`` to a step of `standard`
        (median, least and largest over the pairs); ``images_per_second`` of the network in eval
        mode; ``parameters``, ``trainable``; ``step_memory_mb``: peak of a step above the idle
        process (None where it cannot be known); what was measured on.

    Raises:
        IsnetError: From the configuration, or when the method cannot be built.
        ValueError: The method lacks something that only a whole training has.
    """
    config = load(Path(request.config))
    device = choose_device(config.machine.device)
    make_deterministic(config.machine.deterministic)
    keep_freed_memory()
    batch = make_random_batch(config, request.classes, request.batch_size, device)
    training = _build_training(config, request.classes, device)
    memory = _measure_memory(lambda: training.step(batch), device)
    train = config.train.model_copy(update={"method": "standard", "settings": {}})
    plain = _build_training(config.model_copy(update={"train": train}), request.classes, device)
    own, other = _time_in_turn(training, plain, batch, request.steps, device)
    ratios = [a / b for a, b in zip(own, other, strict=True)]
    return {
        "step_ms_median": 1e3 * statistics.median(own),
        "step_ms_min": 1e3 * min(own),
        "step_ms_max": 1e3 * max(own),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "images_per_second": _measure_speed(training.net, batch.images, request.images, device),
        "parameters": sum(p.numel() for p in training.net.parameters()),
        "trainable": sum(p.numel() for p in training.net.parameters() if p.requires_grad),
        "step_memory_mb": None if memory is None else memory / MB,
        "steps": request.steps,
        "batch_size": request.batch_size,
        "device": _name_device(device),
        "threads": torch.get_num_threads() if device.type == "cpu" else None,
    }


def make_random_batch(config: Config, classes: int, size: int, device: torch.device) -> Batch:
    """Noise with two ellipses for lungs, of the network's input size; labels in turn."""
    height, width = config.model.input
    chance = make_generator(config.seed, "cost")
    images = torch.rand(size, config.model.channels, height, width, generator=chance)
    y = torch.linspace(-0.5, 0.5, height)[:, None]
    x = torch.linspace(-0.5, 0.5, width)
    shifts = torch.rand(size, 2, generator=chance) * 0.08 - 0.04
    masks = torch.stack([_make_lungs(y - dy, x - dx) for dy, dx in shifts.tolist()])[:, None]
    labels: Tensor = torch.arange(size) % classes
    if config.data.labels.task == "multilabel":
        labels = torch.nn.functional.one_hot(labels, classes).float()
    return Batch(images.to(device), masks.to(device), labels.to(device))


def _make_lungs(y: Tensor, x: Tensor) -> Tensor:
    left = ((x + 0.2) / 0.13) ** 2 + (y / 0.3) ** 2 < 1
    right = ((x - 0.2) / 0.13) ** 2 + (y / 0.3) ** 2 < 1
    return (left | right).float()


def _build_training(config: Config, classes: int, device: torch.device) -> _Training:
    net = build_net(config, classes).to(device).train()
    teacher = None
    if "teacher" in registry.needs(config.train.method):  # an untrained one costs the same
        plain = config.train.model_copy(update={"method": "standard", "settings": {}})
        teacher = build_net(config.model_copy(update={"train": plain}), classes).to(device).eval()
    method = build_method(config, None, None, teacher, classes)
    method.begin_epoch(0, make_generator(config.seed, "cost", "epoch"))
    clip = config.train.clip_norm or math.inf
    return _Training(net, method, build_optimizer(config.train.optimizer, net), clip)


def _time_in_turn(
    own: _Training, other: _Training, batch: Batch, steps: int, device: torch.device
) -> tuple[list[float], list[float]]:
    """Seconds of each step of both, taken in turn; which comes first changes every time."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(WARM_UP + steps):
        pair = list(zip((own, other), times, strict=True))
        for training, found in pair if number % 2 else reversed(pair):
            seconds = _time_once(partial(training.step, batch), device)
            if number >= WARM_UP:
                found.append(seconds)
    return times


def _time_once(work: Callable[[], Any], device: torch.device) -> float:
    _synchronise(device)
    began = time.perf_counter()
    work()
    _synchronise(device)
    return time.perf_counter() - began


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    if device.type == "mps":
        torch.mps.synchronize()


def _measure_speed(net: nn.Module, images: Tensor, least: int, device: torch.device) -> float:
    """Images a second of the network alone, whole batches, from at least `least` images."""
    net.eval()
    seconds, done = 0.0, 0
    with torch.inference_mode():
        net(images)
        while done < least:
            seconds += _time_once(lambda: net(images), device)
            done += len(images)
    return done / seconds


def _measure_memory(work: Callable[[], Any], device: torch.device) -> float | None:
    """Peak memory of `work` above what was held before, bytes; None where nobody counts it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        idle = torch.cuda.memory_allocated(device)
        work()
        return float(torch.cuda.max_memory_allocated(device) - idle)
    if device.type != "cpu":
        return None
    before = _reset_peak()
    work()
    return max(0.0, _read_peak() - before)


def _reset_peak() -> float:
    """Resident memory now, bytes; on Linux the peak starts from it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _read_status("VmRSS")
    except (OSError, KeyError):
        return _read_peak()


def _read_peak() -> float:
    try:
        return _read_status("VmHWM")
    except (OSError, KeyError):
        unit = 1.0 if sys.platform == "darwin" else 1024.0
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _read_status(name: str) -> float:
    lines = read_text(Path("/proc/self/status"), "ascii").splitlines()
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    return float(found[name].split()[0]) * 1024


def _name_device(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


Measure = Callable[
    [CostRequest, str], dict[str, Any] | None
]  # the name is the row's; None: stopped


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
    kept, found = _read_kept(output, context), dict[str, dict[str, Any]]()
    ask = measure or (lambda request, name: _measure_in_process(request, name, output, context))
    with context.progress.bar("cost", len(chosen)) as bar:
        for name, cell in chosen.items():
            key = _fingerprint_request(cell, classes, bench)
            figures = kept.get(key)
            if figures is None:
                if context.stop_requested():
                    return found, False
                place = output / FOLDER / f"{name}.yaml"
                write_text(place, dump(cell.config))
                figures = ask(CostRequest(str(place), classes, **bench.cost.model_dump()), name)
                if figures is None:
                    return found, False
                kept[key] = figures
                write_sealed(output / RECORD, {"measured": kept})
            found[name] = figures
            bar.advance(1, method=name)
    return found, True


def _fingerprint_request(cell: Cell, classes: int, bench: Benchmark) -> str:
    tree = plain(cell.config)
    parts = [tree[name] for name in ("model", "train", "machine")]
    threads = os.environ.get("OMP_NUM_THREADS")
    return fingerprint(FORMAT, parts, classes, plain(bench)["cost"], installed_versions(), threads)


class Figures(Record):
    """The answer of one measurement: figures by name, or ``why`` there are none."""

    __pydantic_extra__: dict[str, Number | str | None]
    why: str | None = None


class Kept(Record):
    """``cost.json``: figures by the hash of what was measured."""

    measured: dict[Hash, Figures]


def _read_kept(output: Path, context: RunContext) -> dict[str, dict[str, Any]]:
    """What an earlier call measured; a damaged record is left, and everything measured again."""
    if not (output / RECORD).exists():
        return {}
    try:
        found = read_sealed(output / RECORD, Kept, what="measured costs", fix="")
    except IsnetError as error:
        context.warn("data", f"{error.message}: costs are measured again")
        return {}
    measured: dict[str, dict[str, Any]] = found["measured"]
    return measured


def _measure_in_process(
    request: CostRequest, name: str, output: Path, context: RunContext
) -> dict[str, Any] | None:
    folder = output / FOLDER
    question, answer = folder / f"{name}.request.json", folder / f"{name}.result.json"
    write_json(question, asdict(request))
    answer.unlink(missing_ok=True)
    log = locate_log(output, f"cost/{name}")
    words = ["-m", "isnet_cli.benchmark.cost", str(question), str(answer)]
    process = start_process(words, log, share_threads(1))
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
    return read_record(answer, Figures, what="measured costs", fix="the same command again")


def main(words: list[str]) -> int:
    """Measures the request in the file `words[0]` and writes the figures to `words[1]`.

    What cannot be measured is no failure: the reason stands in place of the figures.
    """
    asked = read_record(Path(words[0]), Request, what="a request", fix="isnet benchmark CONFIG")
    request = CostRequest(**asked)
    try:
        found = measure_cost(request)
    except IsnetError as error:
        found = {"why": error.message}
    except (ValueError, RuntimeError, TypeError, NotImplementedError, MemoryError) as error:
        first = (str(error).splitlines() or [""])[0]
        found = {"why": f"{type(error).__name__}: {first}"}
    write_json(Path(words[1]), found)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
