"""Runs, benchmarks, teachers and weights from strangers: nothing runs, nothing lands outside."""

from __future__ import annotations

import csv
import json
import os
import pickle
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest

from isnet_cli.core.files import sha256_file
from tests.trust.commands import Ended, Zygote

pytestmark = pytest.mark.trust
ABSOLUTE = "/tmp/isnet_escaped"  # noqa: S108 - never made
NAMES = ("../../../escaped", ABSOLUTE, "a/../../../../escaped", "..\\..\\escaped", "a\0b")
HTML = "<script>alert(1)</script><img src=x onerror=alert(1)>"


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.mark}'",)


def check_harmless(ended: Ended, work: Path) -> None:
    """No bug, nothing executed, nothing outside."""
    assert ended.code != 1, ended.err
    assert "Traceback" not in ended.err
    assert ended.outside == ()
    assert not [name for name in ended.started if name.startswith(("os.", "socket", "pickle"))]
    assert not (work.parent / "executed").exists()
    assert {path.name for path in work.parent.iterdir()} == {work.name}


def put_right(run: Path) -> None:
    """Enters the present hashes of all outputs in the record, as a careful stranger would."""
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    for stage, entry in record["stages"].items():
        for name in entry.get("outputs", {}):
            if (run / stage / name).is_file():
                entry["outputs"][name] = sha256_file(run / stage / name)
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")


def edit_rows(path: Path, **cells: str) -> None:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for name, value in cells.items():
        rows[0][name] = value
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("column", ["key", "image_file"])
def test_names_in_a_manifest_that_lead_outside(
    zygote: Zygote, work: Path, name: str, column: str
) -> None:
    edit_rows(work / "run/ingest/manifest.csv", **{column: name})
    if column == "key":
        edit_rows(work / "run/masks/qc.csv", key=name)
    put_right(work / "run")
    for words in (
        ("run", "run", "--overwrite", "--set", "heatmap.limit=30"),
        ("heatmap", "run", "--limit", "30", "--overwrite"),
        ("evaluate", "run", "--overwrite"),
        ("report", "run", "-o", "report.html"),
        ("run", "c.yaml", "-o", "two", "--set", "upstream=run"),
    ):
        check_harmless(zygote.isnet(*words, cwd=work, writable=[work]), work)


@pytest.mark.parametrize("file", ["last.ckpt", "model.safetensors"])
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_pickles_in_the_place_of_weights(
    zygote: Zygote, work: Path, file: str, protocol: int
) -> None:
    bomb = pickle.dumps(Bomb(work.parent / "executed"), protocol)
    (work / "run/train" / file).write_bytes(bomb)
    put_right(work / "run")
    card = work / "run/train/model.json"
    if file == "model.safetensors":
        content = json.loads(card.read_text(encoding="utf-8"))
        content["sha256"] = sha256_file(card.with_name(file))
        card.write_text(json.dumps(content), encoding="utf-8")
        put_right(work / "run")
    else:
        record = json.loads((work / "run/run.json").read_text(encoding="utf-8"))
        record["stages"]["train"]["status"] = "running"
        (work / "run/run.json").write_text(json.dumps(record), encoding="utf-8")
    for words in (
        ("run", "run"),
        ("predict", "xrays", "--model", "run", "-o", "found", "-d", "cpu"),
        ("masks", "xrays", "--model", f"run/train/{file}", "-o", "masks_of", "-d", "cpu"),
    ):
        check_harmless(zygote.isnet(*words, cwd=work, writable=[work]), work)


def test_a_torch_archive_with_a_bomb_in_it(zygote: Zygote, work: Path) -> None:
    import torch

    torch.save(
        {"identity": "x", "net": Bomb(work.parent / "executed")}, work / "run/train/last.ckpt"
    )
    record = json.loads((work / "run/run.json").read_text(encoding="utf-8"))
    record["stages"]["train"]["status"] = "running"
    (work / "run/run.json").write_text(json.dumps(record), encoding="utf-8")
    check_harmless(zygote.isnet("train", "run", cwd=work, writable=[work]), work)


@pytest.mark.parametrize("size", [2**63, 2**40, 2**33, 100_000_000, 0])
def test_weights_that_declare_a_huge_header(zygote: Zygote, work: Path, size: int) -> None:
    path = work / "run/train/model.safetensors"
    path.write_bytes(struct.pack("<Q", size) + b"{}")
    card = path.with_name("model.json")
    content = json.loads(card.read_text(encoding="utf-8"))
    content["sha256"] = sha256_file(path)
    card.write_text(json.dumps(content), encoding="utf-8")
    ended = zygote.isnet(
        "predict", "xrays", "--model", "run/train", "-o", "found", cwd=work, writable=[work]
    )
    check_harmless(ended, work)
    assert ended.code == 5
    assert ended.seconds < 20


@pytest.mark.parametrize("file", NAMES)
def test_a_lung_network_whose_card_names_a_file_elsewhere(
    zygote: Zygote, work: Path, file: str
) -> None:
    shutil.copy2(work / "run/train/model.safetensors", work / "own.safetensors")
    card = {
        "name": HTML, "version": "1", "task": "lungs", "file": file, "licence": "x",
        "sha256": sha256_file(work / "own.safetensors"),
        "architecture": {"class": "LungUNet", "encoder": "tu-mobilenetv3_small_100"},
    }  # fmt: skip
    (work / "own.json").write_text(json.dumps(card), encoding="utf-8")
    words = ("masks", "xrays", "--model", "own.safetensors", "-o", "made", "-d", "cpu")
    ended = zygote.isnet(*words, cwd=work, writable=[work])
    check_harmless(ended, work)
    assert ended.code == 5


