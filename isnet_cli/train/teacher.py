"""The trained run that a method learns from: found, checked against the student, loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from isnet_cli.config.schema import Config
from isnet_cli.core.files import sha256_file
from isnet_cli.errors import IsnetError
from isnet_cli.inference.model_files import WEIGHTS, load_model
from isnet_cli.inference.predictor import model_folder
from isnet_cli.train.setup import read_method_settings
from isnet_lrp import RelevanceError, relevance
from isnet_models.methods import registry
from isnet_models.methods.guided.isnet import PIXELS
from isnet_models.methods.segmentation.segment_then_classify import LungsOnly


def teacher_folder(config: Config) -> Path | None:
    """Folder of the teacher's two files; None when the method needs no teacher.

    Raises:
        IsnetError: Kind "config", when none is named; "weights", when it is no trained run.
    """
    for name, settings in _list_settings(config).items():
        key = f"train.settings.{name}.teacher"
        if not settings.teacher:
            raise IsnetError(
                "config",
                f"{key}: none, expected the folder of a trained run",
                fix=f"--set {key}=RUN, RUN a folder in which isnet train has finished",
            )
        return _find_folder(settings.teacher, key)
    return None


def _list_settings(config: Config) -> dict[str, Any]:
    """Settings of the methods that learn from a teacher, by name."""
    names = [e.name for e in registry.parts(config.train.method) if "teacher" in e.needs]
    return {name: read_method_settings(config)[name] for name in names}


def _find_folder(named: str, key: str) -> Path:
    try:
        return model_folder(named, None)
    except IsnetError as error:
        raise IsnetError(error.kind, f"{key}: {error.message}", fix=f"--set {key}=RUN") from error


def teacher_hash(config: Config) -> str | None:
    """SHA-256 of the teacher's weights; None when there is no teacher.

    Raises:
        IsnetError: As `teacher_folder`.
    """
    place = teacher_folder(config)
    return None if place is None else sha256_file(place / WEIGHTS)


def load_teacher(config: Config, classes: Sequence[str], device: torch.device) -> nn.Module | None:
    """The teacher in eval mode, frozen; None when the method needs none.

    Images that are black outside the given masks are not cut once more by a teacher's own
    segmenter, which knows whole images alone.

    Raises:
        IsnetError: As `teacher_folder`; kind "weights", for a damaged model; kind "config", for
            one of other classes, that sees images in another form, or without relevance maps.
    """
    place = teacher_folder(config)
    if place is None:
        return None
    model = load_model(place, device)
    card, task = model.card, config.data.labels.task
    pairs = (
        ("classes", card["classes"], list(classes), "data.labels.classes"),
        ("task", card["task"], task, "data.labels.task"),
        ("input", list(card["input"]), list(config.model.input), "model.input"),
        ("channels", card["channels"], config.model.channels, "model.channels"),
        (
            "standardise", card.get("standardise", "none"), config.model.standardise,
            "model.standardise",
        ),
    )  # fmt: skip
    for name, theirs, ours, key in pairs:
        if theirs != ours:
            raise IsnetError(
                "config",
                f"teacher {place}: {name} {theirs}, expected {ours} as the student has",
                fix=f"{key} of both runs must be equal",
            )
    net = model.net.requires_grad_(False)
    settings = _list_settings(config).values()
    if isinstance(net, LungsOnly) and all(s.masked and s.fill == "black" for s in settings):
        net.at_test = "whole"
    zb = PIXELS if any(s.bounded_first_layer for s in settings) else None
    try:
        blank = torch.full((1, config.model.channels, *config.model.input), 0.5, device=device)
        relevance(net, blank, "predicted", family="flex", zb=zb)
    except RelevanceError as error:
        raise IsnetError(
            "config",
            f"teacher {place}: {error}",
            fix="a teacher of convolutions, BatchNorm and ReLU (densenet121, resnet18, small, ...)",
        ) from error
    return net
