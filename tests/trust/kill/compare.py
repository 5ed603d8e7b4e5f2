"""Two folders, file by file and bit by bit, but for the times that the outputs state."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

IGNORED = ("log.jsonl", ".lock")  # events with their times; empty files that the system locks
TIMES = {"started", "finished", "seconds", "images_per_second"}
TIMED = {"history.csv", "report.html"}  # files with such times: their hash differs too
LEFT_OUT = TIMES | TIMED | {"content_sha256"}  # the last: of records that hold one of those
STATED = re.compile(rb"history\.csv</td>\s*<td>([0-9a-f]{64})")  # the report names it with its hash
TIME = re.compile(rb"20\d\d-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?")


def find_differences(right: Path, found: Path) -> list[str]:
    """Names of files that lie in one folder only, or whose content differs."""
    names, others = _list(right), _list(found)
    faults = [f"missing: {name}" for name in sorted(names - others)]
    faults += [f"left over: {name}" for name in sorted(others - names)]
    for name in sorted(names & others):
        one, two = (right / name).read_bytes(), (found / name).read_bytes()
        if one != two and without_times(name, one) != without_times(name, two):
            faults.append(f"differs: {name}")
    return faults


def without_times(name: str, content: bytes) -> Any:
    """The content of a file without the times in it, which are never the same."""
    for pattern, clean in CLEANERS:
        if re.search(pattern, name):
            return clean(content)
    return content


def _list(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if not path.is_dir() and path.name not in IGNORED
    }


def _json(content: bytes) -> Any:
    tree = json.loads(content)
    if isinstance(tree, dict) and "report" in (tree.get("stages") or {}):
        del tree["stages"]["report"]["fingerprint"]  # of a page that shows times
    stages = tree.get("stages") if isinstance(tree, dict) else None
    for entry in stages.values() if isinstance(stages, dict) else ():
        entry.pop("made_from", None)  # hashes of the records of earlier stages, with their times
    return _drop(tree)


def _page(content: bytes) -> bytes:
    for found in STATED.findall(content):
        content = content.replace(found, b"H")
    return TIME.sub(b"T", content)


def _drop(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _drop(item) for name, item in value.items() if name not in LEFT_OUT}
    return [_drop(item) for item in value] if isinstance(value, list) else value


def _csv(content: bytes) -> Any:
    rows = csv.DictReader(io.StringIO(content.decode()))
    return [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


def _journal(content: bytes) -> Any:
    """What is known of each file, but for its time of change."""
    lines = [json.loads(line) for line in content.splitlines()]
    left_out = ("part", "sha256")  # the hash is of the part, too
    return sorted(json.dumps({k: v for k, v in one.items() if k not in left_out}) for one in lines)


def _inputs(content: bytes) -> Any:
    """Hashes of the input files, but for the stamps that have their times."""
    return sorted(row["sha256"] for row in csv.DictReader(io.StringIO(content.decode())))


def _checkpoint(content: bytes) -> Any:
    import torch

    state = _drop(torch.load(io.BytesIO(content), weights_only=True))
    return _plain(state)


def _plain(value: Any) -> Any:
    """Tensors as bytes, so that they can be compared."""
    import torch

    if isinstance(value, torch.Tensor):
        return (str(value.dtype), tuple(value.shape), value.contiguous().numpy().tobytes())
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, float):
        return repr(value)  # also where it is none: nan
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


CLEANERS: tuple[tuple[str, Callable[[bytes], Any]], ...] = (
    (r"(^|/)(run|benchmark|training)\.json$|(^|/)logs/.*\.json$", _json),
    (r"(^|/)report\.html$", _page),
    (r"(^|/)ingest/\.unfinished\.jsonl$", _journal),
    (r"(^|/)ingest/\.inputs\.csv$", _inputs),
    (r"(^|/)history\.csv$", _csv),
    (r"(^|/)last\.ckpt$", _checkpoint),
)
