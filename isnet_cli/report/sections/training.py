"""Training: curves of each run, and where it ended."""

from __future__ import annotations

from collections.abc import Sequence

from isnet_cli.output.figures import curve_panels, number, quantities
from isnet_cli.output.plotting import data_uri, svg_text
from isnet_cli.report.document import Block, Grid, Notice, Picture, Section, Table
from isnet_cli.report.facts import RunFacts, figure_of

FILES = ("train/history.csv", "train/model.json")


def training_section(runs: Sequence[RunFacts]) -> Section:
    """One row of curves a run, and a table of the last epoch and of the kept one."""
    blocks: list[Block] = []
    trained = [run for run in runs if run.history]
    for run in trained:
        blocks += [_curves(run, titled=len(runs) > 1), _last_values(run)]
    for run in runs:
        if not run.history:
            reason = run.missing.get("train", "it holds no finished epoch")
            blocks.append(Notice(f"No training to show for {run.name}: {reason}", "empty"))
    if trained:
        blocks.insert(0, _kept(trained))
    return Section("training", "Training", blocks, FILES)


def _kept(runs: Sequence[RunFacts]) -> Table:
    rows = []
    for run in runs:
        seconds = sum(number(row.get("seconds")) or 0.0 for row in run.history)
        kept = number(run.card.get("epoch"))
        rows.append(
            (
                run.name,
                str(len(run.history)),
                "n/a" if kept is None else f"{kept:.0f}",
                str(run.card.get("selected_by") or run.setting("train.select")),
                f"{seconds / 60:.1f}" if seconds else "n/a",
            )
        )
    columns = ("run", "epochs trained", "epoch kept", "kept by", "training time, min")
    return Table(columns, rows, numbers_from=1, sources=FILES)


def _curves(run: RunFacts, *, titled: bool) -> Grid:
    pictures = [
        Picture(
            data_uri(svg_text(figure).encode(), "image/svg+xml"),
            f"{title} of {run.name} over {len(run.history)} epochs",
        )
        for title, figure in curve_panels(run.history).items()
    ]
    prefix = f"{run.name}/" if titled else ""
    sources = [f"{prefix}train/history.csv"]
    return Grid(pictures, least=300, title=run.name if titled else "", sources=sources)


def _last_values(run: RunFacts) -> Table:
    kept = number(run.card.get("epoch"))
    at = {number(row.get("epoch")): i for i, row in enumerate(run.history)}.get(kept)
    rows = []
    for title, lines in quantities(run.history).items():
        for line, values in lines.items():
            cells = [figure_of(values[at], 4)] if at is not None else []
            rows.append((title, line, figure_of(values[-1], 4), *cells))
    head = ("figure", "images", "last epoch", *(["epoch kept"] if at is not None else []))
    return Table(head, rows, f"Final figures of {run.name}", numbers_from=2, sources=FILES[:1])
