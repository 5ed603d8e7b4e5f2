"""Several runs on the same images: scores, paired tests, reliance, maps, as one page and its data.

Beside ``NAME.html`` lie ``NAME.json`` (every figure of the page) and the same figures as tables:
``NAME_scores.csv``, ``NAME_tests.csv``, ``NAME_reliance.csv``, ``NAME_seeds.csv``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from isnet_cli import __version__
from isnet_cli.config.schema import Config
from isnet_cli.core.files import sha256_file, write_csv, write_text
from isnet_cli.core.records.sealed import write_sealed
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder, watch_runs
from isnet_cli.errors import IsnetError
from isnet_cli.guard.leftovers import clear_leftovers
from isnet_cli.report.compare.common_tests import (
    CommonTests,
    check_runs,
    find_common_tests,
    pair_tests,
)
from isnet_cli.report.compare.figures import TABLES, build_document
from isnet_cli.report.compare.ownership import (
    SCHEMA,
    ChosenPairs,
    hash_sources,
    is_own,
    mark_unfinished,
)
from isnet_cli.report.compare.page import build_compare_page
from isnet_cli.report.compare.seeds import find_training_seed, group_by_seed
from isnet_cli.report.compare.subgroups import collect_subgroups
from isnet_cli.report.pictures import NOTE, MapPicture, draw_run_maps
from isnet_cli.report.render import render
from isnet_cli.report.results import (
    METRICS,
    RunResults,
    find_predictions,
    name_runs,
    read_evaluated,
)
from isnet_cli.report.sections.maps import build_maps_section
from isnet_cli.stats.comparison import Comparison, choose_draws, compare_models, correct_comparisons

SEED = 0  # of the draws of patients: the same comparison gives the same figures


@dataclass(frozen=True)
class ComparisonFiles:
    """What a comparison found and wrote.

    Attributes:
        content: Of the JSON file.
        page: The HTML file.
        files: All files, the page first.
    """

    content: dict[str, Any]
    page: Path
    files: list[Path]


def compare_runs(
    runs: Sequence[tuple[RunFolder, Config]],
    output: Path,
    context: RunContext,
    *,
    overwrite: bool = False,
    chosen: ChosenPairs | None = None,
) -> ComparisonFiles:
    """Compares runs that were evaluated on the same images.

    The same files give the same page, byte for byte. Tests that the runs do not share are left out
    with a warning. A page that an earlier call made of the same runs, or did not finish, is made
    again.

    Args:
        runs: At least two evaluated runs with their settings, in the order of rows.
        output: The HTML file; the others lie beside it.
        context: Side effects.
        overwrite: Replace files of another comparison, and of others.
        chosen: Pairs of runs that are tested; None: all.

    Raises:
        IsnetError: Kind "usage": fewer than two runs, the same one twice, no place for the page,
            files in the way. Kind "data": no test in common, other classes, a run that was not
            evaluated, a damaged file. Kind "weights": probabilities that are not finite.
    """
    _check_runs(runs)
    places = _place_files(output, runs, overwrite)
    with watch_runs([folder for folder, _ in runs]):
        content, page = _build(runs, output, context, chosen)
    clear_leftovers(output.parent, deep=False)
    with mark_unfinished(output, runs):
        write_text(output, page)
        for name, (rows, columns) in TABLES.items():
            write_csv(places[name], columns, rows(content))
        tables = {path.name: sha256_file(path) for key, path in places.items() if key != "json"}
        content["made"] = {"from": hash_sources(runs, chosen), "files": tables}
        write_sealed(places["json"], content)  # last: it says that the others are whole
    return ComparisonFiles(content, output, list(places.values()))


def _build(
    runs: Sequence[tuple[RunFolder, Config]],
    output: Path,
    context: RunContext,
    chosen: ChosenPairs | None,
) -> tuple[dict[str, Any], str]:
    """Content of the JSON file, and the page."""
    names = name_runs([folder for folder, _ in runs])
    found = [
        read_evaluated(folder, config, name)
        for (folder, config), name in zip(runs, names, strict=True)
    ]
    check_runs(found)
    context.say(f"compare: {', '.join(names)}")
    common = find_common_tests(found)
    for one in common.left_out:
        context.warn("data", f"{' / '.join(one.test)} is left out: {one.why}")
    maps = draw_run_maps([folder for folder, _ in runs])
    content = _build_content(found, common, maps, context, chosen)
    page = render(build_compare_page(content, build_maps_section(found, maps, NOTE), output.stem))
    return content, page


def _check_runs(runs: Sequence[tuple[RunFolder, Config]]) -> None:
    if len(runs) < 2:
        raise IsnetError(
            "usage",
            f"compare: {len(runs)} run, expected at least two",
            fix="isnet compare RUN RUN ...   or   isnet report RUN",
        )
    seen: set[Path] = set()
    for folder, _ in runs:
        place = folder.path.resolve()
        if place in seen:
            raise IsnetError("usage", f"compare: {folder.path} twice, expected different runs")
        seen.add(place)


def _place_files(
    output: Path, runs: Sequence[tuple[RunFolder, Config]], overwrite: bool
) -> dict[str, Path]:
    """Where each file goes, the page first.

    Raises:
        IsnetError: Kind "usage", when the page is no HTML file or something else is in the way.
    """
    if output.suffix.lower() not in {".html", ".htm"}:
        raise IsnetError("usage", f"-o {output}: expected the name of an HTML file, as x.html")
    places = {"html": output, "json": output.with_suffix(".json")}
    places |= {name: output.with_name(f"{output.stem}_{name}.csv") for name in TABLES}
    there = [path for path in places.values() if path.exists()]
    free = overwrite or not there or is_own(output, there, runs)
    if any(path.is_dir() for path in there) or not free:
        raise IsnetError(
            "usage",
            f"{there[0]}: exists and is no page of these runs as isnet compare wrote it",
            fix="-o FILE writes another one; --overwrite replaces it and the files beside it",
        )
    return places


def _build_content(
    runs: Sequence[RunResults],
    common: CommonTests,
    maps: Sequence[Sequence[MapPicture]],
    context: RunContext,
    chosen: ChosenPairs | None,
) -> dict[str, Any]:
    groups = group_by_seed(runs)
    comparisons, draws = _compare_all(runs, common, context, chosen)
    described = [_describe_run(run) for run in runs]
    for group in groups:
        for place in group.runs:
            described[place]["settings"] = group.name
    settings: dict[str, Any] = {"draws": draws, "seed": SEED}
    settings |= {"family": chosen.family} if chosen else {}
    found = build_document(
        runs, described, common.tables, comparisons, groups, common.left_out, settings
    )
    notes = _list_notes(runs, common)
    shown = [
        _describe_map(run.name, item) for run, own in zip(runs, maps, strict=True) for item in own
    ]
    return {
        "schema": SCHEMA, "isnet": __version__, **found, "notes": notes, "maps": shown,
        "subgroups": collect_subgroups(runs, list(common.tables)),
    }  # fmt: skip


def _compare_all(
    runs: Sequence[RunResults], common: CommonTests, context: RunContext, chosen: ChosenPairs | None
) -> tuple[list[Comparison], int]:
    """Corrected comparisons of all tests with labels, and the number of draws."""
    pairs = tuple(combinations(range(len(runs)), 2)) if chosen is None else chosen.pairs
    labelled = {t: tables for t, tables in common.tables.items() if runs[0].scores(t)["n"]}
    draws = choose_draws(len(labelled) * len(pairs))
    found: list[Comparison] = []
    with context.progress.bar("compare", len(labelled)) as bar:
        for test, tables in labelled.items():
            if context.stop_requested():
                raise KeyboardInterrupt
            found += compare_models(test, pair_tests(runs, tables), draws, SEED, pairs)
            bar.advance()
    return correct_comparisons(found), draws


def _describe_run(run: RunResults) -> dict[str, Any]:
    """What a run is, and which files its figures come from."""
    model = run.metrics.get("model") or {}
    root = run.folder.stage_dir("evaluate")
    names = [METRICS, *(find_predictions(run.scores(test))[0] for test in run.tests)]
    return {
        "name": run.name,
        "method": model.get("method") or run.config.train.method,
        "arch": model.get("arch") or run.config.model.arch,
        "input": model.get("input") or list(run.config.model.input),
        "epoch": model.get("epoch"),
        "weights": model.get("sha256"),
        "seed": find_training_seed(run),
        "settings": None,
        "images_of": run.folder.owner("ingest").path.absolute().name,
        "files": {
            f"evaluate/{name}": sha256_file(root / name)
            for name in names
            if (root / name).is_file()  # of tests left out, a table may be gone
        },
    }


def _list_notes(runs: Sequence[RunResults], common: CommonTests) -> list[str]:
    """Notes for readers of the figures."""
    found = []
    first = runs[0]
    masks = [(run.folder.stage_record("masks") or {}).get("outputs") for run in runs]
    if any(one != masks[0] for one in masks):
        found.append(
            "The lung masks of the runs differ: figures on the background use each run's own masks."
        )
    weights = [(run.metrics.get("model") or {}).get("sha256") for run in runs]
    known = [one for one in weights if one]
    twins = [run.name for run, one in zip(runs, weights, strict=True) if known.count(one) > 1]
    if twins:
        found.append(f"The same weights: {', '.join(twins)}.")
    if any(run.config.seed != first.config.seed for run in runs):
        found.append(
            "Seeds differ, and with them the pairs of images whose backgrounds are exchanged."
        )
        if any(version != "standard" for _, version in common.tables):
            found.append(
                "The places of synthetic marks depend on each run's seed, too; shapes and sizes "
                "are the same."
            )
    return found


def _describe_map(name: str, item: MapPicture) -> dict[str, Any]:
    values = dataclasses.asdict(item)
    del values["picture"]
    return {"run": name, **values}
