"""The tables of a benchmark, laid out as in the ISNet papers: as text and as numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isnet_cli.benchmark.scores import (
    OUTSIDE,
    POINTING,
    BenchmarkScores,
    RowSummary,
    SeedScore,
    summarise,
)
from isnet_cli.config.benchmark import ALL
from isnet_cli.dataset.evaluation_sets import BIASED
from isnet_cli.text.forms import for_markdown

STANDARD = "standard"
BIAS, DOMAINS, COST = "bias", "domains", "cost"
SUMMARY = ("mean", "sd", "seeds", "low", "high", "from_standard", "from_best")
FIGURE_COLUMNS = ("data", "set", "kind", "method", "version", "score", *SUMMARY)
COST_COLUMNS = (
    *("method", "step_ms_median", "step_ms_min", "step_ms_max", "ratio", "ratio_min", "ratio_max"),
    *("images_per_second", "parameters", "trainable", "step_memory_mb", "device", "threads", "why"),
)
DOMAIN_SCORES = {
    "macro_f1": "maF1", "macro_auc": "macro AUC", "macro_precision": "precision",
    "macro_recall": "recall", "macro_specificity": "specificity",
}  # fmt: skip
BIAS_SCORES = (("maF1", "macro_f1", True), ("AUC", "macro_auc", False))
ONE_SEED = "one seed: in brackets the 95 % interval over the test images"
SEEDS = "several seeds: mean ± s.d. over the seeds; tables/scores.csv has the interval of each seed"
HIGHEST = "that of the row with the highest mean (bold)"
EACH = "; of several seeds, with each that both rows have"
ON_BIASED = (
    "biased: with the shapes seen in training, where a classifier that reads them scores high, so "
    "nothing is bold; deceiving: with the shapes of another class. Outside lungs: mean share of "
    "|relevance| outside the lungs on biased images"
)
POINTS = (
    "pointing: share of annotated findings that the strongest place of the map lies on, without "
    "shapes; tables/scores.csv has it for every version"
)
TWO_CLASSES = "two classes: recall and specificity, averaged over both, are the same number"


@dataclass(frozen=True)
class BenchmarkTable:
    """One table.

    Attributes:
        kind: `BIAS`, `DOMAINS` or `COST`.
        title: What it shows.
        head: Names of the columns, the first being the method.
        rows: Texts of the cells.
        brief: The same without the intervals that a terminal has no room for.
        notes: Notes for readers.
        figures: The numbers behind, one line each, for the CSV.
    """

    kind: str
    title: str
    head: list[str]
    rows: list[list[str]]
    brief: list[list[str]]
    notes: list[str]
    figures: list[dict[str, Any]]

    @property
    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"kind": self.kind, "title": self.title, "rows": self.figures, "notes": self.notes}


@dataclass(frozen=True)
class _Column:
    """One score on one version of a set."""

    head: str
    version: str
    score: str
    ranged: bool = False  # the terminal shows its interval, too
    rising: bool = True


def build_score_tables(
    results: BenchmarkScores, methods: Sequence[str], seeds: int
) -> list[BenchmarkTable]:
    """All tables of scores.

    Args:
        results: What was read.
        methods: Rows, in order.
        seeds: How many each row should have.
    """
    tables = []
    for data, tests in results.tests.items():
        for name in dict.fromkeys(test[0] for test in tests):
            if (name, "deceiving") in tests:
                columns = [
                    _Column(f"{head} {v}", v, score, ranged, rising=v != "biased")
                    for head, score, ranged in BIAS_SCORES
                    for v in BIASED
                ]
                columns.append(_Column("outside lungs", "biased", OUTSIDE, rising=False))
                columns += _list_pointing(results, data, name)
                tables.append(_build_table(results, methods, seeds, data, name, BIAS, columns))
    for data, tests in results.tests.items():
        for name in dict.fromkeys(test[0] for test in tests):
            columns = [
                _Column(head, "standard", score, ranged=score == "macro_f1")
                for score, head in DOMAIN_SCORES.items()
            ]
            columns += _list_pointing(results, data, name)
            tables.append(_build_table(results, methods, seeds, data, name, DOMAINS, columns))
    return tables


def _list_pointing(results: BenchmarkScores, data: str, name: str) -> list[_Column]:
    """The column of maps that point at annotated findings, where any row has it."""
    place = (data, name, "standard", POINTING)
    known = {(key[0], *key[2:]) for key in results.figures}
    return [_Column("pointing", "standard", POINTING)] if place in known else []


def find_standard_row(results: BenchmarkScores, data: str, methods: Sequence[str]) -> str | None:
    """The row of plain training: the one of that name, else the first that trains so."""
    plainly = [
        name
        for name in methods
        if (data, name) in results.configs and results.configs[data, name].train.method == STANDARD
    ]
    return STANDARD if STANDARD in plainly else next(iter(plainly), None)


def _build_table(
    results: BenchmarkScores,
    methods: Sequence[str],
    seeds: int,
    data: str,
    name: str,
    kind: str,
    columns: Sequence[_Column],
) -> BenchmarkTable:
    rows = [method for method in methods if (data, method) in results.configs]
    standard = find_standard_row(results, data, methods)
    found: list[dict[str, RowSummary]] = []
    counts: dict[str, int] = dict.fromkeys(rows, 0)
    for column in columns:
        values: dict[str, list[SeedScore]] = {
            row: results.of(data, row, (name, column.version), column.score) for row in rows
        }
        found.append(summarise(values, standard, rising=column.rising))
        counts = {row: max(counts[row], len(values[row])) for row in rows}
    pointing = any(column.score == POINTING for column in columns)
    words = {row: row if counts[row] == seeds else f"{row} ({counts[row]} of {seeds} seeds)"
             for row in rows}  # fmt: skip
    domain = "i.i.d." if name == results.reference[data] else "o.o.d."
    lone = set(results.tests) == set(ALL)  # no data settings to tell apart
    parts = [*(["synthetic bias"] if kind == BIAS else []), *([] if lone else [data])]
    title = (f"{', '.join(parts)}: " if parts else "") + f"{name}, {domain}"
    return BenchmarkTable(
        kind,
        title,
        ["method", *(column.head for column in columns)],
        [[words[row], *(format_summary(one[row]) for one in found)] for row in rows],
        [
            [words[row], *(format_summary(one[row], brief=not column.ranged, bold=False)
                           for column, one in zip(columns, found, strict=True))]
            for row in rows
        ],
        _list_notes(found, standard, kind, results.classes, pointing=pointing),
        [
            {
                "data": data, "set": name, "kind": domain, "method": row,
                "version": column.version, "score": column.score,
                **{key: getattr(one[row], key) for key in SUMMARY},
            }
            for row in rows
            for column, one in zip(columns, found, strict=True)
        ],
    )  # fmt: skip


def _list_notes(
    columns: Sequence[Mapping[str, RowSummary]],
    standard: str | None,
    kind: str,
    classes: int,
    *,
    pointing: bool,
) -> list[str]:
    """Notes for readers of a table of scores."""
    shown = [one for column in columns for one in column.values() if one.mean is not None]
    several = any(one.sd is not None for one in shown)
    notes = [ONE_SEED] if any(one.sd is None for one in shown) else []
    notes += [SEEDS] if several else []
    notes.append(explain_marks(standard, several=several))
    notes += [ON_BIASED] if kind == BIAS else []
    notes += [POINTS] if pointing else []
    return notes + ([TWO_CLASSES] if kind == DOMAINS and classes == 2 else [])


def explain_marks(standard: str | None, *, several: bool) -> str:
    """What the marks say.

    Args:
        standard: The row of plain training, or None.
        several: Whether there are rows of several seeds.
    """
    dagger = f"† interval does not overlap that of `{standard}`, ‡" if standard else "‡ interval"
    verb = "" if standard else " does not overlap"
    return f"{dagger}{verb} {HIGHEST}{EACH if several else ''}"


def format_summary(one: RowSummary, *, brief: bool = False, bold: bool = True) -> str:
    """A figure with its spread or interval and its marks; ``-`` without one."""
    if one.mean is None:
        return "-"
    text = f"{one.mean:.3f}"
    if one.sd is not None:
        text += f" ± {one.sd:.3f}"
    elif one.low is not None and one.high is not None and not brief:
        text += f" [{one.low:.3f}, {one.high:.3f}]"
    text = f"**{text}**" if bold and one.best else text
    return text + "†" * one.from_standard + "‡" * one.from_best


def build_cost_table(
    cost: Mapping[str, Mapping[str, Any]], methods: Sequence[str]
) -> BenchmarkTable:
    """Time, size and memory of each method.

    Args:
        cost: Row -> its figures, with the keys of `COST_COLUMNS`; ``why`` where there are none.
        methods: Rows, in order.
    """
    found = {row: cost[row] for row in methods if row in cost}
    lines, notes = [], []
    for row, one in found.items():
        if one.get("why"):
            notes.append(f"{row}: not measured: {one['why']}")
        lines.append([row, *(_format_cost(one))])
    first = next((one for one in found.values() if not one.get("why")), None)
    if first is not None:
        threads = "" if first["threads"] is None else f", {first['threads']} threads"
        notes.insert(
            0,
            f"on {first['device']}{threads}; step: median [least, largest] of {first['steps']}"
            f" steps of {first['batch_size']} images; ratio: to a step of `standard` taken in turn"
            " with it; speed: the trained network alone; memory: of a step, above the idle process",
        )
    head = ["method", "step, ms", "ratio", "images/s", "parameters", "trainable", "memory, MB"]
    figures = [
        {"method": row, **{k: one.get(k) for k in COST_COLUMNS[1:]}} for row, one in found.items()
    ]
    return BenchmarkTable(COST, "cost", head, lines, lines, notes, figures)


def _format_cost(one: Mapping[str, Any]) -> list[str]:
    if one.get("why"):
        return ["-"] * 6
    step = f"{one['step_ms_median']:.0f} [{one['step_ms_min']:.0f}, {one['step_ms_max']:.0f}]"
    memory = one["step_memory_mb"]
    return [
        step,
        f"{one['ratio']:.2f}",
        f"{one['images_per_second']:.0f}",
        f"{one['parameters']:,}",
        f"{one['trainable']:,}",
        "-" if memory is None else f"{memory:.0f}",
    ]


def render_markdown(
    name: str, tables: Sequence[BenchmarkTable], failed: Sequence[Mapping[str, Any]], note: str = ""
) -> str:
    """The page of all tables; `note`: how far they are, where they are not complete."""
    parts = [f"# {for_markdown(name)}", *([note] if note else [])]
    for table in tables:
        parts.append(f"## {for_markdown(table.title)}")
        lines = [
            _format_line(table.head, len(table.head)),
            _format_line(["---"] * len(table.head), 0),
        ]
        parts.append("\n".join([*lines, *(_format_line(row) for row in table.rows)]))
        parts += ["\n".join(f"- {note}" for note in table.notes)] if table.notes else []
    if failed:
        lines = [_format_line(["cell", "what failed"]), _format_line(["---"] * 2, 0)]
        lines += [_format_line([str(one["task"]), str(one["error"])], 2) for one in failed]
        parts += ["## not done", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def _format_line(cells: Sequence[str], names: int = 1) -> str:
    """A line of a table, of whose cells the first ones are names."""
    return f"| {' | '.join([*map(for_markdown, cells[:names]), *cells[names:]])} |"
