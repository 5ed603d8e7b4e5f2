"""`isnet report` and `isnet compare`: pages about finished runs, alone or with paired tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from isnet_cli.cli.options import ScreenOptions, with_options
from isnet_cli.cli.session import Result, Session, execute
from isnet_cli.cli.source import STDIN, require_run
from isnet_cli.cli.terminal.streams import write_result
from isnet_cli.errors import EXIT_SKIPPED, IsnetError
from isnet_cli.text.tables import format_table

Reported = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")]
Page = Annotated[
    Path | None,
    typer.Option(
        "-o", "--output", metavar="FILE", help="HTML file, - for stdout [report.html in the run]."
    ),
]


@with_options(ScreenOptions)
def report(options: ScreenOptions, runs: Reported, output: Page = None) -> int:
    """Write an HTML report on one run or several."""

    def body(session: Session) -> Result:
        from isnet_cli.config.load import load
        from isnet_cli.core.pipeline import open_run, run_stage, stage_module
        from isnet_cli.core.run_folder import REPORT
        from isnet_cli.report.write import build_report, check_page, make_report

        if output is None and len(runs) > 1:
            raise IsnetError("usage", "a report on several runs needs a place: -o FILE")
        configs = [load(require_run(path, "RUN") / "isnet.yaml") for path in runs]
        session.hide_names(*configs)
        folders = [open_run(path, one) for path, one in zip(runs, configs, strict=True)]
        if output == STDIN:
            page = make_report(folders, session.context())
            if not options.json:
                write_result(page.rstrip("\n"))
            return Result({"page": page})
        place = runs[0] / "report.html"
        if len(runs) == 1 and (output is None or output.absolute() == place.absolute()):
            stage = stage_module(REPORT)
            run_stage(stage, configs[0], folders[0], session.context(), force=True)
            return Result({"report": str(place)}, str(place))
        check_page(output or place)
        path = build_report(folders, output or place, session.context())
        return Result({"report": str(path)}, str(path))

    return execute("report", options, body)


Compared = Annotated[
    list[Path], typer.Argument(metavar="RUN...", help="Folders of evaluated runs.")
]
Comparison = Annotated[
    Path,
    typer.Option("-o", "--output", metavar="FILE", help="HTML file; its data lie beside it."),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the files of an earlier comparison.")
]


@with_options(ScreenOptions)
def compare(
    options: ScreenOptions,
    runs: Compared,
    output: Comparison = Path("compare.html"),
    overwrite: Overwrite = False,
) -> int:
    """Compare runs on the same images, with paired tests."""

    def body(session: Session) -> Result:
        from isnet_cli.config.load import load
        from isnet_cli.core.pipeline import open_run
        from isnet_cli.report.compare.write import compare_runs

        chosen = []
        for path in runs:
            config = load(require_run(path, "RUN") / "isnet.yaml")
            chosen.append((open_run(path, config), config))
        session.hide_names(*(config for _, config in chosen))
        found = compare_runs(chosen, output, session.context(), overwrite=overwrite)
        document = {**found.content, "files": [str(path) for path in found.files]}
        differs = any(one["kind"] == "differs" for one in found.content["left_out"])
        text = format_comparison(found.content, str(found.page))
        return Result(document, text, EXIT_SKIPPED if differs else 0)

    return execute("compare", options, body)


SCORES = {"macro_f1": "macro F1", "macro_auc": "AUC", "balanced_accuracy": "balanced acc."}
TESTED = ("macro_f1", "macro_auc")
MOST = 40  # lines of tests; more are in the CSV file alone
Content = Mapping[str, Any]


def format_comparison(content: Content, page: str) -> str:
    """What the command prints.

    Args:
        content: The comparison.
        page: Path of the page.
    """
    parts = [_scores(content), _tests(content), _seeds(content), f"page: {page}"]
    return "\n\n".join(part for part in parts if part)


def _scores(content: Content) -> str:
    rows = []
    for test in content["tests"]:
        for run, own in test["runs"].items():
            cut = own["reliance"]
            rows.append(
                [
                    test["set"], test["version"], run, str(test["labelled"]),
                    *(_ranged(own["scores"][name]) for name in SCORES),
                    _figure(cut["auc"]["lungs_removed"]["value"]), _percent(cut["flips"]["value"]),
                    _figure(cut["gap_auc"]["value"]), _percent(cut["outside"]["mean"]),
                ]
            )  # fmt: skip
    head = ["set", "version", "run", "images", *SCORES.values()]
    return format_table([*head, "AUC no lungs", "flips", "AUC gap", "outside lungs"], rows)


def _tests(content: Content) -> str:
    pairs = content["comparisons"]["pairs"]
    if not pairs:
        return ""
    if len(pairs) > MOST:
        return f"{len(pairs)} paired comparisons: see the page and its table of tests"
    rows = []
    for pair in pairs:
        cells = []
        for name in TESTED:
            cell = pair["differences"][name]
            cells += [_ranged(cell, "+"), _p(cell["p_holm"])]
        rows.append([pair["set"], pair["version"], f"{pair['second']} - {pair['first']}", *cells])
    heads = [words for name in TESTED for words in (SCORES[name], "p (Holm)")]
    count = "1 comparison" if len(pairs) == 1 else f"{len(pairs)} comparisons"
    words = f"p (Holm): corrected for the {count} of each score"
    return f"{format_table(['paired', 'version', 'difference', *heads], rows)}\n{words}"


def _seeds(content: Content) -> str:
    rows = [
        [
            group["name"], str(len(group["runs"])), test["set"], test["version"],
            *(_spread(test["figures"][name]) for name in SCORES),
        ]
        for group in content["seeds"]
        for test in group["tests"]
    ]  # fmt: skip
    if not rows:
        return ""
    return format_table(["mean, s.d.", "seeds", "set", "version", *SCORES.values()], rows)


def _ranged(cell: Content, sign: str = "") -> str:
    if cell["value"] is None:
        return "-"
    text = f"{cell['value']:{sign}.3f}"
    known = cell["low"] is not None
    return f"{text} [{cell['low']:{sign}.3f}, {cell['high']:{sign}.3f}]" if known else text


def _spread(cell: Content) -> str:
    if cell["mean"] is None:
        return "-"
    return _figure(cell["mean"]) + ("" if cell["sd"] is None else f", {cell['sd']:.3f}")


def _p(value: float | None) -> str:
    if value is None:
        return "-"
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"
