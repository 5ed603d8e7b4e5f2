"""Words for tests, runs and figures: names, intervals, and why some figures have none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isnet_cli.output.figures import number
from isnet_cli.report.results import RunResults, TestKey

VERSIONS = ("biased", "standard", "deceiving")
METRICS_FILE = "evaluate/metrics.json"  # as a source of figures
ScoreCell = Mapping[str, Any]
METHODS = {
    "dirichlet": "posterior of the confusion matrix",
    "beta": "posterior of the share",
    "delong": "DeLong",
    "newcombe": "Newcombe",
    "bootstrap": "bootstrap by patient",
    "bootstrap-logit": "bootstrap by patient, logit scale",
}
_PLACES = 3  # rows named in one note; more are counted


@dataclass(frozen=True)
class ShownScore:
    """One figure of a table.

    Attributes:
        where: The test and the run.
        name: The score.
        cell: ``{value, low, high, method}``, or ``why`` there is no interval; empty for none.
    """

    where: str
    name: str
    cell: ScoreCell


def format_score(value: float | None, digits: int = 3) -> str:
    """A score as text; ``n/a`` for none."""
    return "n/a" if value is None else f"{value:.{digits}f}"


def format_percent(value: float | None) -> str:
    """A share as per cent; ``n/a`` for none."""
    return "n/a" if value is None else f"{100 * value:.1f}\N{NO-BREAK SPACE}%"


def format_interval(
    value: float | None, cell: ScoreCell, say: Callable[[float | None], str] = format_score
) -> str:
    """``0.812 [0.745, 0.871]``; the figure alone where there is no interval."""
    low, high = number(cell.get("low")), number(cell.get("high"))
    if value is None or low is None or high is None:
        return say(value)
    return f"{say(value)} [{say(low)}, {say(high)}]"


def format_change(value: float | None) -> str:
    """A difference with its sign, ``n/a`` for none."""
    if value is None:
        return "n/a"
    text = f"{value:+.3f}"
    return "0.000" if text[1:] == "0.000" else text.replace("-", "\N{MINUS SIGN}")


def format_p(cell: ScoreCell) -> str:
    """A two-sided p as text."""
    p = number(cell.get("p"))
    if p is None:
        return "n/a"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def explain_intervals(shown: Iterable[ShownScore]) -> list[str]:
    """How the intervals of a table were made, and which figures have none and why."""
    methods: dict[str, dict[str, None]] = {}
    reasons: dict[str, dict[str, list[str]]] = {}
    for item in shown:
        if number(item.cell.get("low")) is not None:
            method = str(item.cell.get("method", "unknown"))
            methods.setdefault(item.name, {})[METHODS.get(method, method)] = None
        elif number(item.cell.get("value")) is not None:
            why = str(item.cell.get("why", "no reason is given"))
            reasons.setdefault(why, {}).setdefault(item.where, []).append(item.name)
    notes = []
    if methods:
        scores: dict[str, list[str]] = {}
        for name, own in methods.items():
            scores.setdefault(" or ".join(own), []).append(name)
        made = "; ".join(f"{', '.join(names)}: {own}" for own, names in scores.items())
        notes.append(f"In brackets: 95\N{NO-BREAK SPACE}% intervals ({made}).")
    return notes + [
        f"No interval for {_name_scores(places)}: {why}." for why, places in reasons.items()
    ]


def _name_scores(places: Mapping[str, Sequence[str]]) -> str:
    """Scores and the rows that lack an interval."""
    groups: dict[str, list[str]] = {}
    for where, names in places.items():
        groups.setdefault(", ".join(dict.fromkeys(names)), []).append(where)
    return "; ".join(f"{names} ({name_places(rows)})" for names, rows in groups.items())


def name_places(places: Sequence[str]) -> str:
    """The rows of a table when they are few, else their number."""
    return "; ".join(places) if len(places) <= _PLACES else f"{len(places)} rows"


def format_share(value: float | None, cell: ScoreCell) -> str:
    """A share and its interval in per cent."""
    low, high = number(cell.get("low")), number(cell.get("high"))
    if value is None or low is None or high is None:
        return format_percent(value)
    return f"{format_percent(value)} [{100 * low:.1f}, {100 * high:.1f}]"


def list_sources(runs: Sequence[RunResults], test: TestKey, *names: str) -> list[str]:
    """The files of one test that are called `names`, of each run; with its name when several."""
    several = len(runs) > 1
    return [
        f"{run.name}/{file}" if several else file
        for run in runs
        for file in run.list_files(test, *names)
    ]


def list_tests(runs: Sequence[RunResults]) -> list[TestKey]:
    """All (set, version) of the runs: sets as first met; biased, standard, deceiving."""
    found: dict[str, set[str]] = {}
    for run in runs:
        for name, versions in run.metrics.get("sets", {}).items():
            found.setdefault(name, set()).update(versions)
    return [
        (name, version)
        for name, versions in found.items()
        for version in sorted(versions, key=lambda v: VERSIONS.index(v) if v in VERSIONS else 9)
    ]


def has_versions(tests: Sequence[TestKey]) -> bool:
    """Whether some set was tested in more than one version."""
    return len({name for name, _ in tests}) < len(tests)


def name_tests(tests: Sequence[TestKey]) -> list[str]:
    """What each test is called on one line: the version is named where sets have more than one."""
    several = has_versions(tests)
    return [f"{name} · {version}" if several else name for name, version in tests]


def list_test_heads(tests: Sequence[TestKey]) -> tuple[str, ...]:
    """Heads of the columns that `list_test_cells` fills."""
    return ("test set", "version") if has_versions(tests) else ("test set",)


def list_test_cells(tests: Sequence[TestKey]) -> list[tuple[str, ...]]:
    """What each test is called in the first columns of a table."""
    return [test if has_versions(tests) else test[:1] for test in tests]


def list_heads(runs: Sequence[RunResults], tests: Sequence[TestKey]) -> tuple[str, ...]:
    """Heads of the first columns of a table with a row for each test and run."""
    return (*list_test_heads(tests), *list_run_heads(runs))


def iterate_rows(
    runs: Sequence[RunResults], tests: Sequence[TestKey]
) -> Iterator[tuple[TestKey, RunResults, str, tuple[str, ...]]]:
    """Each test and run, their names in a note, and the first cells of their row."""
    for test, name, cells in zip(tests, name_tests(tests), list_test_cells(tests), strict=True):
        for run in runs:
            yield test, run, f"{name}, {run.name}", (*cells, *list_run_cells(runs, run))


def list_run_heads(runs: Sequence[RunResults]) -> tuple[str, ...]:
    """Head of the column that names the run; a run by itself needs none."""
    return ("run",) if len(runs) > 1 else ()


def list_run_cells(runs: Sequence[RunResults], run: RunResults) -> tuple[str, ...]:
    """The run in that column."""
    return (run.name,) if len(runs) > 1 else ()
