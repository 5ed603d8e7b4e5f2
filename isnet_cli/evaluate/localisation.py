"""Maps against annotated findings in `evaluate`: does the class's map point at the finding.

Of several classes with one per image, the map is that of the class minus the mean of the others'
(the class's share in the decision), of a method without signs the class's own; of several labels
the label's own, which decides alone. An annotation is of the class that it names; one that names
none of the classes is of the image's own class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isnet_cli.annotations.findings import Drawing, Finding, draw_all, place_in_network
from isnet_cli.annotations.read import Annotations, find_salt, read_all_annotations
from isnet_cli.core.journal import name_part
from isnet_cli.core.run_context import RunContext
from isnet_cli.dataset.evaluation_sets import (
    Stopped,
    choose_chunk_size,
    raise_if_stopped,
    select_version,
    split_into_chunks,
)
from isnet_cli.dataset.image_dataset import Version
from isnet_cli.errors import IsnetError
from isnet_cli.evaluate.background import Bench
from isnet_cli.images.resize import Frame
from isnet_cli.images.types import Row
from isnet_cli.inference.explainers import check_method, explain, read_method
from isnet_cli.inference.predictor import Predictor
from isnet_cli.labels.values import parse_label
from isnet_cli.stats.localisation import measure_localisation, scale_tolerance

OFF = "evaluate.annotations is none for this set"
NO_MAPS = "evaluate.relevance is false"
NO_FINDING = "no image of this set has an annotated finding of a class"
NO_CLASS = "names no class, and its image has not exactly one"
UNKNOWN_CLASS = "names a label that the model does not know"
Figures = dict[str, float | str | None]  # of one pair: `FIGURES` and ``why``
FIGURES = ("hit", "inside", "chance", "area")


@dataclass(frozen=True)
class Pair:
    """The findings of one class in one image.

    Attributes:
        row: The image.
        target: Index of the class.
        mask: Union of the findings at the network's size, packed bits.
        count: Number of findings.
    """

    row: Row
    target: int
    mask: NDArray[np.uint8]
    count: int


@dataclass(frozen=True)
class Plan:
    """What is measured on one set.

    Attributes:
        pairs: In the order of the set's images.
        left_out: Reason -> number of annotations that are not used.
        why: Reason why nothing is measured, or "".
    """

    pairs: list[Pair] = field(default_factory=list)
    left_out: Mapping[str, int] = field(default_factory=dict)
    why: str = ""

    def count_steps(self, version: Version) -> int:
        """Steps of the progress bar."""
        return len(select_version([pair.row for pair in self.pairs], version))


def explain_absence(predictor: Predictor) -> str:
    """Why this model has no maps by the method of heat maps, or ""."""
    try:
        check_method(predictor)
    except IsnetError as error:
        return error.message
    return ""


def plan_sets(
    predictor: Predictor,
    sets: dict[str, list[Row]],
    rows: Sequence[Row],
    context: RunContext,
) -> dict[str, Plan]:
    """What is measured against annotations in each set; says what of them is not used.

    Args:
        predictor: The model, the run and its settings.
        sets: Name -> images.
        rows: All images of the run.
        context: Side effects.

    Raises:
        IsnetError: Kind "config" for annotations of a set that is not scored; "data" as
            `read_all_annotations`.
        Stopped: When a stop was asked for.
    """
    config = predictor.config
    given = config.evaluate.annotations
    for name in given if isinstance(given, dict) else ():
        if name not in sets:
            raise IsnetError(
                "config",
                f"evaluate.annotations: '{name}' is not scored, expected one of {', '.join(sets)}",
                fix="name one of evaluate.sets, or leave its annotations out",
            )
    found = read_all_annotations(config, find_salt(config, predictor.folder), sets, rows)
    why = NO_MAPS if not config.evaluate.relevance else ""
    why = why or (explain_absence(predictor) if found else "")
    if found and why:
        context.warn("model", f"maps are not compared with annotations: {why}")
        return {name: Plan(why=why) for name in sets}
    plans = {
        name: plan_set(predictor, own, found.get(name), context.stop_requested)
        for name, own in sets.items()
    }
    for words in dict.fromkeys(
        f"{count} annotation{'s'[: count > 1]} left out: {reason}"
        for plan in plans.values()
        for reason, count in plan.left_out.items()
    ):
        context.warn("data", f"evaluate.annotations: {words}")
    return plans


def plan_set(
    predictor: Predictor, rows: Sequence[Row], found: Annotations | None, stop: Any
) -> Plan:
    """Draws the findings of a set at the network's size.

    Raises:
        Stopped: When a stop was asked for.
    """
    if found is None:
        return Plan(why=OFF)
    left_out = Counter(found.left_out)
    wanted: list[tuple[Row, int, list[Finding]]] = []
    for row in rows:
        classes = _sort_by_class(row, found.findings.get(row.key, ()), predictor, left_out)
        wanted += [(row, k, own) for k, own in sorted(classes.items())]
    frames = {row.key: _frame(predictor, row) for row, _, _ in wanted}
    limits = predictor.config.limits
    drawings = [
        Drawing(one, frames[row.key].original, frames[row.key].inner[2:], limits)
        for row, _, own in wanted
        for one in own
    ]
    drawn = draw_all(drawings, predictor.config, stop)
    if drawn is None:
        raise Stopped
    masks, pairs = iter(drawn), []
    for row, target, own in wanted:
        frame = frames[row.key]
        whole, count = np.zeros(frame.network, np.bool_), 0
        for mask in (next(masks) for _ in own):
            if isinstance(mask, str):
                left_out[mask.partition(":")[0]] += 1
            elif mask.any():
                whole |= place_in_network(mask, frame)
                count += 1
        if count:
            pairs.append(Pair(row, target, np.packbits(whole), count))
    return Plan(pairs, dict(sorted(left_out.items())), "" if pairs else NO_FINDING)


def _frame(predictor: Predictor, row: Row) -> Frame:
    return Frame((row.height, row.width), predictor.config.model.input)


def _sort_by_class(
    row: Row, findings: Sequence[Finding], predictor: Predictor, left_out: Counter[str]
) -> dict[int, list[Finding]]:
    """Findings by the index of their class; those without one are counted in `left_out`."""
    if not findings:
        return {}
    names = {name.casefold(): k for k, name in enumerate(predictor.classes)}
    known = parse_label(row.label, predictor.task) if row.label else {}
    own = [predictor.classes.index(name) for name, yes in known.items() if yes == 1]
    found: dict[int, list[Finding]] = {}
    for finding in findings:
        target = names.get(finding.label.casefold())
        if target is None and finding.label and predictor.task == "multilabel":
            left_out[UNKNOWN_CLASS] += 1
        elif target is None and len(own) != 1:
            left_out[NO_CLASS] += 1
        else:
            found.setdefault(own[0] if target is None else target, []).append(finding)
    return found


def measure_set(bench: Bench, name: str, plan: Plan, version: Version) -> list[Figures]:
    """Measures the pairs of `plan` that exist in `version`, chunk by chunk; of a share, its chunks.

    Returns:
        For each such pair `FIGURES` and ``why``; figures are None where `why` says so.

    Raises:
        IsnetError: Kind "data", when an image or a mask is missing or damaged.
        Stopped: When a stop was asked for.
    """
    chosen = select_version([pair.row for pair in plan.pairs], version)
    found: list[Figures] = []
    chunks = split_into_chunks(chosen, choose_chunk_size(bench.predictor.config))
    for number, chunk in enumerate(chunks):
        ends = (plan.pairs[i] for i in (chunk[0], chunk[-1]))
        words = [word for pair in ends for word in (pair.row.key, str(pair.target))]
        note = name_part(name, "localisation", version, *words)
        content = bench.journal.get(note)
        if content is None and not bench.context.share.owns(number):
            continue
        if content is None:
            content = _measure_chunk(bench, [plan.pairs[i] for i in chunk], version)
            bench.journal.add(note, content)
        else:
            bench.bar.advance(len(chunk))
        found += content
    return found


def _measure_chunk(bench: Bench, pairs: Sequence[Pair], version: Version) -> list[Figures]:
    predictor, found = bench.predictor, []
    rows = {pair.row.key: pair.row for pair in pairs}  # an image may have several classes
    places = {key: place for place, key in enumerate(rows)}
    dataset = predictor.load(list(rows.values()))
    size = predictor.config.model.input
    blur, slack = scale_tolerance(size)
    each = max(1, predictor.config.evaluate.batch_size // len(predictor.classes))
    for batch in split_into_chunks(range(len(pairs)), each):
        raise_if_stopped(bench.context)
        images, lungs = predictor.batch(dataset, [places[pairs[i].row.key] for i in batch], version)
        targets = torch.tensor([pairs[i].target for i in batch])
        bits = np.stack([pairs[i].mask for i in batch])
        marked = np.unpackbits(bits, axis=1, count=size[0] * size[1]).reshape(-1, *size)
        maps = explain_classes(predictor, images, targets)
        part = measure_localisation(maps, marked, lungs, blur=blur, slack=slack)
        for i in range(len(batch)):
            values = (part.hit[i], part.inside_share[i], part.chance[i], part.area[i])
            figures = {k: _or_none(v) for k, v in zip(FIGURES, values, strict=True)}
            found.append({**figures, "why": str(part.why[i])})
        bench.bar.advance(len(batch))
    return found


def explain_classes(predictor: Predictor, images: Tensor, targets: Tensor) -> NDArray[np.float32]:
    """What speaks for a class of each image, by the method of heat maps.

    Args:
        predictor: Model and configuration.
        images: [B, C, h, w] in [0, 1].
        targets: Class of each image, int64 [B].

    Returns:
        [B, C', h, w]: of one class per image and a signed method R_c - mean of R_k, k != c;
        else the class's own map, or the only one.
    """
    method, K = read_method(predictor), len(predictor.classes)
    if not method.of_class:
        return explain(predictor, images, "predicted")[1][:, 0]
    if predictor.task == "multilabel" or not method.signed or K == 1:
        return explain(predictor, images, targets)[1][:, 0]
    maps = explain(predictor, images, "all")[1]
    own = maps[np.arange(len(maps)), targets.numpy()]
    contrast: NDArray[np.float32] = own - (maps.sum(axis=1) - own) / np.float32(K - 1)
    return contrast


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
