"""Every file of a finished run, damaged in every way: documented exit codes, never a traceback."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isnet_cli.core.journal import NAME as JOURNAL
from tests.cli.factory import Done, isnet
from tests.support.trained import TrainedRun

CODES = {0, 2, 3, 4, 5, 6, 7}
RECORDS = ("run.json", "train/model.json", "evaluate/metrics.json", "train/relevance_range.json")
TABLES = (
    "ingest/manifest.csv", "masks/qc.csv", "train/history.csv", "heatmap/index.csv",
    "evaluate/test/standard/predictions.csv",
)  # fmt: skip
BINARIES = ("train/model.safetensors", "train/last.ckpt", "isnet.yaml")
VERBS = ("run", "evaluate", "heatmap", "report", "train")
WRONG: tuple[Any, ...] = (None, 5, "x", [], {}, -1, 10**30, True, [[1]], 1e308)


def verbs(run: TrainedRun, images: Path) -> dict[str, tuple[object, ...]]:
    """Commands that read a finished run."""
    return {
        "run": ("run", run.yaml, "-o", run.path),
        "evaluate": ("evaluate", run.yaml, "-o", run.path),
        "heatmap": ("heatmap", run.yaml, "-o", run.path),
        "train": ("train", run.yaml, "-o", run.path, "--overwrite", "--dry-run"),
        "report": ("report", run.path, "-o", run.path.parent / "page.html", "--overwrite"),
        "predict": ("predict", images, "--model", run.path, "-o", run.path.parent / "new"),
    }


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Keys of all values inside of a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*path, key)
        if isinstance(inner, (dict, list)):
            yield from places(inner, (*path, key))


def changed(tree: Any, place: tuple[Any, ...], value: Any, *, delete: bool = False) -> str:
    copy = json.loads(json.dumps(tree))
    here = copy
    for key in place[:-1]:
        here = here[key]
    if delete:
        del here[place[-1]]
    else:
        here[place[-1]] = value
    return json.dumps(copy)


def json_mutants(text: str) -> Iterator[tuple[str, bytes]]:
    tree = json.loads(text)
    for place in places(tree):
        yield f"without {place}", changed(tree, place, None, delete=True).encode()
        for value in WRONG:
            yield f"{place} = {value!r}", changed(tree, place, value).encode()
        yield f"{place} = NaN", changed(tree, place, "@").replace('"@"', "NaN").encode()
        yield f"{place} = long", changed(tree, place, "@").replace('"@"', "9" * 5000).encode()


def csv_mutants(text: str) -> Iterator[tuple[str, bytes]]:
    rows = list(csv.reader(io.StringIO(text)))

    def written(table: list[list[str]]) -> bytes:
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows(table)
        return out.getvalue().encode()

    for column, name in enumerate(rows[0]):
        yield f"without {name}", written([row[:column] + row[column + 1 :] for row in rows])
        for cell in ("", "x", "-1", "nan", "1e999", "9" * 5000, "../../etc", "é\x01"):
            table = [list(row) for row in rows]
            table[1][column] = cell
            yield f"{name} = {cell[:10]!r}", written(table)
    yield "a row twice", written([*rows, rows[-1]])
    yield "a short row", written([*rows[:-1], rows[-1][:-1]])
    yield "an open quote", text.encode() + b'"'
    yield "header alone", written(rows[:1])


def whole_mutants(content: bytes, other: bytes) -> Iterator[tuple[str, bytes]]:
    yield "empty", b""
    yield "half", content[: len(content) // 2]
    yield "one byte less", content[:-1]
    yield "another file", other
    yield "null bytes", b"\0" * 100
    yield "not UTF-8", b"\xff\xfe\x80" + content
    yield "a list", b"[]"
    yield "nested", b"[" * 100_000
    yield "a key twice", b'{"schema": 2, "schema": 2}'


def mutants(run: Path, name: str) -> list[tuple[str, bytes]]:
    content = (run / name).read_bytes()
    found = list(whole_mutants(content, (run / "masks/qc.csv").read_bytes()))
    if name.endswith(".json"):
        found += json_mutants(content.decode())
    if name.endswith(".csv"):
        found += csv_mutants(content.decode())
    return [(label, mutant) for label, mutant in found if mutant != content]


def results(run: Path) -> dict[str, bytes]:
    """What a run says: scores and predictions."""
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in sorted((run / "evaluate").rglob("*"))
        if path.name in ("predictions.csv", "metrics.json")
    }


def try_mutant(run: TrainedRun, place: Path, name: str, mutant: bytes, verb: str) -> Done:
    """One command on a copy of the run with one file changed."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    copy = run.copy(place / "run")
    (copy.path / name).write_bytes(mutant)
    images = place / "images"
    images.mkdir()
    assert isinstance(run.config.data.images, str)
    shutil.copy(next(Path(run.config.data.images).iterdir()), images)
    return isnet(*verbs(copy, images)[verb])


