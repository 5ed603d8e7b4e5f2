"""Pages that compare a benchmark's cells, wherever several stand on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from isnet_cli.benchmark.cells import CELLS, Cell
from isnet_cli.benchmark.tables import STANDARD
from isnet_cli.core.pipeline import open_run
from isnet_cli.core.run_context import RunContext
from isnet_cli.errors import IsnetError
from isnet_cli.report.compare.ownership import ChosenPairs, is_page_of
from isnet_cli.report.compare.write import compare_runs

MOST = 6  # runs of which every pair is tested; time, page and correction grow with their square
FAMILY = (
    "all comparisons of one score: each run against `{}` of its seed, on every set and version "
    "that has labels; a comparison without p-value counts and is never significant"
)


def compare_cells(cells: Sequence[Cell], output: Path, context: RunContext) -> list[str]:
    """Writes ``compare-DATA.html``; with images of each seed, one page a seed.

    A page is written again unless it is whole and made from the present results of these cells; a
    comparison that is not possible is a warning.

    Args:
        cells: Finished cells.
        output: The benchmark's folder.
        context: Side effects.

    Returns:
        Names of the pages.
    """
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.data, cell.images or str(cell.config.upstream)), []).append(cell)
    several = {data for data, _ in groups if sum(one == data for one, _ in groups) > 1}
    pages = []
    for (data, _), found in groups.items():
        if len(found) < 2:
            continue
        seeds = "-".join(str(seed) for seed in dict.fromkeys(cell.seed for cell in found))
        name = f"compare-{data}-seed-{seeds}.html" if data in several else f"compare-{data}.html"
        if name in pages:
            name = f"compare-{data}--{found[0].method}--seed-{seeds}.html"
        if _write_page(found, output / name, context, output):
            pages.append(name)
    return pages


def choose_pairs(cells: Sequence[Cell]) -> ChosenPairs | None:
    """What is tested on a page: every pair (None) of few cells, of many each against one row.

    That row is `standard`, or the first that trains so, or the first; each seed has its own.
    """
    if len(cells) <= MOST:
        return None
    plainly = [cell.method for cell in cells if cell.config.train.method == STANDARD]
    base = STANDARD if STANDARD in plainly else (plainly or [cells[0].method])[0]
    places = {cell.seed: i for i, cell in enumerate(cells) if cell.method == base}
    pairs = [
        (places[cell.seed], i)
        for i, cell in enumerate(cells)
        if cell.method != base and cell.seed in places
    ]
    return ChosenPairs(tuple(pairs), FAMILY.format(base)) if pairs else None


def _write_page(cells: Sequence[Cell], page: Path, context: RunContext, output: Path) -> bool:
    runs = [(open_run(output / CELLS / cell.name, cell.config), cell.config) for cell in cells]
    try:
        if is_page_of(page, runs, choose_pairs(cells)):
            return True
        compare_runs(runs, page, context, overwrite=True, chosen=choose_pairs(cells))
    except IsnetError as error:
        context.warn(error.kind, f"{page.name}: {error.message}")
        return False
    return True
