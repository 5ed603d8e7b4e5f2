"""Figures of the sanity checks of maps: means with intervals, verdicts, tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isnet_cli.core.runtime import derive_seed
from isnet_cli.images.types import Row
from isnet_cli.inference.explainers import describe_method
from isnet_cli.inference.predictor import Predictor
from isnet_cli.stats.map_checks import mean_cell, measure_areas
from isnet_cli.stats.sample import number_patients

STEPS = 16  # of a curve
LEAST = 0.01  # difference of areas that counts: below it the probability hardly depends on cells
LIMIT = 0.5  # rank correlation below which maps count as changed: a convention
ORDERS = ("map", "random", "lungs")
KINDS = ("cascading", "independent")
SIMILARITIES = ("rank", "ssim")
SHAPES = ("deletion", "insertion")
FILL = "the image blurred (Gaussian, standard deviation 1/8 of its shorter side)"
CAVEATS = (
    "Shuffled weights: deeper layers of a network keep part of their output when only the head is"
    " shuffled, so maps of good methods fall slowly, too, and a map that is smooth or confined to"
    " the lungs stays like itself (Binder et al., CVPR 2023). A map that changes is no proof that"
    " it is right.",
    "Deletion and insertion show the network images unlike any it was trained on (Hooker et al.,"
    " NeurIPS 2019); what it says of them depends on the fill, on the size of the cells and on the"
    " network, and such scores vary much between images and agree little with each other (Tomsett"
    " et al., AAAI 2020).",
)
SHUFFLED_COLUMNS = (
    "group", "modules", "kind", "similarity", "mean", "low", "high", "images", "why"
)  # fmt: skip
CURVE_COLUMNS = ("key", "class", "curve", "order", "share", "probability")


def summarise_checks(
    predictor: Predictor,
    rows: Sequence[Row],
    groups: Sequence[tuple[str, ...]],
    shuffled: Sequence[Mapping[str, Any]],
    curves: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Everything that was found, JSON-able.

    Args:
        predictor: The model.
        rows: The images, N.
        groups: Modules of the network from the head down.
        shuffled: For each image: kind -> similarity -> one value for each group; ``other``.
        curves: For each image: order -> shape -> probabilities, or None; ``target``.

    Returns:
        ``method``, ``images``, ``randomisation`` (``groups``, ``other_images``, ``limit``,
        ``verdict``), ``curves`` (``share``, ``fill``, ``deletion`` and ``insertion`` by order,
        ``differences``, ``verdict``), ``caveats``. Cells are those of `mean_cell`. A difference is
        how much sooner the map's order is, so that more is better for both shapes.
    """
    config = predictor.config
    clusters = number_patients([row.patient or f"image {row.key}" for row in rows])
    draws, seed = config.evaluate.intervals.bootstrap, derive_seed(config.seed, "check")

    def cell(values: Sequence[float | None]) -> dict[str, Any]:
        known = np.array([np.nan if v is None else v for v in values], np.float64)
        return mean_cell(known, clusters, draws, seed)

    found: list[dict[str, Any]] = [
        {
            "modules": list(names),
            **{
                kind: {s: cell([one[kind][s][depth] for one in shuffled]) for s in SIMILARITIES}
                for kind in KINDS
            },
        }
        for depth, names in enumerate(groups)
    ]
    other = {name: cell([one["other"][name] for one in shuffled]) for name in SIMILARITIES}
    areas = {
        shape: {order: [_area(one[order], shape) for one in curves] for order in ORDERS}
        for shape in SHAPES
    }
    traced: dict[str, Any] = {
        shape: {
            order: {"mean": _mean_curve(curves, order, shape), "area": cell(areas[shape][order])}
            for order in ORDERS
        }
        for shape in SHAPES
    }
    gains = {
        shape: {
            order: cell(_gain(areas[shape]["map"], areas[shape][order], shape))
            for order in ORDERS[1:]
        }
        for shape in SHAPES
    }
    return {
        "method": describe_method(predictor),
        "images": len(rows),
        "randomisation": {
            "groups": found, "other_images": other, "limit": LIMIT,
            "verdict": judge_shuffled(found[-1]["cascading"]["rank"]),
        },
        "curves": {
            "share": [step / STEPS for step in range(STEPS + 1)], "fill": FILL, **traced,
            "differences": gains, "verdict": judge_curves(gains),
        },
        "caveats": list(CAVEATS),
    }  # fmt: skip


def _area(curves: Mapping[str, Sequence[float]] | None, shape: str) -> float | None:
    return None if curves is None else float(measure_areas(curves[shape]))


def _mean_curve(curves: Sequence[Mapping[str, Any]], order: str, shape: str) -> list[float] | None:
    known: list[NDArray[np.float64]] = [
        np.asarray(one[order][shape]) for one in curves if one[order] is not None
    ]
    return np.mean(known, axis=0).tolist() if known else None


def _gain(
    own: Sequence[float | None], other: Sequence[float | None], shape: str
) -> list[float | None]:
    sign = 1.0 if shape == "insertion" else -1.0
    return [
        None if a is None or b is None else sign * (a - b) for a, b in zip(own, other, strict=True)
    ]


def judge_shuffled(rank: Mapping[str, Any]) -> str:
    """Whether maps change when all weights are shuffled: ``change``, ``stay`` or ``unclear``.

    Args:
        rank: Cell of the rank correlation with the map of the network as it is.
    """
    if rank["value"] is None:
        return "unclear"
    low, high = rank["low"], rank["high"]
    if low is None:
        low = high = rank["value"]
    return "change" if high < LIMIT else "stay" if low >= LIMIT else "unclear"


def judge_curves(gains: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Whether the map's order beats the random one: ``better``, ``worse`` or ``unclear``.

    Better: the intervals of both curves' differences lie above `LEAST`; worse: one lies below
    -`LEAST`.
    """
    cells = [gains[shape]["random"] for shape in SHAPES]
    if any(one["high"] is not None and one["high"] < -LEAST for one in cells):
        return "worse"
    above = [one["low"] is not None and one["low"] > LEAST for one in cells]
    return "better" if all(above) else "unclear"


def list_shuffled_lines(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Lines of the table of shuffled weights."""
    return [
        {
            "group": str(depth), "modules": " ".join(group["modules"]), "kind": kind,
            "similarity": name, **_write_cell(group[kind][name]),
        }
        for depth, group in enumerate(content["randomisation"]["groups"])
        for kind in KINDS
        for name in SIMILARITIES
    ]  # fmt: skip


def _write_cell(cell: Mapping[str, Any]) -> dict[str, str]:
    named = {"mean": cell["value"], "low": cell["low"], "high": cell["high"]}
    texts = {name: "" if value is None else f"{value:.6f}" for name, value in named.items()}
    return {**texts, "images": str(cell["n"]), "why": cell.get("why") or ""}


def list_curve_lines(
    rows: Sequence[Row], curves: Sequence[Mapping[str, Any]], classes: Sequence[str]
) -> list[dict[str, str]]:
    """Lines of the table of curves: one for each image, curve, order and share."""
    return [
        {
            "key": row.key, "class": classes[one["target"]], "curve": shape, "order": order,
            "share": f"{step / STEPS:.6g}", "probability": f"{value:.6f}",
        }
        for row, one in zip(rows, curves, strict=True)
        for shape in SHAPES
        for order in ORDERS
        if one[order] is not None
        for step, value in enumerate(one[order][shape])
    ]  # fmt: skip
