"""Sanity checks of a model's maps, on a bounded number of images (`heatmap.check`).

1. Weights are shuffled, group by group from the head down and each group alone: the maps must
   change (Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018).
2. Cells of the image are blurred (deletion), or restored from a blurred image (insertion), in the
   order of the map: the probability of the class must fall, or rise, sooner than in a random order
   and in a random order that begins with the lungs (Petsiuk et al., "RISE", BMVC 2018).

What these checks cannot say is in `check_scores.CAVEATS` and beside the figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from isnet_cli.core import files
from isnet_cli.core.journal import Journal, name_part
from isnet_cli.core.run_context import Bar, RunContext
from isnet_cli.core.runtime import derive_seed, make_generator
from isnet_cli.dataset.evaluation_sets import raise_if_stopped, split_into_chunks
from isnet_cli.heatmap.check_scores import (
    CURVE_COLUMNS,
    KINDS,
    SHUFFLED_COLUMNS,
    SIMILARITIES,
    STEPS,
    list_curve_lines,
    list_shuffled_lines,
    summarise_checks,
)
from isnet_cli.images.resize import Frame
from isnet_cli.images.types import Row
from isnet_cli.inference.explainers import explain, read_method
from isnet_cli.inference.predictor import Predictor
from isnet_cli.output.checks import check_figure
from isnet_cli.output.plotting import svg_text
from isnet_cli.stats.map_checks import compare_ranks, compare_structure, rank_cells
from isnet_models.explanations.randomise import list_groups, shuffle_weights

FOLDER = "check"
RECORD, SHUFFLED, CURVES, PICTURE = "check.json", "randomisation.csv", "curves.csv", "check.svg"
MOST = 24  # images that are looked at
BLUR = 1 / 8  # of the image's shorter side: standard deviation of the fill

_Floats = NDArray[np.float64]


def count_steps(rows: Sequence[Row]) -> int:
    """Steps of the progress bar."""
    return 2 * len(rows)


def list_files() -> list[str]:
    """What the check writes, relative to the stage's folder."""
    return [f"{FOLDER}/{name}" for name in (RECORD, SHUFFLED, CURVES, PICTURE)]


def summarise_verdicts(content: Mapping[str, Any]) -> dict[str, str]:
    """The verdicts in words, for the summary of the stage; nothing without a check."""
    if not content:
        return {}
    shuffled, curves = content["randomisation"]["verdict"], content["curves"]["verdict"]
    return {"shuffled_weights": f"maps {shuffled}", "deletion_and_insertion": curves}


