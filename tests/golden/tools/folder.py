"""A folder of golden numbers: where it lies, its manifest, its cases and their arrays.

The folder is named by the environment variable ISNET_GOLDEN; without it, it is expected beside the
checkout. Everything is read from the files: no case, array or figure is known by name beforehand.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.paths import ROOT

VARIABLE = "ISNET_GOLDEN"
PRECISIONS = ("float64", "float32")

Array = NDArray[Any]


class UnknownFormError(Exception):
    """Something in the folder without a reading here: always a failure, never a skip."""


def folder() -> Path:
    """The folder of golden numbers, which need not exist."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else ROOT.parent / "shared" / "golden"


@dataclass(frozen=True, eq=False)
class Case:
    """One line of the manifest with its description; arrays are read when asked for.

    Attributes:
        name: Name in the manifest.
        entry: The manifest's line.
        meta: The case's JSON file.
        path: Its npz file, or None.
        names: Names of the arrays in it.
    """

    name: str
    entry: dict[str, Any] = field(repr=False)
    meta: dict[str, Any] = field(repr=False)
    path: Path | None
    names: tuple[str, ...] = field(repr=False)

    @property
    def description(self) -> dict[str, Any]:
        """The JSON file's description; empty where it is plain text or absent."""
        found = self.meta.get("description", {})
        return found if isinstance(found, dict) else {}

    def arrays(self) -> dict[str, Array]:
        """All arrays by name."""
        return {} if self.path is None else _arrays(self.path)

    def facts(self, key: str) -> dict[str, Any]:
        """What the JSON file says about one array."""
        found: dict[str, Any] = self.meta.get("arrays", {}).get(key, {})
        return found

    def left_out(self, key: str) -> bool:
        """Whether no match may be required: listed, or output of a known defect."""
        return key in self.entry.get("do_not_require", ()) or key.startswith("defect/")

    def required(self, *starts: str) -> list[str]:
        """Names of the arrays with one of these beginnings that must be met."""
        return [k for k in self.names if k.startswith(starts) and not self.left_out(k)]

    def tolerance(self, *keys: str) -> float:
        """The first of these tolerances that the manifest states."""
        stated = self.entry.get("tolerance", {})
        for key in keys:
            if key in stated:
                return float(stated[key])
        raise UnknownFormError(
            f"{self.name}: the manifest states none of the tolerances {keys}: {stated}"
        )


@functools.cache
def _arrays(path: Path) -> dict[str, Array]:
    with np.load(path) as stored:
        return dict(stored)


@functools.cache
def cases() -> tuple[Case, ...]:
    """Every case of the manifest; empty where there is no folder."""
    base = folder()
    if not base.is_dir():
        return ()
    manifest = json.loads((base / "manifest.json").read_text(encoding="utf-8"))
    return tuple(_case(base, entry) for entry in manifest["cases"])


def _case(base: Path, entry: dict[str, Any]) -> Case:
    meta = json.loads((base / entry["metadata"]).read_text(encoding="utf-8"))
    file = entry.get("arrays_file")
    path = base / file if file else None
    names: tuple[str, ...] = ()
    if path is not None:
        with np.load(path) as stored:
            names = tuple(stored.files)
    return Case(entry["case"], entry, meta, path, names)


def find(name: str) -> Case:
    """The case of that name, or one whose files lie in the folder without being listed."""
    for case in cases():
        if case.name == name:
            return case
    base = folder()
    if not (base / f"{name}.json").is_file():
        raise UnknownFormError(f"no case '{name}' in {base}")
    return _case(base, {"case": name, "metadata": f"{name}.json", "arrays_file": f"{name}.npz"})


def source(case: Case) -> Case:
    """The case that holds the network and the input: itself, or the one it names."""
    named = case.description.get("source_case")
    return case if named is None else source(find(named))


def kind(case: Case) -> str:
    """What a case holds, by its content; "unknown" where nothing here compares it."""
    meta, listed = case.meta, case.meta.get("cases")
    tests = {
        "losses": isinstance(listed, list) and all({"H", "M", "params"} <= set(c) for c in listed),
        "cuts": isinstance(listed, dict)
        and all("total_abs_relevance" in c for c in listed.values()),
        "metrics": "scores" in meta and "labels" in meta,
        "alternatives": isinstance(meta.get("expected"), dict),
        "gradients": "hyper" in case.description,
        "maps": any(name.split("/")[0] in MAP_GROUPS for name in case.names),
    }
    return next((name for name, holds in tests.items() if holds), "unknown")


MAP_GROUPS = ("block", "flex", "block_lds", "flex_lds")


def of_kind(wanted: str) -> list[Case]:
    """All cases of one kind."""
    return [case for case in cases() if kind(case) == wanted]


def params(values: Iterable[tuple[str, Any]], what: str) -> list[Any]:
    """Test parameters from (id, value); a single skipped one, with the reason, where none are."""
    found = [pytest.param(value, id=name) for name, value in values]
    if found:
        return found
    base = folder()
    reason = (
        f"{base} holds no {what}"
        if base.is_dir()
        else f"no golden numbers: {base} is absent (name their folder with {VARIABLE})"
    )
    return [pytest.param(None, id="none", marks=pytest.mark.skip(reason=reason))]


def sha256(path: Path) -> str:
    """Hexadecimal digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
