"""A model adapted to a test set by its images alone: `evaluate.adapt`.

The statistics of a network's BatchNorm layers are those of the training hospital. Those of the new
hospital's images, which need no labels, often carry over better (Li et al., Pattern Recognition
80:109, 2018; Schneider et al., NeurIPS 2020). It is another model for each set, and a score with it
is that of a user who has a batch of the new hospital's images at hand: it has to be said.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from isnet_cli.core.run_context import RunContext
from isnet_cli.dataset.evaluation_sets import (
    choose_chunk_size,
    raise_if_stopped,
    split_into_chunks,
)
from isnet_cli.errors import IsnetError
from isnet_cli.images.types import Row
from isnet_cli.inference.predictor import Predictor
from isnet_models.batch_statistics import estimate_statistics

BATCH = 32  # images, whatever `evaluate.batch_size` is, for the result must not depend on it
FEW = 32


def adapt_predictor(
    predictor: Predictor, name: str, rows: Sequence[Row], context: RunContext
) -> Predictor:
    """The model with the BatchNorm statistics of these images, or as it is.

    Args:
        predictor: The model.
        name: Of the set, for messages.
        rows: All its images, labelled or not; seen without synthetic marks.
        context: Stopping and messages.

    Raises:
        IsnetError: Kind "config": the network has no BatchNorm, or the set one image alone.
        Stopped: As asked for.
    """
    if predictor.config.evaluate.adapt == "none":
        return predictor
    if len(rows) < 2:
        raise IsnetError(
            "data",
            f"evaluate.adapt: batch_norm, but set '{name}' has {len(rows)} image, expected at least"
            f" two, better {FEW}",
            fix="evaluate.adapt: none",
        )
    if len(rows) < FEW:
        context.warn("data", f"set '{name}': BatchNorm statistics of {len(rows)} images are rough")
    net = copy.deepcopy(predictor.model.net)
    adapted = replace(predictor, model=replace(predictor.model, net=net))

    def show() -> None:
        # at random, since a batch of one class has other statistics
        order = np.random.default_rng(predictor.config.seed).permutation(len(rows))
        batches = np.array_split(order, -(-len(rows) // BATCH))
        many = max(1, choose_chunk_size(predictor.config) // BATCH)
        for chunk in split_into_chunks(batches, many):
            dataset = adapted.load([rows[i] for batch in chunk for i in batch])
            start = 0
            for batch in chunk:
                raise_if_stopped(context)
                places = range(start, start + len(batch))
                adapted.answer(adapted.batch_on_device(dataset, places, "standard")[0])
                start += len(batch)

    if not estimate_statistics(net, show):
        raise IsnetError(
            "config",
            "evaluate.adapt: batch_norm, but the network has no BatchNorm layer",
            fix="evaluate.adapt: none",
        )
    context.say(f"set '{name}': BatchNorm statistics of its own {len(rows)} images")
    return adapted
