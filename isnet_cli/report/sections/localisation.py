"""Maps against annotated findings: pointing game, share on the finding, ratio, per class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isnet_cli.output.figures import Bars, number, reliance_figure
from isnet_cli.report.blocks import Block, Fold, Grid, Notice, Section, Table, Text
from isnet_cli.report.drawings import embed_figure
from isnet_cli.report.results import RunResults, TestKey, find_cell
from isnet_cli.report.wording import (
    METRICS_FILE,
    ShownScore,
    explain_intervals,
    format_interval,
    format_percent,
    format_score,
    format_share,
    iterate_rows,
    list_heads,
    list_tests,
    name_tests,
)

WHERE = f"{METRICS_FILE}: sets.<set>.<version>.localisation"
LINES = "evaluate/<set>/<version>/localisation.csv"
HEADS = ("findings", "strongest place on it", "chance", "relevance on it", "lungs' area", "ratio")


def build_localisation_section(runs: Sequence[RunResults]) -> Section | None:
    """Figures of the runs with annotations; None where no run has any."""
    asked = [run for run in runs if any(_has_annotations(run, t) for t in run.tests)]
    if not asked:
        return None
    tests = [t for t in list_tests(runs) if any(run.localisation(t).get("n") for run in runs)]
    blocks: list[Block] = []
    if not tests:
        reasons = [str(run.localisation(t).get("why", "")) for run in asked for t in run.tests]
        why = next(filter(None, reasons), "no finding was measured")
        blocks.append(Notice(f"No maps to compare with annotations: {why}.", "empty"))
    else:
        blocks += [_explain(runs, tests), _draw_bars(runs, tests), _tabulate(runs, tests)]
        blocks.append(Fold("Findings of each class", _tabulate_classes(runs, tests)))
    files = (METRICS_FILE, *([LINES] if tests else []))
    return Section("findings", "Maps against annotated findings", blocks, files)


def _has_annotations(run: RunResults, test: TestKey) -> bool:
    found = run.localisation(test)
    return bool(found.get("n")) or bool(found.get("left_out"))


def _explain(runs: Sequence[RunResults], tests: Sequence[TestKey]) -> Text:
    first = next(run.localisation(t) for t in tests for run in runs if run.localisation(t).get("n"))
    return Text(
        f"Measured on {first.get('map') or 'the map of each class'}, image by image: whether the "
        "strongest place of the positive relevance lies on the finding or next to it (the pointing "
        "game), beside the chance of a place drawn at random from the lungs; and the share of the "
        "positive relevance that lies on the finding. The ratio is that share, divided by the "
        "finding's share of the lungs' area: 1 for a map that is even over the lungs."
    )


def _draw_bars(runs: Sequence[RunResults], tests: Sequence[TestKey]) -> Grid:
    names = name_tests(tests)
    found = {run.name: [run.localisation(t) for t in tests] for run in runs}
    values = {
        name: [number(find_cell(one, "pointing").get("value")) for one in own]
        for name, own in found.items()
    }
    chance = {name: [number(one.get("chance")) for one in own] for name, own in found.items()}
    bars = Bars(
        [name.replace(" · ", "\n") for name in names], values, "strongest place on the finding",
        marks=chance, mark_label="chance",
    )  # fmt: skip
    words = "; ".join(
        f"{run}: {', '.join(f'{n} {format_percent(v)}' for n, v in zip(names, own, strict=True))}"
        for run, own in values.items()
    )
    alt = f"Bars of the share of findings that maps point at. {words}"
    picture = embed_figure(reliance_figure(bars), alt, keep_width=True)
    return Grid([picture], least=400 if picture.width < 470 else 640, sources=[WHERE])


def _tabulate(runs: Sequence[RunResults], tests: Sequence[TestKey]) -> Table:
    rows, shown, notes = [], [], []
    heads = list_heads(runs, tests)
    for test, run, where, cells in iterate_rows(runs, tests):
        found = run.localisation(test)
        if not found.get("n"):
            notes += [f"{where}: {found['why']}."] if found.get("why") else []
            continue
        rows.append((*cells, *_format_figures(found)))
        shown += _list_shown(where, found)
        for words, key in (("annotations left out", "left_out"), ("not measured", "no_map")):
            counts = ", ".join(f"{n} ({why})" for why, n in (found.get(key) or {}).items())
            notes += [f"{where}: {words}: {counts}."] if counts else []
    return Table(
        (*heads, *HEADS),
        rows,
        numbers_from=len(heads),
        notes=[*explain_intervals(shown), *notes],
        sources=[WHERE],
    )


def _tabulate_classes(runs: Sequence[RunResults], tests: Sequence[TestKey]) -> Table:
    rows, shown = [], []
    heads = list_heads(runs, tests)
    for test, run, where, cells in iterate_rows(runs, tests):
        for name, found in find_cell(run.localisation(test), "per_class").items():
            if found["n"]:
                rows.append((*cells, name, *_format_figures(found)))
                shown += _list_shown(f"{where}, {name}", found)
    return Table(
        (*heads, "class", *HEADS),
        rows,
        numbers_from=len(heads) + 1,
        notes=explain_intervals(shown),
        sources=[f"{WHERE}.per_class"],
    )


def _format_figures(found: Mapping[str, Any]) -> tuple[str, ...]:
    pointing, inside, ratio = (found[name] for name in ("pointing", "inside_share", "ratio"))
    return (
        str(found["n"]),
        format_share(number(pointing["value"]), pointing),
        format_percent(number(found["chance"])),
        format_share(number(inside["value"]), inside),
        format_percent(number(found["lungs_share"])),
        format_interval(number(ratio["value"]), ratio, lambda value: format_score(value, 2)),
    )


def _list_shown(where: str, found: Mapping[str, Any]) -> list[ShownScore]:
    names = {"pointing": HEADS[1], "inside_share": HEADS[3], "ratio": HEADS[5]}
    return [ShownScore(where, words, found[name]) for name, words in names.items()]
