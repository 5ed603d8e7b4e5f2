"""Sanity checks of the maps: shuffled weights, deletion and insertion, and what they cannot say."""

from __future__ import annotations

from collections.abc import Sequence

from isnet_cli.output.checks import check_figure
from isnet_cli.output.figures import number
from isnet_cli.report.blocks import Block, Section, Table, Text
from isnet_cli.report.drawings import embed_figure
from isnet_cli.report.results import RunResults, find_cell
from isnet_cli.report.wording import (
    ShownScore,
    explain_intervals,
    format_change,
    format_interval,
    list_run_cells,
    list_run_heads,
)

FILE = "heatmap/check/check.json"
VERDICTS = {
    "change": "Yes: the maps change when all weights are shuffled.",
    "stay": "No: with all weights shuffled the maps are still alike (rank correlation above 0.5).",
    "unclear": "Unclear: the interval of the last group includes the limit, or there is no map.",
}  # fmt: skip
ORDERS = {
    "better": "Yes: both curves are better than in a random order, by 0.01 or more.",
    "worse": "No: a curve is worse than in a random order.",
    "unclear": "Unclear: a difference from a random order may be below 0.01.",
}


def build_map_check_section(runs: Sequence[RunResults]) -> Section | None:
    """The checks of the runs that have any; None where no run has."""
    checked = [run for run in runs if run.map_check]
    if not checked:
        return None
    blocks: list[Block] = [
        Text(
            "Weights are shuffled within each tensor, group by group from the head down, and each "
            "group alone: the maps must change. The dotted line is how alike maps of different "
            "images are. Then cells of the image are blurred (deletion), or restored from a "
            "blurred image (insertion), in the order of the map: the probability of the predicted "
            "class should fall, or rise, sooner than in a random order, or in a random order "
            "that begins with the lungs."
        )
    ]
    for run in checked:
        name = f"{run.name}: " if len(runs) > 1 else ""
        found = run.map_check
        alt = f"{name}rank correlation with maps of shuffled networks; deletion; insertion"
        blocks.append(embed_figure(check_figure(found), alt, sources=[FILE]))
    blocks += [_tabulate_verdicts(runs, checked), _tabulate_areas(runs, checked)]
    blocks += [
        Text(words) for words in dict.fromkeys(w for r in checked for w in r.map_check["caveats"])
    ]
    return Section("map-check", "Sanity checks of the maps", blocks, (FILE,))


def _tabulate_verdicts(runs: Sequence[RunResults], checked: Sequence[RunResults]) -> Table:
    rows, shown = [], []
    for run in checked:
        found = run.map_check
        groups = found["randomisation"]["groups"]
        end, head = (groups[i]["cascading"]["rank"] for i in (-1, 0))
        own = list_run_cells(runs, run)
        rows.append(
            (
                *own, "Do maps depend on the weights?",
                VERDICTS[found["randomisation"]["verdict"]],
                f"rank correlation {format_interval(number(end['value']), end)}; head alone "
                f"{format_interval(number(head['value']), head)}",
            )
        )  # fmt: skip
        rows.append(
            (
                *own, "Does their order beat chance?", ORDERS[found["curves"]["verdict"]],
                f"{found['images']} images, {found['method']}",
            )
        )  # fmt: skip
        shown += [ShownScore(run.name, "rank correlation", cell) for cell in (end, head)]
    heads = (*list_run_heads(runs), "question", "answer", "figures")
    return Table(
        heads, rows, numbers_from=len(heads), notes=explain_intervals(shown), sources=[FILE]
    )


def _tabulate_areas(runs: Sequence[RunResults], checked: Sequence[RunResults]) -> Table:
    rows, shown = [], []
    for run in checked:
        curves = run.map_check["curves"]
        for shape in ("deletion", "insertion"):
            areas = [curves[shape][order]["area"] for order in ("map", "random", "lungs")]
            gains = [curves["differences"][shape][order] for order in ("random", "lungs")]
            texts = [format_interval(number(one["value"]), one) for one in areas]
            texts += [format_interval(number(g["value"]), g, format_change) for g in gains]
            rows.append((*list_run_cells(runs, run), shape, *texts))
            shown += [ShownScore(f"{run.name}, {shape}", "area", one) for one in (*areas, *gains)]
    fill = find_cell(checked[0].map_check, "curves").get("fill")
    heads = (
        *list_run_heads(runs), "curve", "map", "random", "lungs first", "against random",
        "against lungs first",
    )  # fmt: skip
    notes = [
        f"Areas below the curves; fill: {fill}. Small for deletion and large for insertion are "
        "good; the last two columns say by how much the map is better, with a plus.",
        *explain_intervals(shown),
    ]
    return Table(
        heads, rows, "Deletion and insertion", numbers_from=len(heads) - 5, notes=notes,
        sources=[f"{FILE}: curves"],
    )  # fmt: skip