@pytest.mark.parametrize("field", ["arch", "method", "classes", "segmenter", "settings", "input"])
@pytest.mark.parametrize(
    "value", [HTML, "../../x", ["a"] * 3, {"class": "os.system"}, 10**12, None]
)
def test_a_teacher_and_a_model_with_hostile_cards(
    zygote: Zygote, work: Path, field: str, value: Any
) -> None:
    card = work / "run/train/model.json"
    content = json.loads(card.read_text(encoding="utf-8"))
    content[field] = value
    card.write_text(json.dumps(content), encoding="utf-8")
    put_right(work / "run")
    words = ("predict", "xrays", "--model", "run", "-o", "found", "-d", "cpu")
    check_harmless(zygote.isnet(*words, cwd=work, writable=[work]), work)
    teacher = "train.settings.distillation.teacher=run"
    words = ("train", "c.yaml", "-o", "two", "--set", "train.method=distillation", "--set", teacher)
    check_harmless(zygote.isnet(*words, cwd=work, writable=[work]), work)


@pytest.mark.parametrize(
    "file",
    ["isnet.yaml", "run.json", "train/model.json", "train/model.safetensors", "train/history.csv",
     "ingest/manifest.csv", "masks/qc.csv", "evaluate/metrics.json"],
)  # fmt: skip
def test_pipes_in_the_place_of_files_of_a_run_and_of_a_teacher(
    zygote: Zygote, work: Path, file: str
) -> None:
    """Whoever opened one would wait for ever for somebody to write."""
    (work / "run" / file).unlink()
    os.mkfifo(work / "run" / file)
    teacher = "train.settings.distillation.teacher=run"
    for words in (
        ("predict", "xrays", "--model", "run", "-o", "found", "-d", "cpu"),
        ("heatmap", "xrays", "--model", "run", "-o", "maps", "-d", "cpu"),
        ("evaluate", "run"),
        ("report", "run", "-o", "report.html"),
        ("train", "c.yaml", "-o", "two", "--set", "train.method=distillation", "--set", teacher),
    ):
        ended = zygote.isnet(*words, cwd=work, writable=[work], after=240)
        assert not ended.killed, words
        check_harmless(ended, work)


def test_html_in_every_text_of_a_run(zygote: Zygote, work: Path) -> None:
    """Class names, keys and settings of a stranger's run are text in the pages."""
    run = work / "run"
    for path in run.rglob("*"):
        if path.suffix in {".csv", ".json", ".yaml"} and path.name != "run.json":
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace("sick", "<b onload=x>"), encoding="utf-8")
    record = (run / "run.json").read_text(encoding="utf-8").replace("sick", "<b onload=x>")
    (run / "run.json").write_text(record, encoding="utf-8")
    put_right(run)
    ended = zygote.isnet("report", "run", "-o", "report.html", cwd=work, writable=[work])
    check_harmless(ended, work)
    for page in (work / "report.html",):
        if page.is_file():
            assert "<b onload" not in page.read_text(encoding="utf-8")


BENCHMARKS = (
    ("name: tiny", "name: ../../../escaped"),
    ("standard: {}", "../../escaped: {}"),
    ("all: {}", f"{ABSOLUTE}: {{}}"),
    ("all: {}", "'..': {}"),
    ("base: c.yaml", "base: !!python/object/apply:os.system ['touch ../executed']"),
    ("standard: {}", f"'{HTML}': {{train.method: standard}}"),
)


@pytest.mark.parametrize(("old", "new"), BENCHMARKS)
def test_hostile_benchmarks(zygote: Zygote, work: Path, old: str, new: str) -> None:
    path = work / "b.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    words = ("benchmark", "b.yaml", "--dry-run")
    check_harmless(zygote.isnet(*words, cwd=work, writable=[work]), work)


def test_a_benchmark_folder_of_a_stranger(zygote: Zygote, work: Path) -> None:
    """Its record and its cells name places outside."""
    out = work / "out"
    (out / "cells").mkdir(parents=True)
    cell = {"name": "cells/../../../escaped", "status": "done", "run": ABSOLUTE}
    (out / "benchmark.json").write_text(
        json.dumps({"schema": 2, "cells": [cell]}), encoding="utf-8"
    )
    (out / "benchmark.yaml").write_text((work / "b.yaml").read_text(encoding="utf-8"))
    words = ("benchmark", "b.yaml", "-o", "out", "--dry-run", "--overwrite")
    check_harmless(zygote.isnet(*words, cwd=work, writable=[work]), work)


@pytest.mark.parametrize("name", NAMES)
def test_a_journal_that_names_files_elsewhere(zygote: Zygote, work: Path, name: str) -> None:
    """Lines of another fingerprint have their files removed: inside the folder alone."""
    precious = work.parent / "precious"
    journal = work / "run/ingest/.unfinished.jsonl"
    lines = [
        {"fingerprint": "0" * 64},
        {"part": "x", "content": None, "files": {name: "0", "../../../precious": "0"}},
    ]
    precious.write_text("x", encoding="utf-8")
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    words = ("ingest", "c.yaml", "-o", "run", "--overwrite", "--set", "data.max_side=64")
    ended = zygote.isnet(*words, cwd=work, writable=[work])
    assert precious.is_file()
    precious.unlink()
    check_harmless(ended, work)
