"""The configuration of a benchmark: methods x seeds x data settings over one pipeline."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import product
from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from isnet_cli.config import yaml_tree
from isnet_cli.config.load import Form, load_form, rooted
from isnet_cli.config.schema import Count, Section, Word
from isnet_cli.config.yaml_tree import Key
from isnet_cli.errors import IsnetError
from isnet_cli.guard.opening import read_text

# Of a row; a folder is called so, and names are joined by two dashes.
NAME = re.compile(r"[A-Za-z0-9](?:[._+-]?[A-Za-z0-9_+])*")
DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # none of Windows
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Keys = dict[str, Any]  # dotted key of the pipeline -> value, as with --set

TUNE = "tune"  # key of a row of methods
ALL: Mapping[str, Keys | None] = {"all": None}  # one data setting, the base's own


class Cost(Section):
    """How the cost of each method is measured."""

    steps: Count = 20  # timed training steps, each beside one of `standard`
    batch_size: Count = 16
    images: Count = 64  # predicted to time the trained network


class Phantoms(Section):
    """Synthetic images that the benchmark makes for itself, as `isnet demo` does."""

    hospital_a: Annotated[int, Field(ge=8)] = 120  # patients: training, validation, test
    hospital_b: Annotated[int, Field(ge=2)] = 30  # patients: test alone
    side: Annotated[int, Field(ge=96, le=2048)] = 320  # longer side, px
    seed: Seed = 0


class Tune(Section):
    """How the settings of rows with ``tune`` are chosen: on validation images alone."""

    # figure of the kept epoch that decides: AUC with swapped backgrounds, AUC, classification loss
    by: Literal["swapped", "auc", "loss"] = "swapped"
    budget: Count = 6  # settings that a row may try, at most


class Benchmark(Section):
    """A whole benchmark."""

    version: Literal[1] = 1
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = "benchmark"
    base: str | None = None  # a pipeline's configuration file
    pipeline: dict[str, Any] | None = None  # or the pipeline itself
    root: str | None = None  # where relative paths of the keys below start; null: at this file
    phantoms: Phantoms | None = None  # synthetic images in place of data.images and its labels
    set: Keys = Field(default_factory=dict)  # hold for every cell
    seeds: list[Seed] = Field(default_factory=lambda: [0])
    # splits the images for all cells; cell: each cell's own seed
    images_seed: Annotated[Seed | None, Word("cell")] = None
    methods: dict[str, Keys | None] = Field(default_factory=dict)
    data: dict[str, Keys | None] = Field(default_factory=lambda: dict(ALL))
    tune: Tune = Tune()
    heatmaps: bool = False  # also draw the relevance maps of each cell
    cost: Annotated[Cost | None, Word("none", default=False)] = Cost()


def check(bench: Benchmark) -> list[tuple[Key, str]]:
    """All faults of a file whose single keys are valid; empty when it is good."""
    faults: list[tuple[Key, str]] = []
    if (bench.base is None) == (bench.pipeline is None):
        faults.append((("base",), "expected either base: FILE, or the keys under pipeline"))
    if not bench.seeds:
        faults.append((("seeds",), "expected at least one seed"))
    if len(set(bench.seeds)) < len(bench.seeds):
        faults.append((("seeds",), "a seed stands twice"))
    tables: dict[str, dict[str, Keys | None]] = {"methods": bench.methods, "data": bench.data}
    for table, rows in tables.items():
        if not rows:
            faults.append(((table,), "expected at least one row, as NAME: {KEY: VALUE}"))
        faults += [
            ((table, name), "a name is letters, digits and single . _ + -, since it names a folder")
            for name in rows
            if NAME.fullmatch(name) is None or DEVICE.fullmatch(name)
        ]
        seen: dict[str, str] = {}
        for name in rows:
            other = seen.setdefault(name.casefold(), name)
            if other != name:
                faults.append(((table, name), f"differs from '{other}' in nothing but case"))
    for name, row in bench.methods.items():
        faults += [
            (("methods", name, TUNE), text) for text in _find_tuning_faults(bench, row or {})
        ]
    faults += [
        (("data", name, TUNE), "settings are chosen for methods; write tune into their rows")
        for name, row in bench.data.items()
        if TUNE in (row or {})
    ]
    return faults


def _find_tuning_faults(bench: Benchmark, row: Keys) -> list[str]:
    if TUNE not in row:
        return []
    given = row[TUNE]
    if (
        not isinstance(given, dict)
        or not given
        or not all(isinstance(v, list) and v for v in given.values())
    ):
        return ["expected KEY: [VALUE, ...] lines below"]
    n = prod(len(values) for values in given.values())
    if n > bench.tune.budget:
        return [f"{n} settings, expected 1 to tune.budget ({bench.tune.budget})"]
    return [f"{key} is set in the row, too" for key in given if key in row]


def list_trials(row: Keys | None) -> list[Keys]:
    """Settings that a row of methods tries, in order: every combination; empty where it has none.

    Args:
        row: Keys of the row, checked.
    """
    given: dict[str, list[Any]] = (row or {}).get(TUNE, {})
    if not given:
        return []
    return [dict(zip(given, values, strict=True)) for values in product(*given.values())]


FORM = Form(Benchmark, (("base",), ("root",)), (("version",),), check, "isnet benchmark")


def load_benchmark(path: Path, overrides: Sequence[str] = ()) -> Benchmark:
    """Reads a benchmark's file.

    Args:
        path: YAML file.
        overrides: ``key=value`` pairs of the pipeline, added to the section ``set``; paths in
            them start at the working folder.

    Raises:
        IsnetError: Kind "config", with every fault as ``file:line: key: message``.
    """
    bench = load_form(FORM, path)
    typed = dict(_pair(text) for text in overrides)
    root = bench.root or str(path.absolute().parent)
    return bench.model_copy(update={"root": root, "set": {**bench.set, **typed}})


def is_benchmark(path: Path) -> bool:
    """Whether a configuration file is a benchmark: it has rows of methods."""
    try:
        text = read_text(path)
    except (OSError, ValueError, IsnetError):
        return False  # whoever loads it says what is wrong
    return re.search(r"^methods[ \t]*:", text, re.MULTILINE) is not None


def row_lines(path: Path) -> Mapping[Key, int]:
    """Lines of the file's keys, for messages; empty when it cannot be read."""
    try:
        return yaml_tree.parse(read_text(path, "utf-8-sig")).lines
    except (OSError, UnicodeDecodeError):
        return {}


def _pair(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    tree = yaml_tree.parse(value)
    if not sign or not name.strip() or tree.problems:
        raise IsnetError("config", f"--set {text}: expected KEY=VALUE, as in --set train.epochs=30")
    return name.strip(), rooted(name.strip(), tree.value, Path.cwd())
