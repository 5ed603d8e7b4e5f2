"""Training: curves of each run, and where it ended."""

from __future__ import annotations

from collections.abc import Sequence

from isnet_cli.output.figures import curve_panels, list_quantities, number
from isnet_cli.report.blocks import Block, Grid, Notice, Section, Table
from isnet_cli.report.drawings import embed_figure
from isnet_cli.report.results import RunResults
from isnet_cli.report.wording import format_score

FILES = ("train/history.csv", "train/model.json")


def build_training_section(runs: Sequence[RunResults]) -> Section:
    """One row of curves a run, and a table of the last epoch and of the kept one."""
    blocks: list[Block] = []
    trained = [run for run in runs if run.history]
    for run in trained:
        blocks += [
            _draw_curves(run, titled=len(runs) > 1),
            _tabulate_last(run, titled=len(runs) > 1),
        ]
    for run in runs:
        if not run.history:
            reason = run.missing.get("train", "it holds no finished epoch")
            blocks.append(Notice(f"No training to show for {run.name}: {reason}", "empty"))
    if trained:
        blocks.insert(0, _tabulate_kept(trained))
    return Section("training", "Training", blocks, FILES)


def _tabulate_kept(runs: Sequence[RunResults]) -> Table:
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


def _draw_curves(run: RunResults, *, titled: bool) -> Grid:
    pictures = [
        embed_figure(figure, f"{title} of {run.name} over {len(run.history)} epochs")
        for title, figure in curve_panels(run.history).items()
    ]
    prefix = f"{run.name}/" if titled else ""
    sources = [f"{prefix}{FILES[0]}"]
    return Grid(pictures, least=300, title=run.name if titled else "", sources=sources)


def _tabulate_last(run: RunResults, *, titled: bool) -> Table:
    kept = number(run.card.get("epoch"))
    at = {number(row.get("epoch")): i for i, row in enumerate(run.history)}.get(kept)
    rows = []
    for title, lines in list_quantities(run.history).items():
        for line, values in lines.items():
            cells = [format_score(values[at], 4)] if at is not None else []
            rows.append((title, line, format_score(values[-1], 4), *cells))
    head = ("figure", "images", "last epoch", *(["epoch kept"] if at is not None else []))
    prefix = f"{run.name}/" if titled else ""
    sources = [f"{prefix}{FILES[0]}"]
    return Table(head, rows, f"Final figures of {run.name}", numbers_from=2, sources=sources)
