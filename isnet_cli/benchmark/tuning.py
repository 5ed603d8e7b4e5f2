"""Settings of methods chosen by validation images: every row with the same budget, none by a test.

Each setting is tried by an ordinary cell of the first seed that is trained and not evaluated; the
best one is then evaluated, and trained with the other seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isnet_cli.benchmark.cells import CELLS, Cell, CellGrid, Choices
from isnet_cli.benchmark.pool import Ended
from isnet_cli.benchmark.tables import BenchmarkTable
from isnet_cli.config.benchmark import Benchmark
from isnet_cli.config.yaml_tree import write
from isnet_cli.core.records.cards import CARD, read_validation
from isnet_cli.errors import IsnetError

TUNING = "tuning"
COLUMNS = ("data", "method", "trial", "settings", "figure", "value", "chosen", "why")
# figure in the card's ``validation``, and 1 where more of it is better or -1 where less is
FIGURES = {
    "swapped": ("val_swapped_auc", 1),
    "auc": ("val_auc", 1),
    "loss": ("val_classification", -1),
}
WORDS = {
    "swapped": "AUC on validation images with swapped backgrounds",
    "auc": "AUC on validation images",
    "loss": "classification loss on validation images",
}


@dataclass(frozen=True)
class Trial:
    """What one setting of a row came to.

    Attributes:
        cell: Its cell.
        value: The figure that decides; None while there is none.
        why: Why there is none.
    """

    cell: Cell
    value: float | None
    why: str = ""


def read_trials(
    bench: Benchmark, grid: CellGrid, output: Path, ended: Mapping[str, Ended]
) -> dict[tuple[str, str], list[Trial]]:
    """Trials by data setting and row, in order.

    Args:
        bench: The benchmark.
        grid: Its cells.
        output: Its folder.
        ended: What became of the tasks.
    """
    found: dict[tuple[str, str], list[Trial]] = {}
    for cell in grid.cells:
        if cell.trial and cell.seed == bench.seeds[0]:
            trial = _read_trial(bench, cell, output, ended.get(f"{CELLS}/{cell.name}"))
            found.setdefault((cell.data, cell.method), []).append(trial)
    return found


def _read_trial(bench: Benchmark, cell: Cell, output: Path, ended: Ended | None) -> Trial:
    if ended is None or ended.status not in ("current", "done"):
        return Trial(cell, None, "not done" if ended is None else ended.error or ended.status)
    name, _ = FIGURES[bench.tune.by]
    try:
        value = read_validation(output / CELLS / cell.name / "train" / CARD).get(name)
    except IsnetError as error:
        return Trial(cell, None, error.message)
    if value is None or not math.isfinite(value):
        return Trial(cell, None, f"no {name}")
    return Trial(cell, value)


def choose_settings(
    bench: Benchmark, trials: Mapping[tuple[str, str], Sequence[Trial]], ended: Mapping[str, Ended]
) -> dict[tuple[str, str], int]:
    """Number of the best trial of each row whose trials have all ended; of equals the first.

    A trial that failed or has no figure is left out; a row without any other has no choice.
    """
    _, sign = FIGURES[bench.tune.by]
    chosen = {}
    for row, tried in trials.items():
        states = [ended.get(f"{CELLS}/{one.cell.name}") for one in tried]
        if any(state is None or state.status == "stopped" for state in states):
            continue
        known = [one for one in tried if one.value is not None]
        if known:
            best = max(known, key=lambda one: sign * (one.value or 0.0))
            chosen[row] = best.cell.trial
    return chosen


def build_tuning_table(
    bench: Benchmark, trials: Mapping[tuple[str, str], Sequence[Trial]], choices: Choices
) -> BenchmarkTable | None:
    """What every row tried and what was chosen; None where no row tries anything."""
    if not trials:
        return None
    lines, figures = [], []
    lone = len(bench.data) == 1
    for (data, method), tried in trials.items():
        for one in tried:
            best = choices.get((data, method)) == one.cell.trial
            text = describe_settings(one.cell.tried)
            value = one.why if one.value is None else f"{one.value:.3f}"
            cells = [method, *([] if lone else [data]), text, value, "chosen" if best else ""]
            lines.append(cells)
            figures.append(
                {
                    "data": data, "method": method, "trial": one.cell.trial, "settings": text,
                    "figure": FIGURES[bench.tune.by][0], "value": one.value,
                    "chosen": best, "why": one.why,
                }
            )  # fmt: skip
    others = [name for name, row in bench.methods.items() if "tune" not in (row or {})]
    notes = [
        f"chosen by {WORDS[bench.tune.by]} of seed {bench.seeds[0]}, at most {bench.tune.budget}"
        " settings a row; no test image was looked at"
    ]
    if others:
        notes.append(f"settings as given, nothing tried: {', '.join(others)}")
    head = ["method", *([] if lone else ["data"]), "settings", "validation", ""]
    return BenchmarkTable(TUNING, "settings tried", head, lines, lines, notes, figures)


def describe_settings(tried: Mapping[str, Any]) -> str:
    """``train.settings.rrr.gradient_weight: 0.1``, the last name alone where that is enough."""
    short = {key: key.rpartition(".")[2] for key in tried}
    names = short if len(set(short.values())) == len(short) else {key: key for key in tried}
    return ", ".join(f"{names[key]}: {_word(value)}" for key, value in tried.items())


def _word(value: Any) -> str:
    return " ".join(write({"x": value}).removeprefix("x:").split())
