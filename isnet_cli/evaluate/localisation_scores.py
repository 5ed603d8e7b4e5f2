"""The figures of maps against annotated findings: pointing game, shares, intervals, table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isnet_cli.config.schema import Intervals
from isnet_cli.core import files
from isnet_cli.core.runtime import derive_seed
from isnet_cli.dataset.evaluation_sets import select_version
from isnet_cli.dataset.image_dataset import Version
from isnet_cli.evaluate.background_scores import share_interval
from isnet_cli.evaluate.localisation import FIGURES, NO_FINDING, Pair, Plan
from isnet_cli.inference.explainers import describe_method, read_method
from isnet_cli.inference.predictor import Predictor
from isnet_cli.stats.bootstrap import bootstrap_weights, percentile_interval
from isnet_cli.stats.intervals import empty_cell
from isnet_cli.stats.localisation import average
from isnet_cli.stats.sample import number_patients

ONE_PATIENT = "all findings are of one patient"
NO_LUNGS = "no image with a finding has a trusted lung mask"
TABLE = "localisation.csv"
COLUMNS = ("key", "class", "findings", "hit", "inside_share", "chance", "lungs_share", "why")

_Floats = NDArray[np.float64]


def add_localisation(
    predictor: Predictor,
    plan: Plan,
    found: Sequence[Mapping[str, Any]],
    place: Path,
    content: dict[str, Any],
) -> None:
    """Adds the figures of one set and version to its metrics, and writes their table.

    Args:
        predictor: The model.
        plan: What was measured.
        found: Of each pair, as `measure_set` gives it.
        place: Folder of the version, in that of the set.
        content: Of ``metrics.json``.
    """
    version: Version = place.name  # type: ignore[assignment]
    figures = summarise_localisation(plan, version, found, predictor)
    content["localisation"] = figures
    if found:
        lines = list_lines(plan, version, found, predictor.classes)
        files.write_csv(place / TABLE, list(COLUMNS), lines)
        content["files"].append(f"{place.parent.name}/{version}/{TABLE}")


def summarise_localisation(
    plan: Plan, version: Version, found: Sequence[Mapping[str, Any]], predictor: Predictor
) -> dict[str, Any]:
    """JSON-able figures of one set and version.

    Returns:
        ``n`` findings by image and class, ``images``, ``findings`` (single ones), ``map`` (what
        was measured), ``pointing`` and ``inside_share`` and ``ratio`` (cells with intervals),
        ``chance`` and ``lungs_share`` (means), ``per_class``: name -> the same, ``left_out``. Only
        ``n``, ``why`` and ``left_out`` where there is nothing.
    """
    if plan.why or not found:
        return {"n": 0, "why": plan.why or NO_FINDING, "left_out": dict(plan.left_out)}
    pairs = [plan.pairs[i] for i in select_version([pair.row for pair in plan.pairs], version)]
    intervals = predictor.config.evaluate.intervals
    seed = derive_seed(predictor.config.seed, "localisation", version)
    per_class = {}
    for k, name in enumerate(predictor.classes):
        own = [i for i, pair in enumerate(pairs) if pair.target == k]
        per_class[name] = _summarise(pairs, found, own, intervals, seed)
    whole = _summarise(pairs, found, range(len(pairs)), intervals, seed)
    return {
        **whole, "map": _describe_maps(predictor), "per_class": per_class,
        "left_out": dict(plan.left_out),
    }  # fmt: skip


def _describe_maps(predictor: Predictor) -> str:
    method, several = read_method(predictor), len(predictor.classes) > 2
    words = describe_method(predictor)
    if not method.of_class:
        return f"{words}, of no class"
    if predictor.task == "multilabel" or not method.signed:
        return f"{words} of the finding's class"
    return (
        f"{words} of the finding's class minus {'the mean of ' * several}the other{'s' * several}"
    )


def _summarise(
    pairs: Sequence[Pair],
    found: Sequence[Mapping[str, Any]],
    chosen: Sequence[int],
    intervals: Intervals,
    seed: int,
) -> dict[str, Any]:
    known = [i for i in chosen if not found[i]["why"]]
    lost = Counter(str(found[i]["why"]) for i in chosen if found[i]["why"])
    counts = {
        "n": len(known),
        "images": len({pairs[i].row.key for i in known}),
        "findings": sum(pairs[i].count for i in known),
        "no_map": dict(sorted(lost.items())),
    }
    if not known:
        why = next(iter(lost)) if lost else NO_FINDING
        empty = {name: empty_cell(None, why) for name in ("pointing", "inside_share", "ratio")}
        return {**counts, **empty, "chance": None, "lungs_share": None, "why": why}
    hits, shares, chances, areas = (
        np.array([np.nan if found[i][k] is None else found[i][k] for i in known], np.float64)
        for k in FIGURES
    )
    people = [pairs[i].row.patient or f"image {pairs[i].row.key}" for i in known]
    hit = {"value": float(hits.mean()), **share_interval(hits > 0, people, intervals, seed)}
    clusters = number_patients(people)
    measured = ~np.isnan(areas)
    even = np.where(measured, areas, 0.0)
    inside = np.where(measured, shares, 0.0)
    one = np.ones(len(known))
    return {
        **counts, "pointing": hit, "chance": average(chances),
        "inside_share": _quotient_cell(shares, one, clusters, intervals, seed, ""),
        "lungs_share": average(areas),
        "ratio": _quotient_cell(inside, even, clusters, intervals, seed, NO_LUNGS),
    }  # fmt: skip


def _quotient_cell(
    over: _Floats, under: _Floats, clusters: NDArray[np.int64], intervals: Intervals, seed: int,
    why: str,
) -> dict[str, Any]:  # fmt: skip
    """sum(over) / sum(under), with the interval of a bootstrap by patient."""
    if not under.sum() > 0:
        return empty_cell(None, why)
    value, people = float(over.sum() / under.sum()), int(clusters.max()) + 1
    if people < 2:
        return empty_cell(value, ONE_PATIENT)
    draws = []
    for weights in bootstrap_weights(clusters, intervals.bootstrap, seed):
        total = weights @ under
        draws.append((weights @ over)[total > 0] / total[total > 0])
    low, high = percentile_interval(np.concatenate(draws), people)
    return {"value": value, "low": low, "high": high, "method": "bootstrap"}


def summarise_pointing(found: Mapping[str, Any]) -> dict[str, Any]:
    """The figures that a table on the terminal shows; nothing where nothing was measured."""
    if not found["n"]:
        return {}
    cell = found["pointing"]
    return {"pointing": cell["value"], "pointing_range": [cell["low"], cell["high"]]}


def list_lines(
    plan: Plan, version: Version, found: Sequence[Mapping[str, Any]], classes: Sequence[str]
) -> list[dict[str, str]]:
    """Lines of the table."""
    pairs = [plan.pairs[i] for i in select_version([pair.row for pair in plan.pairs], version)]
    return [
        {
            "key": pair.row.key, "class": classes[pair.target], "findings": str(pair.count),
            "hit": "" if one["hit"] is None else str(int(one["hit"])),
            "inside_share": _text(one["inside"]), "chance": _text(one["chance"]),
            "lungs_share": _text(one["area"]), "why": one["why"],
        }
        for pair, one in zip(pairs, found, strict=True)
    ]  # fmt: skip


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"
