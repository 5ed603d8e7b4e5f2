"""Background reliance in `evaluate`: predictions on images cut and pasted, chunk by chunk.

Each image with a label and a trusted lung mask is paired with an image of another class and one of
its own class; pairs depend on the seed, the set's name and its images alone. The synthetic bias of
a version is drawn first, so that a background brings its shape along.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isnet_cli.core.journal import Journal, name_part
from isnet_cli.core.run_context import Bar, RunContext
from isnet_cli.core.runtime import derive_seed
from isnet_cli.dataset.background_swap import choose_partners
from isnet_cli.dataset.evaluation_sets import choose_chunk_size, raise_if_stopped, split_into_chunks
from isnet_cli.dataset.image_dataset import ImageDataset, Version, encode_labels
from isnet_cli.errors import IsnetError, UnreadableImage
from isnet_cli.evaluate.background_scores import (
    FULL,
    ONLY,
    OTHER,
    REMOVED,
    SAME,
    VARIANTS,
    Answers,
    Images,
    background_reliance,
    find_flips,
)
from isnet_cli.images.mask_files import load_mask
from isnet_cli.images.resize import Frame
from isnet_cli.images.types import Row
from isnet_cli.inference.predictor import Predictor
from isnet_models.backgrounds import transplant

OFF = "evaluate.background is false"
TABLE = "background.csv"
SWAPS = (OTHER, SAME)  # variants that need a partner
THUMB = 4  # masks are compared at a quarter of the network's size
Said = dict[str, list[list[float] | None]]  # variant -> probabilities of each image


@dataclass(frozen=True)
class Pairs:
    """The images of a set that can be cut out, and whose backgrounds they get.

    Attributes:
        rows: Images with a label and a trusted mask, N.
        partners: ``other_class`` and ``same_class`` -> index of the partner [N], -1 for none.
        left_out: Reason -> number of the set's other images.
    """

    rows: list[Row]
    partners: Mapping[str, NDArray[np.int64]]
    left_out: dict[str, int]


@dataclass(frozen=True)
class Bench:
    """What the work needs.

    Attributes:
        predictor: The model, the run and its settings.
        journal: Notes of finished chunks.
        bar: Progress; one step per image and version.
        context: Side effects.
    """

    predictor: Predictor
    journal: Journal
    bar: Bar
    context: RunContext


def list_usable(predictor: Predictor, rows: Sequence[Row]) -> list[Row]:
    """Images that can be cut out and scored: with a label and a trusted mask."""
    if not predictor.config.evaluate.background:
        return []
    return [row for row in rows if _lack(predictor, row) == ""]


def _lack(predictor: Predictor, row: Row) -> str:
    if not row.label:
        return "no label"
    return "" if predictor.trusted(row) else "no trusted lung mask"


def pair_images(predictor: Predictor, name: str, rows: Sequence[Row]) -> Pairs:
    """Finds the partners of the images of set `name`.

    Raises:
        IsnetError: Kind "data", when a mask is missing or damaged.
    """
    images = list_usable(predictor, rows)
    left_out = Counter(lack for row in rows if (lack := _lack(predictor, row)))
    labels = encode_labels(images, predictor.classes, predictor.task)
    patients = [row.patient for row in images]
    masks = _small_masks(predictor, images)
    found = {}
    for variant in SWAPS:
        seed = derive_seed(predictor.config.seed, "background", name, variant)
        found[variant] = choose_partners(
            masks,
            labels,
            np.random.default_rng(seed),
            same=variant == SAME,
            patients=patients,
            step=1,
        )
    return Pairs(images, found, dict(sorted(left_out.items())))


def _small_masks(predictor: Predictor, rows: Sequence[Row]) -> NDArray[np.bool_]:
    """Masks at a quarter of the network's size, [N, h/4, w/4]."""
    h, w = (max(1, side // THUMB) for side in predictor.config.model.input)
    folder = predictor.folder.stage_dir("masks")

    def load(row: Row) -> NDArray[np.bool_]:
        predictor.folder.refuse_change("masks", f"{row.key}.png")
        mask = load_mask(folder / f"{row.key}.png")
        return Frame((row.height, row.width), (h, w)).mask_to_network(mask)

    try:
        with ThreadPoolExecutor(max_workers=4) as pool:  # decoding releases the GIL
            return np.array(list(pool.map(load, rows)), bool).reshape(len(rows), h, w)
    except UnreadableImage as error:
        raise IsnetError("data", f"{folder}: {error.detail}", fix="isnet masks CONFIG") from error


def answer_set(
    bench: Bench, name: str, pairs: Pairs, versions: Sequence[Version]
) -> dict[Version, Said]:
    """What the model says of every variant but the full image, in each version, image by image."""
    found: dict[Version, Said] = {v: {k: [] for k in VARIANTS[1:]} for v in versions}
    size = choose_chunk_size(bench.predictor.config)
    for start in range(0, len(pairs.rows), size):
        stop = min(start + size, len(pairs.rows))
        keys = pairs.rows[start].key, pairs.rows[stop - 1].key
        note = name_part(name, "background", *keys)
        content = bench.journal.get(note)
        if content is None and not bench.context.share.owns(start // size):
            continue
        if content is None:
            content = _answer_chunk(bench, pairs, range(start, stop), versions)
            bench.journal.add(note, content)
        else:
            bench.bar.advance((stop - start) * len(versions))
        for version in versions:
            for variant in VARIANTS[1:]:
                found[version][variant] += content[version][variant]
    return found


def _answer_chunk(
    bench: Bench, pairs: Pairs, chunk: range, versions: Sequence[Version]
) -> dict[str, Said]:
    needed = sorted({i for found in pairs.partners.values() for i in found[chunk]} | {*chunk})
    places = {image: place for place, image in enumerate(i for i in needed if i >= 0)}
    dataset = bench.predictor.load([pairs.rows[i] for i in places])
    answers: dict[str, Said] = {}
    for version in versions:
        said: Said = {variant: [] for variant in VARIANTS[1:]}
        for batch in split_into_chunks(chunk, bench.predictor.config.evaluate.batch_size):
            raise_if_stopped(bench.context)
            _answer_batch(bench.predictor, dataset, pairs, batch, places, version, said)
            bench.bar.advance(len(batch))
        answers[version] = said
    return answers


def _answer_batch(
    predictor: Predictor,
    dataset: ImageDataset,
    pairs: Pairs,
    batch: Sequence[int],
    places: Mapping[int, int],
    version: Version,
    said: Said,
) -> None:
    """Adds the answers on one batch to `said`."""
    images, masks = _images(predictor, dataset, [places[i] for i in batch], version)
    for variant, cut in ((ONLY, images * masks), (REMOVED, images * (1 - masks))):
        said[variant] += predictor.predict(cut).probabilities.tolist()
    for variant in SWAPS:
        partner = pairs.partners[variant][list(batch)]
        there = np.flatnonzero(partner >= 0)
        rows: list[list[float] | None] = [None] * len(batch)
        if len(there):
            others = _images(predictor, dataset, [places[int(partner[i])] for i in there], version)
            own = torch.from_numpy(there)
            pasted = transplant(images[own], masks[own], *others)
            answers = predictor.predict(pasted).probabilities.tolist()
            for i, answer in zip(there, answers, strict=True):
                rows[i] = answer
        said[variant] += rows


def _images(
    predictor: Predictor, dataset: ImageDataset, places: Sequence[int], version: Version
) -> tuple[Tensor, Tensor]:
    """Images [B, C, h, w] and masks [B, 1, h, w], 0 or 1."""
    images, lungs = predictor.batch(dataset, places, version)
    return images, torch.from_numpy(lungs).to(images.dtype)[:, None]


def examine(bench: Bench, name: str, rows: Sequence[Row], versions: Sequence[Version]) -> Examined:
    """Pairs the images of set `name` and asks the model about every variant in each version.

    Raises:
        IsnetError: Kind "data", when an image or a mask is missing or damaged.
        Stopped: When a stop was asked for.
    """
    if not bench.predictor.config.evaluate.background:
        return Examined(bench.predictor, None, {})
    pairs = pair_images(bench.predictor, name, rows)
    return Examined(bench.predictor, pairs, answer_set(bench, name, pairs, versions))


@dataclass(frozen=True)
class Examined:
    """What was found out about one set.

    Attributes:
        predictor: The model.
        pairs: The images; None when `evaluate.background` is false.
        said: Version -> answers.
    """

    predictor: Predictor
    pairs: Pairs | None
    said: Mapping[Version, Said]

    def figures(
        self, version: Version, full: Mapping[str, list[float]]
    ) -> tuple[dict[str, Any], list[dict[str, str]]]:
        """Figures of one version and the lines of its table.

        Args:
            version: Of the images.
            full: Key -> probabilities on the whole image.

        Returns:
            `background_reliance` with ``left_out`` (reason -> images), or only ``n`` and ``why``;
            and one line per image and variant, with the cells of `list_columns`.
        """
        if self.pairs is None:
            return {"n": 0, "why": OFF}, []
        predictor, rows = self.predictor, self.pairs.rows
        count = len(predictor.classes)
        everything: Said = {FULL: [full[row.key] for row in rows], **self.said[version]}
        answers = {name: Answers.of(said, count) for name, said in everything.items()}
        labels = encode_labels(rows, predictor.classes, predictor.task)
        images = Images(
            labels,
            predictor.classes,
            predictor.thresholds,
            [row.patient for row in rows],
            predictor.config.evaluate.intervals,
            derive_seed(predictor.config.seed, "background", version),
        )
        found = background_reliance(answers, images)
        found["left_out"] = self.pairs.left_out
        return found, _lines(predictor, self.pairs, answers)


def list_columns(predictor: Predictor) -> list[str]:
    """Columns of the table."""
    named = [f"p_{name}" for name in predictor.classes]
    return ["key", "variant", "partner", "label", "predicted", "flipped", *named]


def _lines(
    predictor: Predictor, pairs: Pairs, answers: Mapping[str, Answers]
) -> list[dict[str, str]]:
    """One line per image and variant that it has."""
    lines = []
    whole = answers[FULL].p
    for variant in VARIANTS:
        p, there = answers[variant].p, answers[variant].there
        flipped = np.asarray(find_flips(whole, p, predictor.thresholds).any(axis=1))
        decided = predictor.decisions(p)
        for i in np.flatnonzero(there):
            partner = pairs.rows[pairs.partners[variant][i]].key if variant in SWAPS else ""
            cells = [pairs.rows[i].key, variant, partner, pairs.rows[i].label]
            cells += [";".join(decided[i]), str(int(flipped[i]))]
            cells += [f"{value:.9g}" for value in p[i]]
            lines.append(dict(zip(list_columns(predictor), cells, strict=True)))
    return lines
