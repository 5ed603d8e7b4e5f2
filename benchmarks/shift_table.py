"""The shift table of several seeds: macro ROC-AUC of each set and version, mean and s.d.

    python benchmarks/shift_table.py runs/isnet-0 runs/isnet-1 runs/standard-0 runs/standard-1

Runs whose names differ only in a last `-SEED` are one row.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path


def main(paths: list[str]) -> None:
    if not paths:
        print("no runs given: nothing to tabulate")
        return
    aucs: dict[str, dict[tuple[str, str], list[float]]] = defaultdict(lambda: defaultdict(list))
    outside: dict[str, list[float]] = defaultdict(list)
    for path in map(Path, paths):
        name = path.name.rpartition("-")[0] or path.name
        sets = json.loads((path / "evaluate" / "metrics.json").read_text())["sets"]
        for key, versions in sets.items():
            for version, found in versions.items():
                aucs[name][key, version].append(found["macro"]["auc"])
        outside[name].append(sets["test"]["biased"]["relevance_outside"]["mean"])
    columns = list(next(iter(aucs.values())))
    print("| run |", " | ".join(f"{s}, {v}" for s, v in columns), "| outside the lungs |")
    print("|---" * (len(columns) + 2) + "|")
    for name, row in aucs.items():
        cells = [_mean(row[column]) for column in columns]
        print(f"| {name} |", " | ".join(cells), f"| {_mean(outside[name])} |")


def _mean(values: list[float]) -> str:
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


if __name__ == "__main__":
    main(sys.argv[1:])
