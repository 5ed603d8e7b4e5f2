"""The card of a trained model: all that its users need to know besides its weights."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from isnet_cli import __version__
from isnet_cli.config.schema import Config
from isnet_cli.core.files import without_nan
from isnet_cli.inference.model_files import reading
from isnet_cli.train.setup import (
    Ranges,
    build_method,
    find_segmenter,
    read_method_settings,
    read_segmenter_options,
    write_ranges,
)
from isnet_cli.train.start import find_normalisation
from isnet_cli.train.teacher import teacher_hash
from isnet_models.backbones import count_parameters
from isnet_models.methods import registry
from isnet_models.methods.guided.isnet import MapLossMethod, MapRule
from isnet_models.pretrained import Fit
from isnet_models.registry import Card


def make_card(
    config: Config,
    classes: list[str],
    net: nn.Module,
    ranges: Ranges | None,
    images: int,
    validation: int,
    start: Fit | None = None,
) -> dict[str, Any]:
    """The card, but for the epoch that is kept and the weights' hash; see `TrainedModel`.

    Args:
        config: The configuration.
        classes: Names of the outputs.
        net: The network.
        ranges: Relevance range of every supervised layer; None where the method has none.
        images: Number of training images.
        validation: Number of validation images.
        start: What was taken from a file of weights; None: nothing.
    """
    method = build_method(config, None, None, classes=len(classes)).base
    rule = method.rule if isinstance(method, MapLossMethod) else MapRule()
    network = find_segmenter(config)
    return {
        "name": config.name,
        "isnet": __version__,
        "task": config.data.labels.task,
        "classes": classes,
        "arch": name_network(config),
        "parameters": count_parameters(net),
        "input": list(config.model.input),
        "channels": config.model.channels,
        "dropout": config.model.dropout,
        "standardise": config.model.standardise,
        "normalisation": _list_normalisation(config),
        "pretrained": None if start is None else _describe_start(config, start),
        "method": config.train.method,
        "settings": _list_settings(config),
        **({"teacher": {"sha256": taught}} if (taught := teacher_hash(config)) else {}),
        **({} if network is None else {"segmenter": _describe_segmenter(network)}),
        "heatmap": {
            "family": "flex" if rule.family == "flex" else "block",
            "epsilon": rule.epsilon,
            "bounded_first_layer": rule.bounded and method.bounded,
            "relevance_range": write_ranges(ranges) if ranges else None,
        },
        "thresholds": None if config.data.labels.task == "multiclass" else [0.5] * len(classes),
        "seed": config.seed,
        "images": {"train": images, "val": validation},
        "selected_by": config.train.select,
        "reading": reading(config),
        "use": "research only; not a medical device",
    }


def _list_normalisation(config: Config) -> list[list[float]] | None:
    """Means and standard deviations of the channels; None: images are taken as they are."""
    found = find_normalisation(config)
    if found is None:
        return None
    found = found.of_channels(config.model.channels)
    return [list(found.means), list(found.sds)]


def _describe_start(config: Config, start: Fit) -> dict[str, Any]:
    """What a model's card says of the file that training started from."""
    return {"file": Path(config.model.pretrained or "").name, **asdict(start)}


def _list_settings(config: Config) -> dict[str, Any]:
    """The method's settings and its additions', without the place of a teacher."""
    return {
        name: record.model_dump(mode="json", exclude={"teacher"})
        for name, record in read_method_settings(config).items()
    }


def _describe_segmenter(card: Card) -> dict[str, Any]:
    """What a model's card says of the lung U-Net inside."""
    return {
        "options": read_segmenter_options(card),
        "name": card.name,
        "sha256": card.sha256,
        "licence": card.licence,
    }


def describe_validation(row: dict[str, float]) -> dict[str, Any]:
    """What the card says of the epoch that is kept: its number and its ``val_`` figures.

    Args:
        row: The epoch's line of the history.
    """
    figures = {k: v for k, v in row.items() if k.startswith("val_")}
    return {
        "epoch": int(row["epoch"]),
        "validation": without_nan(figures),
    }


def name_network(config: Config) -> str:
    """The network's name: the backbone's, or that of the method that brings its own."""
    first = registry.parts(config.train.method)[0]
    return first.name if first.own_network else config.model.arch
