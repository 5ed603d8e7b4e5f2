"""Stage `train`: from images, masks and labels to a classifier, its card and its history."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from isnet_cli.config.schema import Config
from isnet_cli.core.files import fingerprint as hash_of
from isnet_cli.core.files import sha256_file, without_nan, write_csv, write_text
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.core.runtime import choose_device, make_deterministic
from isnet_cli.core.stage import StageResult
from isnet_cli.dataset.image_dataset import ImageDataset, Version, list_classes, load_dataset
from isnet_cli.dataset.training_images import check_classes, choose_images, read_verdicts
from isnet_cli.images.manifest import read_manifest
from isnet_cli.inference.model_files import CARD, WEIGHTS, load_model, save_model
from isnet_cli.inference.uncertainty import find_limits, save_limits
from isnet_cli.output.figures import curves_figure
from isnet_cli.output.plotting import svg_text
from isnet_cli.train.classifier_training import ClassifierTraining, weigh_classes
from isnet_cli.train.model_card import describe_validation, make_card, name_network
from isnet_cli.train.relevance_range import describe_ranges, find_ranges
from isnet_cli.train.setup import (
    build_method,
    build_net,
    build_untrained,
    check_network,
    find_segmenter,
    load_first_weights,
    load_segmenter,
    prepare_network,
    read_method_settings,
)
from isnet_cli.train.teacher import load_teacher, teacher_folder, teacher_hash
from isnet_cli.train.validation import Validator
from isnet_models.methods import registry
from isnet_models.methods.settings import MethodSettings

NAME = "train"
FORMAT = 2  # raised when the same input gives another model
LABELS_FORMAT = 2  # the same for models of several labels alone: 2: thresholds by F1
STOCHASTIC_FORMAT = "stochastic 2"  # the same for that variant alone: 2: validation draws nothing
HISTORY, CURVES, RANGES = "history.csv", "curves.svg", "relevance_range.json"


def fingerprint(config: Config, folder: RunFolder) -> str:
    """Hash of all that the trained model depends on.

    Raises:
        IsnetError: As `read_method_settings`, `find_segmenter` and `teacher_folder`.
    """
    used = read_method_settings(config)
    start = config.model.weights
    several: list[Any] = [LABELS_FORMAT] if config.data.labels.task == "multilabel" else []
    forms = {entry.name: entry.load().form for entry in registry.parts(config.train.method)}
    several += [[name, form] for name, form in forms.items() if form > 1]
    if "isnet" in used and config.train.settings_of("isnet").variant == "stochastic":
        several.append(STOCHASTIC_FORMAT)
    network = find_segmenter(config)
    if network is not None:
        several.append(network.sha256)
    taught = [found] if (found := teacher_hash(config)) else []
    return hash_of(
        FORMAT,
        config.seed,
        config.model.model_dump(),
        config.bias.model_dump(),
        _training(config, used),
        config.data.labels.model_dump(),
        config.masks.on_suspect,
        config.machine.deterministic,
        folder.require("ingest")["outputs"],
        folder.require("masks")["outputs"],
        sha256_file(Path(start)) if start and Path(start).is_file() else start,
        *several,
        *taught,
    )


def _training(config: Config, used: dict[str, MethodSettings]) -> dict[str, Any]:
    """The section ``train``, of the settings those that are used; not where a teacher lies."""
    settings = {name: record.model_dump(exclude={"teacher"}) for name, record in used.items()}
    return {**config.train.model_dump(), "settings": settings}


def preflight(config: Config) -> None:
    """What can be refused before any image is read.

    Raises:
        IsnetError: Kind "config", for an unknown method or setting, or a method whose own network
            does not take the images' size; "weights", for a missing segmenter, or a teacher that is
            no trained run.
    """
    read_method_settings(config)
    teacher_folder(config)
    card = find_segmenter(config)
    if card is not None:
        load_segmenter(card)
    if registry.parts(config.train.method)[0].own_network:
        with torch.device("meta"):  # shapes alone
            build_untrained(config, 2, card)


def run(config: Config, folder: RunFolder, context: RunContext) -> StageResult:
    """Trains, or continues a training of the same fingerprint.

    Raises:
        IsnetError: Unknown method or architecture, a method without its masks, an empty set, a
            diverged training.
    """
    read_method_settings(config)
    needs = registry.needs(config.train.method)
    device = choose_device(config.machine.device)
    make_deterministic(config.machine.deterministic)
    rows = read_manifest(folder.stage_dir("ingest") / "manifest.csv")
    classes = list_classes([row for row in rows if row.set == "train"] or rows, config)
    qc = read_verdicts(folder)
    train_rows, val_rows, excluded = choose_images(rows, qc, config, "masks" in needs)
    context.say(
        f"training {name_network(config)} ({config.train.method}) on {device}: "
        f"{len(train_rows)} images, {len(val_rows)} for validation, "
        f"{sum(excluded.values())} left out"
    )
    train = load_dataset(train_rows, folder, qc, classes, config, context)
    val = load_dataset(val_rows, folder, qc, classes, config, context)
    check_classes(train, val, context)
    marked = config.bias.kind == "shapes" and config.bias.train
    version: Version = "biased" if marked else "standard"
    directory, identity = folder.stage_dir(NAME), fingerprint(config, folder)

    net = build_net(config, len(classes))
    load_first_weights(net, config)
    check_network(net.to(device), config, device)
    ranges = None
    if "range" in needs:
        ranges = find_ranges(config, train, version, device, directory / RANGES, identity, context)
        if ranges is None:
            return StageResult([], {"epoch": 0}, complete=False)
        for line in describe_ranges(ranges):
            context.say(line)
    weights = weigh_classes(config, train)
    weights = None if weights is None else weights.to(device)
    method = build_method(config, ranges, weights, load_teacher(config, classes, device))
    prepare_network(method, net)
    card = make_card(config, classes, net, ranges, len(train_rows), len(val_rows))
    validator = Validator(val, version, config.evaluate.batch_size, device)
    training = ClassifierTraining(
        config, net, method, train, validator, version, directory, identity,
        lambda best, row: save_model(
            directory, best, {**card, **validator.thresholds(best), **describe_validation(row)}
        ),
    )  # fmt: skip
    if training.restore():
        context.say(f"continuing after epoch {training.progress.epoch}")
    finished = training.run(context)
    if training.progress.history:
        _write_history(directory, training.progress.history)
    summary = _summary(training, excluded, train, val)
    if not finished:
        return StageResult([], summary, complete=False)
    best = load_model(directory, device)
    batch_size = config.evaluate.batch_size
    save_limits(directory, best, find_limits(best, train, val, version, batch_size))
    return StageResult([directory / name for name in (WEIGHTS, CARD, HISTORY, CURVES)], summary)


def _write_history(directory: Path, history: list[dict[str, float]]) -> None:
    columns = list(dict.fromkeys(name for row in history for name in row))
    text = [{k: "" if math.isnan(v) else f"{v:.6g}" for k, v in row.items()} for row in history]
    write_csv(directory / HISTORY, columns, text)
    write_text(directory / CURVES, svg_text(curves_figure(text)))


def _summary(
    training: ClassifierTraining, excluded: Counter[str], train: ImageDataset, val: ImageDataset
) -> dict[str, Any]:
    last = training.progress.history[-1] if training.progress.history else {}
    best = training.progress.best
    return {
        "epoch": training.progress.epoch,
        "best_epoch": int(best["epoch"]) if best else None,
        "images": {"train": len(train), "val": len(val)},
        "left_out": dict(excluded),
        "last": without_nan(last),
    }
