"""Which group each image of a test set is in, and the scores of the groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isnet_cli.config.schema import Config
from isnet_cli.core.records.facts import Facts, read_facts
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.core.runtime import derive_seed
from isnet_cli.dataset.image_dataset import encode_labels
from isnet_cli.errors import IsnetError
from isnet_cli.evaluate.subgroup_scores import Predicted, score_subgroups
from isnet_cli.images.types import Row
from isnet_cli.inference.predictor import Predictor

OWN = ("source", "view")  # of the manifest
FACTS = ("sex", "age", "manufacturer", "model")


def find_groups(
    config: Config, folder: RunFolder, rows: Sequence[Row]
) -> dict[str, dict[str, str]]:
    """Name of the column -> group of each image by its key; "" where it is not known.

    The view is the projection (AP, PA) where that is known, else frontal or lateral.

    Raises:
        IsnetError: Kind "config": ``evaluate.subgroups`` names a column that is not there.
    """
    names = config.evaluate.subgroups
    if not names:
        return {}
    known = read_facts(folder.stage_dir("ingest"))
    columns = {name for line in known.values() for name in line} - {"key", "projection"}
    usual = [*OWN, *FACTS, *sorted(columns - set(Facts._fields))]
    if wrong := [name for name in names if name not in usual]:
        raise IsnetError(
            "config",
            f"evaluate.subgroups: '{wrong[0]}', expected some of {', '.join(usual)}",
            fix=f"data.columns.groups: [{wrong[0]}]   keeps a further column of the label file",
        )
    return {
        name: {row.key: _group(row, known.get(row.key, {}), name) for row in rows} for name in names
    }


def _group(row: Row, facts: Mapping[str, str], name: str) -> str:
    if name == "view":
        view = facts.get("projection") or row.view
        return "" if view == "unknown" else view
    return row.source if name == "source" else facts.get(name, "")


def score_groups(
    key: tuple[str, str],
    rows: Sequence[Row],
    p: NDArray[np.float64],
    predictor: Predictor,
    groups: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    """Scores by each column of `find_groups`; see `score_subgroups`.

    Args:
        key: Set and version, of which the seed of the draws is made.
        rows: The images, N.
        p: Probabilities [N, K].
        predictor: Model, thresholds and settings.
        groups: Of each image by its key.
    """
    config = predictor.config
    predicted = Predicted(
        p, encode_labels(rows, predictor.classes, predictor.task), [row.patient for row in rows],
        predictor.classes, predictor.thresholds,
    )  # fmt: skip
    columns = {name: [of.get(row.key, "") for row in rows] for name, of in groups.items()}
    seed = derive_seed(config.seed, "subgroups", *key)
    options = config.evaluate
    return score_subgroups(predicted, columns, options.intervals, options.subgroup_least, seed)
