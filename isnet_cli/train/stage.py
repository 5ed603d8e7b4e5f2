"""Stage `train`: from images, masks and labels to a classifier, its card and its history."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from isnet_cli.config.schema import Config
from isnet_cli.core.files import fingerprint as hash_of
from isnet_cli.core.files import without_nan, write_csv, write_text
from isnet_cli.core.records.cards import CARD
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.core.runtime import choose_device, make_deterministic
from isnet_cli.core.stage import StageResult
from isnet_cli.dataset.image_dataset import ImageDataset, Version, list_classes, pack_datasets
from isnet_cli.dataset.training_images import (
    check_classes,
    check_masks,
    choose_images,
    read_verdicts,
)
from isnet_cli.images.manifest import read_manifest
from isnet_cli.inference.fit_limits import find_limits, save_limits
from isnet_cli.inference.model_files import WEIGHTS, load_model, save_model
from isnet_cli.output.figures import curves_figure
from isnet_cli.output.plotting import svg_text
from isnet_cli.train.classifier_training import (
    ClassifierTraining,
    split_into_batches,
    weigh_classes,
)
from isnet_cli.train.model_card import describe_validation, make_card, name_network
from isnet_cli.train.phases import Phase, check_phases, list_needs, split_phases
from isnet_cli.train.relevance_range import describe_ranges, find_ranges
from isnet_cli.train.sample_maps import SampleMaps
from isnet_cli.train.setup import (
    build_method,
    build_net,
    check_network,
    check_size,
    find_segmenter,
    load_segmenter,
    prepare_network,
    read_method_settings,
)
from isnet_cli.train.sharing import refuse_to_share
from isnet_cli.train.start import (
    check_start,
    describe_start,
    find_normalisation,
    hash_start,
    load_start,
)
from isnet_cli.train.teacher import load_teacher, teacher_folder, teacher_hash
from isnet_cli.train.validation import Validator
from isnet_models.methods import registry
from isnet_models.methods.settings import MethodSettings
from isnet_models.pretrained import Fit

NAME = "train"
TOGETHER = True
FORMAT = 2  # raised when the same input gives another model
LABELS_FORMAT = 2  # the same for models of several labels alone: 2: thresholds by F1
STOCHASTIC_FORMAT = "stochastic 2"  # the same for that variant alone: 2: validation draws nothing
HISTORY, CURVES, RANGES = "history.csv", "curves.svg", "relevance_range.json"


def fingerprint(config: Config, folder: RunFolder) -> str:
    """Hash of all that the trained model depends on.

    Raises:
        IsnetError: As `read_method_settings`, `find_segmenter`, `teacher_folder` and `hash_start`.
    """
    used = settings(config)  # refuses an unknown method
    network = find_segmenter(config)
    return hash_of(
        used,
        folder.require("ingest")["outputs"],
        folder.require("masks")["outputs"],
        *hash_start(config),
        *([] if network is None else [network.sha256]),
        *(found for one in split_phases(config) if (found := teacher_hash(one.config))),
    )


def settings(config: Config) -> list[Any]:
    """What of the configuration the trained model depends on.

    Raises:
        IsnetError: As `read_method_settings`.
    """
    phases = [phase.config for phase in split_phases(config)]
    used = {name: record for one in phases for name, record in read_method_settings(one).items()}
    several: list[Any] = [LABELS_FORMAT] if config.data.labels.task == "multilabel" else []
    entries = {entry.name: entry for one in phases for entry in registry.parts(one.train.method)}
    forms = {name: entry.load().form for name, entry in entries.items()}
    several += [[name, form] for name, form in forms.items() if form > 1]
    if "isnet" in used and config.train.settings_of("isnet").variant == "stochastic":
        several.append(STOCHASTIC_FORMAT)
    return [
        FORMAT,
        config.seed,
        config.model.model_dump(exclude={"pretrained"}),
        config.bias.model_dump(),
        _training(config, used),
        config.data.labels.model_dump(exclude={"file"}),
        config.masks.on_suspect,
        config.machine.deterministic,
        *several,
    ]


def _training(config: Config, used: dict[str, MethodSettings]) -> dict[str, Any]:
    """The section ``train``, of the settings those that are used; not where a teacher lies."""
    own = {name: record.model_dump(exclude={"teacher"}) for name, record in used.items()}
    return {**config.train.model_dump(), "settings": own}


def preflight(config: Config) -> None:
    """What can be refused before any image is read.

    Raises:
        IsnetError: Kind "config", for an unknown method or setting, parts of a training that do not
            train the same network, or a method whose own network does not take the images' size;
            "weights", for a missing segmenter or pretrained file, or a teacher that is no trained
            run.
    """
    check_phases(config)
    for phase in split_phases(config):
        read_method_settings(phase.config)
        teacher_folder(phase.config)
    check_start(config)
    card = find_segmenter(config)
    if card is not None:
        load_segmenter(card)
    check_size(config)


@dataclass(frozen=True)
class _Images:
    """What all parts of a training see."""

    train: ImageDataset
    val: ImageDataset
    version: Version
    device: torch.device


def run(config: Config, folder: RunFolder, context: RunContext) -> StageResult:
    """Trains, or continues a training of the same fingerprint.

    Raises:
        IsnetError: Unknown method or architecture, a method without its masks, an empty set, a
            diverged training.
    """
    read_method_settings(config)
    phases = split_phases(config)
    device = choose_device(config.machine.device)
    make_deterministic(config.machine.deterministic)
    rows = read_manifest(folder.stage_dir("ingest") / "manifest.csv")
    classes = list_classes([row for row in rows if row.set == "train"] or rows, config)
    qc = read_verdicts(folder)
    masked = "masks" in list_needs(config)
    train_rows, val_rows, excluded = choose_images(rows, qc, config, masked)
    methods = ", then ".join(phase.config.train.method for phase in phases)
    context.say(
        f"training {name_network(config)} ({methods}) on {device}: "
        f"{len(train_rows)} images, {len(val_rows)} for validation, "
        f"{sum(excluded.values())} left out"
    )
    directory, identity = folder.stage_dir(NAME), fingerprint(config, folder)
    train, val = pack_datasets(
        [train_rows, val_rows], folder, qc, classes, config, directory, context
    )
    check_classes(train, val, context)
    if masked:
        check_masks(train)
    marked = config.bias.kind == "shapes" and config.bias.train
    images = _Images(train, val, "biased" if marked else "standard", device)
    net = build_net(config, len(classes)).to(device)
    start = load_start(net, config)
    if start is not None:
        for line in describe_start(config, start, find_normalisation(config)):
            context.say(line)
    for phase in phases:
        check_network(net, phase.config, device)
    history: list[dict[str, float]] = []
    earlier, summary = "", dict[str, Any]()
    for phase in phases:
        part = identity if phase.last else hash_of(earlier, fingerprint(phase.config, folder))
        training = _prepare_phase(phase, config, net, images, directory, part, start, context)
        if training is None:
            return StageResult([], {"epoch": phase.first}, complete=False)
        finished = training.run(context)
        context.processes.wait()  # its files are written
        history += [{"phase": float(phase.number), **row} for row in training.progress.history]
        if history and context.processes.leads:
            _write_history(directory, history, len(phases))
        summary = _summary(training, history, excluded, images)
        if not finished:
            return StageResult([], summary, complete=False)
        if not phase.last:
            kept = load_model(directory / phase.folder, device)
            net.load_state_dict(kept.net.state_dict())
        earlier = part
    if not context.processes.leads:
        return StageResult([], summary)
    best = load_model(directory, device)
    batch_size = config.evaluate.batch_size
    limits = find_limits(best, train, val, images.version, batch_size)
    save_limits(directory, best, limits)
    outputs = [directory / name for name in (WEIGHTS, CARD, HISTORY, CURVES)]
    outputs += [directory / p.folder / name for p in phases[:-1] for name in (WEIGHTS, CARD)]
    return StageResult(outputs, summary)


def _prepare_phase(
    phase: Phase,
    whole: Config,
    net: nn.Module,
    images: _Images,
    directory: Path,
    identity: str,
    start: Fit | None,
    context: RunContext,
) -> ClassifierTraining | None:
    """One part of the training, continued where it was interrupted; None when a stop was asked for.

    Args:
        phase: The part.
        whole: The run's configuration.
        net: The network as the part before left it.
        images: For training and validation.
        directory: Of the stage.
        identity: Hash of what this part depends on.
        start: What was taken from a pretrained file.
        context: Side effects.
    """
    config, classes, place = phase.config, images.train.classes, directory / phase.folder
    place.mkdir(parents=True, exist_ok=True)
    ranges = None
    if "range" in registry.needs(config.train.method):
        ranges = find_ranges(
            config, images.train, images.version, images.device, place / RANGES, identity, context,
            trained=net if phase.number > 1 else None,
        )  # fmt: skip
        if ranges is None:
            return None
        for line in describe_ranges(ranges):
            context.say(line)
    weights = weigh_classes(config, images.train)
    weights = None if weights is None else weights.to(images.device)
    teacher = load_teacher(config, classes, images.device)
    method = build_method(config, ranges, weights, teacher, len(classes))
    refuse_to_share(
        method, config.train.method, split_into_batches(config, images.train, 0), context.processes
    )
    prepare_network(method, net)
    card = make_card(config, classes, net, ranges, len(images.train), len(images.val), start)
    if phase.last:
        card["before"] = [part.model_dump() for part in whole.train.parts_before]
    validator = Validator(
        images.val, images.version, config.evaluate.batch_size, images.device, context.processes
    )
    training = ClassifierTraining(
        config, net, method, images.train, validator, images.version, place, identity,
        lambda best, row: save_model(
            place, best, {**card, **validator.thresholds(best), **describe_validation(row)}
        ),
        first=phase.first, total=whole.train.epochs, processes=context.processes,
        samples=SampleMaps(config, images.val, images.version, images.device, directory.parent),
    )  # fmt: skip
    if training.restore() and training.progress.epoch < config.train.epochs:
        context.say(f"continuing after epoch {phase.first + training.progress.epoch}")
    return training


def _write_history(directory: Path, history: list[dict[str, float]], phases: int) -> None:
    columns = list(dict.fromkeys(name for row in history for name in row))
    if phases == 1:
        columns.remove("phase")
    text = [
        {k: "" if math.isnan(row.get(k, math.nan)) else f"{row[k]:.6g}" for k in columns}
        for row in history
    ]
    write_csv(directory / HISTORY, columns, text)
    write_text(directory / CURVES, svg_text(curves_figure(text)))


def _summary(
    training: ClassifierTraining,
    history: list[dict[str, float]],
    excluded: Counter[str],
    images: _Images,
) -> dict[str, Any]:
    first, best = training.settings.first, training.progress.best
    return {
        "epoch": first + training.progress.epoch,
        "best_epoch": first + int(best["epoch"]) if best else None,
        "images": {"train": len(images.train), "val": len(images.val)},
        "left_out": dict(excluded),
        "last": without_nan({k: v for k, v in history[-1].items() if k != "phase"})
        if history
        else {},
    }
