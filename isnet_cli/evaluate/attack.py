"""Attack on the background in `evaluate`: how little of it must change to change the prediction.

Maps can be clean while a classifier follows the background; what gradient ascent on background
pixels alone can do cannot be hidden. The same attack on the lungs' pixels stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from isnet_cli.core.journal import name_part
from isnet_cli.core.runtime import derive_seed
from isnet_cli.dataset.evaluation_sets import raise_if_stopped, split_into_chunks
from isnet_cli.evaluate.background import Bench
from isnet_cli.evaluate.background_scores import share_interval
from isnet_cli.images.types import Row
from isnet_cli.inference.predictor import Predictor, memory_guard
from isnet_models.attack import AttackSettings, attack_region

OFF = "evaluate.attack is false"
NO_IMAGES = "no image of this set has a trusted lung mask"
TABLE, COLUMNS = "attack.csv", ("key", "background", "lungs")
MOST = 64  # images of a set that are attacked
SETTINGS = AttackSettings()
REGIONS = ("background", "lungs")


@dataclass(frozen=True)
class Attacked:
    """Smallest bounds that flip the images of one set.

    Attributes:
        rows: Attacked images, N.
        bounds: Region -> [N]; infinity where no bound was enough.
        usable: Images of the set with a trusted lung mask.
    """

    rows: list[Row]
    bounds: dict[str, NDArray[np.float64]]
    usable: int


def choose_attacked(predictor: Predictor, name: str, rows: Sequence[Row]) -> list[Row]:
    """Images of set `name` that are attacked: with a trusted mask, `MOST` at most, by chance."""
    if not predictor.config.evaluate.attack:
        return []
    usable = [row for row in rows if predictor.trusted(row)]
    rng = np.random.default_rng(derive_seed(predictor.config.seed, "attack", name))
    chosen = sorted(rng.permutation(len(usable))[:MOST])
    return [usable[i] for i in chosen]


def attack_set(bench: Bench, name: str, rows: Sequence[Row]) -> Attacked | None:
    """Attacks images of set `name`, without synthetic marks; None when `evaluate.attack` is false.

    Raises:
        IsnetError: Kind "data", when an image or a mask is missing or damaged.
        Stopped: When a stop was asked for.
    """
    predictor = bench.predictor
    if not predictor.config.evaluate.attack:
        return None
    chosen = choose_attacked(predictor, name, rows)
    bounds: dict[str, list[float]] = {region: [] for region in REGIONS}
    batches = split_into_chunks(chosen, predictor.config.evaluate.batch_size)
    for number, batch in enumerate(batches):
        raise_if_stopped(bench.context)
        note = name_part(name, "attack", batch[0].key, batch[-1].key)
        content = bench.journal.get(note)
        if content is None and not bench.context.share.owns(number):
            continue
        if content is None:
            content = _attack_batch(predictor, batch)
            bench.journal.add(note, content)
        bench.bar.advance(len(batch))
        for region in REGIONS:
            bounds[region] += [math.inf if b is None else b for b in content[region]]
    usable = sum(predictor.trusted(row) for row in rows)
    return Attacked(chosen, {k: np.array(v, np.float64) for k, v in bounds.items()}, usable)


def _attack_batch(predictor: Predictor, rows: Sequence[Row]) -> dict[str, list[float | None]]:
    dataset = predictor.load(rows)
    images, lungs = predictor.batch(dataset, range(len(rows)), "standard")
    images = images.to(predictor.device)
    inside = torch.from_numpy(lungs).to(images)[:, None]
    thresholds = None
    if predictor.thresholds is not None:
        p = torch.tensor(predictor.thresholds, dtype=torch.float64).clamp(1e-6, 1 - 1e-6)
        thresholds = p.logit().to(images)
    found: dict[str, list[float | None]] = {}
    with memory_guard(len(rows)):
        for name, region in zip(REGIONS, (1 - inside, inside), strict=True):
            bounds = attack_region(predictor.model.net, images, region, thresholds, SETTINGS)
            found[name] = [b if math.isfinite(b) else None for b in bounds.tolist()]
    return found


def summarise_attack(attacked: Attacked | None, predictor: Predictor) -> dict[str, Any]:
    """JSON-able figures of a set.

    Args:
        attacked: What was found; None: nothing was asked for.
        predictor: Says how intervals are made.

    Returns:
        ``n`` attacked of ``usable`` images, ``steps``, ``bounds`` (largest changes of a grey level
        0 to 1), and for each of `REGIONS`: ``flipped`` (share of images flipped at each bound),
        ``rate`` at the largest with ``low``, ``high``, ``method``, and ``mean_bound`` of the
        flipped images (None without one). Only ``n`` and ``why`` where there is nothing.
    """
    if attacked is None:
        return {"n": 0, "why": OFF}
    if not attacked.rows:
        return {"n": 0, "why": NO_IMAGES}
    people = [row.patient for row in attacked.rows]
    intervals = predictor.config.evaluate.intervals
    seed = derive_seed(predictor.config.seed, "attack", "interval")
    found: dict[str, Any] = {
        "n": len(attacked.rows), "usable": attacked.usable,
        "steps": SETTINGS.steps, "bounds": list(SETTINGS.bounds),
    }  # fmt: skip
    for region, bounds in attacked.bounds.items():
        flipped = np.isfinite(bounds)
        found[region] = {
            "flipped": [float((bounds <= bound).mean()) for bound in SETTINGS.bounds],
            "rate": float(flipped.mean()),
            **share_interval(flipped, people, intervals, seed),
            "mean_bound": float(bounds[flipped].mean()) if flipped.any() else None,
        }
    return found


def list_lines(attacked: Attacked) -> list[dict[str, str]]:
    """Lines of the table; empty where no bound was enough."""
    return [
        {
            "key": row.key,
            **{
                region: f"{bounds[i]:.6g}" if math.isfinite(bounds[i]) else ""
                for region, bounds in attacked.bounds.items()
            },
        }
        for i, row in enumerate(attacked.rows)
    ]
