"""The scores of a benchmark's finished cells, and their mean and spread over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isnet_cli.benchmark.cells import CELLS, Cell
from isnet_cli.config.schema import Config
from isnet_cli.core.pipeline import open_run
from isnet_cli.dataset.evaluation_sets import TRAINING_SETS
from isnet_cli.report.compare.figures import EMPTY, collect_reliance, make_cell
from isnet_cli.report.results import RunResults, TestKey, read_evaluated
from isnet_cli.stats.seeds import summarise_runs

RATES = ("f1", "auc", "precision", "recall", "specificity")
SINGLE = ("accuracy", "balanced_accuracy")
OUTSIDE, POINTING = "relevance_outside", "pointing"
OF_CELL = {"method": "interval"}  # the method of an interval; that of a training is another
COLUMNS = (
    *("data", "method", "seed", "set", "version", "score"),
    *(OF_CELL.get(key, key) for key in EMPTY),
)


@dataclass(frozen=True)
class SeedScore:
    """One score of one cell on one test.

    Attributes:
        seed: Of the training.
        cell: ``value``, ``low``, ``high`` (95 %), ``sd``, ``method``, ``why``; any may be None.
    """

    seed: int
    cell: Mapping[str, Any]

    def is_apart(self, other: SeedScore) -> bool:
        """Whether both have intervals and these do not overlap."""
        a, b = self.cell, other.cell
        if any(end is None for end in (a["low"], a["high"], b["low"], b["high"])):
            return False
        return bool(a["low"] > b["high"] or b["low"] > a["high"])


@dataclass(frozen=True)
class BenchmarkScores:
    """All figures of the finished cells.

    Attributes:
        figures: (data, method, set, version, score) -> one figure a seed.
        tests: Data setting -> tests in the order of evaluation, those of training left out where
            there are others.
        reference: Data setting -> the set of the training's own kind.
        configs: (data, method) -> the settings of its first finished cell.
        classes: Number of classes; 0 without a finished cell.
    """

    figures: dict[tuple[str, str, str, str, str], list[SeedScore]] = field(default_factory=dict)
    tests: dict[str, list[TestKey]] = field(default_factory=dict)
    reference: dict[str, str] = field(default_factory=dict)
    configs: dict[tuple[str, str], Config] = field(default_factory=dict)
    classes: int = 0

    def of(self, data: str, method: str, test: TestKey, score: str) -> list[SeedScore]:
        """Figures of one row on one test, one a seed; empty when there is none."""
        return self.figures.get((data, method, *test, score), [])


def read_results(cells: Sequence[Cell], output: Path) -> BenchmarkScores:
    """Figures of `cells`, which are finished.

    Raises:
        IsnetError: Kind "data", when a file of a cell is damaged.
    """
    results, classes = BenchmarkScores(), 0
    for cell in cells:
        folder = open_run(output / CELLS / cell.name, cell.config)
        run = read_evaluated(folder, cell.config, cell.name)
        classes = classes or len(run.classes)
        known = results.tests.setdefault(cell.data, [])
        known += [test for test in _list_shown_tests(run) if test not in known]
        results.reference.setdefault(cell.data, _find_reference(run))
        results.configs.setdefault((cell.data, cell.method), cell.config)
        for test in run.tests:
            for score, found in _collect_figures(run, test).items():
                place = (cell.data, cell.method, *test, score)
                results.figures.setdefault(place, []).append(SeedScore(cell.seed, found))
    return BenchmarkScores(
        results.figures, results.tests, results.reference, results.configs, classes
    )


def _list_shown_tests(run: RunResults) -> list[TestKey]:
    tests = [test for test in run.tests if test[0] not in TRAINING_SETS]
    return tests or run.tests


def _find_reference(run: RunResults) -> str:
    """The set that is configured as reference, else the first that took no part in training."""
    return run.config.evaluate.reference or _list_shown_tests(run)[0][0]


def _collect_figures(run: RunResults, test: TestKey) -> dict[str, dict[str, Any]]:
    scores = run.scores(test)
    intervals = scores.get("intervals") or {}
    found = {f"macro_{rate}": make_cell(scores, intervals, ("macro", rate)) for rate in RATES}
    found |= {name: make_cell(scores, intervals, (name,)) for name in SINGLE}
    reliance = collect_reliance(run, test)
    outside = reliance["outside"]
    found[OUTSIDE] = {**EMPTY, "value": outside["mean"], "why": outside["why"]}
    found |= {name: reliance[name] for name in ("flips", "gap_auc")}
    found["auc_lungs_removed"] = reliance["auc"]["lungs_removed"]
    if reliance["findings"]["n"]:
        found[POINTING] = reliance["findings"]["pointing"]
    return found


def list_score_rows(results: BenchmarkScores) -> list[dict[str, Any]]:
    """One line a cell, test and score, as `COLUMNS`."""
    return [
        {
            "data": data, "method": method, "seed": figure.seed, "set": name, "version": version,
            "score": score,
            **{OF_CELL.get(key, key): format_number(figure.cell.get(key)) for key in EMPTY},
        }
        for (data, method, name, version, score), found in results.figures.items()
        for figure in found
    ]  # fmt: skip


def format_number(value: Any) -> str:
    """The shortest text that reads back as the same number; empty for None."""
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class RowSummary:
    """One score of one row over its seeds.

    Attributes:
        mean: Over seeds; None without a value.
        sd: Standard deviation (n - 1) over seeds; None for one seed.
        seeds: How many have a value.
        low: 95 % interval of the images, for one seed alone; None where there is none.
        high: Likewise.
        from_standard: Its interval does not overlap the one of the row `standard`, with any seed.
        from_best: Likewise of the row with the highest mean.
        best: It is that row.
    """

    mean: float | None
    sd: float | None
    seeds: int
    low: float | None = None
    high: float | None = None
    from_standard: bool = False
    from_best: bool = False
    best: bool = False


def summarise(
    column: Mapping[str, Sequence[SeedScore]], standard: str | None, *, rising: bool = True
) -> dict[str, RowSummary]:
    """One column of a table: a score of all rows.

    Args:
        column: Row -> its figures, one a seed.
        standard: The row of plain training, or None.
        rising: Whether more is better; without, no row is the best.
    """
    spread = {
        name: summarise_runs([f.cell["value"] for f in found]) for name, found in column.items()
    }
    means = {name: one["mean"] for name, one in spread.items() if one["mean"] is not None}
    best = max(means, key=lambda name: means[name]) if rising and len(means) > 1 else None
    summaries = {}
    for name, found in column.items():
        one = spread[name]
        single = found[0].cell if len(found) == 1 else EMPTY
        summaries[name] = RowSummary(
            one["mean"], one["sd"], one["runs"], single["low"], single["high"],
            from_standard=standard not in (None, name) and are_apart(found, column[standard]),
            from_best=best not in (None, name) and are_apart(found, column[best]),
            best=name == best,
        )  # fmt: skip
    return summaries


def are_apart(left: Sequence[SeedScore], right: Sequence[SeedScore]) -> bool:
    """Whether with every seed that both have, and at least one, the intervals do not overlap."""
    others = {figure.seed: figure for figure in right}
    pairs = [(figure, others[figure.seed]) for figure in left if figure.seed in others]
    return bool(pairs) and all(one.is_apart(other) for one, other in pairs)
