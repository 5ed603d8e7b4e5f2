"""The model's answers on a set, image by image: probabilities and where the relevance lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isnet_cli.core.journal import Journal, name_part
from isnet_cli.core.run_context import Bar, RunContext
from isnet_cli.dataset.evaluation_sets import (
    choose_chunk_size,
    list_versions,
    raise_if_stopped,
    select_version,
    split_into_chunks,
)
from isnet_cli.dataset.image_dataset import ImageDataset, Version
from isnet_cli.evaluate.localisation import Plan
from isnet_cli.images.types import Row
from isnet_cli.inference.predictor import Predictor
from isnet_cli.stats.reliance import outside_share


@dataclass(frozen=True)
class Work:
    """What every prediction needs.

    Attributes:
        predictor: The model, the run and its settings.
        why: Reason why no map is made at all, or "".
        groups: Column -> group of each image by its key.
        journal: Notes of finished chunks.
        bar: Progress.
        context: Side effects.
        plans: Set -> the annotated findings to measure.
    """

    predictor: Predictor
    why: str
    groups: Mapping[str, Mapping[str, str]]
    journal: Journal
    bar: Bar
    context: RunContext
    plans: Mapping[str, Plan]


@dataclass(frozen=True)
class Part:
    """Predictions of one set in one version.

    Attributes:
        why: Reason why no map was made at all, or "".
        rows: Images, N.
        probabilities: [N][K].
        shares: Share of relevance outside the lungs, None where there is none.
    """

    why: str
    rows: list[Row] = field(default_factory=list)
    probabilities: list[list[float]] = field(default_factory=list)
    shares: list[float | None] = field(default_factory=list)


def predict_set(work: Work, name: str, rows: list[Row]) -> dict[Version, Part]:
    """Predictions in each version, chunk by chunk."""
    names = list_versions(rows, work.predictor.config)
    parts = {version: Part(work.why) for version in names}
    chunks = split_into_chunks(rows, choose_chunk_size(work.predictor.config))
    for number, chunk in enumerate(chunks):
        note = name_part(name, chunk[0].key, chunk[-1].key)
        content = work.journal.get(note)
        if content is None and not work.context.share.owns(number):
            continue
        if content is None:
            content = _predict_chunk(work, chunk, names)
            work.journal.add(note, content)
        else:
            work.bar.advance(sum(len(select_version(chunk, version)) for version in names))
        for version, part in parts.items():
            part.rows.extend(chunk[i] for i in select_version(chunk, version))
            part.probabilities.extend(content[version]["p"])
            part.shares.extend(content[version]["outside"])
    return parts


def _predict_chunk(work: Work, rows: Sequence[Row], names: Sequence[Version]) -> dict[str, Any]:
    """Probabilities and outside shares per version, JSON-able."""
    predictor = work.predictor
    dataset = predictor.load(rows)
    found: dict[str, Any] = {}
    for version in names:
        chosen = select_version(rows, version)
        p: list[list[float]] = []
        outside: list[float | None] = [None] * len(chosen)
        if chosen:
            logits, maps, lungs = _answer_on_device(work, dataset, chosen, version)
            p = predictor.seen(logits).probabilities.tolist()
            if maps is not None:
                shares = outside_share(maps.float().cpu().numpy(), lungs.cpu().numpy())
                outside = [None if np.isnan(share) else float(share) for share in shares]
        found[version] = {"p": p, "outside": outside}
    return found


def _answer_on_device(
    work: Work, dataset: ImageDataset, chosen: Sequence[int], version: Version
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Logits [n, K], maps [n, C, h, w] or None, and lungs [n, h, w]; the host waits for nothing."""
    predictor = work.predictor
    logits, maps, lungs = [], [], []
    for batch in split_into_chunks(chosen, predictor.config.evaluate.batch_size):
        raise_if_stopped(work.context)
        images, masks = predictor.batch_on_device(dataset, batch, version)
        if work.why:
            logits.append(predictor.answer(images))
        else:
            y, R = predictor.relate(images, "predicted")
            logits.append(y)
            maps.append(R[:, 0])
        lungs.append(masks)
        work.bar.advance(len(batch))
    return torch.cat(logits), torch.cat(maps) if maps else None, torch.cat(lungs)


def tabulate_part(
    part: Part, p: NDArray[np.float64], predictor: Predictor
) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and lines of ``predictions.csv``."""
    columns = ["key", "label", "predicted", *(f"p_{name}" for name in predictor.classes)]
    columns.append("outside_share")
    lines = []
    decided = predictor.decisions(p)
    for row, names, values, share in zip(part.rows, decided, p, part.shares, strict=True):
        cells = [row.key, row.label, ";".join(names), *(f"{value:.9g}" for value in values)]
        cells.append("" if share is None else f"{share:.6f}")
        lines.append(dict(zip(columns, cells, strict=True)))
    return columns, lines
