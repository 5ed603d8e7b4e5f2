"""Stage `predict` with a model in an ONNX file: the same table, without torch and without masks.

The columns of the mask's flag stay empty; the other flags are given where the file has the features
that they are made from.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isnet_cli.config.schema import Config
from isnet_cli.core import files
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.core.stage import StageResult
from isnet_cli.errors import IsnetError
from isnet_cli.images.kept import load_image
from isnet_cli.images.manifest import read_manifest
from isnet_cli.inference.lines import PREDICTIONS, Line, LineMaker
from isnet_cli.inference.onnx_model import FEATURES, OnnxModel, open_onnx, require_onnx
from isnet_cli.inference.uncertainty import NO_MASK, read_limits

NAME = "predict"
FORMAT = "onnx 1"  # raise when the same inputs give another result
NO_FEATURES = "the ONNX file has no features to measure by"


def preflight(config: Config) -> None:
    """Refuses before any image is read when onnxruntime is not there.

    Raises:
        IsnetError: Kind "usage".
    """
    require_onnx("onnxruntime")


def fingerprint(config: Config, folder: RunFolder) -> str:
    """Hash of the model's file and the images.

    Raises:
        IsnetError: When either is missing.
    """
    path = _place(config)
    try:
        digest = files.sha256_file(path)
    except OSError as error:
        raise IsnetError("weights", f"{path}: no such model", fix="--model FILE.onnx") from error
    return files.fingerprint(settings(config), folder.require("ingest")["outputs"], digest)


def settings(config: Config) -> list[Any]:
    """What of the configuration the predictions depend on."""
    return [NAME, FORMAT]


def run(config: Config, folder: RunFolder, context: RunContext) -> StageResult:
    """Predicts every readable image of the manifest.

    Returns:
        As the stage with torch; the flag of masks is None.

    Raises:
        IsnetError: Kind "weights": the file is missing, damaged or foreign, or it answers no image
            with a number; "data": ingest is not finished.
    """
    folder.require("ingest")
    path = _place(config)
    model = open_onnx(path)
    limits = read_limits(model.card, str(path))
    if limits.cloud is not None and FEATURES not in model.outputs:
        limits = replace(limits, cloud=None, ood_limit=None, ood_reason=NO_FEATURES)
    thresholds = model.card["thresholds"]
    maker = LineMaker(model.card["classes"], thresholds, limits)
    ingest, root = folder.stage_dir("ingest"), folder.stage_dir(NAME)
    rows = [row for row in read_manifest(ingest / "manifest.csv") if row.status == "ok"]
    lines: list[Line] = []
    with context.progress.bar("predict", len(rows)) as bar:
        for row in rows:
            if context.stop_requested():
                return StageResult([], {}, complete=False)
            folder.refuse_change("ingest", row.image_file)
            lines += _look(model, maker, row.key, load_image(ingest / row.image_file))
            bar.advance(1)
    if rows and not any(map(maker.is_answered, lines)):
        raise IsnetError(
            "weights",
            f"{path}: the model answers none of {len(lines)} images with a number",
            fix="its training diverged, or the file is damaged: export it again",
        )
    files.write_csv(root / PREDICTIONS, maker.columns, lines)
    return StageResult([root / PREDICTIONS], maker.summarise(lines, masks=False))


def _look(model: OnnxModel, maker: LineMaker, key: str, image: NDArray[np.float32]) -> list[Line]:
    """The line of one film; films differ in size, so that each goes alone."""
    found = model.run(image[None])
    cloud = maker.limits.cloud
    distances = np.full(1, np.nan)
    if cloud is not None:
        distances = cloud.distance(found[FEATURES].astype(np.float64))
    logits = found["logits"].astype(np.float64)
    p = _probabilities(logits, several=maker.thresholds is not None)
    return maker.make([key], logits, p, distances, [(NO_MASK, "")])


def _probabilities(logits: NDArray[np.float64], *, several: bool) -> NDArray[np.float64]:
    """In double precision, as with torch."""
    if several:
        return np.asarray(1 / (1 + np.exp(-np.clip(logits, -700, 700))))
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _place(config: Config) -> Path:
    return Path(config.predict.model or "")
