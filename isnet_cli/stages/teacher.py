"""The trained run that a method learns from: found, checked against the student, loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from isnet_cli.config.schema import Config
from isnet_cli.errors import IsnetError
from isnet_cli.runs.files import sha256_file
from isnet_cli.stages.model_files import WEIGHTS, load_model
from isnet_cli.stages.predictor import model_folder
from isnet_cli.stages.training_setup import check_method
from isnet_models.methods import registry


def teacher_folder(config: Config) -> Path | None:
    """Folder of the teacher's two files; None when the method needs no teacher.

    Raises:
        IsnetError: Kind "config", when none is named; "weights", when it is no trained run.
    """
    for entry in registry.parts(config.train.method):
        if "teacher" not in entry.needs:
            continue
        named: str = check_method(config)[entry.name].teacher
        key = f"train.settings.{entry.name}.teacher"
        if not named:
            raise IsnetError(
                "config",
                f"{key}: none, expected the folder of a trained run",
                fix=f"--set {key}=RUN, RUN a folder in which isnet train has finished",
            )
        return _found(named, key)
    return None


def _found(named: str, key: str) -> Path:
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

    Raises:
        IsnetError: As `teacher_folder`; kind "weights", for a damaged model; kind "config", for
            one of other classes, or that sees films in another form.
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
    return model.net.requires_grad_(False)
