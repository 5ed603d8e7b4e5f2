"""Predictions on images without labels: ``predictions.csv``, with uncertainty flags.

A line for each readable image: key, predicted, ``p_<class>`` ..., and the cells of
`isnet_cli.inference.uncertainty`. Labels that images may have play no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from isnet_cli.config.schema import Config
from isnet_cli.core import files
from isnet_cli.core.journal import Journal, name_part
from isnet_cli.core.records.cards import CARD
from isnet_cli.core.run_context import Bar, RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.core.stage import StageResult
from isnet_cli.dataset.evaluation_sets import (
    Stopped,
    choose_chunk_size,
    raise_if_stopped,
    split_into_chunks,
)
from isnet_cli.errors import IsnetError, explain_error
from isnet_cli.images.manifest import read_manifest, read_qc
from isnet_cli.images.types import Row
from isnet_cli.inference.lines import PREDICTIONS, Line, LineMaker
from isnet_cli.inference.predictor import (
    Predictor,
    dependencies,
    model_folder,
    open_predictor,
    shared_settings,
)
from isnet_cli.inference.uncertainty import Limits, read_limits

NAME = "predict"
SHARES = True
FORMAT = 2  # raise when the same inputs give another result


def fingerprint(config: Config, folder: RunFolder) -> str:
    """Hash of the model, the images and the masks.

    Raises:
        IsnetError: When ingest, masks or the model are missing.
    """
    return files.fingerprint(settings(config), *dependencies(config, config.predict.model, folder))


def settings(config: Config) -> list[Any]:
    """What of the configuration the predictions depend on."""
    return [NAME, FORMAT, *shared_settings(config)]


def _work_identity(config: Config, folder: RunFolder) -> str:
    """Hash of what unfinished work depends on: the result, and the batches it is made in."""
    return files.fingerprint(fingerprint(config, folder), config.evaluate.batch_size)


def run(config: Config, folder: RunFolder, context: RunContext) -> StageResult:
    """Predicts every readable image of the manifest.

    Returns:
        Output ``predictions.csv``; summary: ``images``, ``uncertain``, ``skipped`` (images whose
        answer is no number), ``predicted`` (images of each class), ``flags`` (images with each
        flag; None: the flag cannot be given), ``expected_ood_share`` (share of images like
        the training images that are flagged as out of distribution).

    Raises:
        IsnetError: Kind "weights": model missing, damaged, or it answers no image with a number;
            "data": ingest or masks are not finished.
    """
    predictor = open_predictor(config, config.predict.model, folder)
    place = model_folder(config.predict.model, folder) / CARD
    limits = read_limits(predictor.model.card, str(place))
    _check_fit(predictor, limits, str(place))
    _warn_about(limits, context)
    maker = LineMaker(predictor.classes, predictor.thresholds, limits)
    rows = [
        replace(row, label="")
        for row in read_manifest(folder.stage_dir("ingest") / "manifest.csv")
        if row.status == "ok"
    ]
    root = folder.stage_dir(NAME)
    try:
        with (
            Journal(root, _work_identity(config, folder), context.share) as journal,
            context.progress.bar("predict", len(rows)) as bar,
        ):
            work = _Work(predictor, maker, _reasons(folder), journal, bar, context)
            lines = work.lines(rows)
            if not context.share.whole:
                journal.end_share()
                return StageResult([], {"images": len(lines)}, complete=False)
            if not any(map(maker.is_answered, lines)):
                raise IsnetError(
                    "weights",
                    f"{place.parent}: the model answers none of {len(lines)} images with a number",
                    fix="its training diverged, or its files are damaged: train anew",
                )
            files.write_csv(root / PREDICTIONS, maker.columns, lines)
            journal.complete()
    except Stopped:
        return StageResult([], {}, complete=False)
    return StageResult([root / PREDICTIONS], maker.summarise(lines))


def _check_fit(predictor: Predictor, limits: Limits, place: str) -> None:
    """Refuses a card whose input or limits are not those of the network."""
    blank = torch.zeros(1, predictor.config.model.channels, *predictor.config.model.input)
    try:
        if limits.cloud is None:
            predictor.predict(blank)
            return
        count, expected = predictor.look(blank)[1].shape[1], len(limits.cloud.mean)
        if count != expected:
            raise ValueError(f"{count} features, 'uncertainty' of {expected}")
    except (AssertionError, RuntimeError, ValueError) as error:
        height, width = predictor.config.model.input
        raise IsnetError(
            "weights",
            f"{place}: does not belong to the network ({height} x {width} px):"
            f" {explain_error(error, (ValueError,))}",
            fix="copy both model.safetensors and model.json from the training run",
        ) from error


def _warn_about(limits: Limits, context: RunContext) -> None:
    if limits.ood_limit is None:
        context.warn(
            "model", f"no flag for images that differ from the training images: {limits.ood_reason}"
        )
    if limits.margin_limit is None:
        context.warn("model", f"no flag for images near another answer: {limits.margin_reason}")


def _reasons(folder: RunFolder) -> dict[str, tuple[str, str]]:
    """Verdict on the mask of each key, and why."""
    lines = read_qc(folder.stage_dir("masks"))
    return {line["key"]: (line["verdict"], line["reason"]) for line in lines}


@dataclass(frozen=True)
class _Work:
    """What every prediction needs.

    Attributes:
        predictor: The model, the run and its settings.
        maker: Makes the lines of the table.
        masks: Verdict on each image's mask, and why.
        journal: Notes of finished chunks.
        bar: Progress.
        context: May ask to stop.
    """

    predictor: Predictor
    maker: LineMaker
    masks: dict[str, tuple[str, str]]
    journal: Journal
    bar: Bar
    context: RunContext

    def lines(self, rows: Sequence[Row]) -> list[Line]:
        """A line of the table for each image, chunk by chunk."""
        found: list[Line] = []
        chunks = split_into_chunks(rows, choose_chunk_size(self.predictor.config))
        for number, chunk in enumerate(chunks):
            note = name_part(chunk[0].key, chunk[-1].key)
            content = self.journal.get(note)
            if content is None and not self.context.share.owns(number):
                continue
            if content is None:
                content = self._chunk(chunk)
                self.journal.add(note, content)
            else:
                self.bar.advance(len(chunk))
            found += content
        return found

    def _chunk(self, rows: Sequence[Row]) -> list[Line]:
        predictor, cloud = self.predictor, self.maker.limits.cloud
        dataset = predictor.load(rows)
        found: list[Line] = []
        for batch in split_into_chunks(range(len(rows)), predictor.config.evaluate.batch_size):
            raise_if_stopped(self.context)
            images, _ = predictor.batch(dataset, batch, "standard")
            if cloud is None:
                seen, distances = predictor.predict(images), np.full(len(batch), np.nan)
            else:
                seen, features = predictor.look(images)
                distances = cloud.distance(features)
            keys = [rows[index].key for index in batch]
            masks = [self.masks.get(key, ("missing", "")) for key in keys]
            found += self.maker.make(keys, seen.logits, seen.probabilities, distances, masks)
            self.bar.advance(len(batch))
        return found
