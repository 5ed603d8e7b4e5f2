"""Public collections in miniature, from `isnet init` to `isnet ingest`: films that are joined.

``python -m benchmarks.data_sets`` makes each layout that the tests have (true folders, file names
and columns; invented films) in a temporary folder, and prints a line for each: films that its
tables name and are there, films that `ingest` gives a label, sets, patients, findings drawn.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from isnet_cli.cli.app import main as isnet
from isnet_cli.core.files import read_csv
from isnet_cli.images.manifest import read_manifest
from tests.check.collections.miniatures import MINIATURES, chexpert_batches, vinbigdata

LAYOUTS = {**MINIATURES, "chexpert, batches": chexpert_batches, "vindr-cxr, Kaggle": vinbigdata}


def call(*words: str) -> dict[str, Any]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        code = isnet([*words, "--json"])
    assert code in (0, 7), out.getvalue()
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def main() -> None:
    print(f"{'layout':<20} films labelled  sets                       patients findings")
    for name, make in LAYOUTS.items():
        with tempfile.TemporaryDirectory() as place:
            os.chdir(place)
            make(Path(place, "data"))
            done = call("init", "data")
            call("ingest", "isnet.yaml", "-o", "run", "-j", "0")
            rows = read_manifest(Path("run/ingest/manifest.csv"))
            films = {line["file"] for line in read_csv(Path(done["table"]))}
            labelled = sum(bool(row.label) for row in rows)
            names = sorted({row.set for row in rows} - {""})
            sets = ", ".join(f"{n} {sum(row.set == n for row in rows)}" for n in names)
            patients = done["patients"] or "-"
            print(
                f"{name:<20} {len(films):>5} {labelled:>8}  {sets:<26} {patients:>8}"
                f" {done['drawn']:>8}"
            )
            os.chdir("/")


if __name__ == "__main__":
    main()