@dataclass(frozen=True)
class Checker:
    """What the checks need.

    Attributes:
        predictor: The model, the run and its settings.
        rows: The images, N.
        journal: Notes of finished batches.
        bar: Progress; one step per image and check.
        context: May ask to stop.
    """

    predictor: Predictor
    rows: Sequence[Row]
    journal: Journal
    bar: Bar
    context: RunContext

    def run(self, root: Path) -> dict[str, Any]:
        """Does both checks and writes the files below `root`; the figures.

        Raises:
            IsnetError: Kind "data", when an image or a mask is missing or damaged.
            Stopped: When a stop was asked for.
        """
        groups = list_groups(self.predictor.model.net)
        batches = list(split_into_chunks(self.rows, self._batch()))
        shuffled = self._collect("shuffled", batches, groups)
        curves = self._collect("curves", batches, groups)
        content = summarise_checks(self.predictor, self.rows, groups, shuffled, curves)
        place = root / FOLDER
        files.write_json(place / RECORD, content)
        files.write_csv(place / SHUFFLED, SHUFFLED_COLUMNS, list_shuffled_lines(content))
        lines = list_curve_lines(self.rows, curves, self.predictor.classes)
        files.write_csv(place / CURVES, CURVE_COLUMNS, lines)
        files.write_text(place / PICTURE, svg_text(check_figure(content)))
        return content

    def _batch(self) -> int:
        return max(1, min(8, self.predictor.config.evaluate.batch_size))

    def _collect(
        self, kind: str, batches: Sequence[Sequence[Row]], groups: Sequence[tuple[str, ...]]
    ) -> list[dict[str, Any]]:
        """What was found of each image, batch by batch."""
        found: list[dict[str, Any]] = []
        for batch in batches:
            note = name_part(FOLDER, kind, batch[0].key, batch[-1].key)
            content = self.journal.get(note)
            if content is None:
                raise_if_stopped(self.context)
                content = self._shuffle(batch, groups) if kind == "shuffled" else self._trace(batch)
                self.journal.add(note, content)
            self.bar.advance(len(batch))
            found += content
        return found

    def _shuffle(
        self, batch: Sequence[Row], groups: Sequence[tuple[str, ...]]
    ) -> list[dict[str, Any]]:
        """Similarity of each image's map to those of networks with shuffled weights."""
        images, targets, _ = self._open(batch)
        own = _explain(self.predictor, images, targets)
        found: list[dict[str, Any]] = [
            {kind: {name: [] for name in SIMILARITIES} for kind in KINDS} for _ in batch
        ]
        for kind in KINDS:
            for depth in range(len(groups)):
                chosen = groups[: depth + 1] if kind == "cascading" else groups[depth : depth + 1]
                names = [name for group in chosen for name in group]
                seed = self.predictor.config.seed
                generator = make_generator(seed, "shuffle", kind, depth)
                net = shuffle_weights(self.predictor.model.net, names, generator)
                model = replace(self.predictor.model, net=net)
                other = _explain(replace(self.predictor, model=model), images, targets)
                alike = compare_ranks(own, other), compare_structure(own, other)
                for i, values in enumerate(zip(*alike, strict=True)):
                    for name, value in zip(SIMILARITIES, values, strict=True):
                        found[i][kind][name].append(None if np.isnan(value) else float(value))
        turned = np.roll(own, 1, axis=0)  # maps of other images by the same network
        alike = compare_ranks(own, turned), compare_structure(own, turned)
        for i, values in enumerate(zip(*alike, strict=True)):
            pair = [None if np.isnan(v) or len(batch) < 2 else float(v) for v in values]
            found[i]["other"] = dict(zip(SIMILARITIES, pair, strict=True))
        return found

    def _trace(self, batch: Sequence[Row]) -> list[dict[str, Any]]:
        """Probability of each image's class while cells are removed or restored."""
        images, targets, lungs = self._open(batch)
        maps = _explain(self.predictor, images, targets)
        found = []
        for i, row in enumerate(batch):
            frame = Frame((row.height, row.width), self.predictor.config.model.input)
            rng = np.random.default_rng(derive_seed(self.predictor.config.seed, "order", row.key))
            chance = rng.random(maps[i].shape)
            orders = {
                "map": maps[i],
                "random": chance,
                "lungs": chance + lungs[i] if lungs[i].any() else None,
            }
            image, target = images[i], int(targets[i])
            curves = {
                name: None
                if values is None or not np.isfinite(values).all()
                else self._curves(image, target, rank_cells(values, frame.inner), frame)
                for name, values in orders.items()
            }
            found.append({"target": target, **curves})
        return found

    def _curves(
        self, image: torch.Tensor, target: int, turns: _Floats, frame: Frame
    ) -> dict[str, list[float]]:
        fill = torch.from_numpy(_blur(image.numpy(), frame))
        steps = torch.arange(STEPS + 1) / STEPS
        taken = torch.from_numpy(turns)[None] < steps[:, None, None]
        taken = taken[:, None]
        found = {}
        for name, (under, over) in {"deletion": (image, fill), "insertion": (fill, image)}.items():
            made = torch.where(taken, over[None], under[None])
            size = max(1, self.predictor.config.evaluate.batch_size)
            starts = range(0, len(made), size)
            parts = [self.predictor.predict(made[i : i + size]).probabilities for i in starts]
            found[name] = np.concatenate(parts)[:, target].tolist()
        return found

    def _open(self, batch: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor, NDArray[np.bool_]]:
        """Images, the classes predicted of them, trusted lungs."""
        dataset = self.predictor.load(batch)
        images, lungs = self.predictor.batch(dataset, range(len(batch)), "standard")
        targets = torch.from_numpy(self.predictor.predict(images).logits.argmax(axis=1))
        return images, targets, lungs


def _explain(predictor: Predictor, images: torch.Tensor, targets: torch.Tensor) -> _Floats:
    """Maps of given classes, summed over channels [B, h, w]."""
    target: Any = targets if read_method(predictor).of_class else "predicted"
    maps = explain(predictor, images, target)[1][:, 0]
    return np.asarray(maps.sum(axis=1), np.float64)


def _blur(image: NDArray[np.float32], frame: Frame) -> NDArray[np.float32]:
    """The image's part of the network's input blurred [C, h, w]; its padding stays."""
    top, left, height, width = frame.inner
    found = image.copy()
    inside = image[:, top : top + height, left : left + width]
    sigma = BLUR * min(height, width)
    blurred = ndimage.gaussian_filter(inside, (0, sigma, sigma), mode="nearest")
    found[:, top : top + height, left : left + width] = blurred
    return found