def fault_of(done: Done, run: TrainedRun, place: Path, name: str, verb: str) -> str:
    """What is wrong with how a command ended; "" when nothing is."""
    if done.code not in CODES:
        return f"exit {done.code}"
    if "Traceback" in done.err or "error[bug]" in done.err:
        return "a traceback"
    if done.code == 0 and verb == "evaluate" and name != "isnet.yaml":
        before, after = results(run.path), results(place / "run")
        if name not in before and before != after:
            return "other results without a word"
    return ""


def sample(run: TrainedRun, name: str, count: int) -> list[tuple[str, bytes]]:
    every = mutants(run.path, name)
    chosen = np.random.default_rng(0).permutation(len(every))[:count]
    return [every[i] for i in sorted(chosen)]


def check(run: TrainedRun, place: Path, name: str, count: int, names: tuple[str, ...]) -> None:
    if not (run.path / name).is_file():
        pytest.skip(f"no {name} in this run")
    faults = []
    for number, (label, mutant) in enumerate(sample(run, name, count)):
        verb = names[number % len(names)]
        done = try_mutant(run, place / "m", name, mutant, verb)
        fault = fault_of(done, run, place / "m", name, verb)
        if fault:
            faults.append(f"{name}: {label}: {verb}: {fault}: {done.err[-300:]}")
    assert not faults, f"{len(faults)} of {count}:\n" + "\n".join(faults[:20])


FEW = pytest.param(4, marks=pytest.mark.slow)  # mutants of each file in the slower tests
MANY = pytest.param(60, marks=pytest.mark.trust)


@pytest.mark.parametrize("name", RECORDS[:2])
def test_some_mutants_end_in_order(finished_run: TrainedRun, tmp_path: Path, name: str) -> None:
    check(finished_run, tmp_path, name, 2, ("heatmap",))


@pytest.mark.parametrize("count", [FEW, MANY])
@pytest.mark.parametrize("name", [*RECORDS, *TABLES, *BINARIES])
def test_mutants_end_in_order(
    finished_run: TrainedRun, tmp_path: Path, name: str, count: int
) -> None:
    check(finished_run, tmp_path, name, count, ("evaluate", "heatmap", "train", "run", "predict"))


@pytest.mark.parametrize("count", [FEW, MANY])
@pytest.mark.parametrize("name", [*RECORDS, *TABLES, "isnet.yaml"])
def test_reports_of_mutants_end_in_order(
    finished_run: TrainedRun,
    tmp_path: Path,
    name: str,
    count: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("isnet_cli.report.drawings.svg_text", lambda figure: "<svg/>")
    check(finished_run, tmp_path, name, count, ("report",))


def test_a_damaged_journal_is_begun_anew(finished_run: TrainedRun, tmp_path: Path) -> None:
    for text in ("[]\n", '{"part": 5}\n', '{"fingerprint": 5}\n', "\0", "null\n" * 3):
        copy = finished_run.copy(tmp_path / "run")
        (copy.path / "heatmap" / JOURNAL).write_text(text)
        assert isnet("heatmap", copy.yaml, "-o", copy.path).code in CODES
        shutil.rmtree(copy.path)
